"""What every registered baseline owes to the command, on every task that asks something of windows."""

from functools import cache

import numpy as np
import pytest

from ssl_bio.config.kinds import BASELINES, TASKS
from ssl_bio.errors import RecipeError
from ssl_bio.tasks.base import expect, load_task
from ssl_bio.tasks.baselines.base import Baseline, Question, load_baseline
from ssl_bio.tasks.windows import WindowTask
from tests.tasks.small_recipes import prepared, task_recipe

WINDOW_TASKS = [name for name in TASKS.builtin if issubclass(expect(type, TASKS.load(name)), WindowTask)]
CASES = [(name, task) for name in BASELINES.names() for task in WINDOW_TASKS]


@cache
def question(task: str, fraction: float = 1.0) -> Question:
    """Return a task's question on simulated people."""
    recipe = task_recipe(task, "timemae", label_fraction=fraction, fit_on="train")
    return Question.of(load_task(recipe), prepared(recipe))


def asked(name: str, task: str) -> tuple[Baseline, Question]:
    """Return a baseline and a task's question that it can answer; skip where it says that it cannot."""
    baseline, one = load_baseline(name), question(task)
    if why := baseline.refusal(one):
        pytest.skip(why)
    return baseline, one


def test_there_is_a_baseline_for_every_task_of_windows() -> None:
    assert len(WINDOW_TASKS) == 3
    for task in WINDOW_TASKS:
        assert any(not load_baseline(name).refusal(question(task)) for name in BASELINES.names())


@pytest.mark.parametrize(("name", "task"), CASES)
def test_it_answers_every_evaluated_window(name: str, task: str) -> None:
    baseline, one = asked(name, task)
    answer = baseline.answer(one)
    rows = one.evaluated_rows
    assert answer.predictions.shape == (len(rows), len(one.target.names))
    assert np.isfinite(answer.predictions).all()
    assert answer.loss.shape == (len(rows),)
    found = one.score(answer, rows)
    assert found.n == len(rows)
    assert set(one.task.leading_metrics) <= set(found.metrics)
    assert {"row", "subject", "recording", "start"} <= set(found.predictions.arrays)


@pytest.mark.parametrize(("name", "task"), CASES)
def test_it_answers_alike_twice(name: str, task: str) -> None:
    baseline, one = asked(name, task)
    np.testing.assert_array_equal(baseline.answer(one).predictions, load_baseline(name).answer(one).predictions)


@pytest.mark.parametrize(("name", "task"), CASES)
def test_it_does_not_look_at_the_targets_of_test(name: str, task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    baseline, one = asked(name, task)
    before = baseline.answer(one).predictions
    test = set(one.evaluated_rows.tolist())
    looked_at: list[int] = []
    encoded = type(one.task).encoded_targets

    def watched(self: object, dataset: object, rows: object, target: object) -> object:
        looked_at.extend(np.asarray(rows).tolist())
        values = np.array(encoded(self, dataset, rows, target))  # type: ignore[arg-type]  # passed on as they came
        values[[row in test for row in np.asarray(rows).tolist()]] = 0
        return values

    monkeypatch.setattr(type(one.task), "encoded_targets", watched)
    np.testing.assert_array_equal(baseline.answer(one).predictions, before)
    assert test <= set(looked_at) or name == "spectral-peak"  # for the loss


@pytest.mark.parametrize("task", [name for name in TASKS.builtin if name not in WINDOW_TASKS])
def test_other_tasks_are_refused(task: str) -> None:
    recipe = task_recipe(task, {"forecasting": "lstm", "denoising": "wave_unet"}[task])
    with pytest.raises(RecipeError, match="asks nothing of windows"):
        Question.of(load_task(recipe), prepared(recipe))


def test_an_unknown_one_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'minirocket'"):
        load_baseline("minirocked")
