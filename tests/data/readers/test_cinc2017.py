"""The reader of the CinC challenge of 2017 on small records in the publisher's layout."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from ssl_bio.data.options import WindowOptions
from ssl_bio.data.readers.cinc2017 import DATASET
from ssl_bio.errors import DataError
from tests.data.reading import read_with


def sine(seconds: float, frequency: float) -> np.ndarray:
    return np.asarray(np.sin(2 * np.pi * frequency * np.arange(round(seconds * 300)) / 300))


def write_cinc(folder: Path, n: int = 40) -> Path:
    folder.mkdir()
    lines = []
    for index in range(n):
        name, seconds = f"A{index:05d}", 9 + index % 3
        values = (1000 * sine(seconds, 1 + index % 4)).astype(np.int16)
        savemat(folder / f"{name}.mat", {"val": values[None]}, format="4")
        (folder / f"{name}.hea").write_text(
            f"{name} 1 300 {len(values)}\n{name}.mat 16+24 1000/mV 16 0 {values[0]} 0 0 ECG\n"
        )
        lines.append(f"{name},{'NAO~'[index % 4]}")
    (folder / "REFERENCE-v3.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_cinc_records_labels_and_padding(tmp_path: Path) -> None:
    recording = read_with(DATASET, write_cinc(tmp_path / "training2017"))
    assert recording.signals.shape == (40, 1, 18300)
    assert recording.info.sampling_rate == 300
    np.testing.assert_allclose(recording.signals[0, 0, :2700], sine(9, 1), atol=2e-3)
    assert not recording.signals[0, 0, 2700:].any()
    assert np.asarray(recording.targets["rhythm"]).tolist() == [0, 1, 2, 3] * 10
    parts = recording.splits["subject"]
    assert [len(parts[name]) for name in ("train", "val", "test")] == [32, 4, 4]
    assert sorted(np.concatenate(list(parts.values()))) == list(range(40))


def test_cinc_middle_and_stride(tmp_path: Path) -> None:
    source = write_cinc(tmp_path / "training2017")
    raw = read_with(DATASET, source)
    middle = read_with(DATASET, source, WindowOptions(window=5.0))
    np.testing.assert_array_equal(middle.signals[0, 0], raw.signals[0, 0, 600:2100])
    several = read_with(DATASET, source, WindowOptions(window=4.0, stride=2.0))
    assert several.subjects.tolist()[:4] == ["A00000"] * 3 + ["A00001"]
    train, test = (set(several.subjects[several.splits["subject"][part]].tolist()) for part in ("train", "test"))
    assert not train & test


def test_cinc_bad_labels(tmp_path: Path) -> None:
    folder = write_cinc(tmp_path / "training2017")
    table = folder / "REFERENCE-v3.csv"
    table.write_text(table.read_text().replace("A00002,O", "A00002,X"))
    with pytest.raises(DataError, match=r"REFERENCE-v3\.csv, line 3"):
        read_with(DATASET, folder)
    table.write_text(table.read_text().replace("A00002,X\n", ""))
    with pytest.raises(DataError, match="A00002 has no label"):
        read_with(DATASET, folder)
    table.unlink()
    with pytest.raises(DataError, match=r"no REFERENCE-v3\.csv"):
        read_with(DATASET, folder)
