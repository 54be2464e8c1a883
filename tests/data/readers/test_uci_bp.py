"""The reader of UCI's blood pressure set on small MATLAB 7.3 files: cells behind references, as MATLAB writes them."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ssl_bio.data.formats import matlab
from ssl_bio.data.options import WindowOptions
from ssl_bio.data.readers import uci_bp
from ssl_bio.data.readers.uci_bp import DATASET, pressure_of
from ssl_bio.errors import DataError
from tests.data.reading import read_with

RATE = 125


def time(seconds: float) -> np.ndarray:
    return np.arange(round(seconds * RATE)) / RATE


def arterial(seconds: float, systolic: float = 120.0, diastolic: float = 80.0, rate: float = 1.25) -> np.ndarray:
    """A sine with a sample on each of its crests."""
    middle, half = (systolic + diastolic) / 2, (systolic - diastolic) / 2
    return np.asarray(middle + half * np.sin(2 * np.pi * rate * time(seconds)))


def matrix(seconds: float = 35, systolic: float = 120.0) -> np.ndarray:
    """A cell as MATLAB has it: (3, samples)."""
    ppg, ecg = np.sin(2 * np.pi * 1.25 * time(seconds)), np.sin(2 * np.pi * 7 * time(seconds))
    return np.stack([ppg, arterial(seconds, systolic), ecg])


def write_part(path: Path, cells: Sequence[np.ndarray]) -> None:
    """HDF5 behind MATLAB's text header, axes turned round, a cell array of references into #refs#."""
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        group = file.create_group("#refs#")
        references = np.empty((len(cells), 1), h5py.ref_dtype)
        for index, values in enumerate(cells):
            stored = group.create_dataset(f"c{index}", data=values.T)
            stored.attrs["MATLAB_class"] = np.bytes_("double")
            references[index, 0] = stored.ref
        array = file.create_dataset(path.stem, data=references)
        array.attrs["MATLAB_class"] = np.bytes_("cell")
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64 HDF5 schema 1.00 .".ljust(126) + b"\x00\x02IM")


def write(folder: Path, n: int = 5) -> Path:
    """Two parts of n cells; cell i of a part has a systolic pressure of 110 + i, in part 2 of 130 + i mmHg."""
    for part in (1, 2):
        cells = [matrix(systolic=90 + 20 * part + index) for index in range(n)]
        write_part(folder / f"Part_{part}.mat", cells)
    return folder


def test_windows_and_pressures(tmp_path: Path) -> None:
    data = read_with(DATASET, write(tmp_path / "d"))
    assert data.info.channels == ("ppg", "ecg")
    assert data.signals.shape == (10 * 3, 2, 1250)
    np.testing.assert_allclose(data.signals[1], matrix()[[0, 2], 1250:2500], atol=1e-6)
    assert data.subjects.tolist()[:4] == ["Part_1/1"] * 3 + ["Part_1/2"]
    np.testing.assert_allclose(data.targets["sbp"][::3], [*range(110, 115), *range(130, 135)], atol=0.1)
    np.testing.assert_allclose(data.targets["dbp"], 80, atol=0.1)
    assert data.info.targets["sbp"].unit == "mmHg"
    assert data.info.dropped == {}


def test_cells_are_split_in_their_order(tmp_path: Path) -> None:
    data = read_with(DATASET, write(tmp_path / "d", n=10))
    subjects = {
        part: list(dict.fromkeys(data.subjects[data.rows("subject", part)].tolist())) for part in ("val", "test")
    }
    assert subjects == {"val": ["Part_2/7", "Part_2/8"], "test": ["Part_2/9", "Part_2/10"]}
    assert len(data.rows("subject", "train")) == 16 * 3


def test_a_zip_and_other_cuts(tmp_path: Path) -> None:
    write(tmp_path / "d")
    path = Path(shutil.make_archive(str(tmp_path / "bp"), "zip", tmp_path / "d"))
    options = WindowOptions(sampling_rate=50, window=5, stride=2.5, standardize="record")
    data = read_with(DATASET, path, options)
    assert data.signals.shape == (10 * 13, 2, 250)
    np.testing.assert_allclose(data.targets["sbp"][:13], 110, atol=0.1)
    np.testing.assert_array_equal(data.signals, read_with(DATASET, tmp_path / "d", options).signals)


