"""Run folders and weight files. Everything is written to a temporary name, flushed, then renamed.

<run>/
  model.safetensors   weights; the header holds `Facts` as JSON
  recipe.toml         the resolved recipe
  history.csv         a row an epoch
  metrics.json        the result; its presence makes the run complete
  predictions*.npz    after `evaluate`
  fold0/ fold1/ ...   run folders: the parts of a cross-validation, which has no weights of its own
  figures/            plots, after some pretext tasks
  resume/             optimizer and loop state, gone once the run is complete
"""

import csv
import io
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ssl_bio.errors import CheckpointError
from ssl_bio.outcome import Outcome

FORMAT_VERSION = 1
MODEL_FILE = "model.safetensors"
RECIPE_FILE = "recipe.toml"
HISTORY_FILE = "history.csv"
METRICS_FILE = "metrics.json"
RESUME_FOLDER = "resume"
FIGURES_FOLDER = "figures"
_HEADER_KEY = "ssl_bio"
_FOLD = re.compile(r"fold\d+")


class Facts(BaseModel):
    """What a weight file says about itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    kind: Literal["pretrain", "finetune"]
    recipe: dict[str, Any]
    dataset: str
    fingerprint: str
    channels: tuple[str, ...]
    length: int
    sampling_rate: float
    window: int = 0  # samples the network sees at once; 0: all of `length`
    outcome: Outcome | None = None  # of a finetuned run
    metrics: dict[str, float] = {}
    split: str = ""  # that the metrics of a finetuned run were measured on
    epochs: int = 0
    best_epoch: int = 0
    selected_on: str = "last"
    n_train: int = 0
    seconds: float = 0.0
    grid: int = 0  # how many combinations it was one of
    origin: str = ""  # the pretraining run a finetuned one started from
    versions: dict[str, str] = {}
    finished_at: str = ""


class Checkpoint(NamedTuple):
    """A loaded weight file."""

    path: Path
    facts: Facts
    tensors: dict[str, Tensor]


def now() -> str:
    """The time in UTC to the microsecond: it also orders runs."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


