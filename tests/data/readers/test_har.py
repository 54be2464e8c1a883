"""The UCI HAR reader: the publisher's layout, its splits, and every way a file can be broken."""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ssl_bio.data.readers import har
from ssl_bio.errors import DataError
from tests.data.reading import read_with
from tests.har_layout import ACTIVITIES, TEST_PEOPLE, TRAIN_PEOPLE


def test_reads_the_publishers_layout(har_folder: Path) -> None:
    recording = read_with(har.DATASET, har_folder)
    n = 6 * 3 * (len(TRAIN_PEOPLE) + len(TEST_PEOPLE))
    assert recording.signals.shape == (n, 9, 128)
    assert recording.info.channels[0] == "body_acc_x"
    assert recording.info.channels[8] == "total_acc_z"
    labels = recording.targets["activity"]
    assert recording.info.targets["activity"].classes == tuple(name.lower() for name in ACTIVITIES)
    assert np.bincount(labels).tolist() == [n // 6] * 6
    first = (har_folder / "train/Inertial Signals/body_gyro_y_train.txt").read_text().split()[:128]
    np.testing.assert_allclose(recording.signals[0, 4], np.array(first, float), rtol=1e-6)


def test_subject_split_shares_nobody_and_overlapping_one_does(har_folder: Path, tmp_path: Path) -> None:
    data = read_with(har.DATASET, har_folder)
    subject, overlapping = data.info.overlap["subject"], data.info.overlap["overlapping"]
    assert all(pair.subjects == pair.windows == 0 for pair in subject.values())
    n_val = len(data.rows("overlapping", "val"))
    assert overlapping["train/val"].windows == n_val == len(TRAIN_PEOPLE) * 18 // 5
    assert overlapping["train/test"].windows == 0
    test = set(data.subjects[data.rows("subject", "test")])
    assert test == {str(person) for person in TEST_PEOPLE}


@pytest.mark.parametrize("nested", [False, True])
def test_reads_a_zip_and_a_zip_inside_a_zip(har_folder: Path, tmp_path: Path, nested: bool) -> None:
    path = Path(shutil.make_archive(str(tmp_path / "UCI HAR Dataset"), "zip", har_folder.parent, har_folder.name))
    if nested:
        with zipfile.ZipFile(tmp_path / "outer.zip", "w") as outer:
            outer.write(path, "UCI HAR Dataset.zip")
        path = tmp_path / "outer.zip"
    np.testing.assert_array_equal(read_with(har.DATASET, path).signals, read_with(har.DATASET, har_folder).signals)


def edit(folder: Path, name: str, change: Callable[[list[str]], list[str]]) -> None:
    path = folder / name
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")


def replace_line(number: int, text: str) -> Callable[[list[str]], list[str]]:
    return lambda lines: [*lines[: number - 1], text, *lines[number:]]


SIGNAL = "train/Inertial Signals/total_acc_x_train.txt"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            SIGNAL,
            replace_line(5, " ".join(["1.0"] * 127 + ["oops"])),
            r"total_acc_x_train\.txt, line 5: 'oops' where a number",
        ),
        (SIGNAL, replace_line(7, "1.0 2.0"), r"total_acc_x_train\.txt, line 7: 2 numbers instead of 128: truncated"),
        (SIGNAL, lambda lines: lines[:-4], r"total_acc_x_train\.txt: 104 lines where y_train\.txt has 108"),
        ("train/y_train.txt", replace_line(3, "9"), r"y_train\.txt, line 3: activity 9 is not 1-6"),
        ("test/subject_test.txt", replace_line(2, "Bob"), r"subject_test\.txt, line 2: 'Bob'"),
        ("activity_labels.txt", replace_line(2, "WALKING"), r"activity_labels\.txt, line 2"),
    ],
)
def test_broken_file_is_named_with_its_line(
    har_folder: Path, name: str, change: Callable[[list[str]], list[str]], message: str
) -> None:
    edit(har_folder, name, change)
    with pytest.raises(DataError, match=message):
        read_with(har.DATASET, har_folder)


def test_missing_file_is_named(har_folder: Path) -> None:
    (har_folder / "train/Inertial Signals/body_acc_z_train.txt").unlink()
    with pytest.raises(DataError, match=r"body_acc_z_train\.txt: missing"):
        read_with(har.DATASET, har_folder)


def test_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not the UCI HAR Dataset"):
        read_with(har.DATASET, tmp_path)
    with pytest.raises(DataError, match="no such file"):
        read_with(har.DATASET, tmp_path / "nothing.zip")


def test_written_nan_is_read_as_missing(har_folder: Path, tmp_path: Path) -> None:
    edit(har_folder, SIGNAL, replace_line(2, " ".join(["0.5"] * 100 + ["NaN"] + ["0.5"] * 27)))
    data = read_with(har.DATASET, har_folder)
    assert data.info.n_missing == 1
    assert data.info.first_missing == "window 1 (subject 1), channel total_acc_x, sample 100"


def test_real_archive(real_archive: Path, tmp_path: Path) -> None:
    data = read_with(har.DATASET, real_archive / "UCI HAR Dataset.zip")
    assert data.signals.shape[1:] == (9, 128)
    assert len(data.rows("subject", "test")) in (3003, 2947), "rebuilt, or the publisher's"
    people = set(data.subjects[data.rows("subject", "test")])
    assert people == {"2", "4", "9", "10", "12", "13", "18", "20", "24"}
    assert 0.7 < float(data.signals[:, 6].mean()) < 0.9, "gravity, in g"
    assert data.info.n_missing == 0
