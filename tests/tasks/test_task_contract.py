"""What every registered task owes to the commands and to the training loop."""

import io
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from ssl_bio.config.kinds import BACKBONES, TASKS
from ssl_bio.data.dataset import PreparedDataset, Rows
from ssl_bio.errors import RecipeError
from ssl_bio.metrics import metrics
from ssl_bio.models.onnx import largest_difference, onnx_model
from ssl_bio.results import plots
from ssl_bio.results.evaluation import Evaluation
from ssl_bio.runs.folder import RunFolder
from ssl_bio.runs.inputs import InputSpec
from ssl_bio.tasks.base import AnyTask, load_task
from ssl_bio.tasks.train import train_task
from ssl_bio.training.fit import RunContext
from ssl_bio.training.objective import Objective, TensorBatch
from ssl_bio.training.runtime import evaluation_mode
from tests.tasks.small_recipes import backbone_of, backbones_for, prepared, task_recipe
from tests.training.steps import (
    assert_gradients_in_every_group,
    assert_steps_repeat,
    assert_takes_a_batch_of_one,
    first_batch,
)

CPU = torch.device("cpu")


class Case(NamedTuple):
    """A task on a small backbone, with what it learns from."""

    task: AnyTask
    dataset: PreparedDataset
    spec: InputSpec
    target: Any

    def model(self, seed: int = 0) -> nn.Module:
        """Return the task's network with random weights."""
        model: nn.Module = self.task.build(backbone_of(self.task.recipe, self.spec, seed), self.target, self.spec)
        return model

    def objective(self, model: nn.Module | None = None) -> Objective:
        """Return what training minimises."""
        return self.task.objective(model or self.model(), self.target)

    def batch(self, model: nn.Module | None = None) -> TensorBatch:
        """Return a training batch."""
        rows = self.task.training_rows(self.dataset, "train")
        loader = self.task.training_loader(
            self.dataset, rows, model=model or self.model(), target=self.target, spec=self.spec
        )
        return first_batch(loader)

    def evaluate(self, rows: Rows, model: nn.Module | None = None, *, validating: bool = False) -> Evaluation:
        """Evaluate a network with random weights on test rows."""
        return self.task.evaluate(
            model or self.model(),
            self.target,
            dataset=self.dataset,
            rows=rows,
            split="test",
            spec=self.spec,
            device=CPU,
            validating=validating,
        )

    def test_rows(self) -> Rows:
        """Return a few rows to evaluate."""
        return self.task.evaluated_rows(self.dataset, "test")[:6]


def case_of(task: str, backbone: str, **finetune: Any) -> Case:
    recipe = task_recipe(task, backbone, **finetune)
    dataset, built = prepared(recipe), load_task(recipe)
    spec = built.input_spec(dataset.info)
    return Case(built, dataset, spec, built.target(dataset, built.training_rows(dataset, "train")))


@pytest.fixture(params=[(name, kind) for name in TASKS.names() for kind in backbones_for(name)], ids="-".join)
def case(request: pytest.FixtureRequest) -> Case:
    return case_of(*request.param)


def test_its_metrics_are_declared(case: Case) -> None:
    assert case.task.metrics
    assert set(case.task.leading_metrics) <= set(case.task.metrics) <= set(metrics())


def test_a_good_recipe_has_no_problems(case: Case) -> None:
    assert case.task.check(case.dataset) == []


def test_an_unknown_monitor_is_a_problem(case: Case) -> None:
    recipe = case.task.recipe
    unknown = recipe.finetune.model_copy(update={"monitor": "beauty"})
    (problem,) = load_task(recipe.model_copy(update={"finetune": unknown})).check(case.dataset)
    assert "finetune.monitor 'beauty' is no metric" in problem
    assert all(name in problem for name in case.task.metrics)


