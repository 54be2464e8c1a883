"""Stored numbers come back bit for bit, in as few bytes as that allows."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from ssl_bio.data.packing import pack, unpack


def same_bits(first: np.ndarray, second: np.ndarray) -> bool:
    return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([0.35386, -1.5, 0.0078201], np.int32),
        ([(count - 1024) / 200 for count in range(2048)], np.int16),
        ([1.0, 2.0, np.nan], np.int16),
        ([0.1234567890123], np.float64),
        ([float(np.float32(np.pi))], np.float32),
        ([-0.0, 1.0], np.float32),
        ([np.inf, 1.0], np.float32),
        ([3e9], np.float32),
        ([1e300], np.float64),
    ],
)
def test_smallest_form_that_loses_nothing(values: list[float], dtype: type) -> None:
    packed = pack(np.array(values))
    assert packed.stored.dtype == dtype
    assert same_bits(unpack(packed.stored, packed.scale), np.array(values))


def test_other_types_are_stored_as_they_are() -> None:
    for values in (np.arange(3), np.arange(3, dtype=np.float32), np.array([1, 0], np.int8)):
        packed = pack(values)
        assert packed.stored is values
        assert unpack(packed.stored, packed.scale) is values


@given(npst.arrays(np.float64, st.integers(0, 30), elements=st.floats(allow_nan=False) | st.just(np.nan)))
def test_any_numbers_come_back(values: np.ndarray) -> None:
    packed = pack(values)
    assert same_bits(unpack(packed.stored, packed.scale), values)


@given(st.lists(st.decimals(-9, 9, places=4), min_size=1), st.integers(0, 5))
def test_parts_of_decimals_come_back(decimals: list[Decimal], first: int) -> None:
    values = np.array([float(value) for value in decimals]) + 0.0
    packed = pack(values)
    assert packed.stored.itemsize <= 4
    assert same_bits(unpack(packed.stored[first:], packed.scale), values[first:])
