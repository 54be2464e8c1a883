"""What a run sees of a dataset: chosen rows, with missing samples treated and the run's own rate and length."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.counting import Track
from ssl_bio.data.store import PreparedDataset, Rows, Signals, Subjects
from ssl_bio.data.transforms import (
    AUGMENTATIONS,
    beginning,
    conform,
    crop,
    draw_paces,
    fill_missing,
    parse_augmentation,
    played,
)
from ssl_bio.errors import DataError

#: A generator for a purpose ("order", "augment") and a position within an epoch.
Streams = Callable[..., np.random.Generator]


class Batch(NamedTuple):
    """Inputs `(batch, ...)` and, for downstream tasks, their targets `(batch, ...)`."""

    inputs: NDArray[np.float32]
    targets: NDArray[Any] | None


@dataclass(frozen=True)
class View:
    """Rows of a prepared dataset; signals are read, and treated, a batch at a time. With a `track` training learns what
    it counts around every sample in place of the targets. `beside`: another view, read as further channels."""

    dataset: PreparedDataset
    rows: Rows
    targets: NDArray[Any] | None
    missing: str
    sampling_rate: float
    length: int
    track: Track | None = None
    beside: "View | None" = None

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, positions: NDArray[np.int64] | slice) -> Signals:
        """Signals `(n, n_channels, length)` at positions of this view."""
        info = self.dataset.info
        signals = self.dataset.read(self.rows[positions])
        if self.missing != "reject":  # what a dataset counts as missing does not speak of its clean twins
            signals = fill_missing(signals, self.missing)
        if (info.sampling_rate, info.length) != (self.sampling_rate, self.length):
            signals = conform(signals, info.sampling_rate, self.sampling_rate, self.length)
        return np.concatenate([signals, self.beside.read(positions)], axis=1) if self.beside else signals

    def neighbours(self, positions: NDArray[np.int64], most: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """For each position another one at random, up to `most` dataset rows away and of the same person.

        Where rows of a person follow one another in time, neighbours show mostly the same state.
        """
        wanted = self.rows[positions] + rng.integers(-most, most + 1, len(positions))
        found = np.clip(np.searchsorted(self.rows, wanted), 0, len(self.rows) - 1)
        subjects = self.dataset.subjects
        same = (self.rows[found] == wanted) & (subjects[self.rows[found]] == subjects[self.rows[positions]])
        return np.where(same, found, positions)

    def parts(self, size: int = 4096) -> Iterator[Signals]:
        """All signals, so many windows at a time."""
        for start in range(0, len(self), size):
            yield self.read(slice(start, start + size))


class Shown(NamedTuple):
    """Inputs of a batch, how many times as fast each is played, and where in itself it begins (samples); the latter
    `(batch, 1)`."""

    inputs: NDArray[np.float32]
    pace: NDArray[np.float64]
    start: NDArray[np.float64]


@dataclass(frozen=True)
class Features:
    """Frozen features `(n, n_features)` in memory, in place of signals."""

    values: NDArray[np.float32]
    targets: NDArray[Any]

    def __len__(self) -> int:
        return len(self.values)

    def read(self, positions: NDArray[np.int64] | slice) -> NDArray[np.float32]:
        """Features at positions."""
        return self.values[positions]


@dataclass(frozen=True)
class Batches:
    """Batches of a view or of features, shuffled for training or in order for evaluation.

    `draw_channel` shows one channel of each training window, at random, and `window` so many samples of it, from a
    place drawn at random (0: all). `pairs` gives each another view as its target: of itself, or of one up to
    `neighbours` rows away, augmented on its own. An epoch draws windows by `weights`, which sum to 1, with
    replacement. Those of the target values that are `rates` go with the pace at which "stretch" plays a window.
    """

    source: View | Features
    batch_size: int
    augment: Sequence[str] = ()
    strength: float = 1.0
    pairs: bool = False
    neighbours: int = 0
    draw_channel: bool = False
    window: int = 0
    weights: NDArray[np.float64] | None = None
    rates: Sequence[bool] = ()

    def __len__(self) -> int:
        return -(-len(self.source) // self.batch_size)

    def shuffled(self, streams: Streams) -> Iterator[Batch]:
        """One epoch in random order; every draw comes from `streams`, a function of purpose and position."""
        n, drawing = len(self.source), streams("order")
        order = drawing.permutation(n) if self.weights is None else drawing.choice(n, n, p=self.weights)
        for step in range(len(self)):
            positions = order[step * self.batch_size : (step + 1) * self.batch_size]
            rng = streams("augment", step)
            shown = self._augmented(positions, rng)
            yield Batch(shown.inputs, self._wanted(positions, shown, rng))

    def _wanted(self, positions: NDArray[np.int64], shown: Shown, rng: np.random.Generator) -> NDArray[Any] | None:
        if isinstance(self.source, View) and self.pairs:
            return self._augmented(self.source.neighbours(positions, self.neighbours, rng), rng).inputs
        if isinstance(self.source, View) and self.source.track:
            return self.source.track.around(positions, shown.start, shown.pace)
        targets = None if self.source.targets is None else self.source.targets[positions]
        if targets is not None and any(self.rates):
            targets = np.where(self.rates, targets * shown.pace, targets).astype(targets.dtype)
        return targets

    def _augmented(self, positions: NDArray[np.int64], rng: np.random.Generator) -> Shown:
        inputs = self.source.read(positions)
        pace, start = np.ones((len(inputs), 1)), np.zeros((len(inputs), 1))
        if self.draw_channel:
            inputs = inputs[np.arange(len(inputs)), rng.integers(inputs.shape[1], size=len(inputs))][:, None]
        if self.window and self.window < inputs.shape[-1]:
            inputs = crop(inputs, self.window, rng)
        for text in self.augment:
            name, own_strength = parse_augmentation(text)
            strength = self.strength * own_strength
            if name == "stretch":
                pace, place = draw_paces(len(inputs), rng, strength), rng.uniform(0, 1, (len(inputs), 1))
                start = beginning(pace, place, inputs.shape[-1])
                inputs = played(inputs, pace, place)
            else:
                inputs = AUGMENTATIONS[name](inputs, rng, strength)
        return Shown(inputs, pace, start)

    def ordered(self) -> Iterator[Batch]:
        """All of it, once, in order, as it is."""
        for start in range(0, len(self.source), self.batch_size):
            positions = slice(start, start + self.batch_size)
            targets = None if self.source.targets is None else self.source.targets[positions]
            yield Batch(self.source.read(positions), targets)


def check_missing(dataset: PreparedDataset, missing: str) -> None:
    """Raise DataError when the dataset has NaN or infinite samples and nothing says how to fill them."""
    info = dataset.info
    if info.n_missing and missing == "reject":
        raise DataError(
            f"dataset {info.name}: {info.n_missing} NaN or infinite samples, the first in {info.first_missing}; "
            'set data.missing to "zero" or "interpolate" to fill them'
        )


def draw_labelled(
    rows: Rows, labels: NDArray[np.int64], classes: Sequence[str], fraction: float, rng: np.random.Generator
) -> Rows:
    """A stratified share of `rows`: from each class, at random, `fraction` of its rows, at least one.

    Raises DataError when a class has no row to draw from.
    """
    chosen = []
    for code, name in enumerate(classes):
        members = rows[labels[rows] == code]
        if len(members) == 0:
            raise DataError(f"class {name!r} is missing from training: its {len(rows)} windows hold none of it")
        chosen.append(draw_share(members, fraction, rng))
    return np.sort(np.concatenate(chosen))


def draw_share(rows: Rows, fraction: float, rng: np.random.Generator) -> Rows:
    """`fraction` of `rows` at random, at least one."""
    n = max(1, round(fraction * len(rows)))
    return rows if n == len(rows) else np.sort(rng.permutation(rows)[:n])


def draw_people(rows: Rows, subjects: Subjects, fraction: float, rng: np.random.Generator) -> Rows:
    """All rows of `fraction` of the people in `rows`, at least one of them."""
    people = np.unique(subjects[rows])
    n = max(1, round(fraction * len(people)))
    return rows[np.isin(subjects[rows], rng.permutation(people)[:n])]
