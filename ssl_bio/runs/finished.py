"""Runs that ended, read without their weights: what they gave, what they were made of, and which could not be read."""

import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from ssl_bio.errors import CheckpointError
from ssl_bio.runs.audit import DataAudit
from ssl_bio.runs.checkpoint import CheckpointMetadata, check_version
from ssl_bio.runs.files import read_json
from ssl_bio.runs.folder import CONSTANTS, DATA_FILE, METRICS_FILE, PREDICTIONS, RECIPE_FILE, RunFolder
from ssl_bio.runs.study import STUDY_FILE

Arrays = dict[str, NDArray[Any]]


class FinishedRun(NamedTuple):
    """A run that ended: its metadata (without the recipe), its recipe as text, the history of its epochs by column, the
    audit of its data, where the version that made it wrote one, and the parts of a cross-validation."""

    folder: RunFolder
    run_id: str
    metadata: CheckpointMetadata
    recipe_text: str
    history: dict[str, list[float]]
    audit: DataAudit | None
    folds: tuple["FinishedRun", ...]

    @property
    def path(self) -> Path:
        """Return its folder."""
        return self.folder.path


class FoundRuns(NamedTuple):
    """The runs below a folder, in order of their paths, and a line for each that ended but cannot be read, or did not
    end."""

    runs: list[FinishedRun]
    problems: list[str]


def finished_runs(root: Path) -> FoundRuns:
    """Return the runs below a folder. Parts of a cross-validation are inside theirs, trials of a search left out."""
    runs: list[FinishedRun] = []
    problems: list[str] = []
    covered: set[Path] = set()  # folders whose inner runs are shown with them, or not at all
    for path in sorted(path.parent for path in root.rglob(RECIPE_FILE)):
        if not covered.isdisjoint(path.parents):
            continue
        if path.name.startswith("trial") and (path.parent / STUDY_FILE).exists():
            covered.add(path)
            continue
        if any(path.glob(f"fold*/{RECIPE_FILE}")):
            covered.add(path)
        shown = path.relative_to(root).as_posix()
        if not (path / METRICS_FILE).exists():
            problems.append(f"{shown}: has not ended")
            continue
        try:
            runs.append(read_run(path))
        except CheckpointError as error:
            problems.append(f"{shown}: {str(error).removeprefix(f'{path}/')}")
    return FoundRuns(runs, problems)


def read_run(path: Path) -> FinishedRun:
    """Return the run in a folder. Raises CheckpointError when one of its files is broken."""
    folder = RunFolder(path)
    result = read_json(path / METRICS_FILE)
    check_version(path / METRICS_FILE, result)
    try:
        metadata = CheckpointMetadata.model_validate(result)
    except ValidationError as error:
        raise CheckpointError(f"{path / METRICS_FILE}: broken: {error.errors()[0]['msg']}") from error
    return FinishedRun(
        folder=folder,
        run_id=folder.run_id,
        metadata=metadata,
        recipe_text=_recipe_text(path / RECIPE_FILE),
        history=folder.read_history(),
        audit=_audit(path / DATA_FILE),
        folds=tuple(read_run(part.path) for part in folder.folds()),
    )


def _recipe_text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
        tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: broken: {error}") from error
    return text


def _audit(path: Path) -> DataAudit | None:
    if not path.exists():
        return None
    try:
        return DataAudit.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: broken: {str(error).splitlines()[0]}") from error


class StoredPredictions(NamedTuple):
    """The arrays of `predictions.npz`: those with a row a window, and those that are the same for all windows."""

    arrays: Arrays
    constants: Arrays


def read_predictions(run: FinishedRun) -> StoredPredictions | None:
    """Return what a run predicted of its test split: of a cross-validation all parts together. None where it is not
    there.

    Raises CheckpointError when the file is broken.
    """
    parts = [_predictions_in(folder) for folder in (run.folder, *run.folder.folds())]
    whole, *folds = parts
    if whole is not None:
        return whole
    known = [part for part in folds if part is not None]
    if not known or len(known) < len(folds):
        return None
    shared = set.intersection(*(set(part.arrays) for part in known))
    arrays = {name: np.concatenate([part.arrays[name] for part in known]) for name in sorted(shared)}
    return StoredPredictions(arrays, known[0].constants)


def _predictions_in(folder: RunFolder) -> StoredPredictions | None:
    name = f"{PREDICTIONS}.npz"
    return stored_predictions(folder, name) if (folder.path / name).exists() else None


def stored_predictions(folder: RunFolder, name: str) -> StoredPredictions:
    """Return what a file of predictions in a run folder holds. Raises CheckpointError when it is missing or broken."""
    found = folder.read_arrays(name)
    n = len(found.get("row", ()))
    named = found.pop(CONSTANTS, None)
    # Before the names were written, what has another length than the windows was no array of windows.
    constants = {own for own in found if len(found[own]) != n} if named is None else set(named.tolist())
    return StoredPredictions(
        {own: values for own, values in found.items() if own not in constants},
        {own: values for own, values in found.items() if own in constants},
    )
