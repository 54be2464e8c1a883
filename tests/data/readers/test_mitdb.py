"""The MIT-BIH reader on small records written by wfdb in the publisher's layout, and on the real archive."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from ssl_bio.data.formats.wfdb_records import quiet_wfdb
from ssl_bio.data.options import WindowOptions
from ssl_bio.data.readers.mitdb import AAMI, DATASET, ECTOPY
from ssl_bio.errors import DataError
from tests.data.reading import read_with

RATE = 360
RAW = WindowOptions(sampling_rate=RATE, window=2.0, stride=2.0, highpass=0.0, standardize="none")


def sine(seconds: float, rate: float, frequency: float) -> np.ndarray:
    return np.asarray(np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate))


def write_mitdb(folder: Path, gap: slice | None = None) -> Path:
    """Records 100, 116, 201 and 202 of 7 s with a beat every 0.8 s from 0.5 s on; 201 has a V beat at 2.9 s."""
    folder.mkdir()
    for name in ("100", "116", "201", "202"):
        signals = np.stack([sine(7, RATE, 5.0), 0.5 * sine(7, RATE, 9.0)], axis=1)
        if gap and name == "100":
            signals[gap] = np.nan
        if name == "116":
            signals[:, 1] = 0.3
        at = np.round(np.arange(0.5, 7, 0.8) * RATE).astype(int)
        symbols = ["N"] * len(at)
        symbols[1] = "+"  # a change of rhythm, no beat
        if name == "201":
            symbols[3] = "V"
        with quiet_wfdb() as wfdb:
            wfdb.wrsamp(name, RATE, ["mV", "mV"], ["MLII", "V1"], signals, fmt=["212", "212"], write_dir=str(folder))
            wfdb.wrann(name, "atr", at, symbols, write_dir=str(folder))
    (folder / "102-0.atr").write_bytes(b"superseded")  # as in the publisher's folder
    (folder / "x_mitdb").mkdir()
    for suffix in (".hea", ".dat", ".atr"):
        (folder / "x_mitdb" / f"x_100{suffix}").write_bytes(b"an extract")
    return folder


def test_mitdb_windows_beats_and_splits(tmp_path: Path) -> None:
    recording = read_with(DATASET, write_mitdb(tmp_path / "mitdb"), RAW)
    assert recording.signals.shape == (12, 2, 720)
    assert recording.info.channels == ("lead_1", "lead_2")
    np.testing.assert_allclose(recording.signals[0, 0], sine(2, RATE, 5.0), atol=0.01)
    assert recording.subjects.tolist() == ["100"] * 3 + ["116"] * 3 + ["201"] * 6  # 202 is 201's person
    beats = recording.targets["beats"]
    assert recording.info.targets["beats"].classes == AAMI
    assert np.flatnonzero(beats[0]).tolist() == [180]  # the one at 1.3 s is a change of rhythm
    assert np.flatnonzero(beats[1]).tolist() == [36, 324, 612]
    assert beats[7].max() == AAMI.index("V")
    assert np.asarray(recording.targets["ectopy"]).tolist() == [0] * 7 + [ECTOPY.index("ventricular")] + [0] * 4
    rates = recording.targets["heart_rate"]
    assert np.isnan(rates[0])
    assert rates[1] == pytest.approx(75)
    parts = recording.splits["subject"]
    assert [len(parts[name]) for name in ("train", "val", "test")] == [3, 3, 6]


def test_protocol_resamples_filters_and_standardises(tmp_path: Path) -> None:
    source = write_mitdb(tmp_path / "mitdb")
    recording = read_with(DATASET, source, WindowOptions(window=2.048, stride=2.048))
    assert recording.info.sampling_rate == 125
    assert recording.signals.shape == (12, 2, 256)
    lead = np.concatenate(recording.signals[:3, 0])
    assert abs(lead.mean()) < 0.02
    assert lead.std() == pytest.approx(1, abs=0.03)
    assert (recording.signals[3:6, 1] == 0).all()  # the silent lead
    assert np.isfinite(recording.signals).all()


def test_windows_that_touch_a_gap_are_left_out(tmp_path: Path) -> None:
    recording = read_with(DATASET, write_mitdb(tmp_path / "mitdb", gap=slice(800, 830)), RAW)
    assert recording.subjects.tolist().count("100") == 2
    assert np.isfinite(recording.signals).all()


def test_mitdb_from_a_zip(tmp_path: Path) -> None:
    folder = write_mitdb(tmp_path / "mitdb")
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as file:
        for path in folder.rglob("*.*"):
            file.write(path, f"mit-bih/{path.relative_to(folder)}")
    np.testing.assert_array_equal(
        read_with(DATASET, tmp_path / "m.zip", RAW).signals, read_with(DATASET, tmp_path / "mitdb", RAW).signals
    )


@pytest.mark.parametrize(
    ("victim", "message"), [("100.dat", r"record 100 has no \.dat"), ("*.hea", r"no \*\.hea file")]
)
def test_missing_files_are_named(tmp_path: Path, victim: str, message: str) -> None:
    folder = write_mitdb(tmp_path / "mitdb")
    for path in folder.rglob(victim):
        path.unlink()
    with pytest.raises(DataError, match=message):
        read_with(DATASET, folder, RAW)


def test_truncated_record_is_named(tmp_path: Path) -> None:
    folder = write_mitdb(tmp_path / "mitdb")
    (folder / "116.dat").write_bytes((folder / "116.dat").read_bytes()[:50])
    with pytest.raises(DataError, match="record 116: cannot be read"):
        read_with(DATASET, folder, RAW)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (WindowOptions(window=0.001), "hold no sample"),
        (WindowOptions(stride=-0.5), "is negative"),
        (WindowOptions(highpass=70), "not between 0 and half of 125 Hz"),
    ],
)
def test_windows_that_cannot_be(tmp_path: Path, options: WindowOptions, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_with(DATASET, write_mitdb(tmp_path / "mitdb"), options)


def test_real_mitdb(real_archive: Path) -> None:
    data = read_with(DATASET, real_archive / "mit-bih-arrhythmia-database-1.0.0.zip")
    assert data.info.length == 1024
    assert len(np.unique(data.subjects[data.rows("subject", "val")])) == 4
    assert 50 < np.nanmean(data.targets["heart_rate"]) < 100
