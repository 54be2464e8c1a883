"""The arrays of an ingest while they grow on disk, and the log of what they hold already.

<root>/.<name>.partial/
  log.jsonl                   first line: what is ingested; then a line a record, once its windows are on disk
  signals.npy, target-*.npy   append-only; their headers learn the number of windows at the end
"""

import io
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.store import Signals, Subjects, Targets
from ssl_bio.errors import DataError

_SYNC_BYTES = 32 * 2**20
_SYNC_RECORDS = 256

ArrayLayout = dict[str, tuple[list[int], str]]  # file -> shape of one window in it, dtype


class RecordWindows(NamedTuple):
    """What one record gives: `n` windows, perhaps none."""

    signals: Signals  # (n, channels, length)
    subjects: Sequence[str] | Subjects  # (n,)
    targets: Targets  # n rows each
    dropped: Mapping[str, int] = {}  # why windows were left out -> how many


class LogEntry(NamedTuple):
    """A record in the log: how many windows it gave, of which subjects, or why it was skipped."""

    record: str
    n: int
    subjects: list[tuple[str, int]]  # subject, and how many windows in a row are of it
    dropped: dict[str, int]
    skipped: str = ""


@dataclass
class AppendLog:
    """What has been ingested."""

    path: Path
    identity: str
    entries: list[LogEntry] = field(default_factory=list)
    layout: ArrayLayout = field(default_factory=dict)

    FILE: ClassVar = "log.jsonl"

    @property
    def n_windows(self) -> int:
        """The number of windows on disk."""
        return sum(entry.n for entry in self.entries)

    @staticmethod
    def open(folder: Path, identity: str) -> "AppendLog":
        """Return the log of an interrupted ingest of the very same thing, else a new one in an emptied folder."""
        path = folder / AppendLog.FILE
        first, *rest = _whole_lines(path) or [{}]
        if first.get("identity") == identity:
            entries = [LogEntry(**{**line, "subjects": [tuple(run) for run in line["subjects"]]}) for line in rest]
            layout = {name: (shape, dtype) for name, (shape, dtype) in first["layout"].items()}
            log = AppendLog(path, identity, entries, layout)
            if all(
                _holds(folder / name, shape=shape, dtype=dtype, n=log.n_windows)
                for name, (shape, dtype) in layout.items()
            ):
                return log
        shutil.rmtree(folder)
        folder.mkdir()
        return AppendLog(path, identity)

    def start(self, layout: ArrayLayout) -> None:
        """Write the first line."""
        self.layout = layout
        self._append([{"identity": self.identity, "layout": layout}])

    def add(self, entries: Sequence[LogEntry]) -> None:
        """Add records whose windows are on disk."""
        self._append([entry._asdict() for entry in entries])
        self.entries += entries

    def _append(self, lines: Sequence[Mapping[str, Any]]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())


class ArrayAppender:
    """The growing arrays on disk: windows wait in memory until there are enough to be worth writing."""

    def __init__(self, folder: Path, log: AppendLog) -> None:
        self.folder, self.log = folder, log
        self.waiting: list[tuple[LogEntry, RecordWindows | None]] = []
        self.n_bytes = 0
        self.syncing = False
        self.n_windows = log.n_windows
        self.skipped = [entry.skipped for entry in log.entries if entry.skipped]
        for name, (shape, dtype) in log.layout.items():
            with (folder / name).open("rb+") as file:
                file.truncate(_header_size(shape, dtype) + _row_size(shape, dtype) * self.n_windows)

    def __enter__(self) -> "ArrayAppender":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        # What an interrupted write left behind the arrays' end is removed when the log is opened again.
        if not self.syncing:
            self.sync()

    def add(self, record: str, windows: RecordWindows) -> None:
        """Take a record's windows. Raises DataError when they do not fit the others."""
        n = len(windows.signals)
        if n and not self.log.layout:
            self.log.start(_layout(windows))
        if n and _layout(windows) != self.log.layout:
            raise DataError(f"{record}: windows unlike those before: {_layout(windows)}, not {self.log.layout}")
        entry = LogEntry(record, n, _runs(windows.subjects), dict(windows.dropped))
        self._wait(entry, windows if n else None)

    def skip(self, record: str, why: str) -> None:
        """Log a record that cannot be read."""
        self.skipped.append(why)
        self._wait(LogEntry(record, 0, [], {}, why), None)

    def sync(self) -> None:
        """Write what waits, then log that it is there."""
        if not self.log.layout:
            return  # before the first whole record nothing is logged: the broken ones before it are read again
        self.syncing = True
        full = [windows for _, windows in self.waiting if windows is not None]
        for name, (shape, dtype) in self.log.layout.items():
            path = self.folder / name
            if not path.exists():
                path.write_bytes(header(0, shape, dtype))
            with path.open("rb+") as file:
                file.seek(_header_size(shape, dtype) + _row_size(shape, dtype) * self.log.n_windows)
                for windows in full:
                    file.write(np.ascontiguousarray(_arrays(windows)[name], dtype=dtype).tobytes())
                file.flush()
                os.fsync(file.fileno())
        self.log.add([entry for entry, _ in self.waiting])
        self.waiting, self.n_bytes = [], 0
        self.syncing = False

    def _wait(self, entry: LogEntry, windows: RecordWindows | None) -> None:
        self.waiting.append((entry, windows))
        self.n_windows += entry.n
        self.n_bytes += sum(array.nbytes for array in _arrays(windows).values()) if windows else 0
        if self.n_bytes >= _SYNC_BYTES or len(self.waiting) >= _SYNC_RECORDS:
            self.sync()


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """Return the log's lines up to one that was interrupted in writing, which is removed from the file."""
    lines = []
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    for line in text.splitlines(keepends=True):
        if not line.endswith("\n"):
            path.write_text("".join(text.splitlines(keepends=True)[:-1]), encoding="utf-8")
            break
        lines.append(json.loads(line))
    return lines


def _arrays(windows: RecordWindows) -> dict[str, NDArray[Any]]:
    """Return a record's arrays by file."""
    return {"signals.npy": windows.signals, **{f"target-{name}.npy": array for name, array in windows.targets.items()}}


def _layout(windows: RecordWindows) -> ArrayLayout:
    layout = {name: (list(array.shape[1:]), array.dtype.str) for name, array in _arrays(windows).items()}
    return {**layout, "signals.npy": (layout["signals.npy"][0], "<f4")}


def _runs(subjects: Sequence[str] | Subjects) -> list[tuple[str, int]]:
    runs: list[tuple[str, int]] = []
    for subject in subjects:
        if runs and runs[-1][0] == subject:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((str(subject), 1))
    return runs


def header(n: int, shape: Sequence[int], dtype: str) -> bytes:
    """Return the header of an .npy file. numpy leaves room in it for any first axis: its length never changes."""
    buffer = io.BytesIO()
    facts = {"descr": dtype, "fortran_order": False, "shape": (n, *shape)}
    np.lib.format.write_array_header_1_0(buffer, facts)
    return buffer.getvalue()


def _header_size(shape: Sequence[int], dtype: str) -> int:
    return len(header(0, shape, dtype))


def _row_size(shape: Sequence[int], dtype: str) -> int:
    return int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize


def _holds(path: Path, *, shape: Sequence[int], dtype: str, n: int) -> bool:
    """Return whether a file has at least n windows."""
    return path.is_file() and path.stat().st_size >= _header_size(shape, dtype) + _row_size(shape, dtype) * n