def test_the_target_comes_back_from_json(case: Case) -> None:
    stored = json.loads(json.dumps(case.target.model_dump(mode="json")))
    assert case.task.stored_target(stored) == case.target
    assert case.target.task == case.task.config.task
    assert len(case.target.names) > 0


def test_the_loss_is_finite_and_every_group_has_gradients(case: Case) -> None:
    model = case.model()
    assert_gradients_in_every_group(case.objective(model), case.batch(model))


def test_a_step_repeats_bit_for_bit(case: Case) -> None:
    assert_steps_repeat(case.objective(), case.batch())


@pytest.mark.parametrize("training", [True, False])
def test_sums_become_finite_metrics(case: Case, training: bool) -> None:
    objective, batch = case.objective(), case.batch()
    objective.module.train(training)
    with torch.set_grad_enabled(training):
        sums = objective.step(batch).sums
    assert float(sums["windows"]) == len(batch.inputs)
    found = objective.metrics(sums)
    assert "loss" in found
    assert all(np.isfinite(value) for value in found.values()), found


def test_a_batch_of_one(case: Case) -> None:
    assert_takes_a_batch_of_one(case.objective(), case.batch())


def test_weights_carry_all_that_was_learnt(case: Case) -> None:
    first, second, batch = case.model(0), case.model(1), case.batch()
    case.objective(first).step(batch)
    second.load_state_dict(first.state_dict())
    losses = []
    for model in (first, second):
        with evaluation_mode(model):
            torch.manual_seed(5)
            losses.append(case.objective(model).step(batch).loss)
    assert torch.equal(*losses)
    rows = case.test_rows()
    assert case.evaluate(rows, first).history_row == case.evaluate(rows, second).history_row


@pytest.mark.parametrize("validating", [False, True])
def test_an_evaluation_is_complete(case: Case, validating: bool) -> None:
    rows, model = case.test_rows(), case.model()
    found = case.evaluate(rows, model, validating=validating)
    assert found.n == len(rows)
    assert np.isfinite(found.loss)
    assert found.metrics
    assert set(found.metrics) <= set(case.task.metrics)
    assert found.groups
    names = [group.name for group in found.groups]
    assert len(set(names)) == len(names)
    for metrics_of_group in (found.metrics, *(group.metrics for group in found.groups)):
        assert all(np.isfinite(value) for value in metrics_of_group.values()), metrics_of_group
    arrays = found.predictions.arrays
    assert {name: len(array) for name, array in arrays.items()} == dict.fromkeys(arrays, len(rows))
    assert arrays["row"].tolist() == rows.tolist()
    assert arrays["subject"].tolist() == case.dataset.subjects[rows].tolist()
    assert all(array.dtype != object for array in [*arrays.values(), *found.predictions.constants.values()])
    again = case.evaluate(rows, model, validating=validating)
    assert again.history_row == found.history_row


def test_an_exported_network_answers_windows_as_they_are(case: Case) -> None:
    model = case.model()
    exported = case.task.exported(model, case.target, case.spec)
    assert exported.n_channels == case.spec.n_channels
    assert not any(part.training for part in exported.module.modules())
    signals = case.task.signals(case.dataset, case.test_rows(), spec=case.spec).read(slice(None))
    found = exported(np.ascontiguousarray(signals[..., : exported.length]))
    assert [f"(batch{''.join(f', {n}' for n in one.shape[1:])})" for one in found] == [
        text.partition(":")[0] for text in exported.outputs.values()
    ]
    assert all(one.dtype == np.float32 for one in found)
    arrays = case.evaluate(case.test_rows(), model).predictions.arrays
    if next(iter(exported.outputs)) in arrays:
        np.testing.assert_allclose(found[0], arrays[next(iter(exported.outputs))], rtol=1e-5, atol=1e-6)


