"""Tables that grow recording by recording and appear whole or not at all: CSV or Parquet."""

import csv
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ssl_bio.errors import DataError

SUFFIXES = (".csv", ".parquet")
_DIGITS, _DIGITS_OF_TIMES = 7, 12  # of numbers as text

Columns = Mapping[str, NDArray[Any]]  # (n,) each


class Append(Protocol):
    """Takes the next rows of a table, with the same columns every time."""

    def __call__(self, columns: Columns) -> None: ...


def check_output(path: Path, suffixes: tuple[str, ...], *, overwrite: bool) -> None:
    """Raise DataError for a file that cannot become the output, before anything is computed."""
    if path.suffix.lower() not in suffixes:
        raise DataError(f"--output {path}: one of {', '.join(suffixes)} is wanted")
    if not path.parent.is_dir():
        raise DataError(f"--output {path}: no folder {path.parent}")
    if path.is_dir():
        raise DataError(f"--output {path}: a folder; give a file name")
    if path.exists() and not overwrite:
        raise DataError(f"{path} is there already: choose another --output, or --overwrite")
    if path.suffix.lower() == ".parquet":
        _pyarrow(path)


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`, which takes its place when the block is done, and goes when it fails.

    Raises DataError when the folder cannot be written.
    """
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    except OSError as error:
        raise DataError(f"{path.parent}: cannot be written: {error.strerror or error}") from error
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def open_table(path: Path) -> Iterator[Append]:
    """Write a table to `path`, in the format of its suffix, a part at a time; see `writing`."""
    with writing(path) as temporary:
        if path.suffix.lower() == ".parquet":
            with _parquet(path, temporary) as append:
                yield append
        else:
            with temporary.open("w", encoding="utf-8", newline="") as file:
                yield _CsvAppender(csv.writer(file, lineterminator="\n"))


class _CsvAppender:
    """Writes rows as text, numbers with seven digits, after a line of names."""

    def __init__(self, writer: Any) -> None:
        self.writer, self.named = writer, False

    def __call__(self, columns: Columns) -> None:
        if not self.named:
            self.writer.writerow(columns)
            self.named = True
        texts = [_texts(name, values) for name, values in columns.items()]
        self.writer.writerows(zip(*texts, strict=True))


def _texts(name: str, values: NDArray[Any]) -> list[str]:
    if values.dtype.kind == "f":
        digits = _DIGITS_OF_TIMES if name in ("start", "end") else _DIGITS
        return ["" if np.isnan(value) else f"{value:.{digits}g}" for value in values.tolist()]
    return [str(value) for value in values.tolist()]


@contextmanager
def _parquet(path: Path, temporary: Path) -> Iterator[Append]:
    pyarrow, parquet = _pyarrow(path)
    writer = None

    def append(columns: Columns) -> None:
        nonlocal writer
        arrays = {
            name: pyarrow.array(values.tolist(), pyarrow.string()) if values.dtype.kind == "U" else values
            for name, values in columns.items()
        }
        table = pyarrow.table(arrays)
        writer = writer or parquet.ParquetWriter(temporary, table.schema)
        writer.write_table(table.cast(writer.schema))

    try:
        yield append
    finally:
        if writer:
            writer.close()


def _pyarrow(path: Path) -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise DataError(f"{path.name}: needs the extra parquet: pip install 'ssl-bio[parquet]'") from error
    return pyarrow, parquet
