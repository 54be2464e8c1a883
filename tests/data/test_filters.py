"""Filters, resampling and filling: never in place, and each what it says."""

import numpy as np
import pytest

from ssl_bio.data import filters
from ssl_bio.errors import DataError


def test_filling() -> None:
    signals = np.array([[[0, np.nan, 2, np.inf, 4], [np.nan] * 5]], np.float32)
    before = signals.copy()
    np.testing.assert_array_equal(filters.fill_missing(signals, "zero"), [[[0, 0, 2, 0, 4], [0] * 5]])
    np.testing.assert_array_equal(filters.fill_missing(signals, "interpolate"), [[[0, 1, 2, 3, 4], [0] * 5]])
    np.testing.assert_array_equal(signals, before)


def test_statistics_of_a_silent_channel() -> None:
    signals = np.stack([np.full((4, 10), 2.0), np.arange(40.0).reshape(4, 10)], axis=1).astype(np.float32)
    mean, std = filters.channel_statistics([signals[:1], signals[1:]])
    np.testing.assert_allclose(mean, [2.0, 19.5])
    np.testing.assert_allclose(std, [1.0, np.arange(40.0).std()], rtol=1e-6)


def test_conform_resamples_and_takes_the_middle() -> None:
    time = np.arange(400) / 100
    slow = np.sin(2 * np.pi * time).astype(np.float32)[None, None]
    got = filters.conform(slow, sampling_rate=100, target_rate=50, length=128)
    assert got.shape == (1, 1, 128)
    np.testing.assert_allclose(got[0, 0], np.sin(2 * np.pi * (np.arange(128) + 36) / 50), atol=0.02)
    with pytest.raises(DataError, match="fewer than the model's 128"):
        filters.conform(slow, sampling_rate=100, target_rate=25, length=128)


def test_highpass_takes_away_wander_and_keeps_the_beat() -> None:
    time = np.arange(2000) / 125
    wander, beat = np.sin(2 * np.pi * 0.05 * time), np.sin(2 * np.pi * 8 * time)
    found = filters.highpass((3 * wander + beat)[None].astype(np.float32), cutoff=0.5, sampling_rate=125)
    np.testing.assert_allclose(found[0, 300:-300], beat[300:-300], atol=0.05)
    assert filters.highpass(np.ones((1, 3), np.float32), cutoff=0.5, sampling_rate=125).shape == (1, 3)


def test_resample_keeps_time() -> None:
    rates = (360, 125)
    slow, fast = (np.sin(2 * np.pi * 3 * np.arange(4 * rate) / rate) for rate in rates)
    np.testing.assert_allclose(filters.resample(slow, *rates)[20:-20], fast[20:-20], atol=0.01)
    assert filters.resample(slow, 360, 360) is slow


def test_bandpass_keeps_the_band_and_refuses_what_is_none() -> None:
    time = np.arange(2000) / 125
    slow, middle, fast = (np.sin(2 * np.pi * frequency * time) for frequency in (0.1, 5, 50))
    found = filters.bandpass((slow + middle + fast)[None].astype(np.float32), low=1, high=20, sampling_rate=125)
    np.testing.assert_allclose(found[0, 300:-300], middle[300:-300], atol=0.1)
    for low, high in ((0, 20), (20, 1), (1, 63)):
        with pytest.raises(DataError, match="is no band below half of 125 Hz"):
            filters.bandpass(found, low=low, high=high, sampling_rate=125)


def test_rates_without_a_simple_ratio_are_refused() -> None:
    with pytest.raises(DataError, match="no simple ratio"):
        filters.rate_ratio(333.33333, 360.0)
