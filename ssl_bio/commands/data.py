"""`ssl-bio data`: which datasets there are, how they are prepared, and whether they are whole."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ssl_bio.console import note, table
from ssl_bio.data import recording_store, registry
from ssl_bio.data.dataset import DatasetInfo, PreparedDataset
from ssl_bio.data.locations import data_root
from ssl_bio.data.recording_store import RecordingStore, StoreInfo
from ssl_bio.errors import DataError, RecipeError

_MOST_REMARKS = 8


def list_data(root: str) -> None:
    """Print every dataset that can be had, and which are prepared."""
    home = data_root(root)
    prepared = {path.parent.name: path.parent for path in sorted(home.glob(f"*/{recording_store.INFO_FILE}"))}
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
        info = recording_store.open_store(folder).info
    except DataError as error:
        return [name, str(error), "broken", ""]
    return [name, _title(info), f"{info.n_recordings} recordings", info.fingerprint]


def _title(info: StoreInfo) -> str:
    """Return what a store holds; of somebody's own recordings, what they were read from."""
    return f"own recordings, from {info.source}" if info.reader == registry.OWN_READER else info.title


def prepare_data(
    *,
    name: str,
    origin: str,
    root: str,
    recipe_name: str,
    overrides: Sequence[str],
    max_skipped: float,
    overwrite: bool,
    workers: int = 1,
) -> RecordingStore:
    """Prepare a dataset from the publisher's files, cut its windows as a recipe has them, and print what came of it.

    Raises RecipeError when the recipe is about another dataset, and DataError.
    """
    # Imported when needed: `data list` is to answer at once.
    from ssl_bio.config import load_recipe, parse_overrides, resolve
    from ssl_bio.data import catalog
    from ssl_bio.tasks.datasets import window_options

    layers = [load_recipe(recipe_name)] if recipe_name else []
    config = resolve([*layers, parse_overrides(list(overrides))]).recipe.data
    if recipe_name and config.dataset != name:
        raise RecipeError(f"{recipe_name} is about dataset {config.dataset}, not {name}")
    root = root or config.root
    store = catalog.prepare(
        name=name, origin=origin, root=root, max_skipped=max_skipped, overwrite=overwrite, workers=workers
    )
    note(f"prepared {name} in {store.folder}: {len(store)} recordings, {store.path.stat().st_size / 1e6:,.1f} MB")
    _say_remarks(store)
    try:
        _describe(catalog.open_dataset(name=name, root=root, options=window_options(config), workers=workers))
    except DataError as error:
        if layers or overrides:
            raise
        note(f"windows are cut when a recipe says how: {error}")
    return store


def _say_remarks(store: RecordingStore) -> None:
    """Say what was done to recordings while they were read: turned, resampled, left out."""
    remarks = Counter(remark for entry in store.entries for remark in entry.facts.get("remarks", ()))
    for remark, many in remarks.most_common(_MOST_REMARKS):
        note(f"{many} of {len(store)} recordings: {remark}")
    for remark in store.facts.get("remarks", ()):
        note(remark)


def check_data(name: str, root: str) -> None:
    """Read every byte of a prepared dataset and compare it with its fingerprint; so with all windows cut of it.

    Raises DataError when it is not prepared or not what it was.
    """
    from ssl_bio.data import window_store

    folder = data_root(root) / name
    if not recording_store.is_store(folder):
        raise DataError(f"{name} is not prepared in {folder}; `ssl-bio data list` shows what is")
    store = recording_store.open_store(folder)
    _check_fingerprint(folder, found=recording_store.store_fingerprint(folder), stored=store.info.fingerprint)
    for data in window_store.kept_windows(store):
        found = window_store.fingerprint(data)
        _check_fingerprint(folder, found=found, stored=data.info.fingerprint)
        _describe(data)
        note(f"whole: windows {data.info.name}, fingerprint {found}")
    note(f"whole: {len(store)} recordings, fingerprint {store.info.fingerprint}")


def _check_fingerprint(folder: Path, *, found: str, stored: str) -> None:
    if found != stored:
        raise DataError(f"{folder}: changed since it was prepared ({found}, not {stored}); prepare it again")


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
