"""Clean signals and the noise that is laid over them. Nothing is ever written into either."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.store import Signals
from ssl_bio.data.view import Batch, Batches, Streams
from ssl_bio.errors import DataError

SHUFFLES = ("none", "samples", "phase")


@dataclass(frozen=True)
class Noise:
    """Recordings of noise at the signals' rate, and how loud they are laid over them.

    `sources`: type -> stretches `(n, channels, length)`. `level` "snr": the noise of every channel is brought to so
    many dB under the signal's variance in the same window; "gain": it is multiplied as recorded. In training a level is
    drawn evenly between `low` and `high`. `shuffle` "samples" puts a stretch's samples in a random order, "phase" gives
    its spectrum random phases; in training alone, for judges want noise as it is.
    """

    sources: Mapping[str, Signals]
    level: str = "snr"
    low: float = -10.0
    high: float = 10.0
    shuffle: str = "none"

    def check(self, length: int, name: str) -> None:
        """Raise DataError when there is no noise, a type is silent, or stretches are shorter than `length` samples."""
        if not self.sources:
            raise DataError(f"noise.dataset {name}: it has no noise in this split")
        for kind, stretches in self.sources.items():
            if not np.ptp(stretches, axis=-1).any():
                raise DataError(f"noise.dataset {name}: {kind} is silent: leave it out of noise.types")
            if stretches.shape[-1] < length:
                raise DataError(
                    f"noise.dataset {name}: {kind} has stretches of {stretches.shape[-1]} samples, shorter than the "
                    f"{length} of a window: choose a shorter data.window, to judge by, or model.window, to learn from"
                )

    def drawn(self, clean: Signals, rng: np.random.Generator) -> Signals:
        """Noise for signals `(n, channels, length)`: for each a type, a stretch, a sign and a level at random."""
        kinds = list(self.sources)
        chosen = rng.integers(len(kinds), size=len(clean))
        found = np.stack(
            [
                self._shuffled(self._stretch(kinds[kind], window.shape, rng), rng)
                for kind, window in zip(chosen, clean, strict=True)
            ]
        )
        level = rng.uniform(self.low, self.high, (len(clean), 1, 1))
        return self._levelled(found, clean, level)

    def at(self, clean: Signals, kind: str, level: float, rng: np.random.Generator) -> Signals:
        """Noise of one type at one level for signals `(n, channels, length)`, as it was recorded."""
        found = np.stack([self._stretch(kind, window.shape, rng) for window in clean])
        return self._levelled(found, clean, np.full((len(clean), 1, 1), level))

    def _stretch(self, kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> Signals:
        """A stretch `(channels, length)` of one recording; its channels in turn, from one at random, for those of the
        signal."""
        recordings = self.sources[kind]
        row, first = rng.integers(len(recordings)), rng.integers(recordings.shape[1])
        start = rng.integers(recordings.shape[-1] - shape[-1] + 1)
        channels = (first + np.arange(shape[0])) % recordings.shape[1]
        found = recordings[row][channels, start : start + shape[-1]]  # a copy, for channels are chosen by number
        found = found - found.mean(axis=-1, keepdims=True)
        return np.asarray(found * rng.choice((-1, 1)), np.float32)

    def _shuffled(self, stretch: Signals, rng: np.random.Generator) -> Signals:
        if self.shuffle == "samples":
            return np.asarray(rng.permuted(stretch, axis=-1))
        return _with_random_phases(stretch, rng) if self.shuffle == "phase" else stretch

    def _levelled(self, noise: Signals, clean: Signals, level: NDArray[np.float64]) -> Signals:
        if self.level == "gain":
            return np.asarray(noise * level, np.float32)
        power, theirs = (part.var(axis=-1, keepdims=True, dtype=np.float64) for part in (clean, noise))
        factor = np.sqrt(power / np.where(theirs > 0, theirs, np.inf) / 10 ** (level / 10))
        return np.asarray(noise * factor, np.float32)


def _with_random_phases(noise: Signals, rng: np.random.Generator) -> Signals:
    spectrum = np.fft.rfft(noise, axis=-1)
    phases = np.exp(2j * np.pi * rng.random(spectrum.shape))
    whole = 1 - noise.shape[-1] % 2
    phases[..., [0, *([-1] * whole)]] = 1  # the mean, and at even lengths the fastest component, have no phase
    turned = spectrum * phases
    return np.fft.irfft(turned, noise.shape[-1], axis=-1).astype(np.float32)


@dataclass(frozen=True)
class Mixed:
    """Batches to learn denoising from: inputs are clean signals, targets the noise to be added to them.

    Without `noise` the clean batches hold twice as many channels, the latter half as recorded with noise, and the noise
    is what the halves differ by.
    """

    clean: Batches
    noise: Noise | None

    def __len__(self) -> int:
        return len(self.clean)

    def shuffled(self, streams: Streams) -> Iterator[Batch]:
        """One epoch in random order; every draw comes from `streams`, a function of purpose and position."""
        for step, batch in enumerate(self.clean.shuffled(streams)):
            if self.noise:
                yield Batch(batch.inputs, self.noise.drawn(batch.inputs, streams("noise", step)))
            else:
                clean, recorded = np.split(batch.inputs, 2, axis=1)
                yield Batch(clean, recorded - clean)
