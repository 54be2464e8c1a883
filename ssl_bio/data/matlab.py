"""MATLAB files: those of version 7.3 are HDF5 (library h5py), older ones are read by scipy."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from ssl_bio.errors import DataError


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """A MATLAB 7.3 file, open for reading. What h5py raises within the block is a DataError that names the file."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    # h5py raises whatever its C library reports: OSError, KeyError, ValueError, RuntimeError ...
    except (OSError, LookupError, ValueError, RuntimeError, TypeError, AttributeError) as error:
        raise DataError(f"{path.name}: not a whole MATLAB 7.3 file ({error})") from error


def n_cells(path: Path, variable: str) -> int:
    """How many cells a cell array of a MATLAB 7.3 file has. Raises DataError when there is none of this name."""
    with opened(path) as file:
        if variable not in file or file[variable].dtype != h5py.ref_dtype:
            raise DataError(f"{path.name}: no cell array {variable}; it has {', '.join(file) or 'nothing'}")
        return int(file[variable].size)


def cell(path: Path, variable: str, index: int) -> NDArray[Any]:
    """A cell of a cell array by its place in it, from 0, as HDF5 has it: MATLAB's axes in the opposite order.

    Raises DataError.
    """
    with opened(path) as file:
        reference = file[variable][np.unravel_index(index, file[variable].shape)]
        return np.asarray(file[reference])


def variables(path: Path) -> dict[str, NDArray[Any]]:
    """The numeric arrays of a MATLAB file of any version by name, with MATLAB's axes; neither scalars nor text.

    Raises DataError for a file that is none.
    """
    found = _of_hdf5(path) if h5py.is_hdf5(path) else _of_older(path)
    return {name: array for name, array in found.items() if array.dtype.kind in "iuf" and array.size > 1}


def _of_hdf5(path: Path) -> dict[str, NDArray[Any]]:
    with opened(path) as file:
        sets = {name: item for name, item in file.items() if isinstance(item, h5py.Dataset)}
        return {name: np.asarray(item).T for name, item in sets.items() if item.attrs.get("MATLAB_class") != b"char"}


def _of_older(path: Path) -> dict[str, NDArray[Any]]:
    try:
        return {name: np.asarray(value) for name, value in loadmat(path).items() if not name.startswith("__")}
    # scipy raises whatever its parser meets in a broken file.
    except Exception as error:
        raise DataError(f"{path.name}: not a whole MATLAB file ({type(error).__name__}: {error})") from error