class RunFolder:
    """One run's folder and the only way its files are written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def check(self, kind: str, resume: bool, overwrite: bool) -> None:
        """Raise CheckpointError when the folder holds something and neither way out was chosen, or holds
        another kind of run or files that no run has. Touches nothing."""
        try:
            entries = {entry.name for entry in self.path.iterdir()} if self.path.exists() else set()
        except OSError as error:
            raise CheckpointError(f"{self.path}: cannot be written: {error.strerror or error}") from error
        if not entries:
            return
        if not (resume or overwrite):
            raise CheckpointError(
                f"{self.path} is not empty: --resume goes on with that run, --overwrite replaces it, "
                "--out DIR writes elsewhere"
            )
        foreign = sorted(name for name in entries if not _is_run_file(name))
        if foreign or RECIPE_FILE not in entries:
            found = ", ".join(foreign[:3]) or "no recipe.toml"
            raise CheckpointError(
                f"{self.path} is no run folder ({found}): it is left alone; choose another with --out"
            )
        theirs = read_metrics(self.path / METRICS_FILE).get("kind", kind)
        if theirs != kind:
            raise CheckpointError(f"{self.path} holds a {theirs} run, not a {kind} run: choose another with --out")

    def claim(self, kind: str, resume: bool, overwrite: bool) -> None:
        """Make the folder this run's own before any work is done.

        Raises CheckpointError as `check`, and when the folder cannot be written.
        """
        self.check(kind, resume, overwrite)
        try:
            if overwrite and self.path.exists():
                shutil.rmtree(self.path)
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise CheckpointError(f"{self.path}: cannot be written: {error.strerror or error}") from error

    @property
    def complete(self) -> bool:
        """Whether the run reached its end."""
        return (self.path / METRICS_FILE).is_file() and (self.path / MODEL_FILE).is_file()

    @property
    def complete_folds(self) -> bool:
        """Whether a cross-validation, whose parts are run folders inside this one, reached its end."""
        return (self.path / METRICS_FILE).is_file()

    def finish_folds(self, facts: Facts) -> None:
        """Write what all parts of a cross-validation gave together."""
        self.write_json(METRICS_FILE, facts.model_dump(mode="json", exclude={"recipe"}))

    def write_text(self, name: str, text: str) -> None:
        """Write a text file whole or not at all."""
        with _atomically(self.path / name) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="")

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
        """`history.csv` by column; NaN where a row has none."""
        with (self.path / HISTORY_FILE).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return {name: [float(row[name] or "nan") for row in rows] for name in rows[0]} if rows else {}

    def write_figure(self, name: str, draw: Callable[[Path], None]) -> Path:
        """Have `draw` write `figures/<name>`, whole or not at all."""
        folder = self.path / FIGURES_FOLDER
        folder.mkdir(exist_ok=True)
        with _atomically(folder / name) as temporary:
            draw(temporary)
        return folder / name

    def write_arrays(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> Path:
        """Write an `.npz` without objects, whole or not at all."""
        with _atomically(self.path / name) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # numpy types keyword arrays loosely
        return self.path / name

    def write_model(self, tensors: Mapping[str, Tensor], facts: Facts) -> None:
        """Write `model.safetensors`."""
        save_tensors(self.path / MODEL_FILE, tensors, facts.model_dump(mode="json"))

    def finish(self, tensors: Mapping[str, Tensor], facts: Facts) -> None:
        """Write weights and result, then drop the resume state: the run is complete."""
        self.write_model(tensors, facts)
        self.write_json(METRICS_FILE, facts.model_dump(mode="json", exclude={"recipe"}))
        shutil.rmtree(self.path / RESUME_FOLDER, ignore_errors=True)

    def save_state(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Write the resume state as one file, so that it is of one epoch."""
        folder = self.path / RESUME_FOLDER
        folder.mkdir(exist_ok=True)
        save_tensors(folder / "state.safetensors", tensors, {"format_version": FORMAT_VERSION, **state})

    def load_state(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The resume state, or None when the run has none yet."""
        path = self.path / RESUME_FOLDER / "state.safetensors"
        if not path.exists():
            return None
        tensors, state = load_tensors(path)
        _check_version(path, state)
        return tensors, state

    def load(self) -> Checkpoint:
        """The run's weights and facts. Raises CheckpointError when they are missing or broken."""
        return load(self.path / MODEL_FILE)


def load(path: Path) -> Checkpoint:
    """Load a weight file and what it says about itself.

    Raises CheckpointError when it is missing, truncated, no safetensors, no ssl-bio file or of another
    format version.
    """
    if path.is_dir():
        path = path / MODEL_FILE
    tensors, header = load_tensors(path)
    _check_version(path, header)
    try:
        return Checkpoint(path, Facts.model_validate(header), tensors)
    except ValidationError as error:
        raise CheckpointError(f"{path}: its header is broken: {error.errors()[0]['msg']}") from error


def newest(root: Path, kind: str, name: str = "", preferred: str = "") -> RunFolder:
    """The complete run of this kind that finished last below `root` (of one recipe name, if given); where some of
    them lie in a folder that ends in the pattern `preferred`, the last of those.

    Raises CheckpointError when there is none.
    """
    found: list[tuple[bool, str, Path]] = []
    for path in (root / name).rglob(METRICS_FILE):
        result = read_metrics(path)
        if result.get("kind") == kind and RunFolder(path.parent).complete:
            fits = bool(preferred) and path.parent.match(f"*{preferred}")
            found.append((fits, str(result.get("finished_at", "")), path.parent))
    if not found:
        below = root / name if name else root
        raise CheckpointError(
            f"no complete {kind} run under {below}{os.sep}: run `ssl-bio {kind}` first, or give --checkpoint RUN"
        )
    return RunFolder(max(found)[2])


def read_metrics(path: Path) -> dict[str, Any]:
    """A run's `metrics.json`; empty when it cannot be read."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return result if isinstance(result, dict) else {}


def save_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write a safetensors file with a JSON header, whole or not at all."""
    detached = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    with _atomically(path) as temporary:
        save_file(detached, temporary, metadata={_HEADER_KEY: json.dumps(header)})


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a safetensors file and its JSON header. Raises CheckpointError."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such weight file")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(_HEADER_KEY, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: truncated or no safetensors file ({error})") from error
    if not isinstance(header, dict):
        raise CheckpointError(f"{path}: a safetensors file, but not one of ssl-bio's: it has no {_HEADER_KEY!r} header")
    return tensors, header


def _check_version(path: Path, header: Mapping[str, Any]) -> None:
    version = header.get("format_version")
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: checkpoint format {version}, this ssl-bio reads format {FORMAT_VERSION}; "
            "use the version that wrote it, or train again"
        )


def _is_run_file(name: str) -> bool:
    known = (MODEL_FILE, RECIPE_FILE, HISTORY_FILE, METRICS_FILE, RESUME_FOLDER, FIGURES_FOLDER)
    return (
        name in known
        or bool(_FOLD.fullmatch(name))
        or (name.startswith("predictions") and name.endswith(".npz"))
        or name.endswith(".tmp")
    )


@contextmanager
def _atomically(path: Path) -> Iterator[Path]:
    """A temporary name to write to, flushed and renamed to `path` when the block ends well."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
