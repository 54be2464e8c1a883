"""Runs that another run learns from: where a recipe finds them, and whom of the test people they have seen."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssl_bio.config import Recipe
from ssl_bio.config.load import find
from ssl_bio.config.resolve import recipe_of
from ssl_bio.data.dataset import PreparedDataset
from ssl_bio.errors import CheckpointError, RecipeError, SslBioError
from ssl_bio.runs.checkpoint import MODEL_FILE, CheckpointMetadata, load_metadata
from ssl_bio.runs.folder import METRICS_FILE, RUNS, pretraining_run
from ssl_bio.tasks.datasets import open_recipe_dataset


class Source(NamedTuple):
    """A finished pretraining run, without its weights."""

    path: Path
    metadata: CheckpointMetadata


def find_source(value: str, *, key: str, recipe: Recipe) -> Source:
    """Return the pretraining run that a recipe's key names.

    `value`: a run folder, in which {seed} and {fold} stand for the recipe's own, and of a cross-validation the one that
    holds its parts; or the name of a recipe: then it is the run that `ssl-bio pretrain` makes of it with the same seed
    and the same part of a cross-validation.

    Raises CheckpointError that names the command that makes it, when it is not there.
    """
    data, value = recipe.data, value.removesuffix(".toml")
    is_name = os.sep not in value and "/" not in value and not Path(value).is_dir()
    if is_name:
        path = pretraining_run(value, seed=recipe.seed, folds=data.folds, fold=data.fold)
    else:
        place = value.replace("{seed}", str(recipe.seed)).replace("{fold}", str(max(data.fold, 0)))
        path = Path(place).expanduser()
        if data.folds and (path / f"fold{data.fold}").is_dir():
            path = path / f"fold{data.fold}"
    try:
        return Source(path, load_metadata(path))
    except CheckpointError as error:
        hint = _how_to_make(value, path, recipe) if is_name else _parts_of(path)
        raise CheckpointError(f"{key}: {error}{hint}") from error


def tokenizer_of(recipe: Recipe) -> Source | None:
    """Return the run whose codes a recipe's pretraining learns, if it names one.

    Raises CheckpointError when it is not there.
    """
    key = recipe.pretrain.tokenizer_key
    value = getattr(recipe.pretrain, key) if key else ""
    return find_source(value, key=f"pretrain.{key}", recipe=recipe) if value else None


def _how_to_make(name: str, path: Path, recipe: Recipe) -> str:
    if (path / MODEL_FILE).exists():
        return ""  # it is broken, and the error says how
    data, default = recipe.data, type(recipe.data)()
    options = [f"--folds {data.folds}"] if data.folds else []
    options += [f"--seed {recipe.seed}"] if recipe.seed else []
    options += [f"--set data.split_scheme={data.split_scheme}"] if data.split_scheme != default.split_scheme else []
    options += ["--resume"] if path.exists() else []
    try:
        find(f"{name}.toml")
    except RecipeError:
        return f", and there is no recipe {name!r} that could make it"
    others = sorted(str(found.parent) for found in (RUNS / name).rglob(METRICS_FILE))
    told = f"; there is {', '.join(others[:3])}: a key may name such a folder" if others else ""
    return f": `{' '.join(['ssl-bio pretrain --recipe', f'{name}.toml', *options])}` makes it{told}"


def _parts_of(path: Path) -> str:
    parts = (path / "fold0").is_dir()
    return f"; it holds the parts of a cross-validation: name one, {path}/fold0, or cross-validate" if parts else ""


def seen_test_people(what: str, source: CheckpointMetadata, *, recipe: Recipe, dataset: PreparedDataset) -> list[str]:
    """Return a note when a run has learnt, without labels, from people of a dataset's test split, and the same for the
    runs that it learnt from itself. People of the same publisher's dataset are compared by name."""
    theirs = recipe_of(source.recipe, what)
    lines = list(_of_one(what, source, theirs=theirs, recipe=recipe, dataset=dataset))
    try:
        tokenizer = tokenizer_of(theirs)
    except SslBioError:
        return lines  # gone since: what it had seen cannot be told any more
    if tokenizer:
        key = theirs.pretrain.tokenizer_key
        lines += seen_test_people(f"{what}'s {key}", tokenizer.metadata, recipe=recipe, dataset=dataset)
    return lines


def _of_one(
    what: str, source: CheckpointMetadata, *, theirs: Recipe, recipe: Recipe, dataset: PreparedDataset
) -> Iterator[str]:
    ours = recipe.data
    if theirs.data.dataset != ours.dataset:
        return
    if source.fingerprint == dataset.info.fingerprint:
        learnt, evaluated = (
            f"{data.split_scheme!r}" + (f", part {data.fold} of {data.folds}" if data.folds else "")
            for data in (theirs.data, ours)
        )
        if learnt != evaluated:
            yield (
                f"{what} learnt under split scheme {learnt}, this run is evaluated under {evaluated}: "
                "it may have seen signals (no labels) of the test people"
            )
        return
    try:
        own = open_recipe_dataset(theirs.data, download=False)  # for a note alone nothing is fetched
    except SslBioError:
        yield f"{what} learnt from other windows of {ours.dataset}: which test people it has seen cannot be told"
        return
    splits = own.splits[theirs.data.split_scheme]
    learnt_rows = np.concatenate([splits[part] for part in theirs.pretrain.fit_on.split("+")])
    tested = dataset.splits[ours.split_scheme].get("test", np.array([], np.int64))
    people = np.unique(dataset.subjects[tested])
    n_seen = int(np.isin(people, own.subjects[learnt_rows]).sum())
    if n_seen:
        yield f"{what} learnt from signals (no labels) of {n_seen} of {len(people)} test people, in other windows"
