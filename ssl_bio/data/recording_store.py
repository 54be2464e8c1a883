"""Recordings on disk: written once, read as memory maps.

<root>/<name>/
  recordings.json    what it is: title, source, reader, fingerprint
  recordings.jsonl   what was read, then a line a record of the publisher's: its recordings and where their arrays lie
  recordings.bin     all arrays, one after another
  windows/           windows of these recordings, a folder for each way to cut them
"""

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from ssl_bio.data.packing import unpack
from ssl_bio.data.recording import Recording
from ssl_bio.errors import DataError

FORMAT_VERSION = 2
INFO_FILE, INDEX_FILE, ARRAYS_FILE, WINDOWS_FOLDER = "recordings.json", "recordings.jsonl", "recordings.bin", "windows"

Bytes = NDArray[np.uint8]


class StoreInfo(BaseModel):
    """What recordings.json holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    name: str
    reader: str  # the registered dataset that knows how to window these recordings
    reader_version: int = 0
    title: str
    source: str  # name of the file or folder that was read
    origin: str = ""  # where it was
    facts: dict[str, Any] = {}  # what the reader found out about all recordings
    n_records: int = 0
    n_recordings: int = 0
    skipped: dict[str, str] = {}  # record that could not be read -> why
    fingerprint: str = ""


class Block(NamedTuple):
    """Where an array lies in a file, and how it is stored; see `packing`.

    `order` is that of its axes, as it was read ("C" or "F"): sums over it are rounded the same way again.
    """

    offset: int
    dtype: str
    shape: tuple[int, ...]
    scale: float
    order: Literal["C", "F"] = "C"

    @property
    def end(self) -> int:
        """The byte after the last."""
        return self.offset + int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize

    def stored(self, memory: Bytes) -> NDArray[Any]:
        """Return the array as it is stored, a view of the file."""
        return memory[self.offset : self.end].view(self.dtype).reshape(self.shape, order=self.order)

    def read(self, memory: Bytes) -> NDArray[Any]:
        """Return the array."""
        return unpack(self.stored(memory), self.scale)


class IndexEntry(NamedTuple):
    """A recording in the index."""

    name: str
    subject: str
    start: float
    facts: dict[str, Any]
    blocks: dict[str, Block]

    @staticmethod
    def of_json(raw: Mapping[str, Any]) -> "IndexEntry":
        """Return an entry as `to_json` wrote it."""
        blocks = {
            name: Block(offset, dtype, tuple(shape), *how)
            for name, (offset, dtype, shape, *how) in raw["blocks"].items()
        }
        return IndexEntry(raw["name"], raw["subject"], raw["start"], raw["facts"], blocks)

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return self._asdict()


class RecordingStore:
    """The recordings of a dataset, opened; their arrays are read when asked for."""

    def __init__(self, folder: Path, info: StoreInfo, memory: Bytes) -> None:
        self.folder, self.info, self.memory = folder, info, memory

    def __len__(self) -> int:
        return self.info.n_recordings

    @property
    def path(self) -> Path:
        """The file of all arrays."""
        return self.folder / ARRAYS_FILE

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the reader found out about all recordings."""
        return self.info.facts

    @cached_property
    def entries(self) -> list[IndexEntry]:
        """The recordings without their arrays, in their order. Raises DataError when the index is broken."""
        path = self.folder / INDEX_FILE
        try:
            lines = path.read_text(encoding="utf-8").splitlines()[1:]
            found = [IndexEntry.of_json(raw) for line in lines for raw in json.loads(line)["recordings"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: broken ({type(error).__name__}); prepare the dataset again") from error
        if len(found) != self.info.n_recordings:
            raise DataError(f"{path}: {len(found)} recordings instead of {self.info.n_recordings}; prepare it again")
        return found

    def read(self, index: int) -> Recording:
        """Return a recording with all of its arrays, which may be views of the file."""
        entry = self.entries[index]
        return Recording(
            name=entry.name,
            subject=entry.subject,
            start=entry.start,
            facts=entry.facts,
            arrays={name: block.read(self.memory) for name, block in entry.blocks.items()},
        )


def is_store(folder: Path) -> bool:
    """Return whether `folder` holds recordings (it is renamed into place only when whole)."""
    return (folder / INFO_FILE).is_file()


def open_store(folder: Path) -> RecordingStore:
    """Open recordings without reading their arrays.

    Raises DataError when a file is missing or truncated, or of another format.
    """
    info, path = read_info(folder), folder / ARRAYS_FILE
    if not (folder / INDEX_FILE).is_file():
        raise DataError(f"{folder / INDEX_FILE}: missing; prepare the dataset again")
    try:
        memory = np.memmap(path, np.uint8, "r")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: missing or broken ({error}); prepare the dataset again") from error
    return RecordingStore(folder, info, memory)


def read_info(folder: Path) -> StoreInfo:
    """Return what a store's recordings.json says. Raises DataError when there is none, or it is broken."""
    path = folder / INFO_FILE
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        version = raw.get("format_version") if isinstance(raw, dict) else None
        if version != FORMAT_VERSION:
            raise DataError(f"{path}: format version {version}, not {FORMAT_VERSION}; prepare the dataset again")
        return StoreInfo.model_validate(raw)
    except FileNotFoundError:
        raise DataError(f"{folder}: not a prepared dataset (no {INFO_FILE})") from None
    except (OSError, ValueError, ValidationError) as error:
        raise DataError(f"{path}: broken ({type(error).__name__}); prepare the dataset again") from error


def store_fingerprint(folder: Path) -> str:
    """Return 16 hex digits of a SHA-256 over all recordings, their arrays and what the index says of them."""
    digest = hashlib.sha256()
    with (folder / ARRAYS_FILE).open("rb") as file:
        digest.update(hashlib.file_digest(file, "sha256").digest())
    with (folder / INDEX_FILE).open("rb") as file:
        next(file)  # what was read and where it lay, which decides nothing
        for line in file:
            digest.update(json.dumps(json.loads(line)["recordings"]).encode())
    return digest.hexdigest()[:16]
