"""MiniRocket as its paper describes it."""

from itertools import combinations

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier

from ssl_bio.data.recording import Signals
from ssl_bio.tasks.baselines import minirocket
from ssl_bio.tasks.baselines.minirocket import MiniRocket
from tests.tasks.baselines.signals import windows_of

RNG = np.random.default_rng


def noise(n: int, channels: int = 1, length: int = 100) -> Signals:
    return RNG(0).standard_normal((n, channels, length)).astype(np.float32)


def test_kernels_are_all_84_of_length_nine_that_add_up_to_nothing() -> None:
    kernels = minirocket._KERNELS
    assert kernels.shape == (84, 9)
    assert len(np.unique(kernels, axis=0)) == 84
    assert set(kernels.ravel()) == {-1.0, 2.0}
    assert not kernels.sum(axis=1).any()


@pytest.mark.parametrize(("length", "longest"), [(9, 1), (100, 12), (500, 62), (4000, 499)])
def test_dilations_reach_across_the_window_and_share_119_thresholds(length: int, longest: int) -> None:
    found = minirocket._dilations(length)
    dilations, counts = zip(*found, strict=True)
    assert dilations[0] == 1
    assert dilations[-1] in (longest - 1, longest)
    assert 8 * dilations[-1] < length
    assert sum(counts) == 119
    assert len(dilations) <= 32


def test_features_are_shares_above_thresholds_of_convolutions() -> None:
    """One window, one channel, every feature by a plain loop."""
    training = windows_of(noise(20))
    transform = minirocket.fit(training)
    window = noise(21)[20:]
    found = transform(window)[0]
    expected = []
    for index, one in enumerate(transform.dilations):
        reach = 4 * one.dilation
        padded = np.pad(window[0, 0], reach)
        for number, chosen in enumerate(combinations(range(9), 3)):
            weights = np.where(np.isin(np.arange(9), chosen), 2.0, -1.0)
            convolution = np.array(
                [weights @ padded[start : start + 8 * one.dilation + 1 : one.dilation] for start in range(100)]
            )
            if (number + index) % 2:
                convolution = convolution[reach : 100 - reach]
            expected += [(convolution > level).mean() for level in one.thresholds[number].numpy()]
    assert found.shape == (9996,)
    np.testing.assert_allclose(found, expected, atol=0.011)  # a sample that ties with its threshold in float32


def test_an_offset_changes_nothing_away_from_the_edges() -> None:
    training = windows_of(noise(20))
    transform, window = minirocket.fit(training), noise(1)
    inside = []
    for index, one in enumerate(transform.dilations):
        kernels = np.arange(84)[:, None].repeat(one.thresholds.shape[1], axis=1)
        inside.append(((kernels + index) % 2 == 1).ravel())
    unpadded = np.concatenate(inside)
    before, after = transform(window)[0], transform(window + 7)[0]
    np.testing.assert_allclose(after[unpadded], before[unpadded], atol=0.03)
    assert np.abs(after - before)[~unpadded].max() > 0.1


def test_each_kernel_sees_some_of_many_channels() -> None:
    weight = minirocket._on_channels(RNG(0), 12)
    n_seen = (weight.abs().sum(dim=2) > 0).sum(dim=1)
    assert set(n_seen.tolist()) <= set(range(1, 10))
    assert len(set(n_seen.tolist())) > 2


def test_a_ridge_tells_by_them_what_it_cannot_tell_from_samples() -> None:
    """Bursts at any time, rising or falling in pitch: no sample says which."""
    rng, time = RNG(1), np.arange(128)

    def chirps(n: int) -> tuple[Signals, np.ndarray[tuple[int], np.dtype[np.int64]]]:
        labels = rng.integers(2, size=n)
        found = 0.3 * rng.standard_normal((n, 1, 128))
        for window, label in zip(found, labels, strict=True):
            pace = np.linspace(0.05, 0.25, 48)[:: 1 if label else -1]
            start = rng.integers(80)
            window[0, start : start + 48] += np.sin(2 * np.pi * (pace.cumsum() + rng.uniform()))
        return found.astype(np.float32), labels

    assert len(time) == 128
    (x, y), (new, wanted) = chirps(200), chirps(200)
    raw = RidgeClassifier(alpha=10.0).fit(x[:, 0], y).score(new[:, 0], wanted)
    transform = MiniRocket().extractor(windows_of(x))
    ours = RidgeClassifier(alpha=100.0).fit(transform(x), y).score(transform(new), wanted)
    assert raw < 0.65
    assert ours > 0.9
