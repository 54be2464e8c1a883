"""Intervals over people."""

import numpy as np
import pytest

from ssl_bio.metrics import MetricFunction, metrics
from ssl_bio.metrics.bootstrap import FEWEST_PEOPLE, Sample, interval_over_people

ACCURACY: MetricFunction = metrics()["Accuracy"].functions["classes"]


def sample(right: list[float], windows: int = 20) -> Sample:
    """Return predictions of people, each right in this share of windows."""
    targets = np.zeros(len(right) * windows, np.int64)
    hits = np.concatenate([np.arange(windows) < share * windows for share in right])
    subjects = np.repeat([f"p{index}" for index in range(len(right))], windows)
    return Sample(targets, np.column_stack([hits, ~hits]).astype(float), subjects)


def test_it_is_as_wide_as_people_differ_not_windows() -> None:
    alike = interval_over_people(ACCURACY, [sample([0.75] * 20)])
    shares = np.linspace(0.5, 1, 20)
    apart = interval_over_people(ACCURACY, [sample(shares.tolist(), windows=200)])
    assert alike
    assert apart
    assert (alike.low, alike.high) == (0.75, 0.75)
    assert apart.high - apart.low == pytest.approx(2 * 1.96 * shares.std() / np.sqrt(20), rel=0.1)
    assert (alike.n_people, apart.n_people) == (20, 20)


def test_of_several_runs_it_is_of_their_mean() -> None:
    one, other = sample([0.5, 1.0] * 10), sample([1.0, 0.5] * 10)
    found = interval_over_people(ACCURACY, [one, other])
    assert found
    assert (found.low, found.high) == (0.75, 0.75)  # where one errs, the other does not
    assert interval_over_people(ACCURACY, [one, one]) == interval_over_people(ACCURACY, [one])


def test_it_repeats() -> None:
    people = sample([0.1, 0.4, 0.5, 0.9, 1.0, 0.3])
    assert interval_over_people(ACCURACY, [people]) == interval_over_people(ACCURACY, [people])


def test_none_for_few_people_other_people_and_what_is_not_defined() -> None:
    people = sample([0.5] * FEWEST_PEOPLE)
    assert interval_over_people(ACCURACY, [people])
    assert interval_over_people(ACCURACY, [sample([0.5] * (FEWEST_PEOPLE - 1))]) is None
    others = people._replace(subjects=np.char.add(people.subjects, "x"))
    assert interval_over_people(ACCURACY, [people, others]) is None
    assert interval_over_people(metrics()["AUROC"].functions["classes"], [people]) is None
