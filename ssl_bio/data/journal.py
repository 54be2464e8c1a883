"""The arrays of a conversion while they grow on disk, and the journal of what they hold already.

<root>/.<name>.partial/
  journal.jsonl               first line: what is converted; then a line a record, once its windows are on disk
  signals.npy, target-*.npy   append-only; their heads learn the number of windows at the end
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

Shapes = dict[str, tuple[list[int], str]]  # file -> shape of one window in it, dtype


class Windows(NamedTuple):
    """What one record gives: `n` windows, perhaps none."""

    signals: Signals  # (n, channels, length)
    subjects: Sequence[str] | Subjects  # (n,)
    targets: Targets  # n rows each
    dropped: Mapping[str, int] = {}  # why windows were left out -> how many


class Line(NamedTuple):
    """A record in the journal: how many windows it gave, whose they are, or why it was skipped."""

    record: str
    n: int
    subjects: list[tuple[str, int]]  # runs of equal subjects
    dropped: dict[str, int]
    skipped: str = ""


@dataclass
class Journal:
    """What has been converted."""

    path: Path
    identity: str
    done: list[Line] = field(default_factory=list)
    shapes: Shapes = field(default_factory=dict)

    FILE: ClassVar = "journal.jsonl"

    @property
    def n_windows(self) -> int:
        return sum(line.n for line in self.done)

    @staticmethod
    def open(work: Path, identity: str) -> "Journal":
        """The journal of an interrupted conversion of the very same thing, else a new one in an empty folder."""
        path = work / Journal.FILE
        first, *rest = _whole_lines(path) or [{}]
        if first.get("identity") == identity:
            done = [Line(**{**line, "subjects": [tuple(run) for run in line["subjects"]]}) for line in rest]
            shapes = {name: (shape, kind) for name, (shape, kind) in first["shapes"].items()}
            journal = Journal(path, identity, done, shapes)
            if all(_holds(work / name, *facts, journal.n_windows) for name, facts in shapes.items()):
                return journal
        shutil.rmtree(work)
        work.mkdir()
        return Journal(path, identity)

    def start(self, shapes: Shapes) -> None:
        """Begin the file."""
        self.shapes = shapes
        self._append([{"identity": self.identity, "shapes": shapes}])

    def record(self, lines: Sequence[Line]) -> None:
        """Note records whose windows are on disk."""
        self._append([line._asdict() for line in lines])
        self.done += lines

    def _append(self, values: Sequence[Mapping[str, Any]]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(value) + "\n" for value in values))
            file.flush()
            os.fsync(file.fileno())


class Appender:
    """The arrays on disk, growing: windows wait in memory until there are enough to be worth a sync."""

    def __init__(self, work: Path, journal: Journal) -> None:
        self.work, self.journal = work, journal
        self.waiting: list[tuple[Line, Windows | None]] = []
        self.n_bytes = 0
        self.syncing = False
        self.n_windows = journal.n_windows
        self.skipped = [line.skipped for line in journal.done if line.skipped]
        for name, (shape, kind) in journal.shapes.items():
            with (work / name).open("rb+") as file:
                file.truncate(_header_size(shape, kind) + _row_size(shape, kind) * self.n_windows)

    def __enter__(self) -> "Appender":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        # What an interrupted sync left behind its end is cut off when the journal is opened again.
        if not self.syncing and not isinstance(error, DataError):
            self.sync()

    def add(self, record: str, windows: Windows) -> None:
        """Take a record's windows. Raises DataError when they do not fit the others."""
        n = len(windows.signals)
        if n and not self.journal.shapes:
            self.journal.start(_shapes(windows))
        if n and _shapes(windows) != self.journal.shapes:
            raise DataError(f"{record}: windows unlike those before: {_shapes(windows)}, not {self.journal.shapes}")
        line = Line(record, n, _runs(windows.subjects), dict(windows.dropped))
        self._wait(line, windows if n else None)

    def skip(self, record: str, why: str) -> None:
        """Note a record that cannot be read."""
        self.skipped.append(why)
        self._wait(Line(record, 0, [], {}, why), None)

    def sync(self) -> None:
        """Write what waits, then say in the journal that it is there."""
        if not self.journal.shapes:
            return  # without a whole record yet, the broken ones before it are read again
        self.syncing = True
        full = [windows for _, windows in self.waiting if windows is not None]
        for name, (shape, kind) in self.journal.shapes.items():
            path = self.work / name
            if not path.exists():
                path.write_bytes(header(0, shape, kind))
            with path.open("rb+") as file:
                file.seek(_header_size(shape, kind) + _row_size(shape, kind) * self.journal.n_windows)
                for windows in full:
                    file.write(np.ascontiguousarray(columns(windows)[name], dtype=kind).tobytes())
                file.flush()
                os.fsync(file.fileno())
        self.journal.record([line for line, _ in self.waiting])
        self.waiting, self.n_bytes = [], 0
        self.syncing = False

    def _wait(self, line: Line, windows: Windows | None) -> None:
        self.waiting.append((line, windows))
        self.n_windows += line.n
        self.n_bytes += sum(array.nbytes for array in columns(windows).values()) if windows else 0
        if self.n_bytes >= _SYNC_BYTES or len(self.waiting) >= _SYNC_RECORDS:
            self.sync()


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """The journal's lines up to one that was cut off in writing, which is taken away."""
    lines = []
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    for line in text.splitlines(keepends=True):
        if not line.endswith("\n"):
            path.write_text("".join(text.splitlines(keepends=True)[:-1]), encoding="utf-8")
            break
        lines.append(json.loads(line))
    return lines


def columns(windows: Windows) -> dict[str, NDArray[Any]]:
    """A record's arrays by file."""
    return {"signals.npy": windows.signals, **{f"target-{name}.npy": array for name, array in windows.targets.items()}}


def _shapes(windows: Windows) -> Shapes:
    facts = {name: (list(array.shape[1:]), array.dtype.str) for name, array in columns(windows).items()}
    return {**facts, "signals.npy": (facts["signals.npy"][0], "<f4")}


def _runs(subjects: Sequence[str] | Subjects) -> list[tuple[str, int]]:
    runs: list[tuple[str, int]] = []
    for subject in subjects:
        if runs and runs[-1][0] == subject:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((str(subject), 1))
    return runs


def header(n: int, shape: Sequence[int], kind: str) -> bytes:
    """The head of an .npy file. numpy leaves room in it for a first axis of any size: its length never changes."""
    buffer = io.BytesIO()
    facts = {"descr": kind, "fortran_order": False, "shape": (n, *shape)}
    np.lib.format.write_array_header_1_0(buffer, facts)
    return buffer.getvalue()


def _header_size(shape: Sequence[int], kind: str) -> int:
    return len(header(0, shape, kind))


def _row_size(shape: Sequence[int], kind: str) -> int:
    return int(np.prod(shape, dtype=np.int64)) * np.dtype(kind).itemsize


def _holds(path: Path, shape: Sequence[int], kind: str, n: int) -> bool:
    """Whether a file has at least n windows."""
    return path.is_file() and path.stat().st_size >= _header_size(shape, kind) + _row_size(shape, kind) * n
