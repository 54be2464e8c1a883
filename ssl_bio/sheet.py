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
METRIC_COLUMNS = (
    *LAB_COLUMNS[2:],
    "F1_macro",
    "MAE_constant",
    "mse_batch",
    "mse_regressive",
    "snr_gain",
    "snr_gain_classical",
    "correlation",
    "beat_F1",
    "beat_F1_noisy",
)
COLUMNS = (
    *LAB_COLUMNS,
    "F1_macro",
    "MAE_constant",  # of the training mean, predicted always
    "mse_batch",  # forecasts, each from the true samples before it
    "mse_regressive",  # forecasts that feed on themselves
    "snr_gain",  # dB by which denoising brings the noise down
    "snr_gain_classical",  # the same of a band-pass and wavelet thresholds
    "correlation",  # of the cleaned signal with the clean one
    "beat_F1",  # of beats found in the cleaned signal
    "beat_F1_noisy",  # and before
    "mode",
    "lr",
    "backbone_lr",
    "loss",
    "seed",
    "split",
    "selected_on",
    "grid",  # of so many combinations this is one: the best of them was chosen on `split`
    "validation",
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
    "version",
    "finished_at",
)
_LOCK_SECONDS = 60

Row = Mapping[str, object]


def append(path: Path, rows: Sequence[Row]) -> None:
    """Append rows to the sheet at `path`, making it first if need be.

    Metrics are written with 4 decimals; what a row lacks stays empty. Safe under concurrent appends:
    each call writes whole rows under a lock.

    Raises SheetError when the file is not a sheet or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path = path.resolve()  # a link stays a link
        with FileLock(f"{path}.lock", timeout=_LOCK_SECONDS, mode=0o666):
            _append_locked(path, [{name: _format(name, row.get(name)) for name in COLUMNS} for row in rows])
    except TimeoutError as error:
        raise SheetError(f"{path}: another process has held {path}.lock for {_LOCK_SECONDS} s") from error
    except OSError as error:
        raise SheetError(f"{path}: cannot be written: {error.strerror or error}") from error


def read(path: Path) -> list[dict[str, str]]:
    """All rows of a sheet, as written. Raises SheetError when there is none or it is not a sheet."""
    if not path.is_file():
        raise SheetError(f"{path}: no such sheet")
    columns, rows = _parse(path)
    return [dict(zip(columns, row, strict=False)) for row in rows]


def check(path: Path) -> None:
    """Raise SheetError unless `path` can become or already is a sheet: asked before hours of training."""
    if path.is_dir():
        raise SheetError(f"{path}: a folder, not a sheet; give a file name such as {path / 'results.csv'}")
    if path.exists():
        _parse(path)
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise SheetError(f"{path}: cannot be written: {parent} is not a writable folder")


def _append_locked(path: Path, rows: list[dict[str, str]]) -> None:
    if not path.exists() or path.stat().st_size == 0:
        _replace(path, list(COLUMNS), [[row[name] for name in COLUMNS] for row in rows])
        return
    columns, existing = _parse(path)
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        columns = [*columns, *missing]
        padded = [row + [""] * (len(columns) - len(row)) for row in existing]
        _replace(path, columns, padded + [[row.get(name, "") for name in columns] for row in rows])
        return
    text = _to_csv([[row.get(name, "") for name in columns] for row in rows])
    with path.open("rb+") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":  # an editor left the last line open
            text = "\n" + text
        file.write(text.encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())


def _parse(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        lines = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise SheetError(f"{path}: not a results sheet: {error}") from error
    except OSError as error:
        raise SheetError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not lines:
        return list(COLUMNS), []
    columns, *rows = lines
    if not {"model_name", "task_name"} <= set(columns):
        shown = ",".join(columns)[:60]
        raise SheetError(
            f"{path}: not a results sheet: its header is {shown!r}, without model_name and task_name; "
            "give another file to --sheet"
        )
    if len(set(columns)) < len(columns):
        twice = sorted({name for name in columns if columns.count(name) > 1})
        raise SheetError(f"{path}: column {', '.join(twice)} stands twice in the header; rename one")
    return columns, [row for row in rows if row]


def figure(name: str, value: float) -> str:
    """A metric as the sheet and tables write it: 4 decimals, but 4 digits of squared errors, which have any size."""
    return f"{value:.4g}" if name.startswith("mse") else f"{value:.4f}"


def _format(name: str, value: object) -> str:
    if value is None:
        return ""
    if name in METRIC_COLUMNS:
        return figure(name, float(value))  # type: ignore[arg-type]  # metrics are numbers
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


def _to_csv(rows: Sequence[Sequence[str]]) -> str:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def _replace(path: Path, columns: list[str], rows: list[list[str]]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(_to_csv([columns, *rows]))
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            temporary.chmod(path.stat().st_mode)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
