"""What every registered pretext task owes to the training loop."""

from typing import NamedTuple

import numpy as np
import pytest
import torch

from ssl_bio.config.kinds import PRETEXTS
from ssl_bio.data.dataset import PreparedDataset
from ssl_bio.errors import RecipeError
from ssl_bio.pretexts.base import AnyPretext, load_pretext, validation_metrics
from ssl_bio.runs.inputs import InputSpec, input_spec
from ssl_bio.training.objective import Objective, TensorBatch
from ssl_bio.training.runtime import evaluation_mode
from tests.tasks.small_recipes import backbone_of, backbones_pretrained_by, prepared, pretext_recipe
from tests.training.steps import (
    assert_gradients_in_every_group,
    assert_steps_repeat,
    assert_takes_a_batch_of_one,
    first_batch,
)

CPU = torch.device("cpu")


class Case(NamedTuple):
    """A pretext task on a small backbone, with what it learns from."""

    pretext: AnyPretext
    dataset: PreparedDataset
    spec: InputSpec

    def objective(self, seed: int = 0) -> Objective:
        """Return what training minimises, with random weights."""
        return self.pretext.build(backbone_of(self.pretext.recipe, self.spec, seed), self.spec)

    def batch(self) -> TensorBatch:
        """Return a training batch."""
        return first_batch(self.pretext.training_loader(self.dataset, self.spec, CPU))


@pytest.fixture(
    params=[(name, kind) for name in PRETEXTS.names() for kind in backbones_pretrained_by(name)], ids="-".join
)
def case(request: pytest.FixtureRequest) -> Case:
    recipe = pretext_recipe(*request.param, fit_on="train")
    dataset = prepared(recipe)
    return Case(load_pretext(recipe), dataset, input_spec(dataset.info, window=recipe.model.window))


def test_a_good_recipe_has_no_problems(case: Case) -> None:
    assert case.pretext.check(case.dataset) == []


def test_the_loss_is_finite_and_every_group_has_gradients(case: Case) -> None:
    assert_gradients_in_every_group(case.objective(), case.batch())


def test_a_step_repeats_bit_for_bit(case: Case) -> None:
    assert_steps_repeat(case.objective(), case.batch())


@pytest.mark.parametrize("training", [True, False])
def test_sums_add_up_and_become_finite_metrics(case: Case, training: bool) -> None:
    objective, batch = case.objective(), case.batch()
    objective.module.train(training)
    sums: dict[str, torch.Tensor] = {}
    with torch.set_grad_enabled(training):
        for _ in range(2):
            output = objective.step(batch)
            assert all(not value.requires_grad for value in output.sums.values())
            sums = {name: sums.get(name, torch.zeros(())) + value for name, value in output.sums.items()}
    assert float(sums["windows"]) == 2 * len(batch.inputs)
    metrics = objective.metrics(sums)
    assert "loss" in metrics
    assert all(np.isfinite(value) for value in metrics.values()), metrics


def test_a_batch_of_one(case: Case) -> None:
    assert_takes_a_batch_of_one(case.objective(), case.batch())


def test_weights_carry_all_that_was_learnt(case: Case) -> None:
    first, second, batch = case.objective(0), case.objective(1), case.batch()
    first.step(batch)  # what a codebook takes from its first batch belongs to it
    second.module.load_state_dict(first.module.state_dict())
    results = []
    for objective in (first, second):
        with evaluation_mode(objective.module):
            torch.manual_seed(5)
            results.append(objective.step(batch))
    assert torch.equal(results[0].loss, results[1].loss)
    assert all(torch.equal(value, results[1].sums[name]) for name, value in results[0].sums.items())


def test_the_backbone_is_saved_under_its_prefix(case: Case) -> None:
    backbone = backbone_of(case.pretext.recipe, case.spec)
    state = case.pretext.build(backbone, case.spec).module.state_dict()
    assert all(f"backbone.{name}" in state for name in backbone.state_dict())


def test_training_sees_no_test_window(case: Case) -> None:
    seen = set(case.pretext.signals(case.dataset, "train+val").rows.tolist())
    assert seen
    assert seen.isdisjoint(case.dataset.rows("subject", "test").tolist())


def test_validation_does_not_depend_on_what_was_drawn_before(case: Case) -> None:
    config = case.pretext.config
    if not config.has_validation_loss:
        with pytest.raises(RecipeError, match="no loss of single windows"):
            pretext_recipe(config.pretext, case.pretext.recipe.model.kind, fit_on="train", select="val_loss")
        return
    objective, loader = case.objective(), case.pretext.validation_loader(case.dataset, CPU)
    objective.step(case.batch())
    objective.module.train()
    found = []
    for n_draws in (0, 7, 100):
        torch.rand(n_draws)
        found.append(validation_metrics(objective, loader, window=case.spec.window, device=CPU, seed=4))
        assert objective.module.training
    assert found[0] == found[1] == found[2]
    assert all(np.isfinite(value) for value in found[0].values())
