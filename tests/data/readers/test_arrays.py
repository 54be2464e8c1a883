"""One's own recordings: every kind of file, what the table may say, and every way to get it wrong."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from ssl_bio.data.options import WindowOptions
from ssl_bio.data.readers.arrays import DATASET
from ssl_bio.errors import DataError
from tests.data.reading import read_with


def signal(number: int, samples: int = 100, channels: int = 2) -> np.ndarray:
    """(channels, samples), whole numbers: 1000 number + 100 channel + sample."""
    return 1000.0 * number + 100.0 * np.arange(channels)[:, None] + np.arange(samples)


def save(path: Path, values: Any) -> None:
    """`values` (channels, samples) as the suffix has it; MATLAB 7.3 for names that begin with new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".npz":
        np.savez(path, signals=values, other=np.zeros(3))
    elif path.suffix == ".csv":
        lines = [",".join(f"{value:g}" for value in sample) for sample in values.T]
        path.write_text("\n".join([", ".join(f"lead {index}" for index in range(len(values))), *lines]) + "\n")
    elif path.stem.startswith("new"):
        with h5py.File(path, "w", userblock_size=512) as file:
            file["ecg"] = values.T  # MATLAB's axes turned round
            file["fs"] = np.array([[100.0]])
            file["name"] = np.array([[65, 66]], np.uint16)
            file["name"].attrs["MATLAB_class"] = np.bytes_("char")
    else:
        savemat(path, {"val": values, "other": np.zeros((3, 3)), "fs": 100.0, "name": "p1"})


def write(folder: Path, lines: Sequence[str], head: str = "file,subject,sampling_rate,age,rhythm") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "table.csv").write_text("\n".join([head, *lines]) + "\n")
    return folder


def small(folder: Path, **changes: str) -> Path:
    """Three people, a file each; `changes` replaces whole lines of the table by the person's number."""
    lines = {"p1": "a.npy,ann,100,31,sinus", "p2": "sub/b.npy,bob,100,45.5,flutter", "p3": "c.npy,cyd,100,,sinus"}
    for number, name in enumerate(("a", "sub/b", "c"), 1):
        save(folder / f"{name}.npy", signal(number))
    return write(folder, list({**lines, **changes}.values()))


def test_windows_targets_and_people(tmp_path: Path) -> None:
    data = read_with(DATASET, small(tmp_path / "d"))
    assert data.signals.shape == (3, 2, 100)
    np.testing.assert_array_equal(data.signals[1], signal(2))
    assert data.info.channels == ("ch0", "ch1")
    assert data.info.sampling_rate == 100
    assert data.subjects.tolist() == ["ann", "bob", "cyd"]
    assert data.info.targets["rhythm"].classes == ("flutter", "sinus")
    assert np.asarray(data.targets["rhythm"]).tolist() == [1, 0, 1]
    assert data.info.targets["age"].kind == "value"
    np.testing.assert_array_equal(data.targets["age"], np.array([31, 45.5, np.nan], np.float32))
    assert [len(data.rows("subject", part)) for part in ("train", "val", "test")] == [1, 1, 1]


KINDS = ["x.npy", "x.npz", "x.csv", "x.mat", "new.mat"]


@pytest.mark.parametrize(
    ("name", "is_turned"), [*((name, False) for name in KINDS), *((name, True) for name in KINDS if name != "x.csv")]
)
def test_every_kind_of_file_either_way_round(tmp_path: Path, name: str, is_turned: bool) -> None:
    for number in (1, 2, 3):
        values = signal(number)
        save(tmp_path / "d" / str(number) / name, values.T if is_turned else values)
    folder = write(tmp_path / "d", [f"{number}/{name},100" for number in (1, 2, 3)], "file,sampling_rate")
    data = read_with(DATASET, folder)
    np.testing.assert_array_equal(data.signals, np.stack([signal(number) for number in (1, 2, 3)]))
    assert data.info.channels == (("lead 0", "lead 1") if name == "x.csv" else ("ch0", "ch1"))
    assert data.subjects.tolist() == [f"{number}/{name.partition('.')[0]}" for number in (1, 2, 3)]


def test_one_axis_is_one_channel_and_a_square_is_rows(tmp_path: Path) -> None:
    for number, values in enumerate((np.arange(6.0), np.arange(6.0), np.arange(6.0))):
        save(tmp_path / "d" / f"{number}.npy", values)
    data = read_with(DATASET, write(tmp_path / "d", [f"{n}.npy,2" for n in range(3)], "file,sampling_rate"))
    assert data.signals[:].tolist() == [[[0, 1, 2, 3, 4, 5]]] * 3
    for number in range(3):
        save(tmp_path / "d" / f"{number}.npy", np.array([[1, 2], [3, 4]]))
    assert read_with(DATASET, tmp_path / "d").signals[0].tolist() == [[1, 2], [3, 4]]


