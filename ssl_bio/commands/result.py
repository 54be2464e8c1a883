"""What an evaluated run gave: of one network, or of all parts of a cross-validation as one."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ssl_bio.config import Recipe
from ssl_bio.data.dataset import PreparedDataset
from ssl_bio.results.evaluation import Evaluation
from ssl_bio.runs.checkpoint import CheckpointMetadata, now
from ssl_bio.runs.folder import CONSTANTS, PREDICTIONS, RunFolder
from ssl_bio.tasks.base import AnyTask


class RunResult(NamedTuple):
    """A finished finetuning, without its weights."""

    recipe: Recipe
    task: AnyTask
    target: Any  # a TargetSpec of the task's own class
    evaluation: Evaluation
    metadata: CheckpointMetadata
    n_parameters: int
    dataset: PreparedDataset


def pooled(parts: Sequence[RunResult], run: RunFolder) -> RunResult:
    """Return the parts of a cross-validation, whose folder is `run`, as one result: every window is predicted by the
    network that did not learn from its person.

    Its seconds are those of all parts; how many epochs ran, which one was chosen and how many windows were learnt from
    are means over the parts, in whole numbers.
    """
    first, each = parts[0], [part.metadata for part in parts]
    evaluation = first.task.pool(first.target, [part.evaluation for part in parts])
    recipe = first.recipe.model_copy(update={"data": first.recipe.data.model_copy(update={"fold": -1})})
    metadata = first.metadata.model_copy(
        update={
            "run_id": run.run_id,
            "recipe": recipe.model_dump(mode="json"),
            "metrics": dict(evaluation.metrics),
            "split": f"{first.metadata.split} of {len(parts)} folds",
            "folds": len(parts),
            "epochs": _mean([one.epochs for one in each]),
            "best_epoch": _mean([one.best_epoch for one in each]),
            "n_train": _mean([one.n_train for one in each]),
            "seconds": sum(one.seconds for one in each),
            "origin": os.path.commonpath([one.origin for one in each]),
            "finished_at": now(),
        }
    )
    return first._replace(recipe=recipe, evaluation=evaluation, metadata=metadata)


def _mean(counts: Sequence[int]) -> int:
    return round(sum(counts) / len(counts))


def write_predictions(run: RunFolder, evaluation: Evaluation, *, split: str, dataset: str = "") -> None:
    """Write `predictions.npz`, of another split than test or of another dataset under a name that says so."""
    constants = evaluation.predictions.constants
    arrays = {**evaluation.predictions.arrays, **constants, CONSTANTS: np.array(list(constants), dtype=np.str_)}
    singles = {
        name: values.astype("float32") if values.dtype == "float64" else values for name, values in arrays.items()
    }
    run.write_arrays(predictions_file(split, dataset), singles)


def predictions_file(split: str, dataset: str = "") -> str:
    """Return the name of the file that holds predictions of a split, or of another dataset."""
    suffix = "" if split == "test" and not dataset else f"-{dataset}-{split}" if dataset else f"-{split}"
    return f"{PREDICTIONS}{suffix}.npz"
