"""Networks as recipes describe them, and those of finished runs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_bio.errors import CheckpointError, DataError, RecipeError
from ssl_bio.models.base import Backbone
from ssl_bio.runs.checkpoint import Checkpoint
from ssl_bio.tasks.base import expect, load_task
from ssl_bio.tasks.load import fit_input_scaling, load_finetuned, recipe_backbone
from tests.runs.checkpoints import metadata
from tests.tasks.small_recipes import backbone_of, prepared, small_recipe, task_recipe


def finished(task: str = "classification") -> Checkpoint:
    """Return the checkpoint of a run with random weights."""
    recipe = task_recipe(task, "convnet")
    dataset, built = prepared(recipe), load_task(recipe)
    spec = built.input_spec(dataset.info)
    target = built.target(dataset, built.training_rows(dataset, "train"))
    model = built.build(backbone_of(recipe, spec), target, spec)
    said = metadata(
        kind="finetune",
        recipe=recipe.model_dump(mode="json"),
        channels=spec.channels,
        length=spec.length,
        window=spec.window,
        target=target.model_dump(mode="json"),
    )
    return Checkpoint(Path("run/model.safetensors"), said, model.state_dict())


def test_a_finished_run_answers_as_it_did() -> None:
    checkpoint = finished()
    loaded = load_finetuned(checkpoint)
    assert loaded.recipe == task_recipe("classification", "convnet")
    assert loaded.spec.length == 500
    state = loaded.model.state_dict()
    assert state.keys() == checkpoint.tensors.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in checkpoint.tensors.items())


def test_a_pretraining_run_has_nothing_to_evaluate() -> None:
    checkpoint = finished()._replace(metadata=metadata(kind="pretrain"))
    with pytest.raises(CheckpointError, match="a pretraining run has no head to evaluate"):
        load_finetuned(checkpoint)


def test_weights_of_another_network_are_refused() -> None:
    checkpoint = finished()
    tensors = {name: tensor for name, tensor in checkpoint.tensors.items() if "head" not in name}
    with pytest.raises(CheckpointError, match=r"weights do not fit the recipe.s network: head\.weight is missing"):
        load_finetuned(checkpoint._replace(tensors=tensors))


def test_values_that_make_no_network_are_refused() -> None:
    recipe = small_recipe({"model": {"kind": "convnet", "wave_length": 7}})
    spec = load_task(recipe).input_spec(prepared(recipe).info)
    with pytest.raises(RecipeError, match="model: a convolutional stem halves time"):
        recipe_backbone(recipe, spec)


class TestInputScaling:
    """The first layer of a network standardises by the training split."""

    def test_it_is_the_training_splits(self) -> None:
        recipe = small_recipe({"model": {"kind": "convnet"}, "data": {"normalize": "channel"}})
        dataset = prepared(recipe)
        spec = load_task(recipe).input_spec(dataset.info)
        backbone = expect(Backbone, backbone_of(recipe, spec))
        fit_input_scaling(backbone, dataset, recipe=recipe, spec=spec)
        signals = dataset.signals[dataset.rows("subject", "train")]
        assert backbone.input_norm is not None
        with torch.no_grad():
            scaled = backbone.input_norm(torch.from_numpy(signals)).numpy()
        np.testing.assert_allclose(scaled.mean(axis=(0, 2)), 0, atol=1e-4)
        np.testing.assert_allclose(scaled.std(axis=(0, 2)), 1, atol=1e-3)

    def test_missing_samples_that_nobody_fills_are_refused(self) -> None:
        recipe = small_recipe({"model": {"kind": "convnet"}})
        dataset = prepared(recipe)
        broken = replace(dataset, info=dataset.info.model_copy(update={"n_missing": 3}))
        spec = load_task(recipe).input_spec(dataset.info)
        with pytest.raises(DataError, match="3 NaN or infinite samples"):
            fit_input_scaling(backbone_of(recipe, spec), broken, recipe=recipe, spec=spec)
