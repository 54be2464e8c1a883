"""Run folders.

<run>/
  model.safetensors   weights; the header holds `CheckpointMetadata` as JSON
  recipe.toml         the resolved recipe
  data.json           what it learnt from: `DataAudit`
  run.json            the run's id, by which the sheet knows its rows
  history.csv         a row an epoch
  metrics.json        the result; its presence makes the run complete
  predictions*.npz    after `evaluate`
  fold0/ fold1/ ...   run folders: the parts of a cross-validation, which has no weights of its own
  figures/            plots
  events/             TensorBoard events, with --tensorboard
  export/             its network for other programs, after `export`
  resume/             optimizer and loop state, gone once the run is complete

While a process is at work in it, `.<run>.lock` beside it says which.
"""

import csv
import io
import json
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4
from zipfile import BadZipFile

from filelock import FileLock, Timeout

from ssl_bio.errors import CheckpointError
from ssl_bio.runs.checkpoint import (
    FORMAT_VERSION,
    MODEL_FILE,
    Checkpoint,
    CheckpointMetadata,
    check_version,
    load_checkpoint,
)
from ssl_bio.runs.files import atomic_write, entries_of, load_tensors, read_json, save_tensors, write_text

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

RUNS = Path("checkpoints")
RECIPE_FILE = "recipe.toml"
DATA_FILE = "data.json"
RUN_FILE = "run.json"
CONSTANTS = "constants"  # the array of predictions that names those which are the same for all windows
PREDICTIONS = "predictions"  # how the files of predictions begin; this with .npz: of the test split
HISTORY_FILE = "history.csv"
METRICS_FILE = "metrics.json"
RESUME_FOLDER = "resume"
FIGURES_FOLDER = "figures"
EVENTS_FOLDER = "events"
EXPORT_FOLDER = "export"
GRID_FOLDER = "grid"
_FOLD = re.compile(r"fold\d+")