def test_onnxruntime_computes_what_an_exported_network_does(case: Case) -> None:
    for name in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(name)
    exported = case.task.exported(case.model(), case.target, case.spec)
    signals = case.task.signals(case.dataset, case.test_rows(), spec=case.spec).read(slice(None))
    windows = np.ascontiguousarray(signals[..., : exported.length], np.float32)
    assert largest_difference(onnx_model(exported, {}), exported, windows) < 1e-5


def test_parts_together_are_scored_as_one(case: Case) -> None:
    rows, model = case.test_rows(), case.model()
    whole = case.evaluate(rows, model)
    half = len(rows) // 2
    pooled = case.task.pool(case.target, [case.evaluate(rows[:half], model), case.evaluate(rows[half:], model)])
    assert pooled.n == whole.n
    assert pooled.history_row == pytest.approx(whole.history_row, rel=1e-4)
    assert [group.name for group in pooled.groups] == [group.name for group in whole.groups]
    for ours, theirs in zip(pooled.groups, whole.groups, strict=True):
        assert ours.metrics == pytest.approx(theirs.metrics, rel=1e-4)
        assert ours.baselines.keys() == theirs.baselines.keys()


def test_tables_and_figures_of_one_evaluation_and_of_several(case: Case) -> None:
    found = case.evaluate(case.test_rows())
    for evaluations in ([found], [found, found]):
        for table in case.task.tables(case.target, evaluations):
            assert {len(row) for row in table.rows} == {len(table.columns)}
    with plots.style():
        for name, figure in case.task.figures(case.target, found, sampling_rate=case.spec.sampling_rate).items():
            assert re.fullmatch(r"\w+", name)
            assert all(axes.get_xlabel() or axes.get_ylabel() for axes in figure.axes[-1:])
            figure.savefig(io.BytesIO(), format="png", dpi=30)


def test_training_learns_and_chooses_an_epoch(case: Case) -> None:
    run = RunFolder(Path("run"))
    run.path.mkdir()
    model = case.model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    context = RunContext(run=run, device=CPU, resume=False, identity="x")
    result = train_task(
        case.task, model=model, target=case.target, dataset=case.dataset, spec=case.spec, context=context
    )
    assert (result.epochs, result.selected_on) == (2, "val")
    assert result.n_train == len(case.task.training_rows(case.dataset, "train"))
    assert any(not torch.equal(tensor, before[name]) for name, tensor in result.tensors.items())
    history = run.read_history()
    assert {"loss", "val_loss", *(f"val_{name}" for name in case.task.leading_metrics)} <= set(history)
    assert np.isfinite(history["val_loss"]).all()


def test_a_probe_during_pretraining_is_solved_or_refused(case: Case) -> None:
    try:
        probe = case.task.as_probe()
    except RecipeError as error:
        assert "set pretrain.probe_every to 0" in str(error)  # noqa: PT017  # either is right
        return
    assert probe.config.solved
    assert probe.check(case.dataset) == []


def test_which_rows_it_takes(case: Case) -> None:
    taken = {split: set(case.task.labelled_rows(case.dataset, split).tolist()) for split in ("train", "val", "test")}
    assert all(taken.values())
    assert taken["train"].isdisjoint(taken["test"] | taken["val"])
    assert taken["val"].isdisjoint(taken["test"])
    assert set(case.task.labelled_rows(case.dataset, "train+val").tolist()) == taken["train"] | taken["val"]


@pytest.mark.parametrize(
    ("task", "backbone"),
    [
        (task, kind)
        for task in TASKS.names()
        for kind in BACKBONES.names()
        if BACKBONES.config(kind).output in TASKS.config(task).accepts and kind not in backbones_for(task)
    ],
)
def test_every_other_backbone_that_it_accepts(task: str, backbone: str) -> None:
    case = case_of(task, backbone)
    assert case.task.check(case.dataset) == []
    model = case.model()
    assert_gradients_in_every_group(case.objective(model), case.batch(model))
    assert np.isfinite(case.evaluate(case.test_rows()[:2], model).loss)
