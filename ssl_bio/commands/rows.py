"""What is said and shared of an evaluated run: its figures, its rows in the sheet, what was published, what was left
out."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_bio.commands.result import RunResult
from ssl_bio.config import Recipe
from ssl_bio.console import warn
from ssl_bio.data.dataset import PreparedDataset
from ssl_bio.results import plots, sheet, tables
from ssl_bio.results.curves import learning_curves
from ssl_bio.results.evaluation import Evaluation
from ssl_bio.runs.checkpoint import CheckpointMetadata
from ssl_bio.runs.folder import RunFolder
from ssl_bio.tasks.base import AnyTask

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(done: RunResult, run: RunFolder) -> None:
    """Draw an evaluated run into its folder: its curves, and what its task shows of the evaluation."""
    plots.draw(
        run,
        lambda: task_figures(
            done.task, done.target, done.evaluation, metadata=done.metadata, history=run.read_history()
        ),
    )


def task_figures(
    task: AnyTask,
    target: Any,
    evaluation: Evaluation,
    *,
    metadata: CheckpointMetadata,
    history: Mapping[str, Sequence[float]],
) -> "dict[str, Figure]":
    """Return a finetuned run's curves, and what its task shows of an evaluation; `target`: of the task's own class."""
    return {
        **learning_curves(history, leading=task.leading_metrics[:1], best_epoch=metadata.best_epoch),
        **task.figures(target, evaluation, sampling_rate=metadata.sampling_rate),
    }


def append_rows(done: RunResult, *, sheet_path: Path, run: RunFolder) -> int:
    """Append the rows of an evaluated run to the sheet; return how many. Those that are there already are replaced."""
    described = _described(done, run)
    rows = tables.sheet_rows(
        done.evaluation, metadata=done.metadata, described=described, task_name=done.task.task_name()
    )
    sheet.append(sheet_path, rows, replaced_runs=run.replaced_run_ids)
    return len(rows)


def _described(done: RunResult, run: RunFolder) -> dict[str, object]:
    """Return the columns that only the recipe and the data know."""
    recipe, metadata, info = done.recipe, done.metadata, done.dataset.info
    config = recipe.finetune
    return {
        **(_of_baseline(metadata) if metadata.baseline else _of_network(recipe, metadata)),
        "seed": recipe.seed,
        "split": metadata.split,
        "split_scheme": recipe.data.split_scheme + (f", {recipe.data.folds} folds" if recipe.data.folds else ""),
        "fit_on": config.fit_on,
        "label_fraction": config.label_fraction,
        "n_parameters": done.n_parameters,
        "dataset": info.name,
        "fingerprint": info.fingerprint,
        "checkpoint": str(run.path),
        "run_id": _row_id(
            run,
            split=metadata.split,
            fingerprint=info.fingerprint,
            settings={
                "evaluate": recipe.evaluate.model_dump(mode="json", exclude={"batch_size"}),
                "finetune": config.model_dump(mode="json"),
                "missing": recipe.data.missing,
            },
        ),
    }


def _of_baseline(metadata: CheckpointMetadata) -> dict[str, object]:
    return {"model_name": metadata.baseline, "mode": "baseline"}


def _of_network(recipe: Recipe, metadata: CheckpointMetadata) -> dict[str, object]:
    config = recipe.finetune
    rates = {"full": config.backbone_lr, "scratch": config.lr}
    return {
        "model_name": recipe.model_name or recipe.name,
        "mode": config.mode,
        "lr": config.lr if metadata.epochs else None,
        "backbone_lr": rates.get(config.mode),
        "loss": config.model_dump().get("loss"),
    }


def _row_id(run: RunFolder, *, split: str, fingerprint: str, settings: Mapping[str, Any]) -> str:
    """Return the id of a run's evaluation: the same evaluation again gives the same one."""
    how = json.dumps([split, fingerprint, settings], sort_keys=True)
    return f"{run.run_id}-{hashlib.sha256(how.encode()).hexdigest()[:6]}"


def published(recipe: Recipe) -> dict[str, dict[str, float]]:
    """Return the recipe's references for its mode; none with a share of the labels, for they were published for all."""
    if recipe.finetune.label_fraction < 1:
        return {}
    reference = recipe.reference
    by_mode = reference.model_dump().get(recipe.finetune.mode.replace("-", "_"), {})
    named = {"reference": by_mode, "the lab's log": reference.log, "paper": reference.paper}
    return {name: values for name, values in named.items() if values}


def say_left_out(task: AnyTask, dataset: PreparedDataset) -> None:
    """Warn of windows whose target is not known."""
    scheme, target = task.recipe.data.split_scheme, task.recipe.data.target
    counts = {split: len(rows) for split, rows in dataset.splits[scheme].items()}
    unknown = {split: n - len(task.known_rows(dataset, split)) for split, n in counts.items()}
    missing = {split: n for split, n in unknown.items() if n}
    if missing and target:
        shown = ", ".join(f"{n} of {counts[split]} in {split}" for split, n in missing.items())
        warn(f"windows without a known {target} are left out: {shown}")
