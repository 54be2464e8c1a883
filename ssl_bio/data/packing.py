"""Numbers stored in fewer bytes, without loss: most recordings were integers before somebody wrote them as decimals."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_SCALES = tuple(10.0**digits for digits in range(10))
_INTEGERS = (np.int16, np.int32)


class Packed(NamedTuple):
    """An array as it is stored. `scale` 0: as it is; -1: as
    numbers of 64 bits; else the numbers are `stored / scale`, and the least integer stands for NaN."""

    stored: NDArray[Any]
    scale: float


def pack(values: NDArray[Any]) -> Packed:
    """Return an array in the smallest form that gives the very same bits again.

    Numbers of 64 bits with up to nine decimals become integers: the nearest double of a decimal is its numerator
    divided by a power of ten, rounded once. So do WFDB's physical values wherever the gain divides a power of ten.
    Others become numbers of 32 bits where that loses nothing.
    """
    if values.dtype != np.float64 or not values.size:
        return Packed(values, 0.0)
    missing = np.isnan(values)
    known = np.where(missing, 0.0, values)
    with np.errstate(over="ignore"):
        for scale in _SCALES:
            numerators = np.round(known * scale) + 0.0  # an integer has no -0
            if np.array_equal(_bits(numerators / scale), _bits(known)):
                for integer in _INTEGERS:
                    limit = np.iinfo(integer)
                    if np.abs(numerators).max() <= limit.max:
                        return Packed(np.where(missing, limit.min, numerators).astype(integer), scale)
                break
        single = values.astype(np.float32)
    same = np.array_equal(_bits(single.astype(np.float64)), _bits(values))
    return Packed(single, -1.0) if same else Packed(values, 0.0)


def unpack(stored: NDArray[Any], scale: float) -> NDArray[Any]:
    """Return the array that was packed, or the part of it that `stored` is a part of."""
    if scale < 0:
        return stored.astype(np.float64)
    if not scale:
        return stored
    values = stored / scale
    missing = stored == np.iinfo(stored.dtype).min
    if missing.any():
        values[missing] = np.nan
    return np.asarray(values)


def _bits(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the bits of numbers: they tell 0 from -0, which comparing does not."""
    return np.ascontiguousarray(values).view(np.int64)
