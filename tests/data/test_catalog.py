"""Datasets by name: made, found, downloaded or read, each prepared once and never mixed with another."""

import multiprocessing
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from ssl_bio.data import catalog, store
from ssl_bio.data.ingest.archive import Files
from ssl_bio.data.ingest.ingest import Ingest
from ssl_bio.data.registry import Dataset
from ssl_bio.data.store import ReadOptions
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
    made = (data.folder / "dataset.json").stat().st_mtime_ns
    assert catalog.open_dataset(name="synthetic", synthetic=SMALL).info.channels == ("ecg", "ppg")
    assert (data.folder / "dataset.json").stat().st_mtime_ns == made
    assert catalog.open_dataset(name="two-peaks", synthetic=SMALL).folder.name == "two-peaks-v1"
    with pytest.raises(DataError, match="four rhythms need at least 4 windows a person"):
        catalog.open_dataset(name="synthetic", synthetic={**SMALL, "windows_per_subject": 3})
    with pytest.raises(DataError, match=r"data\.window: this dataset's windows come ready-made"):
        catalog.open_dataset(name="synthetic", synthetic=SMALL, options=ReadOptions(window=1))


def test_what_cannot_be_downloaded_says_how_to_prepare_it() -> None:
    with pytest.raises(DataError, match=r"epilepsy-s5 is not prepared .*ukbonn.*data prepare epilepsy --from .*recipe"):
        catalog.open_dataset(name="epilepsy", options=ReadOptions(window=5.0))


def test_what_was_prepared_is_opened(tmp_path: Path) -> None:
    with installed(toy="tests.data.toy:DATASET"):
        prepared = catalog.prepare(name="toy", origin=str(write_toy(tmp_path / "files")), root=str(tmp_path / "r"))
        assert prepared.folder == tmp_path / "r/toy"
        shutil.rmtree(tmp_path / "files")
        opened = catalog.open_dataset(name="toy", root=str(tmp_path / "r"))
    assert opened.info == prepared.info
    assert opened.signals.shape == (25, 1, 20)


def test_options_have_folders_of_their_own(tmp_path: Path) -> None:
    files = str(write_toy(tmp_path / "files"))
    with installed(toy="tests.data.toy:DATASET"):
        plain = catalog.prepare(name="toy", origin=files)
        finer = catalog.prepare(name="toy", origin=files, options=ReadOptions(stride=1))
    assert (plain.folder.name, finer.folder.name) == ("toy", "toy-step1")
    assert (len(plain.signals), len(finer.signals)) == (25, 45)


def test_external_archives_are_kept_apart_by_options_and_by_place(tmp_path: Path) -> None:
    here, there = write_toy(tmp_path / "here/my files"), write_toy(tmp_path / "there/my files", first=7)
    with installed(toy="tests.data.toy:DATASET"):
        first = catalog.open_external(str(here), reader="toy")
        finer = catalog.open_external(str(here), reader="toy", options=ReadOptions(stride=1))
        other = catalog.open_external(str(there), reader="toy")
        again = catalog.open_external(str(here), reader="toy")
    assert len({first.folder, finer.folder, other.folder}) == 3
    assert first.folder.name.startswith("toy-external-my-files-")
    assert finer.folder.name.startswith("toy-step1-external-my-files-")
    assert again.folder == first.folder
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

    def slow_read(files: Files, options: ReadOptions) -> Ingest:
        reads.append(threading.current_thread().name)
        inside.set()
        time.sleep(0.5)
        return read(files, options)

    found: dict[str, store.PreparedDataset] = {}

    def prepare(name: str) -> None:
        found[name] = catalog.prepare(name="toy", origin=str(files))

    with installed(toy="tests.data.toy:DATASET"):
        monkeypatch.setattr(toy, "DATASET", Dataset(title="toy", homepage="x", read=slow_read))
        first = threading.Thread(target=prepare, args=["first"], name="first")
        first.start()
        assert inside.wait(10)
        second = threading.Thread(target=prepare, args=["second"], name="second")
        second.start()
        first.join()
        made = (found["first"].folder / "dataset.json").stat().st_ino
        second.join()
        assert reads == ["first"]
        assert (found["second"].folder / "dataset.json").stat().st_ino == made
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
