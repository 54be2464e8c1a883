"""`ssl-bio data`: which datasets there are, how they are prepared, and whether they are whole."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ssl_bio.config import load_recipe, parse_overrides, resolve
from ssl_bio.console import note, table
from ssl_bio.data import catalog, registry, store
from ssl_bio.data.store import DatasetInfo, PreparedDataset
from ssl_bio.errors import DataError, RecipeError


def list_data(root: str) -> None:
    """Print every dataset that can be had, and which are prepared."""
    home = store.data_root(root)
    prepared = {path.parent.name: path.parent for path in sorted(home.glob("*/dataset.json"))}
    rows = [_row_of_known(name) for name in registry.dataset_names() if name not in prepared]
    rows += [_row_of_prepared(name, folder) for name, folder in prepared.items()]
    table(f"datasets (prepared ones live in {home})", ["name", "what", "prepared", "fingerprint"], rows)


def _row_of_known(name: str) -> list[str]:
    try:
        dataset = registry.load_dataset(name)
    except DataError as error:  # a plugin that is broken
        return [name, str(error), "no", ""]
    return [name, dataset.title, "made when needed" if dataset.is_embedded else "no", ""]


def _row_of_prepared(name: str, folder: Path) -> list[str]:
    try:
        info = store.open_prepared(folder).info
    except DataError as error:
        return [name, str(error), "broken", ""]
    return [name, info.title, f"{info.n} x {len(info.channels)} x {info.length}", info.fingerprint]


def prepare_data(
    *, name: str, origin: str, root: str, recipe_name: str, overrides: Sequence[str], max_skipped: float
) -> PreparedDataset:
    """Prepare a dataset from the publisher's files, with windows as a recipe has them, and print what came of it.

    Raises RecipeError when the recipe is about another dataset, and DataError.
    """
    from ssl_bio.tasks.datasets import read_options  # imported when needed: tasks need torch, `data list` does not

    layers = [load_recipe(recipe_name)] if recipe_name else []
    config = resolve([*layers, parse_overrides(list(overrides))]).recipe.data
    if recipe_name and config.dataset != name:
        raise RecipeError(f"{recipe_name} is about dataset {config.dataset}, not {name}")
    data = catalog.prepare(
        name=name,
        origin=origin,
        root=root or config.root,
        options=read_options(config),
        max_skipped=max_skipped,
    )
    note(f"prepared {name} in {data.folder}")
    _describe(data)
    return data


def check_data(name: str, root: str) -> None:
    """Read every byte of a prepared dataset and compare it with its fingerprint.

    Raises DataError when it is not prepared or not what it was.
    """
    folder = store.data_root(root) / name
    if not store.is_prepared(folder):
        raise DataError(f"{name} is not prepared in {folder}; `ssl-bio data list` shows what is")
    data = store.open_prepared(folder)
    found = store.fingerprint(folder, data.info)
    if found != data.info.fingerprint:
        raise DataError(
            f"{folder}: changed since it was prepared ({found}, not {data.info.fingerprint}); prepare it again"
        )
    _describe(data)
    note(f"whole: fingerprint {found}")


def _describe(data: PreparedDataset) -> None:
    info = data.info
    note(
        f"{info.title}: {info.n} windows of {len(info.channels)} channels ({', '.join(info.channels)}) x {info.length} "
        f"samples at {info.sampling_rate:g} Hz, {len(np.unique(data.subjects))} people"
    )
    if info.skipped:
        note(f"{len(info.skipped)} of {info.n_records} records could not be read: {', '.join(list(info.skipped)[:5])}")
    for why, many in info.dropped.items():
        note(f"{many} {why}")
    if info.n_missing:
        note(f"{info.n_missing} NaN or infinite samples, the first in {info.first_missing}")
    for scheme, text in info.schemes.items():
        parts = data.splits[scheme]
        rows = [[split, str(len(rows)), str(len(np.unique(data.subjects[rows])))] for split, rows in parts.items()]
        table(f"split scheme {scheme}: {text}", ["split", "windows", "people"], rows)
        pairs = [[pair, str(o.subjects), str(o.windows)] for pair, o in info.overlap[scheme].items()]
        table("shared by two splits", ["splits", "people", "identical windows"], pairs)
    _describe_targets(data, info)


def _describe_targets(data: PreparedDataset, info: DatasetInfo) -> None:
    values = []
    for name, target in info.targets.items():
        array = np.asarray(data.targets[name]) if target.kind != "signal" else np.empty(0)
        if target.kind in ("class", "labels"):
            counts = np.bincount(array, minlength=len(target.classes)) if target.kind == "class" else array.sum(axis=0)
            rows = [[label, str(count)] for label, count in zip(target.classes, counts, strict=True)]
            table(f"target {name}", [target.kind, "windows"], rows)
        elif target.kind == "value":
            known = array[np.isfinite(array)]
            shown = np.quantile(known, [0, 0.5, 1]) if len(known) else np.full(3, np.nan)
            cells = [f"{value:.4g}" for value in shown]
            values.append([name, target.unit, *cells, str(len(array) - len(known))])
    if values:
        table("targets that are values", ["", "unit", "least", "median", "most", "unknown"], values)
