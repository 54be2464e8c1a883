"""The results sheet: one CSV that many people and many processes append to.

Rows are matched to columns by name. An existing sheet keeps its own order and its extra columns;
columns that it lacks are added by one atomic rewrite. Every change happens under a lock beside the sheet.
"""

import csv
import io
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

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
    "grid",  # of so many combinations this is one, to choose from on `split`; of `tune`: the trials it was chosen from
    "split_scheme",
    "fit_on",
    "label_fraction",
    "epochs",  # this one and the next two: of a cross-validation the means over its parts
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
_REQUIRED = {"model_name", "task_name"}
_LOCK_SECONDS = 60

Row = Mapping[str, object]


def columns() -> list[str]:
    """Return all columns: the lab's, the other metrics as they are declared, then `PROVENANCE_COLUMNS`."""
    return [*LAB_COLUMNS, *(name for name in metrics() if name not in LAB_COLUMNS), *PROVENANCE_COLUMNS]


def append(path: Path, rows: Sequence[Row], *, replaced_runs: Collection[str] = ()) -> None:
    """Append rows to the sheet at `path`, making it first if need be; a row that is there already is replaced.

    A row is known by its `run_id` and `task_name`. Rows of `replaced_runs`, whose weights are gone, go too. Metrics
    are written with the digits they are declared with; what a row lacks stays empty. Safe under concurrent appends:
    each call writes whole rows under a lock.

    Raises SheetError when the file is not a sheet, is no regular file, or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path = path.resolve()  # a link stays a link
        _check_regular(path)
        with FileLock(f"{path}.lock", timeout=_LOCK_SECONDS, mode=0o666):
            new = [{name: _format(name, row.get(name)) for name in columns()} for row in rows]
            _append_locked(path, new, replaced_runs)
    except TimeoutError as error:
        raise SheetError(f"{path}: another process has held {path}.lock for {_LOCK_SECONDS} s") from error
    except OSError as error:
        raise SheetError(f"{path}: cannot be written: {error.strerror or error}") from error


def read(path: Path) -> list[dict[str, str]]:
    """Return all rows of a sheet, as written. Raises SheetError when there is none or it is not a sheet."""
    if not path.is_file():
        raise SheetError(f"{path}: no such sheet")
    sheet = _parse(path)
    return [dict(zip(sheet.names, row, strict=False)) for row in sheet.rows]


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


class _Sheet(NamedTuple):
    """What a file holds, and the dialect of CSV that it is written in."""

    names: list[str]
    rows: list[list[str]]
    delimiter: str = ","
    newline: str = "\n"

    def text(self, rows: Sequence[Sequence[str]]) -> str:
        """Return rows in the sheet's dialect."""
        buffer = io.StringIO(newline="")
        csv.writer(buffer, delimiter=self.delimiter, lineterminator=self.newline).writerows(rows)
        return buffer.getvalue()


def _append_locked(path: Path, rows: list[dict[str, str]], replaced_runs: Collection[str]) -> None:
    if not path.exists() or path.stat().st_size == 0:
        _replace(path, _Sheet(columns(), [[row[name] for name in columns()] for row in rows]))
        return
    sheet = _parse(path)
    names = [*sheet.names, *(name for name in columns() if name not in sheet.names)]
    kept, replaced = _split_off(sheet, rows, replaced_runs)
    # What the lab wrote into columns of its own stays with a row that is replaced.
    new = [[row.get(name, old.get(name, "")) for name in names] for row, old in zip(rows, replaced, strict=True)]
    if len(names) > len(sheet.names) or len(kept) < len(sheet.rows):
        padded = [row + [""] * (len(names) - len(row)) for row in kept]
        _replace(path, sheet._replace(names=names, rows=[*padded, *new]))
        return
    text = sheet.text(new)
    with path.open("rb+") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":  # an editor left the last line open
            text = sheet.newline + text
        file.write(text.encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())


def _split_off(
    sheet: _Sheet, rows: Sequence[Mapping[str, str]], replaced_runs: Collection[str]
) -> tuple[list[list[str]], list[Mapping[str, str]]]:
    """Return the existing rows without those that `rows` replace, and for each of `rows` the one that it replaces."""
    existing = [dict(zip(sheet.names, row, strict=False)) for row in sheet.rows]
    ids = [(row.get("run_id", ""), row.get("task_name", "")) for row in existing]
    wanted = [(row["run_id"], row["task_name"]) for row in rows]
    gone = [own.rpartition("-")[0] in replaced_runs for own, _ in ids]
    stays = [not left and (not own[0] or own not in wanted) for left, own in zip(gone, ids, strict=True)]
    kept = [row for row, keep in zip(sheet.rows, stays, strict=True) if keep]
    by_id = {own: row for own, row in zip(ids, existing, strict=True) if own[0]}
    return kept, [by_id.get(own, {}) for own in wanted]


def _parse(path: Path) -> _Sheet:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            text = file.read()
    except UnicodeDecodeError as error:
        raise SheetError(f"{path}: not a results sheet: {error}") from error
    except OSError as error:
        raise SheetError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not text:
        return _Sheet(columns(), [])
    first = text.splitlines()[0]
    try:
        headers = {sign: next(csv.reader([first], delimiter=sign), []) for sign in ",;\t"}
        delimiter = next((sign for sign, header in headers.items() if set(header) >= _REQUIRED), ",")
        names, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    except csv.Error as error:
        raise SheetError(f"{path}: not a results sheet: {error}") from error
    if not set(names) >= _REQUIRED:
        raise SheetError(
            f"{path}: not a results sheet: its header is {','.join(names)[:60]!r}, without model_name and task_name; "
            "give another file to --sheet"
        )
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise SheetError(f"{path}: column {', '.join(twice)} stands twice in the header; rename one")
    newline = "\r\n" if text[len(first) :].startswith("\r\n") else "\n"
    return _Sheet(names, [row for row in rows if row], delimiter, newline)


def _format(name: str, value: object) -> str:
    if value is None:
        return ""
    if name in metrics() and isinstance(value, int | float):
        return metric_text(name, value)
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


def _replace(path: Path, sheet: _Sheet) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(sheet.text([sheet.names, *sheet.rows]))
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            temporary.chmod(path.stat().st_mode)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
