"""The prepared store: whole or not at all, named by its content, checked when opened."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ssl_bio.data import store
from ssl_bio.data.ingest.ingest import ReadyWindows, overlaps, write_prepared
from ssl_bio.data.readers.synthetic import generate
from ssl_bio.data.store import PreparedDataset, ReadOptions
from ssl_bio.errors import DataError

FOLDER = Path("data/s")


def ready() -> ReadyWindows:
    return generate(n_subjects=6, windows_per_subject=4, seed=0)


def test_round_trip_as_memory_map() -> None:
    made = ready()
    data = write_prepared(FOLDER, made)
    assert isinstance(data.signals, np.memmap)
    np.testing.assert_array_equal(data.signals, made.signals)
    np.testing.assert_array_equal(data.targets["rhythm"], made.targets["rhythm"][1])
    np.testing.assert_array_equal(data.rows("subject", "val"), made.splits["subject"]["val"])
    assert data.subjects.tolist() == made.subjects.tolist()
    assert [path.name for path in FOLDER.parent.iterdir()] == ["s"], "no litter"


def test_fingerprint_follows_content_alone() -> None:
    first = write_prepared(FOLDER, ready()).info.fingerprint
    assert write_prepared(FOLDER, ready()).info.fingerprint == first
    assert store.fingerprint(FOLDER, store.open_prepared(FOLDER).info) == first
    changed = ready()
    changed.signals[3, 1, 7] += 1
    assert write_prepared(FOLDER, changed).info.fingerprint != first


def test_opening_reads_no_signals() -> None:
    write_prepared(FOLDER, ready())
    path = FOLDER / "signals.npy"
    shape = (40_000, 2, 5_000)  # 1.6 GB, of which the file system stores nothing
    header_only = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    del header_only
    started = time.perf_counter()
    with pytest.raises(DataError, match="40000 rows instead of 24"):
        store.open_prepared(FOLDER)
    assert time.perf_counter() - started < 1


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("name", ["signals.npy", "target-rhythm.npy", "subjects.npy", "splits.npz", "dataset.json"])
@pytest.mark.parametrize("harm", [truncate, Path.unlink])
def test_broken_store_is_refused_and_named(name: str, harm: object) -> None:
    write_prepared(FOLDER, ready())
    harm(FOLDER / name)  # type: ignore[operator]  # a function of a path
    with pytest.raises(DataError, match=name.replace(".", r"\.")) as caught:
        store.open_prepared(FOLDER)
    assert "prepare" in str(caught.value) or "not a prepared dataset" in str(caught.value)


def test_arrays_that_do_not_fit_leave_nothing_behind() -> None:
    broken = replace(ready(), subjects=np.array(["a"]))
    with pytest.raises(DataError, match="24 windows but 1 subjects"):
        write_prepared(FOLDER, broken)
    assert not FOLDER.exists()


def test_overlap_counts_people_and_identical_windows() -> None:
    made = ready()
    made.signals[5] = made.signals[0]
    splits = {"x": {"train": np.array([0, 1, 2]), "test": np.array([3, 5])}}
    counted = overlaps(made.signals, made.subjects, splits)["x"]["train/test"]
    assert (counted.subjects, counted.windows) == (1, 1)


def test_missing_samples_are_counted_and_placed() -> None:
    made = ready()
    made.signals[2, 1, 30] = np.nan
    made.signals[4, 0, 0] = np.inf
    info = write_prepared(FOLDER, made).info
    assert info.n_missing == 2
    assert "window 2" in info.first_missing
    assert "ppg" in info.first_missing


def test_data_root_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_BIO_DATA", "/from/environment")
    assert store.data_root("/from/recipe") == Path("/from/recipe")
    assert store.data_root() == Path("/from/environment")
    monkeypatch.delenv("SSL_BIO_DATA")
    assert "ssl-bio" in str(store.data_root())


def test_unknown_split_names_lists_the_valid_ones() -> None:
    data: PreparedDataset = write_prepared(FOLDER, ready())
    with pytest.raises(DataError, match="it has train, val, test"):
        data.rows("subject", "dev")
    with pytest.raises(DataError, match="it has subject"):
        data.rows("random", "train")
    with pytest.raises(DataError, match="it has rhythm"):
        data.target("mood")


def test_chosen_channels_in_the_order_named() -> None:
    data = write_prepared(FOLDER, ready())
    chosen = data.with_channels(["ppg", "ecg"])
    assert chosen.info.channels == ("ppg", "ecg")
    rows = np.array([2, 0])
    np.testing.assert_array_equal(chosen.read(rows), data.signals[rows][:, ::-1])
    assert data.with_channels(["ppg"]).read(rows).shape == (2, 1, data.info.length)
    assert chosen.with_channels(["ecg"]).info.channels == ("ecg",)
    np.testing.assert_array_equal(chosen.with_channels(["ecg"]).read(rows), data.signals[rows][:, :1])
    assert data.with_channels([]) is data
    with pytest.raises(DataError, match=r"no channel eeg, emg; it has ecg, ppg"):
        data.with_channels(["eeg", "ecg", "emg"])


def test_options_name_the_folder_and_replace_the_protocols() -> None:
    protocol = ReadOptions(sampling_rate=360, window=2.0, stride=2.0, highpass=0.0, standardize="none")
    assert ReadOptions().folder_name("mitdb") == "mitdb"
    chosen = ReadOptions(sampling_rate=125, window=30.72, standardize="record")
    assert chosen.folder_name("c") == "c-hz125-s30.72-by-record"
    everything = ReadOptions(stride=1, highpass=0, padding="repeat", context=2.5, derive="breathing")
    assert everything.folder_name("b") == "b-step1-hp0-pad-repeat-around2.5-derive-breathing"
    assert ReadOptions(window=3).with_defaults(protocol) == replace(protocol, window=3)
    with pytest.raises(DataError, match=r"^data\.window, data\.stride: this dataset's windows come ready-made"):
        ReadOptions(window=3, stride=1).require_unset()
