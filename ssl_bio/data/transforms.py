"""Pure functions of (array, generator) on signals `(n, channels, length)`; none writes into its input."""

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, resample_poly, sosfiltfilt

from ssl_bio.data.store import Signals
from ssl_bio.errors import DataError

_FINEST_RATIO = 20_000

#: (signals, generator, strength) -> signals; strength 1 is what pretraining found useful, 0 changes nothing.
Augmentation = Callable[[Signals, np.random.Generator, float], Signals]


def fill_missing(signals: Signals, how: str) -> Signals:
    """Replace NaN and infinite samples: "zero", or "interpolate" linearly in time (edges repeat).

    A channel with no finite sample at all becomes zero under both.
    """
    finite = np.isfinite(signals)
    if finite.all():
        return signals
    filled = np.where(finite, signals, np.float32(0))
    if how == "interpolate":
        time = np.arange(signals.shape[-1])
        for window, channel in np.argwhere(~finite.all(axis=-1)):
            known = finite[window, channel]
            if known.any():
                filled[window, channel] = np.interp(time, time[known], signals[window, channel, known])
    return filled


def channel_statistics(parts: Iterable[Signals]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of each channel over windows and time; a silent channel gets 1.

    `parts` are `(n, channels, length)` each, merged one after the other (Chan et al. 1979), so that a split need not
    fit into memory.
    """
    n, mean, square = 0, np.zeros(1), np.zeros(1)
    for part in parts:
        size = part.shape[0] * part.shape[2]
        centre = part.mean(axis=(0, 2), dtype=np.float64)
        shift, total = centre - mean, n + size
        square = square + part.var(axis=(0, 2), dtype=np.float64) * size + shift**2 * n * size / total
        n, mean = total, mean + shift * size / total
    std = np.sqrt(square / n)
    return mean.astype(np.float32), np.where(std > 0, std, 1.0).astype(np.float32)


def resample(signals: Signals, sampling_rate: float, wanted_rate: float) -> Signals:
    """Signals `(..., length)` at another rate (polyphase filter, zero phase)."""
    if sampling_rate == wanted_rate:
        return signals
    ratio = rate_ratio(sampling_rate, wanted_rate)
    return cast(Signals, resample_poly(signals, ratio.numerator, ratio.denominator, axis=-1))


def rate_ratio(sampling_rate: float, wanted_rate: float) -> Fraction:
    """Samples at the wanted rate to a sample of the other, exactly as the rates are written.

    Raises DataError when that is no fraction of numbers up to 20,000, for the filter would be endless.
    """
    ratio = Fraction(repr(float(wanted_rate))) / Fraction(repr(float(sampling_rate)))
    if max(ratio.numerator, ratio.denominator) > _FINEST_RATIO:
        raise DataError(f"{sampling_rate:g} Hz and {wanted_rate:g} Hz have no simple ratio: round one of them")
    return ratio


def highpass(signals: Signals, cutoff: float, sampling_rate: float) -> Signals:
    """Signals `(..., length)` without what is slower than `cutoff` Hz (second-order Butterworth, run both ways)."""
    sections = butter(2, cutoff, "highpass", fs=sampling_rate, output="sos")
    # The usual edge padding, cut down for a record that is shorter than it.
    padding = min(3 * 5, signals.shape[-1] - 1)
    return cast(Signals, sosfiltfilt(sections, signals, axis=-1, padlen=padding))


def bandpass(signals: Signals, low: float, high: float, sampling_rate: float) -> Signals:
    """Signals `(..., length)` between `low` and `high` Hz (second-order Butterworth, run both ways).

    Raises DataError when these are no band below half the sampling rate.
    """
    if not 0 < low < high < sampling_rate / 2:
        raise DataError(f"from {low:g} to {high:g} Hz is no band below half of {sampling_rate:g} Hz")
    sections = butter(2, [low, high], "bandpass", fs=sampling_rate, output="sos")
    padding = min(3 * 5, signals.shape[-1] - 1)
    return cast(Signals, sosfiltfilt(sections, signals, axis=-1, padlen=padding).astype(np.float32))


def conform(signals: Signals, sampling_rate: float, wanted_rate: float, wanted_length: int) -> Signals:
    """Resample to another rate (polyphase filter), then cut the middle `wanted_length` samples.

    Raises DataError when the result is too short.
    """
    signals = resample(signals, sampling_rate, wanted_rate).astype(np.float32, copy=False)
    length = signals.shape[-1]
    if length < wanted_length:
        raise DataError(
            f"windows last {length} samples at {wanted_rate:g} Hz, shorter than the model's {wanted_length}"
        )
    start = (length - wanted_length) // 2
    return signals[..., start : start + wanted_length]


def crop(signals: Signals, length: int, rng: np.random.Generator) -> Signals:
    """`length` samples of each window, from a place drawn at random for each."""
    start = rng.integers(0, signals.shape[-1] - length + 1, len(signals))
    index = np.broadcast_to(start[:, None, None] + np.arange(length), (*signals.shape[:2], length))
    return np.take_along_axis(signals, index, axis=-1)


def even_crops(signals: Signals, length: int) -> list[Signals]:
    """Crops of `length` samples that cover windows `(n, channels, samples)` evenly, as few as possible."""
    total = signals.shape[-1]
    starts = np.linspace(0, total - length, -(-total // length)).round().astype(int)
    return [signals[..., start : start + length] for start in starts]


def rotate(signals: Signals, rng: np.random.Generator, strength: float = 1.0) -> Signals:
    """Turn each window's 3-axis sensors by one small random rotation (0.3 rad a component at strength 1).

    What a phone worn slightly differently records. Channels come in consecutive x, y, z triples.

    Raises DataError when the number of channels is no multiple of three.
    """
    n, n_channels, length = signals.shape
    if n_channels % 3:
        raise DataError(f"augment: 'rotate' needs x, y, z triples of channels, not {n_channels} channels")
    triples = signals.reshape(n, n_channels // 3, 3, length)
    rotation = _rotation_matrices(rng.standard_normal((n, 3)) * 0.3 * strength)
    return cast(Signals, np.matmul(rotation[:, None], triples).reshape(signals.shape))


def scale(signals: Signals, rng: np.random.Generator, strength: float = 1.0) -> Signals:
    """Multiply each window by one random factor around 1 (deviation 0.2 at strength 1)."""
    return signals * (1 + np.float32(0.2 * strength) * rng.standard_normal((len(signals), 1, 1), dtype=np.float32))


def jitter(signals: Signals, rng: np.random.Generator, strength: float = 1.0) -> Signals:
    """Add white noise, a tenth of each window's own deviation in each channel at strength 1."""
    noise = rng.standard_normal(signals.shape, dtype=np.float32)
    return cast(Signals, signals + np.float32(0.1 * strength) * signals.std(axis=-1, keepdims=True) * noise)


def shift(signals: Signals, rng: np.random.Generator, strength: float = 1.0) -> Signals:
    """Delay each window by up to an eighth of its length (at strength 1) either way; the part that enters
    mirrors what stood at the edge."""
    length = signals.shape[-1]
    most = min(round(length / 8 * strength), length - 1)
    padded = np.pad(signals, ((0, 0), (0, 0), (most, most)), mode="reflect")
    start = rng.integers(0, 2 * most + 1, len(signals))
    index = start[:, None, None] + np.arange(length)
    return np.take_along_axis(padded, np.broadcast_to(index, signals.shape), axis=-1)


def reverse_time(signals: Signals, rng: np.random.Generator, strength: float = 1.0) -> Signals:
    """Play windows drawn at random, every other one at strength 1, backwards."""
    return np.where(rng.random((len(signals), 1, 1)) < 0.5 * strength, signals[..., ::-1], signals)


def stretch(signals: Signals, rng: np.random.Generator, strength: float = 1.0) -> Signals:
    """Play each window faster or slower by up to a factor 1.5 (at strength 1), as hearts and steps do; where it
    runs out of samples it turns back."""
    pace = draw_paces(len(signals), rng, strength)
    return played(signals, pace, rng.uniform(0, 1, (len(signals), 1)))


def draw_paces(n: int, rng: np.random.Generator, strength: float) -> NDArray[np.float64]:
    """Factors `(n, 1)` between 1 / 1.5 and 1.5 at strength 1, even on a logarithmic scale."""
    return np.asarray(np.exp(np.log(1.5) * strength * rng.uniform(-1, 1, (n, 1))))


def played(signals: Signals, pace: NDArray[np.float64], place: NDArray[np.float64] | float = 0.5) -> Signals:
    """Windows `(n, channels, length)` played `pace` `(n, 1)` times as fast, at their old length; `place` says where in
    the room that is left or lacking they begin, 0.5 keeps their middle."""
    length = signals.shape[-1]
    start = beginning(pace, place, length)
    period = max(2 * (length - 1), 1)
    position = np.mod(start + pace * np.arange(length), period)
    position = np.minimum(position, period - position)
    before = np.clip(position.astype(np.int64), 0, max(length - 2, 0))
    weight = (position - before).astype(np.float32)[:, None]
    after = np.minimum(before + 1, length - 1)
    first, second = (np.take_along_axis(signals, index[:, None], axis=-1) for index in (before, after))
    return cast(Signals, first * (1 - weight) + second * weight)


def beginning(pace: NDArray[np.float64], place: NDArray[np.float64] | float, length: int) -> NDArray[np.float64]:
    """Where `(n, 1)`, in samples of the window, `played` begins."""
    return np.asarray(place * (1 - pace) * (length - 1))


def recolour(signals: Signals, rng: np.random.Generator, strength: float = 1.0) -> Signals:
    """Run each window through a short smooth filter of its own, which gives all its beats another shape, as
    another person or electrode position would; the window's deviation stays."""
    n, _, length = signals.shape
    half = max(1, min(length // 40, length - 1))
    time = np.arange(-half, half + 1)
    smoothness = np.exp(rng.uniform(0, np.log(max(half / 4, 1.5)), (n, 1)))
    bell = np.exp(-0.5 * (time / smoothness) ** 2)
    response = fftconvolve(rng.standard_normal((n, 2 * half + 1)), bell, mode="same", axes=-1)
    response *= np.exp(-0.5 * (time / (0.4 * half)) ** 2)
    response /= np.linalg.norm(response, axis=-1, keepdims=True)
    response *= 0.8 * strength * rng.uniform(0, 1, (n, 1))
    response[:, half] += 1
    mean, spread = signals.mean(axis=-1, keepdims=True), signals.std(axis=-1, keepdims=True)
    padded = np.pad(signals - mean, ((0, 0), (0, 0), (half, half)), mode="reflect")
    found = fftconvolve(padded, response[:, None].astype(np.float32), mode="valid", axes=-1)
    found *= spread / np.maximum(found.std(axis=-1, keepdims=True), 1e-12)
    silent = spread <= 1e-5 * np.abs(signals).max(axis=-1, keepdims=True)
    return cast(Signals, np.where(silent, signals, mean + found).astype(np.float32))


def flip(signals: Signals, rng: np.random.Generator, strength: float = 1.0) -> Signals:
    """Turn windows drawn at random, every other one at strength 1, upside down, as swapped electrodes do."""
    upside_down = rng.random((len(signals), 1, 1)) < 0.5 * strength
    return np.where(upside_down, -signals, signals)


def drop_channels(signals: Signals, rng: np.random.Generator, strength: float = 1.0) -> Signals:
    """Silence channels drawn at random, one of ten at strength 1, so that no channel alone is relied on."""
    return signals * (rng.random((*signals.shape[:2], 1), dtype=np.float32) >= 0.1 * strength)


AUGMENTATIONS: dict[str, Augmentation] = {
    "rotate": rotate,
    "scale": scale,
    "jitter": jitter,
    "shift": shift,
    "reverse_time": reverse_time,
    "flip": flip,
    "stretch": stretch,
    "recolour": recolour,
    "drop_channels": drop_channels,
}


def parse_augmentation(text: str) -> tuple[str, float]:
    """ "name" or "name:strength" -> both; the strength is 1 unless given."""
    name, _, strength = text.partition(":")
    return name, float(strength or 1)


def check_augmentations(names: Sequence[str], n_channels: int) -> None:
    """Raise DataError when an augmentation cannot serve this many channels."""
    for text in names:
        name, strength = parse_augmentation(text)
        AUGMENTATIONS[name](np.zeros((1, n_channels, 8), np.float32), np.random.default_rng(0), strength)


def _rotation_matrices(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    """Rodrigues' formula: rotation vectors `(n, 3)` in radians -> matrices `(n, 3, 3)`."""
    angle = np.linalg.norm(vectors, axis=1)[:, None, None]
    x, y, z = (vectors / np.maximum(angle[:, 0], 1e-12)).T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)
    matrices = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
    return cast(Signals, matrices.astype(np.float32))
