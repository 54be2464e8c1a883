"""The UEA archive's tables in both of its formats; small files and the real archive."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from ssl_bio.data import catalog
from ssl_bio.data.options import WindowOptions
from ssl_bio.data.readers.uea import declare
from ssl_bio.errors import DataError
from tests.data.reading import read_with

PROBLEM = "UWaveGestureLibrary"
READ = declare(PROBLEM, title="gestures")
HEADER = """#A comment of the publisher's
@problemName UWaveGestureLibrary
@timeStamps false
@missing false
@univariate false
@dimensions 2
@equalLength true
@seriesLength 3
@classLabel true up down
@data
"""
ARFF = """%A comment of the publisher's
@relation 'UWaveGestureLibrary'

@attribute relationalAtt relational
@attribute att0 numeric
@attribute att1 numeric
@attribute att2 numeric
@end relationalAtt
@attribute classAttribute {up,down}

@data
"""


def series(number: int, length: int = 3) -> list[str]:
    """Two channels: number + 0.25, number + 1.25 ... and their opposites."""
    values = [number + step + 0.25 for step in range(length)]
    return [",".join(f"{sign * value:g}" for value in values) for sign in (1, -1)]


def write(folder: Path, n_train: int = 20, n_test: int = 6, suffix: str = ".ts") -> Path:
    """Classes take turns; series i of the test set starts at 100 + i."""
    folder.mkdir(exist_ok=True)
    for part, first, n in (("TRAIN", 0, n_train), ("TEST", 100, n_test)):
        pairs = [(series(first + index), ("up", "down")[index % 2]) for index in range(n)]
        if suffix == ".ts":
            lines = [HEADER + "\r\n".join(":".join([*channels, label]) for channels, label in pairs)]
        else:
            lines = [ARFF + "\r\n".join(f"'{channels[0]}\\n{channels[1]}',{label}" for channels, label in pairs)]
        (folder / f"{PROBLEM}_{part}{suffix}").write_text("".join(lines) + "\r\n")
    return folder


@pytest.mark.parametrize("suffix", [".ts", ".arff"])
def test_series_classes_and_splits(tmp_path: Path, suffix: str) -> None:
    data = read_with(READ, write(tmp_path / "u", suffix=suffix))
    assert data.signals.shape == (26, 2, 3)
    assert data.signals[1].tolist() == [[1.25, 2.25, 3.25], [-1.25, -2.25, -3.25]]
    assert data.signals[21, 0].tolist() == [101.25, 102.25, 103.25]
    assert data.info.channels == ("dim_0", "dim_1")
    info, labels = data.target("label")
    assert (info.kind, info.classes) == ("class", ("up", "down"))
    assert np.asarray(labels).tolist() == [0, 1] * 13
    parts = {part: data.rows("subject", part) for part in ("train", "val", "test")}
    assert [len(rows) for rows in parts.values()] == [16, 4, 6]
    assert parts["test"].tolist() == list(range(20, 26))
    assert sorted([*parts["train"], *parts["val"]]) == list(range(20))
    assert labels[parts["val"]].sum() == 2, "stratified"
    assert len(np.unique(data.subjects)) == 26


def test_both_formats_give_the_same(tmp_path: Path) -> None:
    first = read_with(READ, write(tmp_path / "a", suffix=".ts"))
    second = read_with(READ, write(tmp_path / "b", suffix=".arff"))
    assert first.info.fingerprint == second.info.fingerprint


def test_ts_comes_first_and_names_must_be_whole(tmp_path: Path) -> None:
    folder = write(write(tmp_path / "u"), n_train=10, suffix=".arff")
    for path in list(folder.iterdir()):
        shutil.copy(path, folder / f"Other{path.name}")
    assert len(read_with(READ, folder).signals) == 26
    with pytest.raises(DataError, match="no PhonemeSpectra_TRAIN and _TEST inside"):
        read_with(declare("PhonemeSpectra", title=""), folder)


def test_unequal_lengths_end_in_zeros_and_gaps_stay(tmp_path: Path) -> None:
    folder = write(tmp_path / "u")
    train, test = (folder / f"{PROBLEM}_{part}.ts" for part in ("TRAIN", "TEST"))
    unequal = HEADER.replace("equalLength true\n@seriesLength 3", "equalLength false")
    short = unequal + "1,2:3,4:up\n5:6:down\n1,?,NaN:7,8,9:up\n" + "1,1:1,1:down\n" * 4
    train.write_text(short)
    test.write_text(unequal + "1,2,3,4,5:6,7,8,9,10:down\n")
    data = read_with(READ, folder)
    assert data.signals[0].tolist() == [[1, 2, 0, 0, 0], [3, 4, 0, 0, 0]]
    assert data.signals[1].tolist() == [[5, 0, 0, 0, 0], [6, 0, 0, 0, 0]]
    np.testing.assert_array_equal(data.signals[2], [[1, np.nan, np.nan, 0, 0], [7, 8, 9, 0, 0]])
    assert data.signals[-1, 0].tolist() == [1, 2, 3, 4, 5]
    assert data.info.n_missing == 2
    assert data.info.first_missing == "window 2 (subject train-00002), channel dim_0, sample 1"


def test_missing_ends_of_arff_are_padding(tmp_path: Path) -> None:
    folder = write(tmp_path / "u", suffix=".arff")
    path = folder / f"{PROBLEM}_TRAIN.arff"
    text = path.read_text().replace("'0.25,1.25,2.25\\n-0.25,-1.25,-2.25'", '"0.25,?,?\\n?,-1.25,?"')
    path.write_text(text)
    data = read_with(READ, folder)
    np.testing.assert_array_equal(data.signals[0], [[0.25, np.nan, 0], [np.nan, -1.25, 0]])


@pytest.mark.parametrize(
    ("suffix", "old", "new", "message"),
    [
        (".ts", "2.25,3.25,4.25:", "2.25,x,4.25:", r"_TRAIN\.ts, line 13: not a table of numbers .*'x'"),
        (".ts", "2.25,3.25,4.25:", "2.25,4.25:", r"_TRAIN\.ts, line 13: not a table of numbers"),
        (".ts", "2.25,3.25,4.25:", "", r"_TRAIN\.ts, line 13: 1 channels where others have 2"),
        (".ts", "-2.25,-3.25,-4.25:up", "-2.25,-3.25,-4.25:left", r"_TRAIN\.ts, line 13: class 'left' is not one"),
        (".ts", "@timeStamps false", "@timeStamps true", "time stamps"),
        (".ts", "@classLabel true up down", "@classLabel false", r"_TRAIN\.ts: its header names no classes"),
        (".ts", "@classLabel true up down", "@classLabel true up down left", "differ in channels or classes"),
        (".arff", "'2.25", "2.25", r"_TRAIN\.arff, line 14: not a quoted series and its class"),
        (".arff", "{up,down}", "numeric", r"_TRAIN\.arff: its header names no classes"),
    ],
)
def test_bad_tables_are_named_with_their_line(tmp_path: Path, suffix: str, old: str, new: str, message: str) -> None:
    folder = write(tmp_path / "u", suffix=suffix)
    path = folder / f"{PROBLEM}_TRAIN{suffix}"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(DataError, match=message):
        read_with(READ, folder)


def test_empty_tables_and_options_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "u")
    with pytest.raises(DataError, match="come ready-made"):
        read_with(READ, folder, WindowOptions(window=1))
    (folder / f"{PROBLEM}_TEST.ts").write_text(HEADER)
    with pytest.raises(DataError, match=r"_TEST\.ts: no series in it"):
        read_with(READ, folder)


def test_real_uwave(real_archive: Path, tmp_path: Path) -> None:
    path = real_archive / "UWaveGestureLibrary.zip"
    data = read_with(READ, path)
    assert data.signals.shape == (440, 3, 315)
    assert [len(data.rows("subject", part)) for part in ("train", "val", "test")] == [96, 24, 320]
    assert np.bincount(data.targets["label"]).tolist() == [55] * 8
    assert data.info.n_missing == 0
    shutil.unpack_archive(path, tmp_path / "u")
    for table in (tmp_path / "u").rglob("*.ts"):
        table.unlink()
    arff = read_with(READ, tmp_path / "u")
    np.testing.assert_allclose(arff.signals, data.signals, atol=1e-4)
    np.testing.assert_array_equal(arff.targets["label"], data.targets["label"])


def test_any_problem_under_a_name_of_ones_own(tmp_path: Path) -> None:
    write(tmp_path / "u", suffix=".ts")
    catalog.prepare(name="my-gestures", origin=str(tmp_path / "u"))
    data = catalog.open_dataset(name="my-gestures")
    assert data.signals.shape == (26, 2, 3)
    (tmp_path / "u" / "Other_TRAIN.ts").write_text("x")
    (tmp_path / "u" / "Other_TEST.ts").write_text("x")
    with pytest.raises(DataError, match="one problem of the archive is wanted; it has Other, UWave"):
        catalog.prepare(name="both", origin=str(tmp_path / "u"))


def test_series_of_a_single_channel_stand_without_quotes(tmp_path: Path) -> None:
    head = "@relation Beef\n@attribute att0 numeric\n@attribute target {1,2}\n@data\n"
    for part in ("TRAIN", "TEST"):
        lines = "".join(f"{value},{value + 1},{value + 2},{1 + value % 2}\n" for value in range(12))
        (tmp_path / f"Beef_{part}.arff").write_text(head + lines)
    catalog.prepare(name="beef", origin=str(tmp_path))
    data = catalog.open_dataset(name="beef")
    assert data.signals.shape == (24, 1, 3)
    assert data.signals[3, 0].tolist() == [3, 4, 5]
    assert np.asarray(data.targets["label"])[:4].tolist() == [0, 1, 0, 1]
