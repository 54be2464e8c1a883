"""Events around every moment of a window, counted anew at the pace at which the window is played."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Track(NamedTuple):
    """Events of windows, and how they are counted: `weight` times how many lie within `span` samples."""

    events: NDArray[np.int8]  # (n, length): 1, 0 where none is, -1 where nothing is known
    span: int
    weight: float

    def around(
        self, positions: NDArray[np.int64], start: NDArray[np.float64], pace: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """The count around every sample of windows at `positions`, which begin `start` `(n, 1)` samples after their own
        beginning and are played `pace` `(n, 1)` times as fast.

        Returns `(n, length)`, NaN where the span leaves what is known.
        """
        events = self.events[positions]
        length = events.shape[1]
        middle = start + pace * np.arange(length)
        first, last = (_samples(middle + side * pace * self.span / 2) for side in (-1, 1))
        within = (first >= 0) & (last <= length)
        first, last = np.clip(first, 0, length), np.clip(last, 0, length)
        known = within & (_between(events < 0, first, last) == 0)
        return np.where(known, self.weight * _between(events > 0, first, last), np.nan).astype(np.float32)


def _samples(place: NDArray[np.float64]) -> NDArray[np.int64]:
    """The first sample at or after a place; tiny errors of arithmetic do not reach the next one."""
    return np.ceil(place - 1e-6).astype(np.int64)


def _between(flags: NDArray[np.bool_], first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many flags `(n, length)` are up from sample `first` to before sample `last`, `(n, m)` each."""
    total = np.concatenate([np.zeros((len(flags), 1), np.int64), flags.cumsum(axis=1)], axis=1)
    return np.asarray(np.take_along_axis(total, last, axis=1) - np.take_along_axis(total, first, axis=1))
