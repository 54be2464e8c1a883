"""A recording in a file of its own: .npy, .npz, .csv or .mat."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.formats import matlab
from ssl_bio.errors import DataError

SUFFIXES = (".npy", ".npz", ".csv", ".mat")
PREFERRED_NAMES = ("signals", "val")


class SignalFile(NamedTuple):
    """What a file holds."""

    signals: NDArray[Any]  # (channels, samples), float64
    channels: tuple[str, ...]  # empty where the file has no names for them


def load(path: Path) -> SignalFile:
    """Return the recording in a file.

    A .csv file has a sample a line under a line of channel names. The others hold one array, or several of which one
    is called `signals` or `val`: of its two axes the longer one is time, of equal ones the second; a single axis is
    one channel. Nothing is ever unpickled.

    Raises DataError that names the file.
    """
    if path.suffix == ".csv":
        return _of_table(path)
    array = _one_array(path, matlab.variables(path) if path.suffix == ".mat" else _of_numpy(path))
    return SignalFile(channels_by_samples(path, array).astype(np.float64), ())


def channels_by_samples(path: Path, array: NDArray[Any]) -> NDArray[Any]:
    """Return an array of a file as `(channels, samples)`: the longer axis is time, of equal ones the second.

    Raises DataError that names the file when it has no numbers or another number of axes than one or two.
    """
    if array.dtype.kind not in "biuf" or array.ndim not in (1, 2) or not array.size:
        raise DataError(f"{path.name}: {array.dtype} {array.shape} instead of numbers (channels, samples)")
    array = np.atleast_2d(array)
    return array.T if array.shape[0] > array.shape[1] else array


def channels_of_table(path: Path) -> tuple[str, ...]:
    """Return the names in a .csv file's first line. Raises DataError when there is a number among them."""
    import pandas as pd  # imported when needed: it takes its time

    try:
        names = pd.read_csv(path, header=None, nrows=1, dtype=str, skipinitialspace=True, encoding="utf-8-sig")
    except ValueError as error:
        raise DataError(f"{path.name}: not a line of names and lines of numbers ({error})") from error
    if pd.to_numeric(names.iloc[0], errors="coerce").notna().any():
        raise DataError(f"{path.name}: its first line is not a name for each channel")
    return tuple(str(name).strip() for name in names.iloc[0])


def _of_table(path: Path) -> SignalFile:
    import pandas as pd

    channels = channels_of_table(path)
    try:
        table = pd.read_csv(path, header=None, skiprows=1, dtype=np.float64, skipinitialspace=True)
    except ValueError as error:
        raise DataError(f"{path.name}: not a line of names and lines of numbers ({error})") from error
    if len(channels) != table.shape[1]:
        raise DataError(f"{path.name}: its first line is not a name for each of {table.shape[1]} channels")
    return SignalFile(table.to_numpy().T, channels)


def _of_numpy(path: Path) -> dict[str, NDArray[Any]]:
    try:
        # Opened here, because np.load leaves its own handle open when the archive is broken.
        with path.open("rb") as raw:
            loaded = np.load(raw, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {"signals": loaded}
            return {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path.name}: not a whole file of plain numpy arrays ({error})") from error


def _one_array(path: Path, arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    for name in PREFERRED_NAMES:
        if name in arrays:
            return arrays[name]
    if len(arrays) != 1:
        has = f"{', '.join(arrays)}: call one of them signals" if arrays else "none"
        raise DataError(f"{path.name}: one array of numbers is wanted; it has {has}")
    return next(iter(arrays.values()))
