"""What a run predicted on one split, and the metrics of that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Metrics = Mapping[str, float]
Baselines = Mapping[str, Metrics]  # what needs no learning, by its name


@dataclass(frozen=True)
class Group:
    """One row of the sheet: the whole split, one of several values, one noise at one level.

    `name` is added to the task's name, empty where there is only one group.
    """

    name: str
    metrics: Metrics
    baselines: Baselines = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What a run predicted: `arrays` with a row a window, and `constants` that are the same for all windows."""

    arrays: Mapping[str, NDArray[Any]]
    constants: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A run's predictions on `n` windows of one split, their metrics and loss over all groups, and each group's."""

    n: int
    loss: float
    metrics: Metrics
    groups: Sequence[Group]
    predictions: Predictions
    baselines: Baselines = field(default_factory=dict)

    @property
    def history_row(self) -> dict[str, float]:
        """Return loss and metrics."""
        return {"loss": self.loss, **self.metrics}

    def predicts_same(self, other: "Evaluation") -> bool:
        """Return whether another evaluation holds the very same predictions, not only metrics that tie."""
        ours, theirs = self.predictions.arrays, other.predictions.arrays
        return ours.keys() == theirs.keys() and all(_equal(ours[name], theirs[name]) for name in ours)


def _equal(ours: NDArray[Any], theirs: NDArray[Any]) -> bool:
    return np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == "f")


class Table(NamedTuple):
    """A table for the terminal."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
