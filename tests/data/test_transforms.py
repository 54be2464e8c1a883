"""Transforms: pure, never in place, and each what it says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ssl_bio.data import transforms
from ssl_bio.errors import DataError

SIGNALS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.sampled_from([3, 6]), st.integers(8, 40)),
    elements=st.floats(-100, 100, width=32),
)


@pytest.mark.parametrize("name", transforms.AUGMENTATIONS)
@given(signals=SIGNALS, seed=st.integers(0, 2**32 - 1))
def test_augmentations_keep_shape_and_input_and_follow_the_seed(name: str, signals: np.ndarray, seed: int) -> None:
    before = signals.copy()
    augment = transforms.AUGMENTATIONS[name]
    first = augment(signals, np.random.default_rng(seed), 1.0)
    np.testing.assert_array_equal(signals, before)
    assert first.shape == signals.shape
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, augment(signals, np.random.default_rng(seed), 1.0))


@pytest.mark.parametrize("name", transforms.AUGMENTATIONS)
@given(signals=SIGNALS)
def test_strength_zero_changes_nothing(name: str, signals: np.ndarray) -> None:
    same = transforms.AUGMENTATIONS[name](signals, np.random.default_rng(0), 0.0)
    np.testing.assert_allclose(same, signals, atol=1e-4)


@given(signals=SIGNALS)
def test_rotation_keeps_the_length_of_every_vector(signals: np.ndarray) -> None:
    turned = transforms.rotate(signals, np.random.default_rng(0))

    def lengths(x: np.ndarray) -> np.ndarray:
        return np.asarray(np.linalg.norm(x.reshape(len(x), -1, 3, x.shape[-1]), axis=2))

    np.testing.assert_allclose(lengths(turned), lengths(signals), rtol=1e-3, atol=1e-3)


def test_rotation_needs_triples() -> None:
    with pytest.raises(DataError, match="triples"):
        transforms.rotate(np.zeros((1, 2, 8), np.float32), np.random.default_rng(0))


def test_shift_moves_windows_by_their_own_delay() -> None:
    ramp = np.tile(np.arange(80, dtype=np.float32), (50, 1, 1))
    moved = transforms.shift(ramp, np.random.default_rng(0))
    steps = moved[:, 0, 40] - 40
    assert np.abs(steps).max() <= 10
    assert len(set(steps.tolist())) > 10


def test_filling() -> None:
    signals = np.array([[[0, np.nan, 2, np.inf, 4], [np.nan] * 5]], np.float32)
    before = signals.copy()
    np.testing.assert_array_equal(transforms.fill_missing(signals, "zero"), [[[0, 0, 2, 0, 4], [0] * 5]])
    np.testing.assert_array_equal(transforms.fill_missing(signals, "interpolate"), [[[0, 1, 2, 3, 4], [0] * 5]])
    np.testing.assert_array_equal(signals, before)


def test_statistics_of_a_silent_channel() -> None:
    signals = np.stack([np.full((4, 10), 2.0), np.arange(40.0).reshape(4, 10)], axis=1).astype(np.float32)
    mean, std = transforms.channel_statistics([signals[:1], signals[1:]])
    np.testing.assert_allclose(mean, [2.0, 19.5])
    np.testing.assert_allclose(std, [1.0, np.arange(40.0).std()], rtol=1e-6)


def test_conform_resamples_and_cuts_the_middle() -> None:
    time = np.arange(400) / 100
    slow = np.sin(2 * np.pi * time).astype(np.float32)[None, None]
    got = transforms.conform(slow, 100, 50, 128)
    assert got.shape == (1, 1, 128)
    np.testing.assert_allclose(got[0, 0], np.sin(2 * np.pi * (np.arange(128) + 36) / 50), atol=0.02)
    with pytest.raises(DataError, match="shorter than the model's 128"):
        transforms.conform(slow, 100, 25, 128)


def test_stretch_stays_inside_the_window() -> None:
    wave = np.sin(np.arange(50, dtype=np.float32))[None, None].repeat(200, axis=0)
    for strength in (1.0, 3.0, 10.0):
        assert np.abs(transforms.stretch(wave, np.random.default_rng(0), strength)).max() <= 1


def test_highpass_takes_away_wander_and_keeps_the_beat() -> None:
    time = np.arange(2000) / 125
    wander, beat = np.sin(2 * np.pi * 0.05 * time), np.sin(2 * np.pi * 8 * time)
    found = transforms.highpass((3 * wander + beat)[None].astype(np.float32), 0.5, 125)
    np.testing.assert_allclose(found[0, 300:-300], beat[300:-300], atol=0.05)
    assert transforms.highpass(np.ones((1, 3), np.float32), 0.5, 125).shape == (1, 3)


def test_resample_keeps_time() -> None:
    rates = (360, 125)
    slow, fast = (np.sin(2 * np.pi * 3 * np.arange(4 * rate) / rate) for rate in rates)
    np.testing.assert_allclose(transforms.resample(slow, *rates)[20:-20], fast[20:-20], atol=0.01)
    assert transforms.resample(slow, 360, 360) is slow


def test_played_twice_as_fast_a_sine_has_twice_the_frequency() -> None:
    time = np.arange(400) / 100
    wave = np.sin(2 * np.pi * 2 * (time - 1.995))[None, None].astype(np.float32)
    fast = transforms.played(wave, np.array([[1.25]]))
    spectrum = np.abs(np.fft.rfft(fast[0, 0, 50:350] * np.hanning(300), 4096))
    assert np.fft.rfftfreq(4096, 0.01)[spectrum.argmax()] == pytest.approx(2.5, abs=0.05)
    np.testing.assert_allclose(transforms.played(wave, np.array([[1.0]])), wave, atol=1e-6)


def test_even_crops_cover_everything() -> None:
    signals = np.arange(250, dtype=np.float32)[None, None]
    crops = transforms.even_crops(signals, 100)
    assert [crop[0, 0, 0] for crop in crops] == [0, 75, 150]
    assert transforms.even_crops(signals, 250)[0] is not None
    assert len(transforms.even_crops(signals, 250)) == 1


def test_an_augmentation_may_have_its_own_strength() -> None:
    assert transforms.parse_augmentation("stretch:0.45") == ("stretch", 0.45)
    assert transforms.parse_augmentation("flip") == ("flip", 1.0)
