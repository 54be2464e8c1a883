"""Records as windows: where windows start and what falls into them."""

from dataclasses import replace

import numpy as np
import pytest

from ssl_bio.data.options import WindowOptions
from ssl_bio.data.windows import Windower

OPTIONS = WindowOptions(sampling_rate=100, window=1.1, stride=1.1, highpass=0, standardize="none")


@pytest.mark.parametrize("n", range(2, 40))
def test_the_last_window_may_end_with_the_record(n: int) -> None:
    """A step of 110.00000000000001 samples must not lose the last of n windows."""
    record = Windower(OPTIONS).windows(np.zeros((1, 110 * n), np.float32), 100)
    assert record.starts.tolist() == [110 * index for index in range(n)]
    assert len(Windower(OPTIONS).windows(np.zeros((1, 110 * n - 1), np.float32), 100).starts) == n - 1


def test_what_lies_in_windows() -> None:
    options = replace(OPTIONS, window=2, stride=1)
    record = Windower(options).windows(np.zeros((1, 400), np.float32), 100)
    assert record.count_events(np.array([3.99, 2.0, 0.0, 1.5])).tolist() == [2, 2, 2], (
        "the begin counts, the end does not"
    )
    at = np.arange(4.0)
    means = record.mean_values(at, values=np.array([1.0, np.nan, 5.0, 7.0]))
    assert means.tolist() == [1, 5, 6]
    assert np.isnan(record.mean_values(at, values=np.full(4, np.inf))).all()


def test_context_is_shown_and_not_labelled() -> None:
    options = replace(OPTIONS, window=2, stride=1, context=0.5)
    record = Windower(options).windows(np.arange(400, dtype=np.float32)[None], 100)
    assert record.signals.shape == (3, 1, 300)
    np.testing.assert_array_equal(record.signals[1, 0], np.arange(50, 350))
    np.testing.assert_array_equal(record.signals[0, 0, :51], np.arange(50, -1, -1), "mirrored before the record begins")
    assert [values.tolist() for values in record.bounds()] == [[0, 1, 2], [2, 3, 4]], "labels are of the middle"


@pytest.mark.parametrize(("padding", "expected"), [("zero", [1, 2, 3, 0, 0, 0, 0]), ("repeat", [1, 2, 3, 1, 2, 3, 1])])
def test_what_fills_a_window_after_the_end(padding: str, expected: list[int]) -> None:
    options = WindowOptions(sampling_rate=1, window=7, stride=0, highpass=0, standardize="none", padding=padding)
    record = Windower(options).windows(np.array([[1, 2, 3]], np.float32), 1)
    assert record.signals[0, 0].tolist() == expected
    assert not len(Windower(options).windows(np.array([[1, 2, 3]], np.float32), 1, pad=False).signals)
