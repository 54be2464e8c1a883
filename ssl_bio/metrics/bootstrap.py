"""How sure a metric is: intervals from drawing people, not windows, again and again."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_bio.metrics import MetricFunction

N_RESAMPLES = 1000
LEVEL = 0.95
FEWEST_PEOPLE = 5
_SEED = 0


class Interval(NamedTuple):
    """Where a metric lies in the middle `LEVEL` of the resamples, and of how many people they were drawn."""

    low: float
    high: float
    n_people: int


class Sample(NamedTuple):
    """What one run predicted: targets `(n, ...)`, predictions `(n, ...)`, and whose windows they are, `(n,)`."""

    targets: NDArray[Any]
    predictions: NDArray[Any]
    subjects: NDArray[Any]


def interval_over_people(function: MetricFunction, samples: Sequence[Sample]) -> Interval | None:
    """Return the percentile bootstrap interval (Efron and Tibshirani 1993, chapter 13) of a metric's mean over runs.

    Windows of a person resemble one another, so that people are drawn with replacement, and with them all their
    windows; all runs see the same draws. Equal input gives equal intervals. None for fewer than `FEWEST_PEOPLE`, for
    runs that did not predict the same people, and where the metric is not defined on any draw.
    """
    people = [np.unique(sample.subjects, return_inverse=True) for sample in samples]
    names = people[0][0]
    n = len(names)
    if n < FEWEST_PEOPLE or not all(np.array_equal(names, others) for others, _ in people):
        return None
    rng = np.random.default_rng(_SEED)
    found = np.empty(N_RESAMPLES)
    for index in range(N_RESAMPLES):
        times = np.bincount(rng.integers(n, size=n), minlength=n)
        values = []
        for sample, (_, codes) in zip(samples, people, strict=True):
            rows = np.repeat(np.arange(len(codes)), times[codes])
            values.append(function(sample.targets[rows], sample.predictions[rows]))
        found[index] = np.mean(values)
    known = found[np.isfinite(found)]
    if not len(known):
        return None
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high), n)
