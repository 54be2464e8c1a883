"""The files of a store while they grow, and the log of what they hold already, which becomes the store's index.

<root>/.<name>.partial/
  recordings.jsonl   first line: what is ingested; then a line a record, once its arrays are on disk
  recordings.bin     append-only
"""

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.packing import pack
from ssl_bio.data.recording import Recording
from ssl_bio.data.recording_store import ARRAYS_FILE, INDEX_FILE, Block, IndexEntry

_SYNC_BYTES = 32 * 2**20
_SYNC_RECORDS = 256
_ALIGNMENT = 8  # bytes


class LogLine(NamedTuple):
    """A record in the log: its recordings, where its arrays end, or why it was skipped."""

    record: str
    end: int
    recordings: list[dict[str, Any]]
    skipped: str = ""


@dataclass
class AppendLog:
    """What has been ingested."""

    folder: Path
    identity: str
    n_records: int = 0
    n_recordings: int = 0
    end: int = 0  # bytes of arrays
    skipped: dict[str, str] = field(default_factory=dict)
    started: bool = False

    @property
    def path(self) -> Path:
        """The log's file."""
        return self.folder / INDEX_FILE

    @staticmethod
    def open(folder: Path, identity: str) -> "AppendLog":
        """Return the log of an interrupted ingest of the very same thing, else a new one in an emptied folder."""
        log = AppendLog(folder, identity)
        first, *rest = _whole_lines(log.path) or [{}]
        if first.get("identity") == identity:
            log.started = True
            log._count(LogLine(**line) for line in rest)
            arrays = folder / ARRAYS_FILE
            if arrays.is_file() and arrays.stat().st_size >= log.end:
                return log
        shutil.rmtree(folder)
        folder.mkdir()
        return AppendLog(folder, identity)

    def add(self, lines: Sequence[LogLine]) -> None:
        """Add records whose arrays are on disk."""
        texts: list[Mapping[str, Any]] = [] if self.started else [{"identity": self.identity}]
        texts += [line._asdict() for line in lines]
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(text) + "\n" for text in texts))
            file.flush()
            os.fsync(file.fileno())
        self.started = True
        self._count(lines)

    def _count(self, lines: Iterable[LogLine]) -> None:
        for line in lines:
            self.n_records += 1
            self.n_recordings += len(line.recordings)
            self.end = line.end
            if line.skipped:
                self.skipped[line.record] = line.skipped


class RecordingAppender:
    """Appends recordings to a store's files; what an interrupted write left behind their end is removed first."""

    def __init__(self, log: AppendLog) -> None:
        self.log = log
        self.skipped = dict(log.skipped)
        self.n_recordings = log.n_recordings
        self._waiting: list[LogLine] = []
        self._syncing = False
        self._end = log.end
        path = log.folder / ARRAYS_FILE
        path.touch()
        os.truncate(path, log.end)
        self._file = path.open("ab")

    def __enter__(self) -> "RecordingAppender":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if not self._syncing:
                self.sync()
        finally:
            self._file.close()

    def add(self, record: str, recordings: Sequence[Recording]) -> None:
        """Take a record's recordings."""
        entries = []
        for recording in recordings:
            blocks = {name: self._append(np.asarray(array)) for name, array in recording.arrays.items()}
            entry = IndexEntry(recording.name, recording.subject, recording.start, dict(recording.facts), blocks)
            entries.append(entry.to_json())
        self.n_recordings += len(entries)
        self._wait(LogLine(record, self._end, entries))

    def skip(self, record: str, why: str) -> None:
        """Log a record that cannot be read."""
        self.skipped[record] = why
        self._wait(LogLine(record, self._end, [], why))

    def sync(self) -> None:
        """Make sure that all arrays are on disk, then log that they are."""
        if not self.log.started and not self.n_recordings:
            return  # before the first whole record nothing is logged: the broken ones before it are read again
        self._syncing = True
        self._file.flush()
        os.fsync(self._file.fileno())
        self.log.add(self._waiting)
        self._waiting = []
        self._syncing = False

    def _append(self, array: NDArray[Any]) -> Block:
        packed = pack(array)
        gap = -self._end % _ALIGNMENT
        order: Literal["C", "F"] = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        block = Block(self._end + gap, packed.stored.dtype.str, array.shape, packed.scale, order)
        self._file.write(bytes(gap))
        self._file.write(packed.stored.tobytes(order=order))
        self._end = block.end
        return block

    def _wait(self, line: LogLine) -> None:
        self._waiting.append(line)
        if self._end - self.log.end >= _SYNC_BYTES or len(self._waiting) >= _SYNC_RECORDS:
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
