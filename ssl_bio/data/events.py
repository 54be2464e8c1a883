"""Counts of events around every sample of a window, at whatever speed the window is shown."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class EventTrack(NamedTuple):
    """Events of windows, and how they are counted: `weight` times how many lie within `span` samples."""

    events: NDArray[np.int8]  # (n, length): 1 at an event, 0 for none, -1 where nothing is known
    span: int
    weight: float

    def count_around(
        self, positions: NDArray[np.int64], *, start: NDArray[np.float64], speed: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Return the count around every sample of the windows at `positions`: `(n, length)`, NaN where the span leaves
        what is known.

        The windows were stretched in time: they begin `start` `(n, 1)` samples after their own beginning and are
        `speed` `(n, 1)` times as fast.
        """
        events = self.events[positions]
        length = events.shape[1]
        middle = start + speed * np.arange(length)
        first, last = (_first_sample(middle + side * speed * self.span / 2) for side in (-1, 1))
        within = (first >= 0) & (last <= length)
        first, last = np.clip(first, 0, length), np.clip(last, 0, length)
        known = within & (_count(events < 0, first, last) == 0)
        return np.where(known, self.weight * _count(events > 0, first, last), np.nan).astype(np.float32)


def _first_sample(position: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the first sample at or after a position; tiny errors of arithmetic do not lead to the next one."""
    return np.ceil(position - 1e-6).astype(np.int64)


def _count(flags: NDArray[np.bool_], first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many flags `(n, length)` are set from sample `first` to before sample `last`, `(n, m)` each."""
    total = np.concatenate([np.zeros((len(flags), 1), np.int64), flags.cumsum(axis=1)], axis=1)
    return np.asarray(np.take_along_axis(total, last, axis=1) - np.take_along_axis(total, first, axis=1))
