"""Datasets by name: made, found, downloaded or read, each prepared once and never mixed with another."""

import multiprocessing
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ssl_bio.data import catalog
from ssl_bio.data.ingest.archive import Files
from ssl_bio.data.ingest.ingest import Ingest
from ssl_bio.data.options import WindowOptions
from ssl_bio.data.recording_store import RecordingStore
from ssl_bio.errors import DataError
from tests.data import toy
from tests.data.plugins import installed

SMALL = {"n_subjects": 6, "windows_per_subject": 4, "seed": 1}


def write_toy(folder: Path, n: int = 5, first: int = 0) -> Path:
    folder.mkdir(parents=True)
    for person in range(n):
        values = first + 1000 * person + np.arange(100)
        (folder / f"p{person}.txt").write_text(" ".join(map(str, values)))
    return folder


def test_embedded_ones_are_made_once() -> None:
    data = catalog.open_dataset(name="synthetic", synthetic=SMALL, channels=["ppg"])
    assert data.folder.name == "synthetic-6x4-seed1-v2"
    assert (data.info.n, data.info.channels) == (24, ("ppg",))
    made = (data.folder / "recordings.json").stat().st_mtime_ns
    assert catalog.open_dataset(name="synthetic", synthetic=SMALL).info.channels == ("ecg", "ppg")
    assert (data.folder / "recordings.json").stat().st_mtime_ns == made
    assert catalog.open_dataset(name="two-peaks", synthetic=SMALL).folder.name == "two-peaks-v1"
    with pytest.raises(DataError, match="four rhythms need at least 4 windows a person"):
        catalog.open_dataset(name="synthetic", synthetic={**SMALL, "windows_per_subject": 3})
    with pytest.raises(DataError, match=r"data\.window: this dataset's windows come ready-made"):
        catalog.open_dataset(name="synthetic", synthetic=SMALL, options=WindowOptions(window=1))


def test_what_cannot_be_downloaded_says_how_to_prepare_it() -> None:
    with pytest.raises(DataError, match=r"^epilepsy is not prepared .*ukbonn.*data prepare epilepsy --from PATH"):
        catalog.open_dataset(name="epilepsy", options=WindowOptions(window=5.0))


def test_what_was_prepared_is_opened(tmp_path: Path) -> None:
    with installed(toy="tests.data.toy:DATASET"):
        prepared = catalog.prepare(name="toy", origin=str(write_toy(tmp_path / "files")), root=str(tmp_path / "r"))
        assert prepared.folder == tmp_path / "r/toy"
        shutil.rmtree(tmp_path / "files")
        opened = catalog.open_dataset(name="toy", root=str(tmp_path / "r"))
    assert opened.folder == prepared.folder
    assert opened.signals.shape == (25, 1, 20)


def test_prepared_once_for_all_ways_to_cut(tmp_path: Path) -> None:
    files = write_toy(tmp_path / "files")
    with installed(toy="tests.data.toy:DATASET"):
        catalog.prepare(name="toy", origin=str(files))
        shutil.rmtree(files)
        plain = catalog.open_dataset(name="toy")
        finer = catalog.open_dataset(name="toy", options=WindowOptions(stride=1))
    assert plain.folder == finer.folder
    assert (plain.info.name, finer.info.name) == ("toy", "toy-step1")
    assert (len(plain.signals), len(finer.signals)) == (25, 45)


def write_own(folder: Path, n: int = 3) -> Path:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(n)
    for number in range(n):
        np.save(folder / f"{number}.npy", rng.normal(size=(1, 40)))
    lines = [f"{number}.npy,p{number},10" for number in range(n)]
    (folder / "table.csv").write_text("\n".join(["file,subject,sampling_rate", *lines]) + "\n")
    return folder


def test_own_recordings_have_names(tmp_path: Path) -> None:
    first, second = write_own(tmp_path / "a"), write_own(tmp_path / "b", 5)
    catalog.prepare(name="sleep-lab", origin=str(first))
    catalog.prepare(name="gait", origin=str(second))
    assert len(catalog.open_dataset(name="sleep-lab").signals) == 3
    assert len(catalog.open_dataset(name="gait").signals) == 5
    assert catalog.open_dataset(name="gait").info.name == "gait"
    with pytest.raises(DataError, match=r"'gate'.*'gait'|'gate'.*prepared under .*: gait, sleep-lab"):
        catalog.open_dataset(name="gate")


