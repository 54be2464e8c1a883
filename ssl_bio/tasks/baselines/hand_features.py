"""Features that people have long computed by hand, in time and frequency, of each channel."""

from functools import partial
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.loader import SignalDataset
from ssl_bio.data.recording import Signals
from ssl_bio.tasks.baselines.base import FeatureBaseline
from ssl_bio.tasks.baselines.kept import Extract

_OCTAVES = 6
_TINY = 1e-12

Values = NDArray[np.float64]


class HandFeatures(FeatureBaseline):
    """Moments, quantiles, Hjorth's parameters and the spectrum of each channel: 25 numbers a channel.

    In time: mean, log standard deviation, skewness, kurtosis, least and greatest value, quartiles, mean absolute
    difference of neighbours, rate of crossings of the mean, Hjorth's mobility and complexity (Hjorth 1970), and the
    lag of the highest autocorrelation after its first fall below zero, with that correlation. In frequency: strongest
    frequency, centroid, entropy, the log of all power, and the log share of power in six octaves below half the
    sampling rate, the lowest of which reaches down to the slowest.
    """

    version: ClassVar = 1

    def extractor(self, training: SignalDataset) -> Extract:
        """Return what computes them at the rate of these windows."""
        return partial(hand_features, sampling_rate=training.sampling_rate)


def hand_features(signals: Signals, *, sampling_rate: float) -> NDArray[np.float32]:
    """Return features `(n, 25 n_channels)` of windows `(n, n_channels, length)`, one kind after another."""
    x = signals.astype(np.float64)
    found = [*_of_time(x, sampling_rate), *_of_spectrum(x, sampling_rate)]  # (n, n_channels) each
    return np.concatenate(found, axis=1).astype(np.float32)


def _of_time(x: Values, sampling_rate: float) -> list[Values]:
    mean, std = x.mean(axis=-1), x.std(axis=-1)
    z = (x - mean[..., None]) / np.maximum(std, _TINY)[..., None]
    slope = np.diff(x, axis=-1)
    bend = np.diff(slope, axis=-1)
    mobility = slope.std(axis=-1) / np.maximum(std, _TINY)
    crossings = (np.diff(np.signbit(z), axis=-1)).mean(axis=-1) * sampling_rate
    return [
        mean,
        np.log(std + _TINY),
        (z**3).mean(axis=-1),
        (z**4).mean(axis=-1),
        *np.quantile(x, [0.0, 0.25, 0.5, 0.75, 1.0], axis=-1),
        np.abs(slope).mean(axis=-1),
        crossings,
        mobility,
        bend.std(axis=-1) / np.maximum(slope.std(axis=-1), _TINY) / np.maximum(mobility, _TINY),
        *_period(z, sampling_rate),
    ]


def _period(z: Values, sampling_rate: float) -> tuple[Values, Values]:
    """Return the lag (s) of the highest autocorrelation once it has fallen below zero, and the correlation there."""
    length = z.shape[-1]
    power = np.abs(np.fft.rfft(z, 2 * length, axis=-1)) ** 2
    correlation = np.fft.irfft(power, axis=-1)[..., : length // 2 + 1] / length
    fallen = np.maximum.accumulate(correlation < 0, axis=-1)
    later = np.where(fallen, correlation, -1.0)
    return later.argmax(axis=-1) / sampling_rate, later.max(axis=-1)


def _of_spectrum(x: Values, sampling_rate: float) -> list[Values]:
    length = x.shape[-1]
    power = np.abs(np.fft.rfft((x - x.mean(axis=-1, keepdims=True)) * np.hanning(length), axis=-1)) ** 2
    frequency = np.fft.rfftfreq(length, 1 / sampling_rate)
    total = power.sum(axis=-1)
    share = power / np.maximum(total, _TINY)[..., None]
    edges = sampling_rate / 2 / 2.0 ** np.arange(_OCTAVES)
    lower = [*edges[1:], 0.0]
    octaves = [
        share[..., (frequency <= high) & (frequency > low if low else frequency >= 0)].sum(axis=-1)
        for high, low in zip(edges, lower, strict=True)
    ]
    return [
        frequency[power.argmax(axis=-1)],
        share @ frequency,
        -(share * np.log(share + _TINY)).sum(axis=-1),
        np.log(total + _TINY),
        *(np.log(part + 1e-6) for part in octaves),
    ]
