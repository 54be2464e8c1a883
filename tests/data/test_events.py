"""Counts of events around every sample, at whatever speed a window is shown."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ssl_bio.data.augmentations import stretch_start
from ssl_bio.data.events import EventTrack

LENGTH, SPAN = 40, 8


def counted(events: np.ndarray, start: float, speed: float) -> np.ndarray:
    """Sample by sample, without a trick."""
    found = np.full(LENGTH, np.nan)
    for k in range(LENGTH):
        middle = start + speed * k
        first, last = (int(np.ceil(middle + side * speed * SPAN / 2 - 1e-6)) for side in (-1, 1))
        if first >= 0 and last <= LENGTH and (events[first:last] >= 0).all():
            found[k] = 6 * (events[first:last] > 0).sum()
    return found


@given(
    st.lists(st.sampled_from([0, 0, 0, 1, -1]), min_size=LENGTH, max_size=LENGTH),
    st.floats(0.6, 1.6),
    st.floats(0, 1),
)
def test_counts_are_those_of_a_simple_loop(codes: list[int], speed: float, offset: float) -> None:
    events = np.array([codes, codes[::-1]], np.int8)
    before = events.copy()
    speeds = np.array([[1.0], [speed]])
    start = stretch_start(speeds, np.array([[0.5], [offset]]), LENGTH)
    found = EventTrack(events, SPAN, 6.0).count_around(np.array([0, 1]), start=start, speed=speeds)
    for row in range(2):
        np.testing.assert_array_equal(found[row], counted(events[row], start[row, 0], speeds[row, 0]))
    np.testing.assert_array_equal(events, before)


def test_at_twice_the_speed_a_span_holds_twice_as_many() -> None:
    events = np.tile([1, 0, 0, 0], LENGTH // 4)[None].astype(np.int8)
    speed = np.array([[2.0]])
    start = stretch_start(speed, 0.5, LENGTH)
    found = EventTrack(events, SPAN, 1.0).count_around(np.array([0]), start=start, speed=speed)
    assert set(found[np.isfinite(found)]) == {4.0}
