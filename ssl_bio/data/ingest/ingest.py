"""From a publisher's files to a store of recordings, record by record.

Arrays are appended on disk as they are read, so memory stays flat however large the archive is; an interrupted ingest
goes on after the last whole record. A record that cannot be read is named, counted and skipped, up to a share.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssl_bio import __version__
from ssl_bio.console import note, progress, warn
from ssl_bio.data.ingest.append_log import AppendLog, RecordingAppender
from ssl_bio.data.recording import Recording
from ssl_bio.data.recording_store import INFO_FILE, RecordingStore, StoreInfo, open_store, store_fingerprint
from ssl_bio.errors import DataError

MAX_SKIPPED = 0.05


@dataclass(frozen=True, kw_only=True)
class Ingest:
    """A publisher's files about to become recordings.

    `read` turns a record's name into its recordings, mostly one, and raises DataError for one that is broken. `facts`
    is what JSON can hold and what windowing needs to know of all recordings.
    """

    title: str
    source: str
    records: Sequence[str]
    read: Callable[[str], Iterable[Recording]]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What is ingested: which registered dataset reads it, and what tells its files from others of the same names."""

    reader: str = ""
    reader_version: int = 0
    place: str = ""  # path or URL
    identity: str = ""


_NO_ORIGIN = Origin()


class TooManyBrokenError(DataError):
    """More records are broken than may be skipped; what was read is kept."""


#: The recordings of each record, or why it is broken.
ReadRecords = Callable[[Iterable[int]], "Iterator[list[Recording] | str]"]


def ingest(
    folder: Path,
    source: Ingest,
    *,
    origin: Origin = _NO_ORIGIN,
    max_skipped: float = MAX_SKIPPED,
    read: ReadRecords | None = None,
) -> RecordingStore:
    """Read all records into a store of recordings and open it.

    `read` yields the records of these numbers, in order; unless it is given they are read one by one.

    The folder appears whole or not at all. What an interrupted call has read, and one that ended because more than a
    share `max_skipped` of the records is broken, stays beside it, and the next call for the same goes on from there.

    Raises DataError when too many records are broken, or when the folder cannot be written.
    """
    partial = folder.parent / f".{folder.name}.partial"
    try:
        partial.mkdir(parents=True, exist_ok=True)
        read = read or (lambda numbers: (read_record(source, number) for number in numbers))
        info = _read_into(partial, source, read, name=folder.name, origin=origin, max_skipped=max_skipped)
        replace_folder(folder, partial=partial)
    except TooManyBrokenError:
        if not AppendLog(partial, "").path.is_file():
            shutil.rmtree(partial, ignore_errors=True)
        raise
    except DataError:
        # What is broken stays broken: there is nothing to go on with.
        shutil.rmtree(partial, ignore_errors=True)
        raise
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror or error}") from error
    _report_skipped(info)
    return open_store(folder)


def read_record(source: Ingest, number: int) -> "list[Recording] | str":
    """Return the recordings of a record, or why it is broken: of one that breaks halfway, none is kept."""
    try:
        return list(source.read(source.records[number]))
    except DataError as error:
        return str(error)


def replace_folder(folder: Path, *, partial: Path) -> None:
    """Move a complete folder to its place, from which an older one is moved away first and then deleted."""
    old = folder.parent / f".{folder.name}.old"
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _read_into(
    partial: Path, source: Ingest, read: ReadRecords, *, name: str, origin: Origin, max_skipped: float
) -> StoreInfo:
    """Read all records into the folder `partial`, and describe them."""
    log = AppendLog.open(partial, _identity(source, origin))
    if log.n_records:
        note(f"going on after {log.n_records} of {len(source.records)} records")
    with RecordingAppender(log) as appender:
        _read_all(source, read, appender, limit=max_skipped * len(source.records))
    if not log.n_recordings:
        why = f": {next(iter(appender.skipped.values()))}" if appender.skipped else ""
        raise DataError(f"{source.source}: no recording in {len(source.records)} records{why}")
    info = StoreInfo(
        name=name,
        reader=origin.reader,
        reader_version=origin.reader_version,
        title=source.title,
        source=source.source,
        origin=origin.place,
        facts=dict(source.facts),
        n_records=len(source.records),
        n_recordings=log.n_recordings,
        skipped=log.skipped,
        fingerprint=store_fingerprint(partial),
    )
    (partial / INFO_FILE).write_text(info.model_dump_json(indent=2), encoding="utf-8")
    return info


def _identity(source: Ingest, origin: Origin) -> str:
    """Return a digest of everything that decides the recordings; an interrupted ingest goes on where it is equal."""
    facts = [__version__, source.title, source.source, dict(source.facts), list(source.records), origin.identity]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _read_all(source: Ingest, read: ReadRecords, appender: RecordingAppender, *, limit: float) -> None:
    records = source.records
    _check_skipped(appender, n_records=len(records), limit=limit)
    numbers = range(appender.log.n_records, len(records))
    with progress(f"reading {source.source}", len(records)) as tick:
        for number, found in zip(numbers, read(numbers), strict=True):
            if isinstance(found, str):
                appender.skip(records[number], found)
                _check_skipped(appender, n_records=len(records), limit=limit)
            else:
                appender.add(records[number], found)
            tick(number + 1, {"recordings": appender.n_recordings, "skipped": len(appender.skipped)})


def _check_skipped(appender: RecordingAppender, *, n_records: int, limit: float) -> None:
    """Raise TooManyBrokenError when more records are broken than may be skipped."""
    skipped = list(appender.skipped.values())
    if len(skipped) <= limit:
        return
    if n_records == 1:
        raise TooManyBrokenError(skipped[-1])
    raise TooManyBrokenError(
        f"{skipped[-1]}; {len(skipped)} of {n_records} records are broken, more than the {limit:g} that may be "
        "skipped; what was read is kept: the same command with a larger share (data prepare --max-skipped SHARE) "
        "goes on from here"
    )


def _report_skipped(info: StoreInfo) -> None:
    if info.skipped:
        shown = "; ".join(f"{record}: {why}" for record, why in list(info.skipped.items())[:3])
        more = f"; and {len(info.skipped) - 3} more" if len(info.skipped) > 3 else ""
        warn(f"{len(info.skipped)} of {info.n_records} records skipped: {shown}{more}")