def test_parts_of_a_file_with_targets_of_their_own(tmp_path: Path) -> None:
    save(tmp_path / "d/night.npy", signal(0, 1000))
    lines = ["night.npy,100,0,2,rest,train", "night.npy,100,2,5,move,val", "night.npy,100,8,,rest,test"]
    folder = write(tmp_path / "d", lines, "file,sampling_rate,start,end,state,split")
    data = read_with(DATASET, folder)
    assert data.info.n_records == 1
    assert data.info.length == 200
    assert data.signals[:, 0, 0].tolist() == [0, 200, 800]
    assert np.asarray(data.targets["state"]).tolist() == [1, 0, 1]
    assert [data.rows("subject", part).tolist() for part in ("train", "val", "test")] == [[0], [1], [2]]
    assert data.info.schemes["subject"] == "as the table says"
    assert next(iter(data.info.targets)) == "state"
    finer = read_with(DATASET, folder, WindowOptions(window=1, stride=0.5))
    assert finer.signals[:, 0, 0].tolist() == [0, 50, 100, 200, 250, 300, 350, 400, 800, 850, 900]
    assert np.asarray(finer.targets["state"]).tolist() == [1] * 3 + [0] * 5 + [1] * 3


def test_the_shortest_part_is_the_window(tmp_path: Path) -> None:
    folder = small(tmp_path / "d")
    save(folder / "c.npy", signal(3, 40))
    data = read_with(DATASET, folder)
    assert data.info.length == 40
    assert data.subjects.tolist() == ["ann", "ann", "bob", "bob", "cyd"]
    padded = read_with(DATASET, folder, WindowOptions(window=0.5))
    assert padded.signals[-1, 0].tolist() == [*range(3000, 3040), *[0] * 10]


def test_rates_are_brought_together(tmp_path: Path) -> None:
    folder = small(tmp_path / "d", p2="sub/b.npy,bob,50,1,sinus")
    with pytest.raises(DataError, match=r"sampling rates 50, 100 Hz: set data\.sampling_rate"):
        read_with(DATASET, folder)
    data = read_with(DATASET, folder, WindowOptions(sampling_rate=50))
    assert data.info.length == 50
    assert data.subjects.tolist() == ["ann", "bob", "bob", "cyd"]
    assert data.signals[0, 0, 20] == pytest.approx(1040, abs=1)
    without = write(folder, ["a.npy,a", "sub/b.npy,b", "c.npy,c"], "file,subject")
    assert read_with(DATASET, without, WindowOptions(sampling_rate=20)).info.length == 100
    with pytest.raises(DataError, match=r"table\.csv, line 2: no sampling_rate"):
        read_with(DATASET, without)


def test_named_channels(tmp_path: Path) -> None:
    head = "file,subject,sampling_rate,channels"
    small(tmp_path / "d")
    lines = ["a.npy,a,100,ppg; ecg", "sub/b.npy,b,100,ppg;ecg", "c.npy,c,100,ppg;ecg"]
    data = read_with(DATASET, write(tmp_path / "d", lines, head))
    assert data.info.channels == ("ppg", "ecg")
    lines[1] = "sub/b.npy,b,100,ecg;ppg"
    turned = read_with(DATASET, write(tmp_path / "d", lines, head))
    np.testing.assert_array_equal(turned.signals[1], data.signals[1][::-1], "picked by name, in the first file's order")
    lines[1] = "sub/b.npy,b,100,ecg;eeg"
    with pytest.raises(DataError, match=r"sub/b\.npy \(table\.csv, line 3\): no channel ppg; it has ecg, eeg"):
        read_with(DATASET, write(tmp_path / "d", lines, head))
    lines[1] = "sub/b.npy,b,100,ecg"
    with pytest.raises(DataError, match=r"line 3: 1 channels named, and sub/b\.npy has 2"):
        read_with(DATASET, write(tmp_path / "d", lines, head))


def test_gaps_are_left_out(tmp_path: Path) -> None:
    folder = small(tmp_path / "d")
    values = signal(2)
    values[1, 30] = np.nan
    save(folder / "sub/b.npy", values)
    data = read_with(DATASET, folder, WindowOptions(window=0.25))
    assert data.subjects.tolist().count("bob") == 3
    assert data.info.dropped == {"windows touch a gap in their record and are left out": 1}


