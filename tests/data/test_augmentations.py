"""Augmentations: pure, never in place, and each what it says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ssl_bio.data import augmentations
from ssl_bio.errors import DataError

SIGNALS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.sampled_from([3, 6]), st.integers(8, 40)),
    elements=st.floats(-100, 100, width=32),
)


@pytest.mark.parametrize("name", augmentations.AUGMENTATIONS)
@given(signals=SIGNALS, seed=st.integers(0, 2**32 - 1))
def test_augmentations_keep_shape_and_input_and_follow_the_seed(name: str, signals: np.ndarray, seed: int) -> None:
    before = signals.copy()
    augment = augmentations.AUGMENTATIONS[name]
    first = augment(signals, np.random.default_rng(seed), 1.0)
    np.testing.assert_array_equal(signals, before)
    assert first.shape == signals.shape
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, augment(signals, np.random.default_rng(seed), 1.0))


@pytest.mark.parametrize("name", augmentations.AUGMENTATIONS)
@given(signals=SIGNALS)
def test_strength_zero_changes_nothing(name: str, signals: np.ndarray) -> None:
    same = augmentations.AUGMENTATIONS[name](signals, np.random.default_rng(0), 0.0)
    np.testing.assert_allclose(same, signals, atol=1e-4)


@given(signals=SIGNALS)
def test_rotation_keeps_the_length_of_every_vector(signals: np.ndarray) -> None:
    turned = augmentations.rotate(signals, np.random.default_rng(0))

    def lengths(x: np.ndarray) -> np.ndarray:
        return np.asarray(np.linalg.norm(x.reshape(len(x), -1, 3, x.shape[-1]), axis=2))

    np.testing.assert_allclose(lengths(turned), lengths(signals), rtol=1e-3, atol=1e-3)


def test_rotation_needs_triples() -> None:
    with pytest.raises(DataError, match="triples"):
        augmentations.rotate(np.zeros((1, 2, 8), np.float32), np.random.default_rng(0))


def test_shift_moves_windows_by_their_own_delay() -> None:
    ramp = np.tile(np.arange(80, dtype=np.float32), (50, 1, 1))
    moved = augmentations.shift(ramp, np.random.default_rng(0))
    steps = moved[:, 0, 40] - 40
    assert np.abs(steps).max() <= 10
    assert len(set(steps.tolist())) > 10


def test_stretch_stays_inside_the_window() -> None:
    wave = np.sin(np.arange(50, dtype=np.float32))[None, None].repeat(200, axis=0)
    for strength in (1.0, 3.0, 10.0):
        assert np.abs(augmentations.stretch(wave, np.random.default_rng(0), strength)).max() <= 1


def test_at_a_higher_speed_a_sine_has_a_higher_frequency() -> None:
    time = np.arange(400) / 100
    wave = np.sin(2 * np.pi * 2 * (time - 1.995))[None, None].astype(np.float32)
    fast = augmentations.time_stretch(wave, np.array([[1.25]]))
    spectrum = np.abs(np.fft.rfft(fast[0, 0, 50:350] * np.hanning(300), 4096))
    assert np.fft.rfftfreq(4096, 0.01)[spectrum.argmax()] == pytest.approx(2.5, abs=0.05)
    np.testing.assert_allclose(augmentations.time_stretch(wave, np.array([[1.0]])), wave, atol=1e-6)


def test_even_crops_cover_everything() -> None:
    signals = np.arange(250, dtype=np.float32)[None, None]
    crops = augmentations.even_crops(signals, 100)
    assert [crop[0, 0, 0] for crop in crops] == [0, 75, 150]
    assert augmentations.even_crops(signals, 250)[0] is not None
    assert len(augmentations.even_crops(signals, 250)) == 1


def test_an_augmentation_may_have_its_own_strength() -> None:
    assert augmentations.parse_augmentation("stretch:0.45") == ("stretch", 0.45)
    assert augmentations.parse_augmentation("flip") == ("flip", 1.0)