def test_another_source_under_a_taken_name_wants_overwrite(tmp_path: Path) -> None:
    first, second = write_own(tmp_path / "a"), write_own(tmp_path / "b", 5)
    catalog.prepare(name="lab", origin=str(first))
    with pytest.raises(DataError, match=r"lab was prepared from .*/a: choose another name, or --overwrite it"):
        catalog.prepare(name="lab", origin=str(second))
    assert len(catalog.open_dataset(name="lab").signals) == 3
    assert len(catalog.prepare(name="lab", origin=str(first))) == 3, "the same source may be read again"
    assert len(catalog.prepare(name="lab", origin=str(second), overwrite=True)) == 5


@pytest.mark.parametrize("name", ["", "../lab", "a/b", ".lab"])
def test_names_that_lead_elsewhere_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no name of a dataset"):
        catalog.prepare(name=name, origin=str(write_own(tmp_path / "a")))


def test_external_archives_are_kept_apart_by_options_and_by_place(tmp_path: Path) -> None:
    here, there = write_toy(tmp_path / "here/my files"), write_toy(tmp_path / "there/my files", first=7)
    with installed(toy="tests.data.toy:DATASET"):
        first = catalog.open_external(str(here), reader="toy")
        finer = catalog.open_external(str(here), reader="toy", options=WindowOptions(stride=1))
        other = catalog.open_external(str(there), reader="toy")
        again = catalog.open_external(str(here), reader="toy")
    assert first.folder != other.folder
    assert first.folder.name.startswith("toy-external-my-files-")
    assert finer.info.name == f"{first.folder.name}-step1"
    assert again.folder == finer.folder == first.folder
    assert (len(first.signals), len(finer.signals)) == (25, 45)
    assert (first.signals[0, 0, 0], other.signals[0, 0, 0], again.signals[0, 0, 0]) == (0, 7, 0)


def test_an_external_archive_that_has_changed_is_read_again(tmp_path: Path) -> None:
    files = write_toy(tmp_path / "files")
    with installed(toy="tests.data.toy:DATASET"):
        catalog.open_external(str(files), reader="toy")
        shutil.rmtree(files)
        write_toy(files, n=4)
        assert len(catalog.open_external(str(files), reader="toy").signals) == 20


def test_external_datasets_by_name_or_folder(tmp_path: Path) -> None:
    embedded = catalog.open_external("synthetic", reader="toy", synthetic=SMALL)
    assert catalog.open_external(str(embedded.folder), reader="toy").folder == embedded.folder
    assert catalog.open_external(embedded.folder.name, reader="toy").info == embedded.info
    with pytest.raises(DataError, match=r"--data nothing: neither a prepared dataset \(synthetic-6x4-seed1-v2\) nor a"):
        catalog.open_external("nothing", reader="toy")
    with pytest.raises(DataError, match="the embedded dataset synthetic has no files to read"):
        catalog.open_external(str(write_toy(tmp_path / "files")), reader="synthetic")


def test_what_another_process_prepared_meanwhile_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads stand for two processes: the lock is one of files."""
    files, reads, inside = write_toy(tmp_path / "files"), [], threading.Event()
    read = toy.read

    def slow_read(files: Files) -> Ingest:
        reads.append(threading.current_thread().name)
        inside.set()
        time.sleep(0.5)
        return read(files)

    found: dict[str, RecordingStore] = {}

    def prepare(name: str) -> None:
        found[name] = catalog.prepare(name="toy", origin=str(files))

    with installed(toy="tests.data.toy:DATASET"):
        monkeypatch.setattr(toy, "DATASET", replace(toy.DATASET, read=slow_read))
        first = threading.Thread(target=prepare, args=["first"], name="first")
        first.start()
        assert inside.wait(10)
        second = threading.Thread(target=prepare, args=["second"], name="second")
        second.start()
        first.join()
        made = (found["first"].folder / "recordings.json").stat().st_ino
        second.join()
        assert reads == ["first"]
        assert (found["second"].folder / "recordings.json").stat().st_ino == made
        prepare("third")
    assert len(reads) == 2, "asked for again, it is prepared again"


def _open_small(root: str, results: "multiprocessing.Queue[str]") -> None:
    results.put(catalog.open_dataset(name="synthetic", root=root, synthetic=SMALL).info.fingerprint)


def test_processes_that_need_a_dataset_at_once_agree(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[str] = context.Queue()
    workers = [context.Process(target=_open_small, args=(str(tmp_path / "shared"), results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    prints = {results.get(timeout=120) for _ in workers}
    for worker in workers:
        worker.join()
    assert len(prints) == 1
    assert [path.name for path in (tmp_path / "shared").iterdir() if path.is_dir()] == ["synthetic-6x4-seed1-v2"]