def test_one_part_at_a_time_lies_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "d")
    path = Path(shutil.make_archive(str(tmp_path / "bp"), "zip", tmp_path / "d"))
    seen = set()
    cell = matlab.read_cell

    def watched(file: Path, variable: str, index: int) -> Any:
        seen.add((variable, *sorted(found.name for found in file.parent.iterdir())))
        return cell(file, variable, index)

    monkeypatch.setattr(matlab, "read_cell", watched)
    read_with(DATASET, path)
    assert seen == {("Part_1", "Part_1.mat"), ("Part_2", "Part_2.mat")}


def flawed(index: int) -> np.ndarray:
    """A cell of 10 s with a flaw of its own kind."""
    cell = matrix(10)
    if index == 1:
        cell[0, 300:363] = 0.5  # the PPG stands still for half a second
    elif index == 2:
        cell[1, 300:363] = 120
    elif index == 3:
        cell[1] = arterial(10, rate=0.4)
    elif index == 4:
        cell[1] = arterial(10, 230, 150)
    elif index == 5:
        cell[1] = arterial(10, 60, 10)
    elif index == 6:
        cell[1, 7] = np.nan
    elif index == 7:
        cell[0, 7] = np.nan
    elif index == 8:
        cell[1] = arterial(10, 104, 96)  # no pulse to speak of
    return cell


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    write_part(tmp_path / "d/Part_1.mat", [flawed(index) for index in range(9)])
    data = read_with(DATASET, tmp_path / "d")
    assert data.subjects.tolist() == ["Part_1/1"]
    assert data.info.dropped == {
        uci_bp.FLAT: 2,
        uci_bp.NO_BEATS: 2,
        uci_bp.IMPLAUSIBLE: 2,
        uci_bp.GAP: 1,
        "windows touch a gap in their record and are left out": 1,
    }


def test_the_wave_after_the_valve_closes_is_no_beat() -> None:
    seconds = time(10)
    phase = seconds % 0.8
    systole, notch_wave = np.exp(-(((phase - 0.2) / 0.08) ** 2)), np.exp(-(((phase - 0.55) / 0.05) ** 2))
    found = pressure_of(ppg=np.sin(seconds), arterial=80 + 40 * systole + 14 * notch_wave)
    assert found.systolic == pytest.approx(120, abs=0.5)
    assert found.diastolic == pytest.approx(80, abs=0.5)


@pytest.mark.parametrize(("length", "is_flat"), [(62, False), (63, True)])
def test_half_a_second_without_change_is_flat(length: int, is_flat: bool) -> None:
    ppg = np.sin(2 * np.pi * 1.25 * time(10))
    ppg[500 : 500 + length] = 7
    assert (pressure_of(ppg=ppg, arterial=arterial(10)).flaw == uci_bp.FLAT) == is_flat


def test_matrices_either_way_round_and_broken_cells(tmp_path: Path) -> None:
    turned = matrix().T.copy()  # as h5py sees (3, samples)
    write_part(tmp_path / "d/Part_1.mat", [matrix(), turned, np.zeros((2, 50)), np.zeros(3)])
    with pytest.raises(DataError, match=r"Part_1/3: a matrix of float64 \(50, 2\), not of numbers"):
        read_with(DATASET, tmp_path / "d")
    data = read_with(DATASET, tmp_path / "d", max_skipped=0.5)
    assert data.info.skipped.keys() == {"Part_1/3", "Part_1/4"}
    np.testing.assert_array_equal(data.signals[:3], data.signals[3:])


def test_broken_files_are_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "d")
    path = folder / "Part_2.mat"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"Part_2\.mat: not a whole MATLAB 7\.3 file"):
        read_with(DATASET, folder)
    path.write_bytes(whole)
    with h5py.File(path, "a") as file:
        file["renamed"] = file["Part_2"]
        del file["Part_2"]
    with pytest.raises(DataError, match=r"Part_2\.mat: no cell array Part_2; it has #refs#, renamed"):
        read_with(DATASET, folder)


def test_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not the UCI set"):
        read_with(DATASET, tmp_path)
