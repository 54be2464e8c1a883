"""`ssl-bio data`: what there is, and whether it is whole."""

import numpy as np

from ssl_bio import recipe, resolve, sources
from ssl_bio.data import store
from ssl_bio.data.store import DatasetInfo, PreparedDataset
from ssl_bio.errors import DataError, RecipeError
from ssl_bio.terminal import note, table


def list_data(root: str) -> None:
    """Every dataset that can be had, and what is prepared."""
    home = store.data_root(root)
    prepared = {path.parent.name: store.open_dataset(path.parent).info for path in sorted(home.glob("*/dataset.json"))}
    known = {**sources.EMBEDDED, **{name: source.title for name, source in sources.SOURCES.items()}}
    rows = [
        [name, title, "made when needed" if name in sources.EMBEDDED else "no", ""]
        for name, title in known.items()
        if name not in prepared
    ]
    rows += [
        [name, info.title, f"{info.n} x {len(info.channels)} x {info.length}", info.fingerprint]
        for name, info in prepared.items()
    ]
    table(f"datasets (prepared ones live in {home})", ["name", "what", "prepared", "fingerprint"], rows)


def prepare_data(
    name: str, origin: str, root: str, recipe_name: str, overrides: list[str], max_skipped: float
) -> PreparedDataset:
    """Prepare a dataset from the publisher's files, cut as a recipe says, and tell what came of it."""
    layers = [recipe.load(recipe_name)] if recipe_name else []
    plan = resolve.resolve([*layers, recipe.parse_overrides(overrides)]).recipe
    if recipe_name and plan.data.dataset != name:
        raise RecipeError(f"{recipe_name} is about dataset {plan.data.dataset}, not {name}")
    home = store.data_root(root or plan.data.root)
    data = sources.prepare(name, origin, home, sources.read_options(plan.data), max_skipped)
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
    data = store.open_dataset(folder)
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
