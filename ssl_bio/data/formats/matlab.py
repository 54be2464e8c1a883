"""MATLAB files: those of version 7.3 are HDF5 (library h5py), older ones are read by scipy.

An HDF5 file can point at bytes of other files: through external storage, external links and virtual datasets. A
publisher's archive has no need of them, and a hostile one could make signals of any file on this machine, so all of
these are refused.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.formats.signal_files import PREFERRED_NAMES, RATE_NAMES, SignalFile, of_array
from ssl_bio.errors import DataError

if TYPE_CHECKING:
    import h5py


@contextmanager
def _open_hdf5(path: Path) -> Iterator["h5py.File"]:
    """Open a MATLAB 7.3 file for reading. What h5py raises within the block becomes a DataError that names the file."""
    import h5py  # imported when needed: it takes its time

    try:
        with h5py.File(path, "r") as file:
            yield file
    # h5py raises whatever its C library reports: OSError, KeyError, ValueError, RuntimeError ...
    except (OSError, LookupError, ValueError, RuntimeError, TypeError, AttributeError) as error:
        raise DataError(f"{path.name}: not a whole MATLAB 7.3 file ({error})") from error


@contextmanager
def open_signals(path: Path, scratch: Path) -> Iterator[SignalFile]:
    """Open a file of one array, or of several of which one is called `signals` or `val`; it is read whole.

    Raises DataError that names the file.
    """
    everything = _all_variables(path)
    arrays = {name: array for name, array in everything.items() if _are_numbers(array)}
    rates = [everything[name] for name in RATE_NAMES if name in everything and everything[name].size == 1]
    preferred = [name for name in PREFERRED_NAMES if name in arrays]
    if len(arrays) != 1 and not preferred:
        has = f"{', '.join(arrays)}: call one of them signals" if arrays else "none"
        raise DataError(f"{path.name}: one array of numbers is wanted; it has {has}")
    yield of_array(path, arrays[(preferred or list(arrays))[0]], float(rates[0].reshape(())) if rates else 0.0)


def n_cells(path: Path, variable: str) -> int:
    """Return how many cells a cell array of a MATLAB 7.3 file has. Raises DataError when there is none of this name."""
    import h5py

    with _open_hdf5(path) as file:
        array = _variable(file, variable) if variable in file else None
        if not isinstance(array, h5py.Dataset) or array.dtype != h5py.ref_dtype:
            raise DataError(f"{path.name}: no cell array {variable}; it has {', '.join(file) or 'nothing'}")
        return int(array.size)


def read_cell(path: Path, variable: str, index: int) -> NDArray[Any]:
    """Return a cell of a cell array by its position, from 0, as HDF5 has it: MATLAB's axes in reverse order.

    Raises DataError.
    """
    with _open_hdf5(path) as file:
        array = _variable(file, variable)
        reference = array[np.unravel_index(index, array.shape)]
        return np.asarray(_own(path, file[reference]))


def variables(path: Path) -> dict[str, NDArray[Any]]:
    """Return the numeric arrays of a MATLAB file of any version by name, with MATLAB's axes; no scalars, no text.

    Raises DataError for a file that is none.
    """
    return {name: array for name, array in _all_variables(path).items() if _are_numbers(array)}


def _all_variables(path: Path) -> dict[str, NDArray[Any]]:
    import h5py

    return _of_hdf5(path) if h5py.is_hdf5(path) else _of_older(path)


def _are_numbers(array: NDArray[Any]) -> bool:
    return array.dtype.kind in "iuf" and array.size > 1


def _variable(file: "h5py.File", name: str) -> Any:
    """Return what an HDF5 file holds under a name. Raises DataError for what leads to other bytes than its own."""
    import h5py

    path = Path(file.filename)
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise DataError(f"{path.name}: {name} is a link to somewhere else, which is not followed")
    return _own(path, file[name])


def _own(path: Path, item: Any) -> Any:
    """Return an HDF5 object. Raises DataError when its bytes lie in another file."""
    import h5py

    if isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
        raise DataError(f"{path.name}: {item.name} keeps its values in other files, which are not read")
    return item


def _of_hdf5(path: Path) -> dict[str, NDArray[Any]]:
    import h5py

    with _open_hdf5(path) as file:
        arrays = {name: item for name in file if isinstance(item := _variable(file, name), h5py.Dataset)}
        return {name: np.asarray(item).T for name, item in arrays.items() if item.attrs.get("MATLAB_class") != b"char"}


def _of_older(path: Path) -> dict[str, NDArray[Any]]:
    from scipy.io import loadmat

    try:
        return {name: np.asarray(value) for name, value in loadmat(path).items() if not name.startswith("__")}
    # scipy raises whatever its parser meets in a broken file.
    except Exception as error:
        raise DataError(f"{path.name}: not a whole MATLAB file ({type(error).__name__}: {error})") from error