class RunFolder:
    """One run's folder and the only way its files are written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def check(self, *, kind: str, resume: bool, overwrite: bool) -> None:
        """Raise CheckpointError when the folder holds something and neither way out was chosen, or holds another kind
        of run or files that no run has. Touches nothing."""
        entries = entries_of(self.path)
        if not entries:
            return
        if not (resume or overwrite):
            raise CheckpointError(
                f"{self.path} is not empty: --resume goes on with that run, --overwrite replaces it, "
                "--out DIR writes elsewhere"
            )
        foreign = sorted(name for name in entries if not _is_run_file(name))
        if foreign or not entries & {RECIPE_FILE, RUN_FILE}:
            found = ", ".join(foreign[:3]) or "no recipe.toml"
            raise CheckpointError(
                f"{self.path} is no run folder ({found}): it is left alone; choose another with --out"
            )
        theirs = read_json(self.path / METRICS_FILE).get("kind", kind)
        if theirs != kind:
            raise CheckpointError(f"{self.path} holds a {theirs} run, not a {kind} run: choose another with --out")

    @contextmanager
    def owned(self, *, kind: str, resume: bool, overwrite: bool) -> Iterator[None]:
        """Make the folder this process's own while the block runs; with `overwrite` it starts empty.

        Raises CheckpointError as `check`, when another process owns it, and when it cannot be written.
        """
        self.check(kind=kind, resume=resume, overwrite=overwrite)
        place = self.path.absolute().parent / f".{self.path.name}.lock"
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(place, timeout=0)
            lock.acquire()
        except Timeout as error:
            owner = read_json(place)
            whose = f"process {owner['process']} on {owner['host']}" if owner else "another process"
            raise CheckpointError(
                f"{self.path}: {whose} is at work in it; wait for it, or choose another with --out"
            ) from error
        except OSError as error:
            raise CheckpointError(f"{self.path}: cannot be written: {error.strerror or error}") from error
        try:
            self.check(kind=kind, resume=resume, overwrite=overwrite)  # for another may have been quicker
            try:
                place.write_text(json.dumps({"process": os.getpid(), "host": socket.gethostname()}), encoding="utf-8")
                replaced = [own for own in (self.run_id, *self.replaced_run_ids) if own]
                if overwrite and self.path.exists():
                    shutil.rmtree(self.path)
                self.path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise CheckpointError(f"{self.path}: cannot be written: {error.strerror or error}") from error
            if not self.run_id:
                self.write_json(RUN_FILE, {"run_id": uuid4().hex[:12], "replaces": replaced})
            yield
        finally:
            place.unlink(missing_ok=True)
            lock.release()

    @property
    def run_id(self) -> str:
        """Return the id by which the sheet knows the run's rows; empty before the run has begun."""
        return str(read_json(self.path / RUN_FILE).get("run_id", ""))

    @property
    def replaced_run_ids(self) -> list[str]:
        """Return the ids of the runs that stood here before `--overwrite`, the last one first.

        More than one counts where a run was replaced before it could replace the rows of the one before.
        """
        return [str(own) for own in read_json(self.path / RUN_FILE).get("replaces", [])]

    @property
    def complete(self) -> bool:
        """Return whether the run reached its end."""
        return (self.path / METRICS_FILE).is_file() and (self.path / MODEL_FILE).is_file()

    @property
    def complete_folds(self) -> bool:
        """Return whether a cross-validation, whose parts are run folders inside this one, reached its end."""
        n_parts = read_json(self.path / METRICS_FILE).get("folds", 0)
        return bool(n_parts) and sum(part.complete for part in self.folds()) == n_parts

    def folds(self) -> list["RunFolder"]:
        """Return the parts of a cross-validation, in order; none for a single run."""
        found = [path for path in self.path.glob("fold*") if _FOLD.fullmatch(path.name)]
        return [RunFolder(path) for path in sorted(found, key=lambda path: int(path.name.removeprefix("fold")))]

    def write_text(self, name: str, text: str) -> None:
        """Write a text file whole or not at all."""
        write_text(self.path / name, text)

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a JSON file whole or not at all."""
        self.write_text(name, json.dumps(value, indent=2) + "\n")

    def write_history(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write `history.csv`: the columns of all rows in order of appearance."""
        columns = list(dict.fromkeys(key for row in rows for key in row))
        buffer = io.StringIO(newline="")
        writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: f"{value:.6g}" for key, value in row.items()} for row in rows)
        self.write_text(HISTORY_FILE, buffer.getvalue())

    def read_history(self) -> dict[str, list[float]]:
        """Return `history.csv` by column, NaN where a row has none; empty for a run without epochs.

        Raises CheckpointError when the file is broken.
        """
        path = self.path / HISTORY_FILE
        if not path.exists():
            return {}
        try:
            with path.open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file, strict=True))
            return {name: [float(row[name] or "nan") for row in rows] for name in rows[0]} if rows else {}
        except (OSError, ValueError, csv.Error) as error:
            raise CheckpointError(f"{path}: broken: {error}") from error

    def write_figure(self, name: str, draw: Callable[[Path], None]) -> Path:
        """Have `draw` write `figures/<name>`, whole or not at all."""
        folder = self.path / FIGURES_FOLDER
        folder.mkdir(exist_ok=True)
        with atomic_write(folder / name) as temporary:
            draw(temporary)
        return folder / name

    def write_arrays(self, name: str, arrays: "Mapping[str, NDArray[Any]]") -> Path:
        """Write an `.npz` without objects, whole or not at all."""
        import numpy as np

        with atomic_write(self.path / name) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # numpy types keyword arrays loosely
        return self.path / name

    def read_arrays(self, name: str) -> "dict[str, NDArray[Any]]":
        """Return what an `.npz` holds. Raises CheckpointError when it is missing or broken."""
        import numpy as np

        try:
            with (self.path / name).open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                return dict(file)
        except (OSError, ValueError, EOFError, BadZipFile) as error:
            raise CheckpointError(f"{self.path / name}: cannot be read: {error}") from error

    def finish(self, tensors: "Mapping[str, Tensor]", metadata: CheckpointMetadata) -> None:
        """Write weights and result, then drop the resume state: the run is complete."""
        save_tensors(self.path / MODEL_FILE, tensors, metadata.model_dump(mode="json"))
        self.finish_folds(metadata)
        shutil.rmtree(self.path / RESUME_FOLDER, ignore_errors=True)

    def finish_folds(self, metadata: CheckpointMetadata) -> None:
        """Write the result: of a cross-validation, what its parts gave together."""
        self.write_json(METRICS_FILE, metadata.model_dump(mode="json", exclude={"recipe"}))

    def save_state(self, tensors: "Mapping[str, Tensor]", state: Mapping[str, Any]) -> None:
        """Write the resume state as one file, so that it is of one epoch."""
        folder = self.path / RESUME_FOLDER
        folder.mkdir(exist_ok=True)
        save_tensors(folder / "state.safetensors", tensors, {"format_version": FORMAT_VERSION, **state})

    def load_state(self) -> "tuple[dict[str, Tensor], dict[str, Any]] | None":
        """Return the resume state, or None when the run has none yet."""
        path = self.path / RESUME_FOLDER / "state.safetensors"
        if not path.exists():
            return None
        tensors, state = load_tensors(path)
        check_version(path, state)
        return tensors, state

    def load(self) -> Checkpoint:
        """Return the run's weights and metadata. Raises CheckpointError when they are missing or broken."""
        return load_checkpoint(self.path / MODEL_FILE)


