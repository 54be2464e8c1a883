"""Clean signals and the noise that is added to them. Nothing is ever written into either."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.loader import Batch, Loader, Streams
from ssl_bio.data.recording import Signals
from ssl_bio.errors import DataError

SHUFFLES = ("none", "samples", "phase")


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Recordings of noise at the signals' rate, and how loud they are added to signals.

    `sources`: type of noise -> recordings `(n, channels, length)`. `level`: "snr" brings the noise of every channel to
    so many dB under the signal's variance in the same window; "gain" multiplies it as recorded. Training draws a level
    evenly between `low` and `high`. `shuffle`, in training alone: "samples" puts a recording's samples in random order,
    "phase" gives its spectrum random phases.
    """

    sources: Mapping[str, Signals]
    level: str = "snr"
    low: float = -10.0
    high: float = 10.0
    shuffle: str = "none"

    def check(self, length: int, name: str) -> None:
        """Check this noise, of a dataset of this name, for windows of `length` samples.

        Raises DataError when there is none, a type is constant, or recordings are shorter than a window.
        """
        if not self.sources:
            raise DataError(f"noise.dataset {name}: it has no noise in this split")
        for kind, recordings in self.sources.items():
            if not np.ptp(recordings, axis=-1).any():
                raise DataError(f"noise.dataset {name}: {kind} is silent: leave it out of noise.types")
            if recordings.shape[-1] < length:
                raise DataError(
                    f"noise.dataset {name}: {kind} has recordings of {recordings.shape[-1]} samples, shorter than the "
                    f"{length} of a window: choose a shorter data.window for evaluation, or model.window for training"
                )

    def draw(self, clean: Signals, rng: np.random.Generator) -> Signals:
        """Return noise for signals `(n, channels, length)`: for each a random type, excerpt, sign and level."""
        kinds = list(self.sources)
        chosen = rng.integers(len(kinds), size=len(clean))
        found = np.stack(
            [
                self._shuffled(self._excerpt(kinds[kind], window.shape, rng), rng)
                for kind, window in zip(chosen, clean, strict=True)
            ]
        )
        level = rng.uniform(self.low, self.high, (len(clean), 1, 1))
        return self._scaled(found, clean, level)

    def at(self, clean: Signals, *, kind: str, level: float, rng: np.random.Generator) -> Signals:
        """Return noise of one type at one level for signals `(n, channels, length)`, never shuffled."""
        found = np.stack([self._excerpt(kind, window.shape, rng) for window in clean])
        return self._scaled(found, clean, np.full((len(clean), 1, 1), level))

    def _excerpt(self, kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> Signals:
        """Return an excerpt `(channels, length)` of one recording.

        The recording's channels follow one another, from a random one on, for those of the signal.
        """
        recordings = self.sources[kind]
        row, first = rng.integers(len(recordings)), rng.integers(recordings.shape[1])
        start = rng.integers(recordings.shape[-1] - shape[-1] + 1)
        channels = (first + np.arange(shape[0])) % recordings.shape[1]
        found = recordings[row][channels, start : start + shape[-1]]  # a copy, for channels are chosen by number
        found = found - found.mean(axis=-1, keepdims=True)
        return np.asarray(found * rng.choice((-1, 1)), np.float32)

    def _shuffled(self, excerpt: Signals, rng: np.random.Generator) -> Signals:
        if self.shuffle == "samples":
            return np.asarray(rng.permuted(excerpt, axis=-1))
        return _with_random_phases(excerpt, rng) if self.shuffle == "phase" else excerpt

    def _scaled(self, noise: Signals, clean: Signals, level: NDArray[np.float64]) -> Signals:
        if self.level == "gain":
            return np.asarray(noise * level, np.float32)
        signal_power, noise_power = (part.var(axis=-1, keepdims=True, dtype=np.float64) for part in (clean, noise))
        factor = np.sqrt(signal_power / np.where(noise_power > 0, noise_power, np.inf) / 10 ** (level / 10))
        return np.asarray(noise * factor, np.float32)


def _with_random_phases(noise: Signals, rng: np.random.Generator) -> Signals:
    spectrum = np.fft.rfft(noise, axis=-1)
    phases = np.exp(2j * np.pi * rng.random(spectrum.shape))
    n_nyquist = 1 - noise.shape[-1] % 2
    phases[..., [0, *([-1] * n_nyquist)]] = 1  # the mean, and at even lengths the fastest component, have no phase
    return np.fft.irfft(spectrum * phases, noise.shape[-1], axis=-1).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class NoisyLoader:
    """Batches to learn denoising from: inputs are clean signals, targets the noise to be added to them.

    Without `noise` the batches of `clean` hold twice as many channels, of which the second half was recorded with
    noise; the noise is then the difference of the halves.
    """

    clean: Loader
    noise: Noise | None

    def __len__(self) -> int:
        return len(self.clean)

    def shuffled(self, streams: Streams) -> Iterator[Batch]:
        """Yield one epoch in random order; every draw comes from `streams`."""
        for step, batch in enumerate(self.clean.shuffled(streams)):
            if self.noise:
                yield Batch(batch.inputs, self.noise.draw(batch.inputs, streams("noise", step)))
            else:
                clean, recorded = np.split(batch.inputs, 2, axis=1)
                yield Batch(clean, recorded - clean)
