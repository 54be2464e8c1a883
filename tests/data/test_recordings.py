"""Long recordings in every format: what is written is read back, in chunks."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from ssl_bio.data.filters import rate_ratio
from ssl_bio.data.recordings import SUFFIXES, LongRecording, interpolate_gaps, open_recording, resample_chunks
from ssl_bio.data.saving import check_recording_name, save_recording
from ssl_bio.errors import DataError


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def signals(n: int = 70_000) -> np.ndarray:
    found = np.random.default_rng(0).normal(0, 0.5, (2, n)).astype(np.float32)
    found[1, 40:60] = np.nan
    return found


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_written_is_read_back(suffix: str, tmp_path: Path, scratch: Path) -> None:
    path = tmp_path / f"night{suffix}"
    channels, units = ("I", "II, left"), ("mV", "uV")
    save_recording(path, signals(), sampling_rate=250.0, channels=channels, units=units, scratch=scratch)
    assert list(scratch.iterdir()) == []
    with open_recording(path, scratch) as recording:
        assert recording.n_samples == 70_000
        assert len(recording.channels) == 2
        for first, last in ((0, 70_000), (30, 70), (69_999, 70_000)):
            np.testing.assert_allclose(recording.read(first, last), signals()[:, first:last], atol=1e-4)
        assert recording.sampling_rate == (250.0 if suffix in (".hea", ".wav", ".npz") else 0.0)
        if suffix in (".hea", ".csv"):
            assert recording.channels == ("I", "II, left")
        assert recording.units == (("mV", "uV") if suffix == ".hea" else ("NU", "NU"))


def test_a_format_of_older_matlab_with_one_channel(tmp_path: Path, scratch: Path) -> None:
    savemat(tmp_path / "ride.mat", {"val": np.arange(50.0)[:, None], "fs": 1000})
    with open_recording(tmp_path / "ride.mat", scratch) as recording:
        np.testing.assert_array_equal(recording.read(10, 13), [[10, 11, 12]])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"1", "one of .hea, .wav"),
        ("a.npy", None, "no such file"),
        ("a.npy", b"broken", "not a whole file"),
        ("a.npz", b"broken", "not a whole file"),
        ("a.wav", b"broken", "not a whole .wav"),
        ("a.mat", b"broken", "not a whole MATLAB file"),
        ("a.hea", b"broken", "cannot be read"),
        ("a.csv", b"I,II\n1,2\n3,x\n", "lines of numbers"),
        ("a.csv", b"I,II\n", "holds no signal|lines of numbers"),
        ("a.csv", b"1,2\n3,4\n", "not a name for each"),
    ],
)
def test_broken_files_are_named(name: str, content: bytes | None, message: str, tmp_path: Path, scratch: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message), open_recording(tmp_path / name, scratch):
        pass


@pytest.mark.parametrize(
    ("rate", "wanted"), [(1000.0, 360.0), (360.0, 1000.0), (173.61, 360.0), (250.0, 125.0), (9600.0, 5.0)]
)
def test_chunks_at_another_rate_are_those_of_the_whole(rate: float, wanted: float) -> None:
    ratio = rate_ratio(rate, wanted)
    time = np.arange(round(40 * rate) + 7) / rate
    wave = np.sin(2 * np.pi * 0.3 * time)[None].astype(np.float32)
    read, total = resample_chunks(lambda first, last: wave[:, first:last], wave.shape[1], ratio)
    whole = read(0, total)
    true = np.sin(2 * np.pi * 0.3 * np.arange(total) / wanted)
    np.testing.assert_allclose(whole[0, 40:-40], true[40:-40], atol=0.01)
    parts = [read(first, min(first + 777, total)) for first in range(0, total, 777)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-4)
    back, n = resample_chunks(lambda first, last: whole[:, first:last], total, 1 / ratio)
    assert n >= wave.shape[1]
    edge = round(20 * max(1, rate / wanted))
    np.testing.assert_allclose(back(0, wave.shape[1])[0, edge:-edge], wave[0, edge:-edge], atol=0.02)


@pytest.mark.parametrize("chunk", [7, 50, 1000])
def test_gaps_are_filled_linearly_wherever_they_are(chunk: int, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ssl_bio.data.recordings.CHUNK_SAMPLES", chunk)
    ramp = np.tile(np.arange(200, dtype=np.float32), (3, 1))
    broken = ramp.copy()
    broken[0, 40:95] = broken[0, 100] = broken[1, :20] = broken[1, 180:] = broken[2] = np.nan
    recording = LongRecording(lambda first, last: broken[:, first:last], 200, ("a", "b", "c"), 1.0, ("mV",) * 3)
    found = interpolate_gaps(recording, scratch)(0, 200)
    np.testing.assert_allclose(found[0], ramp[0])
    np.testing.assert_allclose(found[1], np.clip(ramp[1], 20, 179))
    np.testing.assert_array_equal(found[2], 0)


@pytest.mark.parametrize(
    ("name", "rate", "message"),
    [("my rec.hea", 360.0, "letters, digits"), ("a.b.hea", 360.0, "letters, digits"), ("a.wav", 173.61, "whole rates")],
)
def test_what_a_format_cannot_hold(name: str, rate: float, message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_recording_name(Path(name), rate)


def test_records_of_other_tools(tmp_path: Path, scratch: Path) -> None:
    (tmp_path / "a.hea").write_text("a 2 100 30\na.dat 16 200/mV\na.dat 16 200/mV\n")
    np.arange(60, dtype="<i2").tofile(tmp_path / "a.dat")
    with open_recording(tmp_path / "a.hea", scratch) as recording:
        assert recording.channels == ("ch0", "ch1")
    (tmp_path / "clock.csv").write_text("time,ecg\n" + "".join(f"{row / 100},{row % 7}\n" for row in range(50)))
    with pytest.raises(DataError, match="time rises steadily"), open_recording(tmp_path / "clock.csv", scratch):
        pass
