"""Networks as recipes describe them: new ones, and those of finished runs."""

from typing import Any, NamedTuple

from torch import nn

from ssl_bio.config import Recipe
from ssl_bio.config.resolve import recipe_of
from ssl_bio.data.dataset import PreparedDataset
from ssl_bio.data.filters import channel_statistics
from ssl_bio.data.loader import SignalDataset, check_missing
from ssl_bio.errors import CheckpointError
from ssl_bio.models.base import Backbone, SignalNetwork
from ssl_bio.models.build import build_backbone
from ssl_bio.runs.checkpoint import Checkpoint, CheckpointMetadata
from ssl_bio.runs.inputs import InputSpec, stored_input_spec
from ssl_bio.runs.transfer import load_into
from ssl_bio.tasks.base import AnyTask, load_task


def recipe_backbone(recipe: Recipe, spec: InputSpec, *, weights_follow: bool = False) -> Backbone | SignalNetwork:
    """Return the recipe's backbone with random weights, drawn from torch's global generator.

    `weights_follow`: a checkpoint's weights come next, so weights from elsewhere need not be there any more.

    Raises RecipeError for values that make no network.
    """
    return build_backbone(
        recipe.model.kind,
        n_channels=spec.n_channels,
        length=spec.window,
        normalize=recipe.data.normalize,
        architecture=recipe.model.architecture(weights_follow=weights_follow),
    )


def fit_input_scaling(
    backbone: Backbone | SignalNetwork, dataset: PreparedDataset, *, recipe: Recipe, spec: InputSpec
) -> None:
    """Give a backbone that scales its input the training split's channel statistics.

    Raises DataError when samples are missing and nothing says how to fill them.
    """
    missing = recipe.data.missing
    check_missing(dataset, missing)
    if backbone.input_norm is None:
        return
    signals = SignalDataset(
        dataset=dataset,
        rows=dataset.rows(recipe.data.split_scheme, "train"),
        targets=None,
        missing=missing,
        sampling_rate=spec.sampling_rate,
        length=spec.length,
    )
    mean, std = channel_statistics(signals.parts())
    backbone.input_norm.set_statistics(mean=mean, std=std)


class FinetunedRun(NamedTuple):
    """A finished finetuned run: its recipe, what it was asked, and the network that answers."""

    recipe: Recipe
    metadata: CheckpointMetadata
    task: AnyTask
    target: Any  # a TargetSpec of the task's own class
    model: nn.Module
    spec: InputSpec


def load_finetuned(checkpoint: Checkpoint, recipe: Recipe | None = None) -> FinetunedRun:
    """Return a finetuned run from its checkpoint, under its own recipe or one that departs from it in evaluation.

    Raises CheckpointError when it is none, or when its weights do not fit its recipe.
    """
    metadata = checkpoint.metadata
    if metadata.kind != "finetune" or metadata.target is None:
        raise CheckpointError(
            f"{checkpoint.path.parent}: a pretraining run has no head to evaluate; run ssl-bio finetune on it first"
        )
    recipe = recipe or recipe_of(metadata.recipe, str(checkpoint.path))
    task, spec = load_task(recipe), stored_input_spec(metadata)
    target = task.stored_target(metadata.target)
    model = task.build(recipe_backbone(recipe, spec, weights_follow=True), target, spec)
    load_into(model, checkpoint)
    return FinetunedRun(recipe, metadata, task, target, model, spec)
