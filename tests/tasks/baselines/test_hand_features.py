"""Hand features say what they are called."""

import numpy as np

from ssl_bio.tasks.baselines.hand_features import hand_features


def sine(
    frequency: float, *, amplitude: float = 1.0, offset: float = 0.0
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    time = np.arange(1000) / 50
    return (offset + amplitude * np.sin(2 * np.pi * frequency * time)).astype(np.float32)[None, None]


def test_those_of_a_sine_are_known() -> None:
    found = hand_features(sine(2.0, amplitude=3.0, offset=1.0), sampling_rate=50)[0]
    assert found.shape == (25,)
    mean, log_std, skewness, kurtosis, least, _, _, _, greatest = found[:9]
    np.testing.assert_allclose([mean, log_std, skewness, kurtosis], [1, np.log(3 / np.sqrt(2)), 0, 1.5], atol=1e-3)
    np.testing.assert_allclose([least, greatest], [-2, 4], atol=0.02)
    crossings, mobility, complexity, period, correlation = found[10:15]
    np.testing.assert_allclose(crossings, 4.0, atol=0.1)  # twice a period
    np.testing.assert_allclose(mobility, 2 * np.sin(np.pi * 2 / 50), rtol=0.01)
    np.testing.assert_allclose(complexity, 1.0, atol=0.01)  # least of all, for a pure sine
    np.testing.assert_allclose(period, 0.5, atol=0.021)
    assert correlation > 0.9
    strongest, centroid, entropy = found[15:18]
    np.testing.assert_allclose([strongest, centroid], 2.0, atol=0.05)
    assert entropy < 1.2
    octaves = found[19:]  # below 25, 12.5, 6.25, 3.125, 1.5625 and 0.78 Hz
    assert octaves.argmax() == 3


def test_channels_stand_side_by_side() -> None:
    both = np.concatenate([sine(2.0), sine(5.0, offset=4.0)], axis=1)
    found = hand_features(both, sampling_rate=50)[0]
    assert found.shape == (50,)
    np.testing.assert_allclose(found[0::2], hand_features(sine(2.0), sampling_rate=50)[0], rtol=1e-5)
    np.testing.assert_allclose(found[1::2], hand_features(sine(5.0, offset=4.0), sampling_rate=50)[0], rtol=1e-5)


def test_a_silent_channel_has_finite_ones() -> None:
    assert np.isfinite(hand_features(np.zeros((2, 1, 40), np.float32), sampling_rate=50)).all()
