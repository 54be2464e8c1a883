"""Arrays in numpy's formats (.npy, .npz). Nothing is ever unpickled."""

import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ssl_bio.data.formats.signal_files import PREFERRED_NAMES, RATE_NAMES, SignalFile, of_array
from ssl_bio.errors import DataError


@contextmanager
def open_npy(path: Path, scratch: Path) -> Iterator[SignalFile]:
    """Open an .npy file. Raises DataError when it is no whole array of numbers."""
    yield _open(path, path, 0.0)


@contextmanager
def open_npz(path: Path, scratch: Path) -> Iterator[SignalFile]:
    """Open an .npz file of one array, or of several of which one is called `signals` or `val`; it may hold
    a `sampling_rate` (or `fs`, `sfreq`) in Hz beside them.

    Raises DataError when it is no whole array of numbers.
    """
    plain, rate = _unpack(path, scratch)
    yield _open(path, plain, rate)


def _open(path: Path, plain: Path, rate: float) -> SignalFile:
    try:
        array = np.load(plain, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path.name}: not a whole file of plain numpy arrays ({error})") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise DataError(f"{path.name}: an archive of arrays: call it .npz")
    return of_array(path, array, rate)


def _unpack(path: Path, scratch: Path) -> tuple[Path, float]:
    """Return where the array of an .npz file was unpacked, and the file's sampling rate in Hz, 0 if it has none."""
    rate, plain = 0.0, scratch / "array.npy"
    try:
        with zipfile.ZipFile(path) as archive:
            rates = [f"{name}.npy" for name in RATE_NAMES if f"{name}.npy" in archive.namelist()]
            members = [name for name in archive.namelist() if name not in rates]
            preferred = [name for name in members if name.removesuffix(".npy") in PREFERRED_NAMES]
            if len(members) != 1 and not preferred:
                names = ", ".join(name.removesuffix(".npy") for name in members)
                has = f"{names}: call one of them signals" if names else "none"
                raise DataError(f"{path.name}: one array of numbers is wanted; it has {has}")
            if rates:
                with archive.open(rates[0]) as file:
                    rate = float(np.lib.format.read_array(file, allow_pickle=False).reshape(()))
            with archive.open((preferred or members)[0]) as packed, plain.open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked)
    except (OSError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(f"{path.name}: not a whole file of plain numpy arrays ({error})") from error
    return plain, rate
