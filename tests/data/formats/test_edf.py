"""EDF and BDF files: several rates, annotations, what is broken."""

from collections.abc import Sequence
from pathlib import Path

import edfio
import numpy as np
import pytest

from ssl_bio.data.formats.signal_files import load_file, open_file
from ssl_bio.errors import DataError

SECONDS = 8


def wave(rate: float) -> np.ndarray:
    return np.asarray(np.sin(2 * np.pi * 1.5 * np.arange(round(SECONDS * rate)) / rate))


def write(path: Path, *rates: float, annotations: Sequence[edfio.EdfAnnotation] = ()) -> Path:
    signals = [
        edfio.EdfSignal(wave(rate), rate, label=f"EEG {index}", physical_dimension="uV", physical_range=(-2, 2))
        for index, rate in enumerate(rates)
    ]
    edfio.Edf(signals, annotations=annotations).write(path)
    return path


def test_signals_rate_names_and_units(tmp_path: Path) -> None:
    path = write(tmp_path / "night.edf", 256, 256, annotations=[edfio.EdfAnnotation(1, 2, "arousal")])
    values, file = load_file(path)
    assert (file.channels, file.units, file.sampling_rate) == (("EEG 0", "EEG 1"), ("uV", "uV"), 256.0)
    np.testing.assert_allclose(values, [wave(256)] * 2, atol=1e-4)
    with open_file(path, tmp_path) as opened:
        np.testing.assert_array_equal(opened.read(100, 777), values[:, 100:777])


def test_channels_of_lower_rates_are_resampled_and_said(tmp_path: Path) -> None:
    values, file = load_file(write(tmp_path / "night.edf", 256, 32))
    assert (file.sampling_rate, values.shape) == (256.0, (2, 256 * SECONDS))
    np.testing.assert_allclose(values[1, 200:-200], wave(256)[200:-200], atol=0.01)
    assert file.said(file.channels) == ("EEG 1 is resampled from 32 to 256 Hz",)
    assert file.said(["EEG 0"]) == ()


def test_bdf(tmp_path: Path) -> None:
    signal = edfio.BdfSignal(wave(128), 128, label="Cz", physical_range=(-2, 2))
    edfio.Bdf([signal]).write(tmp_path / "a.bdf")
    values, file = load_file(tmp_path / "a.bdf")
    assert (file.channels, file.sampling_rate) == (("Cz",), 128.0)
    np.testing.assert_allclose(values[0], wave(128), atol=1e-5)


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "night.edf", 256)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=r"night\.edf: not a whole EDF file"):
        load_file(path)


def test_what_the_library_warns_of_is_said_and_equal_names_are_numbered(tmp_path: Path) -> None:
    signals = [edfio.EdfSignal(wave(64), 64, label="EEG", physical_range=(-2, 2)) for _ in range(2)]
    edfio.Edf(signals).write(tmp_path / "a.edf")
    assert load_file(tmp_path / "a.edf").file.channels == ("EEG_0", "EEG_1")
    whole = (tmp_path / "a.edf").read_bytes()
    (tmp_path / "a.edf").write_bytes(whole[: len(whole) - 64 * 2 * 2 * 3])
    values, file = load_file(tmp_path / "a.edf")
    assert values.shape == (2, 64 * (SECONDS - 3))
    assert any("record" in remark for remark in file.remarks)