def pretraining_run(recipe_name: str, *, seed: int, chosen: str = "", folds: int = 0, fold: int = -1) -> Path:
    """Return where `ssl-bio pretrain` puts a run: named by the recipe, what the command line `chosen`, and the seed; of
    a cross-validation in `folds` parts the folder of a part, or with `fold` -1 the one of all parts."""
    parts = f"-folds{folds}" if folds else ""
    home = RUNS / recipe_name / f"pretrain{chosen}{parts}-seed{seed}"
    return home / f"fold{fold}" if folds and fold >= 0 else home


def newest_run(root: Path, *, kind: str, name: str = "", preferred: str = "") -> RunFolder:
    """Return the complete run of this kind that finished last below `root` (of one recipe name, if given).

    Where some of them lie in a folder that ends in the pattern `preferred`, it is the last of those. Of finetuned
    runs a cross-validation counts as one run, and those of a grid do not count.

    Raises CheckpointError when there is none.
    """
    found: list[tuple[bool, str, Path]] = []
    for path in (root / name).rglob(METRICS_FILE):
        result, run = read_json(path), RunFolder(path.parent)
        fits = bool(preferred) and path.parent.match(f"*{preferred}")
        is_part = bool(_FOLD.fullmatch(path.parent.name)) and not fits
        complete = run.complete or (kind == "finetune" and run.complete_folds)
        if result.get("kind") == kind and complete and not is_part and not result.get("grid"):
            found.append((fits, str(result.get("finished_at", "")), path.parent))
    if not found:
        below = root / name if name else root
        raise CheckpointError(
            f"no complete {kind} run under {below}{os.sep}: run `ssl-bio {kind}` with the same recipe first, or give "
            "--checkpoint RUN"
        )
    return RunFolder(max(found)[2])


def _is_run_file(name: str) -> bool:
    known = (
        *(MODEL_FILE, RECIPE_FILE, DATA_FILE, RUN_FILE, HISTORY_FILE, METRICS_FILE),
        *(RESUME_FOLDER, FIGURES_FOLDER, EVENTS_FOLDER, EXPORT_FOLDER),
    )
    return (
        name in known
        or bool(_FOLD.fullmatch(name))
        or (name.startswith(PREDICTIONS) and name.endswith(".npz"))
        or name.endswith(".tmp")
        or (name.startswith(".fold") and name.endswith(".lock"))
    )
