"""The noise stress test's recordings in the publisher's layout, and the real archive."""

from pathlib import Path

import numpy as np
import pytest

from ssl_bio.data.formats.wfdb_records import quiet_wfdb
from ssl_bio.data.options import WindowOptions
from ssl_bio.data.readers.nstdb import DATASET, TYPES
from ssl_bio.errors import DataError
from tests.data.reading import read_with


def write_nstdb(folder: Path, seconds: float = 20.0, names: tuple[str, ...] = ("bw", "ma")) -> Path:
    """A small copy of the database: two channels at 360 Hz, and a record that is an ECG."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in (*names, "118e00"):
        samples = rng.normal(0, 1, (round(360 * seconds), 2))
        with quiet_wfdb() as wfdb:
            wfdb.wrsamp(name, 360, ["mV"] * 2, ["noise1", "noise2"], samples, fmt=["212"] * 2, write_dir=str(folder))
    return folder


def test_its_noise_is_read_and_its_ecgs_are_not(tmp_path: Path) -> None:
    data = read_with(DATASET, write_nstdb(tmp_path / "nstdb"), WindowOptions(window=2.0, stride=2.0))
    assert data.info.targets["noise"].classes == TYPES
    assert np.bincount(data.targets["noise"], minlength=3).tolist() == [10, 0, 10]
    assert data.signals.shape == (20, 2, 720)
    assert data.rows("time", "train").tolist() == [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15]
    assert data.rows("time", "val").tolist() == [6, 16]
    assert data.rows("time", "test").tolist() == [7, 8, 9, 17, 18, 19]


def test_another_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no record bw, em"):
        read_with(DATASET, write_nstdb(tmp_path / "other", names=()))


def test_the_publishers_own_files(real_archive: Path, tmp_path: Path) -> None:
    archive = real_archive / "mit-bih-noise-stress-test-database-1.0.0.zip"
    if not archive.is_file():
        pytest.skip(f"no {archive.name}")
    data = read_with(DATASET, archive)
    assert data.signals.shape == (30, 2, 43200)
    assert (data.signals[:].std(axis=-1) > 0.01).all()
