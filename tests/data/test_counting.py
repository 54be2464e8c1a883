"""Counts of events around every sample, whatever the pace at which a window is played."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ssl_bio.data.counting import Track
from ssl_bio.data.transforms import beginning

LENGTH, SPAN = 40, 8


def counted(events: np.ndarray, start: float, pace: float) -> np.ndarray:
    """Sample by sample, without a trick."""
    found = np.full(LENGTH, np.nan)
    for k in range(LENGTH):
        middle = start + pace * k
        first, last = (int(np.ceil(middle + side * pace * SPAN / 2 - 1e-6)) for side in (-1, 1))
        if first >= 0 and last <= LENGTH and (events[first:last] >= 0).all():
            found[k] = 6 * (events[first:last] > 0).sum()
    return found


@given(
    st.lists(st.sampled_from([0, 0, 0, 1, -1]), min_size=LENGTH, max_size=LENGTH),
    st.floats(0.6, 1.6),
    st.floats(0, 1),
)
def test_counts_are_those_of_a_simple_loop(codes: list[int], pace: float, place: float) -> None:
    events = np.array([codes, codes[::-1]], np.int8)
    before = events.copy()
    paces = np.array([[1.0], [pace]])
    start = beginning(paces, np.array([[0.5], [place]]), LENGTH)
    found = Track(events, SPAN, 6.0).around(np.array([0, 1]), start, paces)
    for row in range(2):
        np.testing.assert_array_equal(found[row], counted(events[row], start[row, 0], paces[row, 0]))
    np.testing.assert_array_equal(events, before)


def test_played_twice_as_fast_a_span_holds_twice_as_many() -> None:
    events = np.tile([1, 0, 0, 0], LENGTH // 4)[None].astype(np.int8)
    pace = np.array([[2.0]])
    found = Track(events, SPAN, 1.0).around(np.array([0]), beginning(pace, 0.5, LENGTH), pace)
    assert set(found[np.isfinite(found)]) == {4.0}
