"""What a run sees of a dataset: chosen rows at its own rate and length, in batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.augmentations import (
    AUGMENTATIONS,
    crop,
    draw_speeds,
    parse_augmentation,
    stretch_start,
    time_stretch,
)
from ssl_bio.data.dataset import PreparedDataset
from ssl_bio.data.events import EventTrack
from ssl_bio.data.filters import conform, fill_missing
from ssl_bio.data.recording import Signals
from ssl_bio.data.splits import Rows
from ssl_bio.errors import DataError


class Streams(Protocol):
    """Returns a random generator for a purpose ("order", "augment", "noise") and a position within an epoch."""

    def __call__(self, purpose: str, *position: int) -> np.random.Generator: ...


class Batch(NamedTuple):
    """Inputs `(batch, ...)` and, if there are any, their targets `(batch, ...)`."""

    inputs: NDArray[np.float32]
    targets: NDArray[Any] | None


class BatchSource(Protocol):
    """Batches to train on, anew in every epoch."""

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        ...

    def shuffled(self, streams: Streams) -> Iterator[Batch]:
        """Yield one epoch in random order; every draw comes from `streams`."""
        ...


@dataclass(frozen=True, kw_only=True)
class SignalDataset:
    """Rows of a prepared dataset, of which signals are read a batch at a time.

    `missing`: "reject", "zero" or "interpolate", for NaN and infinite samples. Signals are resampled to
    `sampling_rate` (Hz) and their middle `length` samples are taken. With `events`, training learns counts around every
    sample in place of the targets. The signals of a `companion` with as many rows follow as further channels.
    """

    dataset: PreparedDataset
    rows: Rows
    targets: NDArray[Any] | None
    missing: str
    sampling_rate: float
    length: int
    events: EventTrack | None = None
    companion: "SignalDataset | None" = None

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, positions: NDArray[np.int64] | slice) -> Signals:
        """Return the signals `(n, n_channels, length)` at positions of this dataset."""
        info = self.dataset.info
        signals = self.dataset.read(self.rows[positions])
        if self.missing != "reject":  # what a dataset counts as missing does not speak of a signal target's samples
            signals = fill_missing(signals, self.missing)
        if (info.sampling_rate, info.length) != (self.sampling_rate, self.length):
            signals = conform(
                signals, sampling_rate=info.sampling_rate, target_rate=self.sampling_rate, length=self.length
            )
        return np.concatenate([signals, self.companion.read(positions)], axis=1) if self.companion else signals

    def neighbours(
        self, positions: NDArray[np.int64], max_distance: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Return a random position for each, up to `max_distance` rows of the dataset away and of the same subject.

        Where rows of a subject follow one another in time, neighbours show mostly the same state.
        """
        chosen = self.rows[positions] + rng.integers(-max_distance, max_distance + 1, len(positions))
        found = np.clip(np.searchsorted(self.rows, chosen), 0, len(self.rows) - 1)
        subjects = self.dataset.subjects
        same = (self.rows[found] == chosen) & (subjects[self.rows[found]] == subjects[self.rows[positions]])
        return np.where(same, found, positions)

    def parts(self, size: int = 4096) -> Iterator[Signals]:
        """Yield all signals, `size` windows at a time."""
        for start in range(0, len(self), size):
            yield self.read(slice(start, start + size))


@dataclass(frozen=True)
class FeatureDataset:
    """Frozen features `(n, n_features)` in memory, in place of signals."""

    values: NDArray[np.float32]
    targets: NDArray[Any]

    def __len__(self) -> int:
        return len(self.values)

    def read(self, positions: NDArray[np.int64] | slice) -> NDArray[np.float32]:
        """Return the features at positions."""
        return self.values[positions]