def test_a_zip_with_a_folder_in_it(tmp_path: Path) -> None:
    small(tmp_path / "x/mine")
    path = Path(shutil.make_archive(str(tmp_path / "z"), "zip", tmp_path / "x"))
    data = read_with(DATASET, path)
    assert data.subjects.tolist() == ["ann", "bob", "cyd"]
    assert data.info.fingerprint == read_with(DATASET, tmp_path / "x").info.fingerprint


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("z.npy,bob,100,1,sinus", r"table\.csv, line 3: no file 'z\.npy'"),
        ("../d/a.npy,bob,100,1,sinus", r"table\.csv, line 3: no file '\.\./d/a\.npy'"),
        ("table.csv.doc,bob,100,1,sinus", r"table\.csv, line 3: table\.csv\.doc is none of \.hea, "),
        ("a.npy,bob,fast,1,sinus", r"table\.csv, line 3: sampling_rate is 'fast', not a number"),
        ("a.npy,bob,-100,1,sinus", r"table\.csv, line 3: .* at -100 Hz is no part of a file"),
        ("a.npy,bob,100,old,sinus", r"column age has both text \('old' in line 3\) and numbers \('31' in line 2\)"),
        ("a.npy,bob,100,1,", r"table\.csv, line 3: no rhythm; only numbers may be missing"),
        ("a.npy,bob,100,1,2", r"column rhythm has both text \('sinus' in line 2\) and numbers \('2' in line 3\)"),
        ("a.npy,ann,100,1,sinus,,,", r"table\.csv: not a table"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, line: str, message: str) -> None:
    folder = small(tmp_path / "d", p2=line)
    (folder / "table.csv.doc").write_text("notes")
    with pytest.raises(DataError, match=message):
        read_with(DATASET, folder)


