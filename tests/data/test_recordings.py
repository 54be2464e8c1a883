"""Long recordings in every format: what is written is read back, a stretch at a time."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from ssl_bio.data.recordings import SUFFIXES, opened, resampled, save
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
    save(path, signals(), 250.0, ("I", "II"), "mV", scratch)
    assert list(scratch.iterdir()) == []
    with opened(path, scratch) as recording:
        assert recording.n_samples == 70_000
        assert len(recording.channels) == 2
        for first, last in ((0, 70_000), (30, 70), (69_999, 70_000)):
            np.testing.assert_allclose(recording.read(first, last), signals()[:, first:last], atol=1e-4)
        assert recording.sampling_rate == (250.0 if suffix in (".hea", ".wav", ".npz") else 0.0)
        if suffix in (".hea", ".csv"):
            assert recording.channels == ("I", "II")


def test_a_format_of_older_matlab_with_one_channel(tmp_path: Path, scratch: Path) -> None:
    savemat(tmp_path / "ride.mat", {"val": np.arange(50.0)[:, None], "fs": 1000})
    with opened(tmp_path / "ride.mat", scratch) as recording:
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
    with pytest.raises(DataError, match=message), opened(tmp_path / name, scratch):
        pass


@pytest.mark.parametrize(("rate", "wanted"), [(1000.0, 360.0), (360.0, 1000.0), (173.61, 360.0), (250.0, 125.0)])
def test_stretches_at_another_rate_are_those_of_the_whole(rate: float, wanted: float) -> None:
    time = np.arange(round(40 * rate)) / rate
    wave = np.sin(2 * np.pi * 3 * time)[None].astype(np.float32)
    read, total = resampled(lambda first, last: wave[:, first:last], wave.shape[1], rate, wanted)
    whole = read(0, total)
    np.testing.assert_allclose(
        whole[0, 200:-200], np.sin(2 * np.pi * 3 * np.arange(total) / wanted)[200:-200], atol=0.01
    )
    parts = [read(first, min(first + 777, total)) for first in range(0, total, 777)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-4)
