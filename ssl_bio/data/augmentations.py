"""Random changes of signals `(n, channels, length)`: pure functions of (signals, generator, strength).

Strength 1 is what pretraining found useful, 0 changes nothing. No function writes into its input.
"""

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.recording import Signals
from ssl_bio.errors import DataError

Augmentation = Callable[[Signals, np.random.Generator, float], Signals]

_FASTEST = 1.5  # factor of "stretch" at strength 1


def crop(signals: Signals, length: int, rng: np.random.Generator) -> Signals:
    """Return `length` samples of each window, from a position drawn at random for each."""
    start = rng.integers(0, signals.shape[-1] - length + 1, len(signals))
    index = np.broadcast_to(start[:, None, None] + np.arange(length), (*signals.shape[:2], length))
    return np.take_along_axis(signals, index, axis=-1)


def even_crops(signals: Signals, length: int) -> list[Signals]:
    """Return as few crops of `length` samples as cover the windows, evenly spaced."""
    total = signals.shape[-1]
    starts = np.linspace(0, total - length, -(-total // length)).round().astype(int)
    return [signals[..., start : start + length] for start in starts]


def rotate(signals: Signals, rng: np.random.Generator, strength: float = 1.0) -> Signals:
    """Turn each window's 3-axis sensors by one small random rotation (0.3 rad a component at strength 1).

    This is what a phone worn slightly differently records. Channels come in consecutive x, y, z triples.

    Raises DataError when the number of channels is no multiple of three.
    """
    n, n_channels, length = signals.shape
    if n_channels % 3:
        raise DataError(f"augment: 'rotate' needs x, y, z triples of channels, not {n_channels} channels")
    triples = signals.reshape(n, n_channels // 3, 3, length)
    rotation = _rotation_matrices(rng.standard_normal((n, 3)) * 0.3 * strength)
    return cast(Signals, np.matmul(rotation[:, None], triples).reshape(signals.shape))


def scale(signals: Signals, rng: np.random.Generator, strength: float = 1.0) -> Signals:
    """Multiply each window by one random factor around 1 (standard deviation 0.2 at strength 1)."""
    return signals * (1 + np.float32(0.2 * strength) * rng.standard_normal((len(signals), 1, 1), dtype=np.float32))


def jitter(signals: Signals, rng: np.random.Generator, strength: float = 1.0) -> Signals:
    """Add white noise: at strength 1 a tenth of each window's own standard deviation in each channel."""
    noise = rng.standard_normal(signals.shape, dtype=np.float32)
    return cast(Signals, signals + np.float32(0.1 * strength) * signals.std(axis=-1, keepdims=True) * noise)


def shift(signals: Signals, rng: np.random.Generator, strength: float = 1.0) -> Signals:
    """Shift each window in time by up to an eighth of its length (at strength 1) either way, mirrored at its edge."""
    length = signals.shape[-1]
    most = min(round(length / 8 * strength), length - 1)
    padded = np.pad(signals, ((0, 0), (0, 0), (most, most)), mode="reflect")
    start = rng.integers(0, 2 * most + 1, len(signals))
    index = start[:, None, None] + np.arange(length)
    return np.take_along_axis(padded, np.broadcast_to(index, signals.shape), axis=-1)


def reverse_time(signals: Signals, rng: np.random.Generator, strength: float = 1.0) -> Signals:
    """Reverse windows drawn at random in time, every other one at strength 1."""
    return np.where(rng.random((len(signals), 1, 1)) < 0.5 * strength, signals[..., ::-1], signals)


def stretch(signals: Signals, rng: np.random.Generator, strength: float = 1.0) -> Signals:
    """Speed each window up or down by up to a factor 1.5 (at strength 1), as hearts do; see `time_stretch`."""
    speed = draw_speeds(len(signals), rng, strength)
    return time_stretch(signals, speed, rng.uniform(0, 1, (len(signals), 1)))


def draw_speeds(n: int, rng: np.random.Generator, strength: float) -> NDArray[np.float64]:
    """Return factors `(n, 1)` between 1 / 1.5 and 1.5 at strength 1, even on a logarithmic scale."""
    return np.asarray(np.exp(np.log(_FASTEST) * strength * rng.uniform(-1, 1, (n, 1))))


def time_stretch(signals: Signals, speed: NDArray[np.float64], offset: NDArray[np.float64] | float = 0.5) -> Signals:
    """Return windows `speed` `(n, 1)` times as fast, at their old length, by linear interpolation.

    `offset`, from 0 to 1, says where in the samples that are left over or lacking a window begins; 0.5 keeps its
    middle. Where it runs out of samples it continues mirrored.
    """
    length = signals.shape[-1]
    start = stretch_start(speed, offset, length)
    period = max(2 * (length - 1), 1)
    position = np.mod(start + speed * np.arange(length), period)
    position = np.minimum(position, period - position)
    before = np.clip(position.astype(np.int64), 0, max(length - 2, 0))
    weight = (position - before).astype(np.float32)[:, None]
    after = np.minimum(before + 1, length - 1)
    first, second = (np.take_along_axis(signals, index[:, None], axis=-1) for index in (before, after))
    return cast(Signals, first * (1 - weight) + second * weight)


def stretch_start(speed: NDArray[np.float64], offset: NDArray[np.float64] | float, length: int) -> NDArray[np.float64]:
    """Return the position `(n, 1)`, in samples of the window, at which `time_stretch` begins."""
    return np.asarray(offset * (1 - speed) * (length - 1))


def random_filter(signals: Signals, rng: np.random.Generator, strength: float = 1.0) -> Signals:
    """Convolve each window with a short smooth random impulse response, the same for all its channels.

    It gives all beats of a window another shape, as another person or electrode position would; mean and standard
    deviation stay.
    """
    from scipy.signal import fftconvolve  # imported when needed: it takes its time

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
    constant = spread <= 1e-5 * np.abs(signals).max(axis=-1, keepdims=True)
    return cast(Signals, np.where(constant, signals, mean + found).astype(np.float32))


def flip(signals: Signals, rng: np.random.Generator, strength: float = 1.0) -> Signals:
    """Negate windows drawn at random, every other one at strength 1, as swapped electrodes do."""
    negated = rng.random((len(signals), 1, 1)) < 0.5 * strength
    return np.where(negated, -signals, signals)


def drop_channels(signals: Signals, rng: np.random.Generator, strength: float = 1.0) -> Signals:
    """Set channels drawn at random to zero, one of ten at strength 1, so that no channel alone is relied on."""
    return signals * (rng.random((*signals.shape[:2], 1), dtype=np.float32) >= 0.1 * strength)


AUGMENTATIONS: dict[str, Augmentation] = {
    "rotate": rotate,
    "scale": scale,
    "jitter": jitter,
    "shift": shift,
    "reverse_time": reverse_time,
    "flip": flip,
    "stretch": stretch,
    "random_filter": random_filter,
    "drop_channels": drop_channels,
}

#: Those after which a sample of the window is of another moment.
TIME_AUGMENTATIONS = ("shift", "reverse_time", "stretch")


def parse_augmentation(text: str) -> tuple[str, float]:
    """Return name and strength of "name" or "name:strength"; the strength is 1 unless given."""
    name, _, strength = text.partition(":")
    return name, float(strength or 1)


def check_augmentations(names: Sequence[str], n_channels: int) -> None:
    """Raise DataError when an augmentation cannot be applied to this many channels."""
    for text in names:
        name, strength = parse_augmentation(text)
        AUGMENTATIONS[name](np.zeros((1, n_channels, 8), np.float32), np.random.default_rng(0), strength)


def _rotation_matrices(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the matrices `(n, 3, 3)` of rotation vectors `(n, 3)` in radians (Rodrigues' formula)."""
    angle = np.linalg.norm(vectors, axis=1)[:, None, None]
    x, y, z = (vectors / np.maximum(angle[:, 0], 1e-12)).T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)
    matrices = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
    return cast(Signals, matrices.astype(np.float32))