@pytest.mark.parametrize(
    ("head", "line", "message"),
    [
        ("name,sampling_rate", "a.npy,100", r"table\.csv: no column file, or no line; it has name, sampling_rate"),
        ("file,sampling_rate,a/b", "a.npy,100,1", r"column 'a/b': a target's name"),
        ("file,sampling_rate", "a.npy,100", "fewer than 3 subjects cannot be split"),
        ("file,sampling_rate,split", "a.npy,100,dev", r"table\.csv, line 2: split is 'dev', not train, val, test"),
        ("file,sampling_rate,start,end,split", "a.npy,100,3,2,test", r"line 2: from 3 to 2 s"),
        ("file,sampling_rate,start,end,split", "a.npy,100,0,9,test", r"line 2: from 0 to 9 s, but a\.npy lasts 1 s"),
        ("file,sampling_rate,start,split", "a.npy,100,1,test", r"line 2: from 1 s, but a\.npy lasts 1 s"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, head: str, line: str, message: str) -> None:
    small(tmp_path / "d")
    with pytest.raises(DataError, match=message):
        read_with(DATASET, write(tmp_path / "d", [line], head))


def test_no_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no table\.csv inside"):
        read_with(DATASET, tmp_path)


class Touch:
    """Would leave a file behind if it were unpickled."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("hacked"),)


def broken(path: Path, kind: str) -> None:
    if kind == "objects":
        np.save(path, np.array([Touch(), Touch()], object), allow_pickle=True)
    elif kind == "text":
        np.save(path, np.array([["a", "b"]]))
    elif kind == "cube":
        np.save(path, np.zeros((2, 3, 4)))
    elif kind == "nothing":
        np.save(path, np.zeros((2, 0)))
    elif kind == "three channels":
        np.save(path, signal(2, channels=3))
    elif kind == "several":
        np.savez(path, a=signal(1), b=signal(2))
    elif kind == "no array":
        np.savez(path)
    elif kind == "names too few":
        path.write_text("a\n3,4\n3,4\n")
    elif kind == "letters":
        path.write_text("a,b\n3,x\n")
    elif kind == "no sample":
        path.write_text("a,b\n")
    else:
        path.write_bytes(b"\x93NUMPY or so")


@pytest.mark.parametrize(
    ("suffix", "kind", "message"),
    [
        (".npy", "objects", r"x\.npy: not a whole file of plain numpy arrays \(Array can't be memory-mapped"),
        (".npy", "text", r"x\.npy: <U1 \(1, 2\) instead of numbers"),
        (".npy", "cube", r"x\.npy: float64 \(2, 3, 4\) instead of numbers"),
        (".npy", "nothing", r"x\.npy: float64 \(2, 0\) instead of numbers"),
        (".npy", "three channels", r"x\.npy: 3 channels where the first file has ch0, ch1"),
        (".npy", "bytes", r"x\.npy: not a whole file"),
        (".npz", "bytes", r"x\.npz: not a whole file"),
        (".npz", "several", r"x\.npz: one array of numbers is wanted; it has a, b: call one of them signals"),
        (".npz", "no array", r"x\.npz: one array of numbers is wanted; it has none"),
        (".mat", "bytes", r"x\.mat: not a whole MATLAB file"),
        (".csv", "names too few", r"x\.csv: 2 numbers a line under 1 names"),
        (".csv", "letters", r"x\.csv: 'x' where a number belongs, sample 0"),
        (".csv", "no sample", r"x\.csv: not a line of names"),
    ],
)
def test_bad_files_are_named_and_counted(tmp_path: Path, suffix: str, kind: str, message: str) -> None:
    folder = small(tmp_path / "d", p2=f"x{suffix},bob,100,1,sinus")
    broken(folder / f"x{suffix}", kind)
    options = WindowOptions(window=1)
    with pytest.raises(DataError, match=message):
        read_with(DATASET, folder, options)
    assert read_with(DATASET, folder, options, max_skipped=0.5).info.skipped.keys() == {f"x{suffix}"}
    assert not Path("hacked").exists()


def test_units_of_values(tmp_path: Path) -> None:
    head = "file,subject,sampling_rate,heart_rate [beats/min],sbp[mmHg],weight [kg m^-2],plain"
    small(tmp_path / "d")
    lines = ["a.npy,a,100,60,120,1,1", "sub/b.npy,b,100,61.5,,2,2", "c.npy,c,100,70,130,3,3"]
    data = read_with(DATASET, write(tmp_path / "d", lines, head))
    units = {name: info.unit for name, info in data.info.targets.items()}
    assert units == {"heart_rate": "beats/min", "sbp": "mmHg", "weight": "kg m^-2", "plain": ""}
    assert np.asarray(data.targets["heart_rate"]).tolist() == [60, 61.5, 70]
    np.testing.assert_array_equal(data.targets["sbp"], np.array([120, np.nan, 130], np.float32))


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("rhythm [mV]", "sinus", r"column rhythm \[mV\] has a unit but names of classes"),
        ("start [s]", "0", r"column 'start \[s\]': call it start, without a unit"),
        ("age", "1", r"columns 'age \[years\]' and 'age' are one target, age"),
        ("heart rate [beats/min]", "1", r"column 'heart rate \[beats/min\]': a target's name has letters"),
        ("x [a] [b]", "1", r"column 'x \[a\] \[b\]': a target's name has letters"),
    ],
)
def test_columns_with_units_that_cannot_be(tmp_path: Path, column: str, cell: str, message: str) -> None:
    small(tmp_path / "d")
    lines = [f"{name},{subject},100,1,{cell}" for name, subject in (("a.npy", "a"), ("sub/b.npy", "b"), ("c.npy", "c"))]
    with pytest.raises(DataError, match=message):
        read_with(DATASET, write(tmp_path / "d", lines, f"file,subject,sampling_rate,age [years],{column}"))


def test_validation_people_where_the_table_has_none(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    for person in range(6):
        save(folder / f"{person}.npy", signal(person))
    rows = [f"{person}.npy,100,{'test' if person == 5 else 'train'}" for person in range(6)]
    data = read_with(DATASET, write(folder, rows, "file,sampling_rate,split"))
    assert len(data.rows("subject", "val")) == 0
    cut = data.with_validation("subject", 0.2)
    assert [len(cut.rows("subject", split)) for split in ("train", "val", "test")] == [4, 1, 1]
    assert "0.2 of the training people validate" in cut.info.schemes["subject"]
    assert cut.with_validation("subject", 0.5) is cut, "it has some already"


def test_units_are_those_of_the_first_file(tmp_path: Path) -> None:
    for number, unit in enumerate(("mV", "uV", "mV")):
        scale = 1000 if unit == "uV" else 1
        text = "".join(f"{scale * value:.4f}\n" for value in signal(number)[0])
        (tmp_path / "d").mkdir(exist_ok=True)
        (tmp_path / "d" / f"{number}.csv").write_text(f"ecg [{unit}]\n{text}")
    rows = [f"{number}.csv,100" for number in range(3)]
    data = read_with(DATASET, write(tmp_path / "d", rows, "file,sampling_rate"))
    np.testing.assert_allclose(data.signals[1, 0], signal(1)[0], atol=1e-3)
    (tmp_path / "d/1.csv").write_text("ecg [degC]\n1\n2\n")
    with pytest.raises(DataError, match="ecg is in degC, and in mV in the first file"):
        read_with(DATASET, tmp_path / "d")
    (tmp_path / "d/1.csv").write_text("temperature [mV]\n1\n2\n")
    with pytest.raises(DataError, match="no channel ecg; it has temperature"):
        read_with(DATASET, tmp_path / "d")
