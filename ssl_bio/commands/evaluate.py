"""`ssl-bio evaluate`: a finished run on a split of its own data, or on other data."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ssl_bio.commands.comparison import show_runs
from ssl_bio.commands.plan import RunOptions, plan_evaluation
from ssl_bio.commands.result import RunResult, pooled, write_predictions
from ssl_bio.commands.rows import append_rows, draw, say_left_out
from ssl_bio.commands.steps import refuse
from ssl_bio.config import Recipe, flatten, resolve
from ssl_bio.config.resolve import from_checkpoint, recipe_of
from ssl_bio.console import note, warn
from ssl_bio.data.catalog import open_external
from ssl_bio.data.dataset import PreparedDataset, Rows
from ssl_bio.errors import DataError, RecipeError, SslBioError
from ssl_bio.pretexts.sources import tokenizer_of
from ssl_bio.results import sheet, tables
from ssl_bio.results.evaluation import Evaluation
from ssl_bio.runs.checkpoint import CheckpointMetadata, load_metadata
from ssl_bio.runs.files import read_json
from ssl_bio.runs.folder import METRICS_FILE, RunFolder
from ssl_bio.runs.transfer import n_parameters
from ssl_bio.tasks.base import evenly_spaced
from ssl_bio.tasks.datasets import open_recipe_dataset, window_options
from ssl_bio.tasks.load import FinetunedRun, load_finetuned
from ssl_bio.training import runtime

_WHOLE = "all"  # windows of another dataset, whatever its splits
_CHUNK = 1024  # windows hashed at a time


def evaluate(options: RunOptions, checkpoint: str | None, data_name: str | None) -> Evaluation:
    """Evaluate a finetuned run on a split of its own data, or on other data with its own preprocessing.

    Of a cross-validation all parts are evaluated, each on its own test split, and pooled.
    """
    sheet.check(options.sheet)
    device = runtime.pick_device(options.device)
    run = plan_evaluation(options, checkpoint)
    note(f"evaluating {run.path}")
    if run.folds():
        if data_name:
            raise RecipeError(f"{run.path} holds {len(run.folds())} networks: give --checkpoint one of its parts")
        return _evaluate_folds(options, run, device)
    loaded = _load(options, run)
    if data_name:
        split = str(flatten(options.overrides.values).get("evaluate.split", _WHOLE))
        return _evaluate_external(options, loaded, run=run, data_name=data_name, split=split, device=device)
    dataset = open_recipe_dataset(loaded.recipe.data)
    if dataset.info.fingerprint != loaded.metadata.fingerprint:
        warn(f"dataset {dataset.info.name} was prepared anew since this run: fingerprint {dataset.info.fingerprint}")
    refuse(loaded.task.check(dataset))
    split = loaded.recipe.evaluate.split
    rows = loaded.task.evaluated_rows(dataset, split)
    evaluation = _evaluation(loaded, dataset, rows=rows, split=split, device=device)
    write_predictions(run, evaluation, split=split)
    done = _result(loaded, evaluation, dataset, split=split)
    _show(done, f"{run.path.name} on {dataset.info.name}, {split} ({evaluation.n} windows)")
    say_left_out(loaded.task, dataset)
    _append(options, [done], run)
    if split == loaded.metadata.split:  # what the folder's figures are of
        draw(done, run)
    show_runs(done)
    return evaluation


def _load(options: RunOptions, run: RunFolder) -> FinetunedRun:
    checkpoint = run.load()
    stored = from_checkpoint(checkpoint.metadata.recipe)
    return load_finetuned(checkpoint, resolve([stored, options.overrides]).recipe)


def _evaluation(
    loaded: FinetunedRun, dataset: PreparedDataset, *, rows: Rows, split: str, device: torch.device
) -> Evaluation:
    return loaded.task.evaluate(
        loaded.model, loaded.target, dataset=dataset, rows=rows, split=split, spec=loaded.spec, device=device
    )


def _result(loaded: FinetunedRun, evaluation: Evaluation, dataset: PreparedDataset, *, split: str) -> RunResult:
    metadata = loaded.metadata.model_copy(update={"split": split})
    n = n_parameters(loaded.model)
    return RunResult(loaded.recipe, loaded.task, loaded.target, evaluation, metadata, n, dataset)


def _show(done: RunResult, title: str) -> None:
    tables.show([tables.metrics_table(done.evaluation, title), *done.task.tables(done.target, [done.evaluation])])


def _append(options: RunOptions, results: Sequence[RunResult], run: RunFolder) -> None:
    n_rows = sum(append_rows(done, sheet_path=options.sheet, run=run) for done in results)
    note(f"{'one row' if n_rows == 1 else f'{n_rows} rows'} in {options.sheet}")


def _evaluate_folds(options: RunOptions, run: RunFolder, device: torch.device) -> Evaluation:
    """Evaluate all parts of a cross-validation and pool what they predict."""
    parts = []
    for part in run.folds():
        loaded = _load(options, part)
        dataset = open_recipe_dataset(loaded.recipe.data)
        split = loaded.recipe.evaluate.split
        rows = loaded.task.evaluated_rows(dataset, split)
        evaluation = _evaluation(loaded, dataset, rows=rows, split=split, device=device)
        write_predictions(part, evaluation, split=split)
        parts.append(_result(loaded, evaluation, dataset, split=split))
    done = pooled(parts, run)
    write_predictions(run, done.evaluation, split=parts[0].metadata.split)
    pooled_split, n = done.metadata.split, done.evaluation.n
    _show(done, f"{run.path.name} on {done.dataset.info.name}, {pooled_split} ({n} windows)")
    _append(options, [done], run)
    if pooled_split == read_json(run.path / METRICS_FILE).get("split"):
        draw(done, run)
    show_runs(done)
    return done.evaluation


def _evaluate_external(
    options: RunOptions, loaded: FinetunedRun, *, run: RunFolder, data_name: str, split: str, device: torch.device
) -> Evaluation:
    """Evaluate on all windows of other data (or on one of its splits), and without those whose people or signals the
    run has seen in training."""
    recipe, metadata = loaded.recipe, loaded.metadata
    dataset = _external_dataset(data_name, recipe, metadata)
    loaded.task.check_same_question(loaded.target, dataset.info)
    scheme = next(iter(dataset.info.schemes))
    recipe = recipe.model_copy(
        update={"data": recipe.data.model_copy(update={"split_scheme": scheme, "folds": 0, "fold": -1})}
    )
    loaded = loaded._replace(recipe=recipe, task=type(loaded.task)(recipe))
    rows = _external_rows(loaded, dataset, split)
    evaluation = _evaluation(loaded, dataset, rows=rows, split=_noise_split(split), device=device)
    write_predictions(run, evaluation, split=split, dataset=dataset.info.name)
    results = [_result(loaded, evaluation, dataset, split=split)]
    _show(results[0], f"{run.path.name} on {dataset.info.name}, {split} ({evaluation.n} windows)")
    seen = _seen_in_training(dataset, rows, metadata)
    if seen is None:
        warn(
            "the data that this run learnt from are not at hand: which of these people or windows it has seen is "
            "not known"
        )
    elif seen.any:
        n_people = len(np.unique(dataset.subjects[rows]))
        note(
            f"seen in training or validation: {seen.n_people} of {n_people} people, {seen.n_windows} identical "
            "windows; without them:"
        )
        unseen = rows[~seen.rows]
        if len(unseen):
            apart = _evaluation(loaded, dataset, rows=unseen, split=_noise_split(split), device=device)
            name = f"{split}, unseen"
            results.append(_result(loaded, apart, dataset, split=name))
            _show(results[-1], f"{run.path.name} on {dataset.info.name}, {name} ({apart.n} windows)")
        else:
            warn("nothing is left: this is no external validation")
    else:
        note("none of its people or windows were seen in training or validation")
    _append(options, results, run)
    return evaluation


def _noise_split(split: str) -> str:
    """Return the split of noise that signals are evaluated under: of whole datasets, test."""
    return "test" if split == _WHOLE else split


def _external_rows(loaded: FinetunedRun, dataset: PreparedDataset, split: str) -> Rows:
    """Return the rows of other data that are evaluated. Raises DataError when no target is known."""
    if split != _WHOLE:
        return loaded.task.evaluated_rows(dataset, split)
    rows = np.arange(dataset.info.n)
    known = rows[loaded.task.has_known_target(dataset, rows)]
    if not len(known):
        raise DataError(f"dataset {dataset.info.name}: {loaded.recipe.data.target!r} is known of none of its windows")
    return evenly_spaced(known, dataset.subjects, loaded.recipe.evaluate.per_subject)


def _external_dataset(data_name: str, recipe: Recipe, metadata: CheckpointMetadata) -> PreparedDataset:
    """Return other data with the run's channels, in the run's order.

    Raises DataError for channels that it lacks, and for signals in another unit.
    """
    dataset = open_external(
        data_name,
        reader=recipe.data.dataset,
        root=recipe.data.root,
        options=window_options(recipe.data),
        synthetic=recipe.data.synthetic.model_dump(),
    )
    info, wanted = dataset.info, metadata.channels
    if len(wanted) > 1 or (info.channels != wanted and wanted[0] in info.channels):
        missing = [name for name in wanted if name not in info.channels]
        if missing:
            raise DataError(
                f"dataset {info.name}: no channel {', '.join(missing)}, which the run takes; it has "
                f"{', '.join(info.channels)}"
            )
        dataset = dataset.with_channels(wanted)
    elif len(info.channels) > 1:
        raise DataError(
            f"dataset {info.name}: no channel {wanted[0]}, which the run takes; it has {', '.join(info.channels)}"
        )
    if metadata.unit != info.unit:
        raise DataError(
            f"dataset {info.name}: its signals are in {info.unit!r}, the run's in {metadata.unit!r}: prepare it in "
            "that unit (data.standardize says when it is that of the record)"
        )
    return dataset


class _Seen(NamedTuple):
    """Which rows a run has seen in training, and why."""

    rows: NDArray[np.bool_]
    n_people: int
    n_windows: int

    @property
    def any(self) -> bool:
        """Return whether there are any."""
        return bool(self.rows.any())


def _seen_in_training(dataset: PreparedDataset, rows: Rows, metadata: CheckpointMetadata) -> _Seen | None:
    """Return which rows show people or identical windows of the training and validation splits of the run, and of the
    pretraining that it started from, and of the tokenizer that this one learnt.

    People are compared by name where both datasets come from the same publisher. None where the data that it learnt
    from cannot be opened.
    """
    digests, windows, people = _digests(dataset, rows), np.zeros(len(rows), bool), np.zeros(len(rows), bool)
    try:
        for values in _learnt_from(metadata):
            recipe = resolve([from_checkpoint(values)]).recipe
            own = open_recipe_dataset(recipe.data, download=False)
            if set(dataset.info.channels) <= set(own.stored_channels or own.info.channels):  # a tokenizer reads more
                own = own.with_channels(dataset.info.channels)
            splits = own.splits[recipe.data.split_scheme]
            learnt = np.unique(np.concatenate([splits[name] for name in ("train", "val") if name in splits]))
            windows |= np.isin(digests, _digests(own, learnt))
            if own.info.title == dataset.info.title:
                people |= np.isin(dataset.subjects[rows], own.subjects[learnt])
    except SslBioError:
        return None
    return _Seen(windows | people, len(np.unique(dataset.subjects[rows][people])), int(windows.sum()))


def _learnt_from(metadata: CheckpointMetadata) -> Iterator[Mapping[str, Any]]:
    """Yield the recipes of a run, of the pretraining that it started from, and of the tokenizer that this one learnt.

    Raises CheckpointError when one of them is gone.
    """
    yield metadata.recipe
    if metadata.origin:
        start = load_metadata(Path(metadata.origin)).recipe
        yield start
        tokenizer = tokenizer_of(recipe_of(start, metadata.origin))
        if tokenizer:
            yield tokenizer.metadata.recipe


def _digests(dataset: PreparedDataset, rows: Rows) -> NDArray[np.bytes_]:
    """Return a hash of each window."""
    found = [
        hashlib.blake2b(window.tobytes(), digest_size=16).digest()
        for start in range(0, len(rows), _CHUNK)
        for window in dataset.read(rows[start : start + _CHUNK])
    ]
    return np.array(found, "S16")
