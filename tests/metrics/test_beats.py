"""Finding R peaks, and counting those in their places."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_bio.metrics.beats import compare_beats, f1_of_counts, find_beats


def ecg(at: np.ndarray, sampling_rate: float, seconds: float) -> np.ndarray:
    time = np.arange(round(seconds * sampling_rate)) / sampling_rate
    return np.asarray(np.exp(-0.5 * ((time[:, None] - at) / 0.012) ** 2).sum(axis=1))


@pytest.mark.parametrize("sampling_rate", [50.0, 125.0, 360.0, 1000.0])
def test_every_beat_is_found_at_any_rate(sampling_rate: float) -> None:
    at = np.cumsum(np.random.default_rng(0).uniform(0.5, 1.2, 40))
    noise = np.random.default_rng(1).normal(0, 0.03, round(40 * sampling_rate))
    found = find_beats(ecg(at, sampling_rate, 40) + noise, sampling_rate)
    true = np.round(at[at < 39.5] * sampling_rate).astype(int)
    hits, _, missed = compare_beats(found[found < 39.5 * sampling_rate], true, sampling_rate)
    assert missed == 0
    assert hits == len(true)


def test_nothing_is_found_in_silence_in_a_moment_or_at_a_rate_too_low() -> None:
    assert not len(find_beats(np.zeros(1000), 100.0))
    assert not len(find_beats(np.ones(50), 100.0))
    assert not len(find_beats(np.ones(400), 40.0))


def test_beats_are_paired_once_within_150_ms() -> None:
    true = np.array([100, 200, 300])
    assert compare_beats(np.array([110, 116, 250, 300]), true, 100.0) == (2, 2, 1)
    assert compare_beats(np.array([114, 215]), true, 100.0) == (1, 1, 2)
    assert compare_beats(np.array([], int), true, 100.0) == (0, 0, 3)
    assert compare_beats(true, np.array([], int), 100.0) == (0, 3, 0)


@given(st.lists(st.integers(0, 2000), unique=True), st.lists(st.integers(0, 2000), unique=True))
def test_counts_add_up(found: list[int], true: list[int]) -> None:
    hits, extra, missed = compare_beats(np.sort(np.array(found, int)), np.sort(np.array(true, int)), 100.0)
    assert (hits + extra, hits + missed) == (len(found), len(true))
    assert (hits > 0) == any(abs(ours - theirs) < 15 for ours in found for theirs in true)


def test_f1_of_counts() -> None:
    assert f1_of_counts(3, 1, 2) == pytest.approx(6 / 9)
    assert f1_of_counts(0, 0, 0) == 0
