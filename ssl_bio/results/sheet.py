"""The results sheet: one CSV that many people and many processes append to.

Rows are matched to columns by name. An existing sheet keeps its own order and its extra columns;
columns that it lacks are added by one atomic rewrite. Every change happens under a lock beside the sheet.
"""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from filelock import FileLock

from ssl_bio.errors import SheetError
from ssl_bio.metrics import metric_text, metrics

#: The lab's own columns, in the order of the sheet it already has.
LAB_COLUMNS = (
    "model_name",
    "task_name",
    "AUC_PR",
    "AUROC",
    "Accuracy",
    "BalancedAccuracy",
    "CohenKappa",
    "F1_weighted",
    "MAE",
    "R2",
    "RMSE",
)
#: What a row needs to be believed.
PROVENANCE_COLUMNS = (
    "mode",
    "lr",
    "backbone_lr",
    "loss",
    "seed",
    "split",
    "selected_on",
    "grid",  # of so many combinations this is one: the best of them was chosen on `split`
    "split_scheme",
    "fit_on",
    "label_fraction",
    "epochs",
    "best_epoch",
    "n_train",
    "n_test",
    "n_parameters",
    "seconds",
    "dataset",
    "fingerprint",
    "checkpoint",
    "run_id",  # of the run and of how it was evaluated: with task_name it names the row
    "version",
    "finished_at",
)
_LOCK_SECONDS = 60

Row = Mapping[str, object]


def columns() -> list[str]:
    """Return all columns: the lab's, the other metrics as they are declared, then `PROVENANCE_COLUMNS`."""
    return [*LAB_COLUMNS, *(name for name in metrics() if name not in LAB_COLUMNS), *PROVENANCE_COLUMNS]


def append(path: Path, rows: Sequence[Row]) -> None:
    """Append rows to the sheet at `path`, making it first if need be; a row that is there already is replaced.

    A row is known by its `run_id` and `task_name`. Metrics are written with the digits they are declared with; what a
    row lacks stays empty. Safe under concurrent appends: each call writes whole rows under a lock.

    Raises SheetError when the file is not a sheet, is no regular file, or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path = path.resolve()  # a link stays a link
        _check_regular(path)
        with FileLock(f"{path}.lock", timeout=_LOCK_SECONDS, mode=0o666):
            _append_locked(path, [{name: _format(name, row.get(name)) for name in columns()} for row in rows])
    except TimeoutError as error:
        raise SheetError(f"{path}: another process has held {path}.lock for {_LOCK_SECONDS} s") from error
    except OSError as error:
        raise SheetError(f"{path}: cannot be written: {error.strerror or error}") from error


def read(path: Path) -> list[dict[str, str]]:
    """Return all rows of a sheet, as written. Raises SheetError when there is none or it is not a sheet."""
    if not path.is_file():
        raise SheetError(f"{path}: no such sheet")
    names, rows = _parse(path)
    return [dict(zip(names, row, strict=False)) for row in rows]


def check(path: Path) -> None:
    """Raise SheetError unless `path` can become or already is a sheet: asked before hours of training."""
    if path.is_dir():
        raise SheetError(f"{path}: a folder, not a sheet; give a file name such as {path / 'results.csv'}")
    _check_regular(path.resolve())
    if path.exists():
        _parse(path)
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise SheetError(f"{path}: cannot be written: {parent} is not a writable folder")


def _check_regular(path: Path) -> None:
    if path.exists() and not path.is_file():
        raise SheetError(f"{path}: a device or pipe, not a file; give a file name such as results.csv")


def _append_locked(path: Path, rows: list[dict[str, str]]) -> None:
    wanted = columns()
    if not path.exists() or path.stat().st_size == 0:
        _replace(path, wanted, [[row[name] for name in wanted] for row in rows])
        return
    names, existing = _parse(path)
    missing = [name for name in wanted if name not in names]
    kept = _without(existing, names, rows)
    if missing or len(kept) < len(existing):
        names = [*names, *missing]
        padded = [row + [""] * (len(names) - len(row)) for row in kept]
        _replace(path, names, padded + [[row.get(name, "") for name in names] for row in rows])
        return
    text = _to_csv([[row.get(name, "") for name in names] for row in rows])
    with path.open("rb+") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":  # an editor left the last line open
            text = "\n" + text
        file.write(text.encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())


def _without(existing: list[list[str]], names: list[str], rows: Sequence[Mapping[str, str]]) -> list[list[str]]:
    """Return the existing rows without those that `rows` replace."""
    if "run_id" not in names:
        return existing
    new = {(row["run_id"], row["task_name"]) for row in rows if row["run_id"]}
    place = [names.index("run_id"), names.index("task_name")]
    return [row for row in existing if len(row) <= max(place) or (row[place[0]], row[place[1]]) not in new]


def _parse(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        lines = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise SheetError(f"{path}: not a results sheet: {error}") from error
    except OSError as error:
        raise SheetError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not lines:
        return columns(), []
    names, *rows = lines
    if not {"model_name", "task_name"} <= set(names):
        shown = ",".join(names)[:60]
        raise SheetError(
            f"{path}: not a results sheet: its header is {shown!r}, without model_name and task_name; "
            "give another file to --sheet"
        )
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise SheetError(f"{path}: column {', '.join(twice)} stands twice in the header; rename one")
    return names, [row for row in rows if row]


def _format(name: str, value: object) -> str:
    if value is None:
        return ""
    if name in metrics() and isinstance(value, int | float):
        return metric_text(name, value)
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


def _to_csv(rows: Sequence[Sequence[str]]) -> str:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def _replace(path: Path, names: list[str], rows: list[list[str]]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(_to_csv([names, *rows]))
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            temporary.chmod(path.stat().st_mode)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
