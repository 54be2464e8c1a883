"""The reader of the EEG of Bonn: small files and the real archive."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from ssl_bio.data.options import WindowOptions
from ssl_bio.data.readers.epilepsy import DATASET, FOLDERS, RATE
from ssl_bio.errors import DataError
from tests.data.reading import read_with


def write_eeg(folder: Path, n: int = 3, first: int = 1, samples: int = 4097) -> Path:
    """Recording i of a folder counts up from 1000 i; names in capitals as in the publisher's folders N and S."""
    for letter in FOLDERS:
        place = folder / letter
        place.mkdir(parents=True, exist_ok=True)
        for number in range(first, first + n):
            suffix = ".TXT" if letter == "N" else ".txt"
            values = 1000 * number + np.arange(samples)
            (place / f"{letter}{number:03d}{suffix}").write_text("\r\n".join(map(str, values)) + "\r\n")
    return folder


def test_epilepsy_windows_and_labels(tmp_path: Path) -> None:
    data = read_with(DATASET, write_eeg(tmp_path / "bonn"))
    assert data.signals.shape == (5 * 3 * 23, 1, 178)
    assert data.info.sampling_rate == RATE
    assert data.signals[1, 0].tolist() == list(range(1178, 1356))
    assert data.signals[22, 0, -1] == 1000 + 23 * 178 - 1
    assert data.subjects[::23].tolist() == [f"{letter}00{number}" for letter in FOLDERS for number in (1, 2, 3)]
    seizure, folder = data.info.targets["seizure"], data.info.targets["folder"]
    assert (seizure.classes, folder.classes) == (("rest", "seizure"), FOLDERS)
    assert np.asarray(data.targets["folder"]).tolist() == [code for code in range(5) for _ in range(3 * 23)]
    np.testing.assert_array_equal(data.targets["seizure"], data.targets["folder"] == 4)
    assert next(iter(data.info.targets)) == "seizure"


def test_epilepsy_is_split_by_recording(tmp_path: Path) -> None:
    data = read_with(DATASET, write_eeg(tmp_path / "bonn", n=13, first=69, samples=400))
    names = {part: set(data.subjects[data.rows("subject", part)].tolist()) for part in ("train", "val", "test")}
    assert names["train"] == {f"{letter}0{number}" for letter in FOLDERS for number in (69, 70)}
    assert names["val"] == {f"{letter}0{number}" for letter in FOLDERS for number in range(71, 81)}
    assert names["test"] == {f"{letter}081" for letter in FOLDERS}


def test_epilepsy_other_cuts_from_the_publishers_five_zips(tmp_path: Path) -> None:
    write_eeg(tmp_path / "x")
    (tmp_path / "five").mkdir()
    for letter in FOLDERS:
        shutil.make_archive(str(tmp_path / "five" / letter.lower()), "zip", tmp_path / "x" / letter)
    options = WindowOptions(sampling_rate=100, window=10, stride=5)
    data = read_with(DATASET, tmp_path / "five", options)
    assert data.signals.shape == (5 * 3 * 3, 1, 1000)
    np.testing.assert_allclose(data.signals[1, 0, 300], 1000 + 8 * RATE, atol=0.1)


def test_epilepsy_broken_files_are_named(tmp_path: Path) -> None:
    folder = write_eeg(tmp_path / "bonn")
    (folder / "O/O002.txt").write_text("12\noops\n13\n")
    with pytest.raises(DataError, match=r"O002\.txt: not a column of numbers .*oops"):
        read_with(DATASET, folder)
    (folder / "O/O002.txt").write_text("")
    with pytest.raises(DataError, match=r"O002\.txt: empty"):
        read_with(DATASET, folder)
    assert read_with(DATASET, folder, max_skipped=0.1).info.skipped.keys() == {"O002"}
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="not the EEG of Bonn"):
        read_with(DATASET, tmp_path / "empty")


def test_real_epilepsy(real_archive: Path) -> None:
    data = read_with(DATASET, real_archive / "bonn_eeg.zip")
    assert data.signals.shape == (11500, 1, 178)
    assert np.bincount(data.targets["seizure"]).tolist() == [9200, 2300]
    assert [len(data.rows("subject", part)) for part in ("train", "val", "test")] == [8050, 1150, 2300]
    assert data.info.overlap["subject"]["train/test"].windows == 0
    assert data.signals[data.targets["seizure"] == 1].std() > 3 * data.signals[data.targets["seizure"] == 0].std()
