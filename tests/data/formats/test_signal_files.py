"""Signals in every format: what is written is read back, in chunks; what is broken is named."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from ssl_bio.data.formats.signal_files import load_file, open_file
from ssl_bio.data.saving import SUFFIXES, save_recording
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
    with open_file(path, scratch) as recording:
        assert recording.n_samples == 70_000
        assert len(recording.channels) == 2
        for first, last in ((0, 70_000), (30, 70), (69_999, 70_000)):
            np.testing.assert_allclose(recording.read(first, last), signals()[:, first:last], atol=1e-4)
        assert recording.sampling_rate == (250.0 if suffix in (".hea", ".wav", ".npz", ".mat") else 0.0)
        if suffix in (".hea", ".csv"):
            assert recording.channels == ("I", "II, left")
        assert recording.units == (("mV", "uV") if suffix == ".hea" else ("NU", "NU"))


def test_a_format_of_older_matlab_with_one_channel(tmp_path: Path, scratch: Path) -> None:
    savemat(tmp_path / "ride.mat", {"val": np.arange(50.0)[:, None], "fs": 1000})
    with open_file(tmp_path / "ride.mat", scratch) as recording:
        np.testing.assert_array_equal(recording.read(10, 13), [[10, 11, 12]])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.doc", b"1", "one of .hea, .edf"),
        ("a.npy", None, "no such file"),
        ("a.npy", b"broken", "not a whole file"),
        ("a.npz", b"broken", "not a whole file"),
        ("a.wav", b"broken", "not a whole .wav"),
        ("a.mat", b"broken", "not a whole MATLAB file"),
        ("a.hea", b"broken", "cannot be read"),
        ("a.csv", b"I,II\n1,2\n3,x\n", "'x' where a number belongs, sample 1"),
        ("a.csv", b"I,II\n", "holds no signal|lines of numbers"),
        ("a.csv", b"", "holds no signal"),
        ("a.edf", b"broken", "not a whole EDF file"),
        ("a.bdf", b"broken", "not a whole EDF file"),
        ("a.parquet", b"broken", "not a whole Parquet file"),
        ("a.fif", b"broken", "cannot be read"),
        ("a.vhdr", b"broken", "cannot be read"),
    ],
)
def test_broken_files_are_named(name: str, content: bytes | None, message: str, tmp_path: Path, scratch: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message), open_file(tmp_path / name, scratch):
        pass


def test_records_of_other_tools(tmp_path: Path, scratch: Path) -> None:
    (tmp_path / "a.hea").write_text("a 2 100 30\na.dat 16 200/mV\na.dat 16 200/mV\n")
    np.arange(60, dtype="<i2").tofile(tmp_path / "a.dat")
    with open_file(tmp_path / "a.hea", scratch) as recording:
        assert recording.channels == ("ch0", "ch1")


def test_an_array_on_its_side_is_turned_and_said(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(30).reshape(15, 2))
    values, file = load_file(tmp_path / "a.npy")
    np.testing.assert_array_equal(values, np.arange(30).reshape(15, 2).T)
    assert file.remarks == ("an array (15, 2) is taken for 2 channels of 15 samples",)
    assert not file.named


def test_suffixes_in_capitals(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(3.0))
    (tmp_path / "a.npy").rename(tmp_path / "B.NPY")
    assert load_file(tmp_path / "B.NPY").values.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("name", ["sampling_rate", "fs", "sfreq"])
def test_a_rate_beside_the_signals(name: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", ecg=np.arange(50.0), **{name: 250})  # type: ignore[arg-type]  # numpy types it loosely
    savemat(tmp_path / "a.mat", {"ecg": np.arange(50.0), name: 250})
    for suffix in (".npz", ".mat"):
        assert load_file(tmp_path / f"a{suffix}").file.sampling_rate == 250.0
    np.savez(tmp_path / "a.npz", ecg=np.arange(50.0), **{name: np.nan})  # type: ignore[arg-type]
    with pytest.raises(DataError, match="its sampling_rate is nan Hz"):
        load_file(tmp_path / "a.npz")