class _Augmented(NamedTuple):
    """Inputs of a batch, and how "stretch" changed them: speed, and start in samples, both `(batch, 1)`."""

    inputs: NDArray[np.float32]
    speed: NDArray[np.float64]
    start: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Loader:
    """Batches of signals or features, shuffled for training or in order for evaluation.

    For training alone: `augment` lists augmentations as "name" or "name:strength", times `augment_strength`.
    `draw_channel` shows one random channel of each window, and `window` so many samples of it from a random position
    (0: all). `pairs` gives each input a second view as its target: of itself, or of a window up to `neighbours` rows
    away, augmented on its own. `weights`, which sum to 1, are the probabilities with which windows are drawn, with
    replacement. `rates` says which of the target values are rates, that grow with the speed drawn by "stretch".
    """

    source: SignalDataset | FeatureDataset
    batch_size: int
    augment: Sequence[str] = ()
    augment_strength: float = 1.0
    pairs: bool = False
    neighbours: int = 0
    draw_channel: bool = False
    window: int = 0
    weights: NDArray[np.float64] | None = None
    rates: Sequence[bool] = ()

    def __len__(self) -> int:
        return -(-len(self.source) // self.batch_size)

    def shuffled(self, streams: Streams) -> Iterator[Batch]:
        """Yield one epoch in random order; every draw comes from `streams`."""
        n, rng = len(self.source), streams("order")
        order = rng.permutation(n) if self.weights is None else rng.choice(n, n, p=self.weights)
        for step in range(len(self)):
            positions = order[step * self.batch_size : (step + 1) * self.batch_size]
            rng = streams("augment", step)
            augmented = self._augmented(positions, rng)
            yield Batch(augmented.inputs, self._targets(positions, augmented, rng))

    def ordered(self) -> Iterator[Batch]:
        """Yield everything once, in order, without augmentation."""
        for start in range(0, len(self.source), self.batch_size):
            positions = slice(start, start + self.batch_size)
            targets = None if self.source.targets is None else self.source.targets[positions]
            yield Batch(self.source.read(positions), targets)

    def _targets(
        self, positions: NDArray[np.int64], augmented: _Augmented, rng: np.random.Generator
    ) -> NDArray[Any] | None:
        if isinstance(self.source, SignalDataset) and self.pairs:
            return self._augmented(self.source.neighbours(positions, self.neighbours, rng), rng).inputs
        if isinstance(self.source, SignalDataset) and self.source.events:
            return self.source.events.count_around(positions, start=augmented.start, speed=augmented.speed)
        targets = None if self.source.targets is None else self.source.targets[positions]
        if targets is not None and any(self.rates):
            targets = np.where(self.rates, targets * augmented.speed, targets).astype(targets.dtype)
        return targets

    def _augmented(self, positions: NDArray[np.int64], rng: np.random.Generator) -> _Augmented:
        inputs = self.source.read(positions)
        speed, start = np.ones((len(inputs), 1)), np.zeros((len(inputs), 1))
        if self.draw_channel:
            inputs = inputs[np.arange(len(inputs)), rng.integers(inputs.shape[1], size=len(inputs))][:, None]
        if self.window and self.window < inputs.shape[-1]:
            inputs = crop(inputs, self.window, rng)
        for text in self.augment:
            name, own_strength = parse_augmentation(text)
            strength = self.augment_strength * own_strength
            if name == "stretch":
                speed, offset = draw_speeds(len(inputs), rng, strength), rng.uniform(0, 1, (len(inputs), 1))
                start = stretch_start(speed, offset, inputs.shape[-1])
                inputs = time_stretch(inputs, speed, offset)
            else:
                inputs = AUGMENTATIONS[name](inputs, rng, strength)
        return _Augmented(inputs, speed, start)


def check_missing(dataset: PreparedDataset, missing: str) -> None:
    """Raise DataError when the dataset has NaN or infinite samples and nothing says how to fill them."""
    info = dataset.info
    if info.n_missing and missing == "reject":
        raise DataError(
            f"dataset {info.name}: {info.n_missing} NaN or infinite samples, the first in {info.first_missing}; "
            'set data.missing to "zero" or "interpolate" to fill them'
        )
