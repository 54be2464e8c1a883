"""Steps that pretraining and finetuning share: what is resumed, what is said before, what a weight file says after."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from ssl_bio.commands.plan import value_text
from ssl_bio.config import COMMAND_LINE, Recipe, Resolved, flatten, load_recipe, to_toml
from ssl_bio.config.resolve import CHECKPOINT, DATASET, on_resume
from ssl_bio.console import note, warn
from ssl_bio.data.dataset import DatasetInfo, PreparedDataset
from ssl_bio.errors import DataError, RecipeError
from ssl_bio.models.base import Backbone, SignalNetwork
from ssl_bio.runs.audit import audit
from ssl_bio.runs.checkpoint import CheckpointMetadata, now
from ssl_bio.runs.folder import DATA_FILE, RECIPE_FILE, RunFolder
from ssl_bio.runs.inputs import InputSpec
from ssl_bio.tasks.base import load_task
from ssl_bio.training import runtime
from ssl_bio.training.fit import FitResult


def already_complete(run: RunFolder, kind: str) -> bool:
    """Return whether there is nothing to resume, and say so."""
    if run.complete:
        run.check(kind=kind, resume=True, overwrite=False)
        note(f"{run.path} is complete already; --overwrite runs it again")
    return run.complete


def resumed(run: RunFolder, resolved: Resolved) -> Resolved:
    """Return the recipe that a run began with, and say what was asked for and is not taken."""
    path = run.path / RECIPE_FILE
    if not path.is_file():
        note(f"nothing to resume in {run.path}: starting from the beginning")
        return resolved
    kept, refused = on_resume(load_recipe(str(path)), resolved)
    for line in refused:
        warn(line)
    return kept


def check_split_scheme(recipe: Recipe, info: DatasetInfo) -> None:
    """Raise DataError when the dataset has no such split scheme."""
    if recipe.data.split_scheme not in info.schemes:
        raise DataError(
            f"data.split_scheme: dataset {info.name} has no split scheme {recipe.data.split_scheme!r}; "
            f"it has {', '.join(info.schemes)}"
        )


def with_default_target(resolved: Resolved, info: DatasetInfo) -> Resolved:
    """Return the recipe with the dataset's first label that fits the task, where it names none.

    Raises DataError when there is none.
    """
    recipe = resolved.recipe
    target = recipe.data.target or load_task(recipe).default_target(info)
    if target == recipe.data.target:
        return resolved
    filled = recipe.data.model_copy(update={"target": target})
    return Resolved(recipe.model_copy(update={"data": filled}), {**resolved.origins, "data.target": DATASET})


def refuse(problems: list[str]) -> None:
    """Raise RecipeError with all problems in one line, if there are any."""
    if problems:
        raise RecipeError("; ".join(dict.fromkeys(problems)))


def announce(verb: str, *, run: RunFolder, resolved: Resolved, dataset: PreparedDataset, source: str) -> None:
    """Say what is about to run, on which data, and what was chosen from where."""
    recipe, info = resolved.recipe, dataset.info
    note(f"{verb} {recipe.name} (seed {recipe.seed}) from {source or 'defaults'} into {run.path}")
    if recipe.data.fold > 0 and "data.fold" not in resolved.origins:
        return  # the first part of the cross-validation has told it all
    note(
        f"data {info.name}, fingerprint {info.fingerprint}: {info.n} windows of {len(info.channels)} channels x "
        f"{info.length} samples at {info.sampling_rate:g} Hz; {recipe.data.split_scheme}: "
        f"{info.schemes[recipe.data.split_scheme]}"
    )
    for line in chosen_lines(resolved):
        note(line)
    for pair, overlap in info.overlap[recipe.data.split_scheme].items():
        if overlap.subjects or overlap.windows:
            warn(f"{pair} share {overlap.subjects} people and {overlap.windows} identical windows")


def chosen_lines(resolved: Resolved) -> list[str]:
    """Return a line for what the command line and the data chose, and one that counts what files did."""
    flat = flatten(resolved.recipe.model_dump())
    by_origin: dict[str, list[str]] = {}
    for path, origin in resolved.origins.items():
        by_origin.setdefault(origin, []).append(path)
    lines = []
    for origin in (COMMAND_LINE, DATASET):
        chosen = by_origin.pop(origin, [])
        if chosen:
            lines.append(f"from {origin}: {', '.join(f'{path}={value_text(flat[path])}' for path in chosen)}")
    counted = [f"{_count(paths)} from {_short(origin)}" for origin, paths in by_origin.items()]
    if counted:
        lines.append(f"{', '.join(counted)}, the rest defaults: recipe.toml in the run folder has each")
    return lines


def record(run: RunFolder, resolved: Resolved, dataset: PreparedDataset, notes: Sequence[str] = ()) -> None:
    """Write what a run is made of: its recipe, and what its data are, with `notes` on them."""
    run.write_text(RECIPE_FILE, to_toml(resolved.recipe, resolved.origins))
    found = audit(dataset, resolved.recipe.data.split_scheme, notes)
    run.write_json(DATA_FILE, found.model_dump(mode="json"))


def _count(paths: list[str]) -> str:
    return "1 key" if len(paths) == 1 else f"{len(paths)} keys"


def _short(origin: str) -> str:
    return "the checkpoint" if origin == CHECKPOINT else Path(origin).name


def say_padding(backbone: Backbone | SignalNetwork) -> None:
    """Warn when windows are no whole number of tokens."""
    if backbone.padding:
        warn(f"windows are padded by {backbone.padding} samples to whole tokens")


def identity(dataset: PreparedDataset, further: str = "") -> str:
    """Return what a run learns from, for a resumed one to compare: a dataset and perhaps another run."""
    return f"dataset {dataset.info.name} ({dataset.info.fingerprint}){' and ' if further else ''}{further}"


def checkpoint_metadata(
    kind: Literal["pretrain", "finetune", "baseline"],
    *,
    run: RunFolder,
    recipe: Recipe,
    dataset: PreparedDataset,
    spec: InputSpec,
    result: FitResult,
) -> CheckpointMetadata:
    """Return what a finished run's weight file says about itself."""
    return CheckpointMetadata(
        kind=kind,
        run_id=run.run_id,
        recipe=recipe.model_dump(mode="json"),
        dataset=dataset.info.name,
        fingerprint=dataset.info.fingerprint,
        channels=dataset.info.channels,
        unit=dataset.info.unit,
        windows=dataset.info.options,
        length=spec.length,
        window=spec.window,
        sampling_rate=spec.sampling_rate,
        metrics={name: value for name, value in result.metrics.items() if name != "epoch"},
        selected_on=result.selected_on,
        epochs=result.epochs,
        best_epoch=result.best_epoch,
        n_train=result.n_train,
        seconds=result.seconds,
        versions=runtime.versions(),
        finished_at=now(),
    )


def shown_metrics(metrics: Mapping[str, float]) -> list[list[str]]:
    """Return rows for a table of a run's metrics."""
    return [[name, f"{value:.6g}"] for name, value in metrics.items() if not name.startswith("lr_")]
