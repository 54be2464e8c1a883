"""Windows of recordings: cut once, kept beside the recordings, checked when opened."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import platformdirs
import pytest

from ssl_bio.data import window_store
from ssl_bio.data.dataset import PreparedDataset
from ssl_bio.data.ingest.ingest import Ingest, ingest
from ssl_bio.data.options import WindowOptions
from ssl_bio.data.readers.synthetic import generate
from ssl_bio.data.recording import Recording
from ssl_bio.data.recording_store import WINDOWS_FOLDER, RecordingStore, open_store
from ssl_bio.data.window_store import kept_windows, open_windows, overlaps
from ssl_bio.data.windowing import LabelledWindows, ReadyWindows, Windowing, ready_windowing
from ssl_bio.data.windows import Windower
from ssl_bio.errors import DataError
from tests.data import toy
from tests.data.reading import ingest_ready, open_ready, windows_of

FOLDER = Path("data/s")


def ready() -> ReadyWindows:
    return generate(n_subjects=6, windows_per_subject=4, seed=0)


def long_recordings(n: int = 4, samples: int = 3000) -> RecordingStore:
    """Recordings at 10 Hz, stored as whole numbers."""
    rng = np.random.default_rng(0)
    signals = [rng.integers(-500, 500, (1, samples)).astype(float) for _ in range(n)]

    def read_one(name: str) -> list[Recording]:
        return [Recording(name=name, subject=name, arrays={"signals": signals[int(name)]}, start=2.0)]

    return ingest(FOLDER, Ingest(title="t", source="s", records=[str(row) for row in range(n)], read=read_one))


def kept_folder() -> Path:
    (folder,) = [path for path in (FOLDER / WINDOWS_FOLDER).iterdir() if path.is_dir()]
    return folder


def test_round_trip_of_ready_made_windows() -> None:
    made = ready()
    data = open_ready(made, FOLDER)
    np.testing.assert_array_equal(data.signals, made.signals)
    for name, (_, values) in made.targets.items():
        np.testing.assert_array_equal(data.targets[name], values)
        assert data.targets[name].dtype == values.dtype
    np.testing.assert_array_equal(data.rows("subject", "val"), made.splits["subject"]["val"])
    assert data.subjects.tolist() == made.subjects.tolist()
    assert [path.name for path in FOLDER.parent.iterdir()] == ["s"], "no litter"


def test_windows_are_read_as_an_array_is() -> None:
    data, made = open_ready(ready(), FOLDER), ready()
    assert data.signals.shape == made.signals.shape
    assert len(data.signals) == 24
    for key in (3, slice(2, 9, 3), [5, 1], np.array([7]), np.arange(24) % 5 == 0, (2, 1), (slice(0, 2), 0), (1, 0, 9)):
        np.testing.assert_array_equal(data.signals[key], made.signals[key])
    with pytest.raises(IndexError):
        data.signals[24]


def test_signals_that_are_shown_as_published_are_not_stored_again() -> None:
    store = long_recordings()
    plain = windows_of(store, toy.windowing)
    assert sorted(path.name for path in kept_folder().iterdir()) == [
        "index.npz",
        "splits.npz",
        "target-first.npy",
        "windows.json",
    ]
    overlapping = windows_of(store, toy.windowing, WindowOptions(window=20, stride=2))
    stored = sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file())
    assert overlapping.signals[:].nbytes > 5 * stored
    np.testing.assert_array_equal(plain.signals[1], overlapping.signals[1, :, :20])


def test_filtered_signals_are_kept_once_whatever_the_overlap() -> None:
    store = long_recordings()
    filtered = windows_of(store, toy.windowing, WindowOptions(highpass=0.5, stride=0.2))
    assert (kept_folder() / "signals.bin").stat().st_size == 4 * 3000 * 4
    windower = Windower(replace(toy.PROTOCOL, highpass=0.5, stride=0.2))
    expected = windower.windows(store.read(0).signals, 10.0, pad=False).signals
    np.testing.assert_array_equal(filtered.signals[: len(expected)], expected)


def test_every_window_knows_its_file_and_start() -> None:
    data = windows_of(long_recordings(), toy.windowing)
    names, starts = data.places(np.array([0, 1, 150]))
    assert names.tolist() == ["0", "0", "1"]
    assert starts.tolist() == [2.0, 4.0, 2.0], "from the beginning of the file, of which the recording is a part"


def test_cut_once_for_each_way_to_cut() -> None:
    store = long_recordings()
    first = windows_of(store, toy.windowing)
    made = (kept_folder() / "windows.json").stat().st_mtime_ns
    again = windows_of(open_store(FOLDER), toy.windowing)
    assert (kept_folder() / "windows.json").stat().st_mtime_ns == made
    assert again.info == first.info
    other = windows_of(store, toy.windowing, WindowOptions(window=3.0))
    assert other.info.fingerprint != first.info.fingerprint
    assert {data.info.fingerprint for data in kept_windows(store)} == {first.info.fingerprint, other.info.fingerprint}
    assert other.options.window == 3.0


def test_another_version_cuts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    store = long_recordings()
    windows_of(store, toy.windowing)
    monkeypatch.setattr(window_store, "VERSION", 99)
    windows_of(store, toy.windowing)
    assert len(list(kept_windows(store))) == 2


def test_fingerprint_follows_content_alone() -> None:
    first = open_ready(ready(), FOLDER)
    assert open_ready(ready(), FOLDER).info.fingerprint == first.info.fingerprint
    assert window_store.fingerprint(first) == first.info.fingerprint
    changed = ready()
    changed.signals[3, 1, 7] += 1
    assert open_ready(changed, FOLDER).info.fingerprint != first.info.fingerprint


def test_fingerprints_are_those_of_windows_stored_one_by_one() -> None:
    """Of published results, measured when each window was stored on its own."""
    assert open_ready(generate(n_subjects=60, windows_per_subject=24, seed=0)).info.fingerprint == "cb23f29a5e84724e"


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("name", ["index.npz", "target-first.npy", "splits.npz", "windows.json", "signals.bin"])
@pytest.mark.parametrize("harm", [truncate, Path.unlink])
def test_broken_windows_are_refused_and_named(name: str, harm: object) -> None:
    store, options = long_recordings(), WindowOptions(highpass=0.5)
    windows_of(store, toy.windowing, options)
    harm(kept_folder() / name)  # type: ignore[operator]  # a function of a path
    if (name, harm) == ("windows.json", Path.unlink):
        windows_of(store, toy.windowing, options)  # without it they are not there, and are cut again
        return
    with pytest.raises(DataError, match=name.replace(".", r"\.")) as caught:
        windows_of(store, toy.windowing, options)
    assert "delete" in str(caught.value) or "prepare the dataset again" in str(caught.value)


def test_truncated_recordings_are_noticed() -> None:
    store = long_recordings()
    windows_of(store, toy.windowing)
    truncate(store.path)
    with pytest.raises(DataError, match=r"recordings\.bin: .* truncated"):
        windows_of(open_store(FOLDER), toy.windowing)


def test_an_interrupted_cut_leaves_nothing() -> None:
    store = long_recordings()
    windowing = toy.windowing(store, WindowOptions())
    calls = 0

    def unplugged(recording: Recording) -> LabelledWindows:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return windowing.window(recording)

    with pytest.raises(KeyboardInterrupt):
        open_windows(store, replace(windowing, window=unplugged), label="t")
    assert not [path for path in (FOLDER / WINDOWS_FOLDER).iterdir() if path.is_dir()]


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_store_that_cannot_be_written_has_its_windows_elsewhere(tmp_path: Path) -> None:
    store = long_recordings()
    FOLDER.chmod(0o500)
    try:
        assert len(windows_of(store, toy.windowing).signals) == 600
        assert not (FOLDER / WINDOWS_FOLDER).exists()
    finally:
        FOLDER.chmod(0o700)


def test_a_store_that_may_not_be_written_has_its_windows_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = long_recordings()
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda _: str(tmp_path / "cache"))
    first = windows_of(store, toy.windowing)
    assert not (FOLDER / WINDOWS_FOLDER).exists()
    assert len(list((tmp_path / "cache").rglob("windows.json"))) == 1
    assert windows_of(store, toy.windowing).info == first.info


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (lambda found: replace(found, targets={}), r"targets \[\] instead of \['first'\]"),
        (lambda found: replace(found, targets={"first": np.zeros(1)}), "150 windows but 1 first"),
    ],
)
def test_windowing_that_does_not_fit_is_refused(changed: object, message: str) -> None:
    store = long_recordings()
    windowing = toy.windowing(store, WindowOptions())
    broken = replace(windowing, window=lambda recording: changed(windowing.window(recording)))  # type: ignore[operator]
    with pytest.raises(DataError, match=message):
        open_windows(store, broken, label="t")
    with pytest.raises(DataError, match=r"signals have shape \(1, 3000\), not \(2, samples\)"):
        open_windows(store, replace(windowing, channels=("x", "y")), label="t")


def test_no_window_at_all_is_refused() -> None:
    with pytest.raises(DataError, match="s: no window in 4 recordings"):
        windows_of(long_recordings(samples=5), toy.windowing)


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
    info = open_ready(made).info
    assert info.n_missing == 2
    assert "window 2" in info.first_missing
    assert "ppg" in info.first_missing


def test_unknown_split_names_lists_the_valid_ones() -> None:
    data: PreparedDataset = open_ready(ready())
    with pytest.raises(DataError, match="it has train, val, test"):
        data.rows("subject", "dev")
    with pytest.raises(DataError, match="it has subject"):
        data.rows("random", "train")
    with pytest.raises(DataError, match="it has rhythm"):
        data.target("mood")


def test_chosen_channels_in_the_order_named() -> None:
    data = open_ready(ready())
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


def test_ready_made_windows_take_no_options() -> None:
    with pytest.raises(DataError, match=r"data\.window: this dataset's windows come ready-made"):
        ready_windowing(ingest_ready(ready()), WindowOptions(window=3))
    made: Windowing = ready_windowing(ingest_ready(ready()), WindowOptions())
    assert (made.options.sampling_rate, made.options.window) == (50.0, 10.0)


def test_channels_in_another_spelling() -> None:
    data = open_ready(ready())
    chosen = data.with_channels(["PLETH", "EKG"])
    assert chosen.info.channels == ("PLETH", "EKG")
    np.testing.assert_array_equal(chosen.read(np.array([1])), data.signals[[1]][:, ::-1])


def test_windows_of_recordings_that_were_prepared_anew_are_not_mixed() -> None:
    first = long_recordings()
    long_recordings(n=5)
    with pytest.raises(DataError, match="s was prepared anew while it was open"):
        windows_of(first, toy.windowing)
    assert len(windows_of(open_store(FOLDER), toy.windowing).signals) == 750
