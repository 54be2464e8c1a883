"""From a publisher's files to a prepared dataset, record by record.

Windows are appended to the arrays on disk as they are read, so memory stays flat however large the archive is; an
interrupted ingest goes on after the last whole record. A record that cannot be read is named, counted and skipped, up
to a share.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_bio import __version__
from ssl_bio.console import note, progress, warn
from ssl_bio.data.ingest.append_log import AppendLog, ArrayAppender, RecordWindows, header
from ssl_bio.data.splits import Splits
from ssl_bio.data.store import (
    DatasetInfo,
    Overlap,
    PreparedDataset,
    ReadOptions,
    Signals,
    Subjects,
    TargetInfo,
    Targets,
    fingerprint,
    open_prepared,
)
from ssl_bio.errors import DataError

MAX_SKIPPED = 0.05
_CHUNK = 64  # windows searched for missing samples at a time


@dataclass(frozen=True, kw_only=True)
class Ingest:
    """A publisher's files about to become windows.

    `read` turns a record's name into its windows and raises DataError for one that is broken; `split` divides the rows
    once subjects and targets of all windows are known.
    """

    title: str
    source: str
    sampling_rate: float  # Hz
    channels: tuple[str, ...]
    unit: str
    targets: Mapping[str, TargetInfo]
    records: Sequence[str]
    read: Callable[[str], RecordWindows]
    split: Callable[[Subjects, Targets], Splits]
    schemes: Mapping[str, str]  # split scheme -> what it is
    origin: str = ""  # what tells these files from others of the same names
    options: ReadOptions = field(default_factory=ReadOptions)  # as the caller chose them

    def identity(self) -> str:
        """Return a digest of everything that decides the windows; an interrupted ingest goes on where it is equal."""
        facts = [
            __version__,
            self.title,
            self.source,
            self.sampling_rate,
            self.channels,
            self.unit,
            {name: info.model_dump() for name, info in self.targets.items()},
            list(self.records),
            self.origin,
            asdict(self.options),
        ]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class ReadyWindows:
    """Windows that are in memory already, with their splits."""

    title: str
    source: str
    sampling_rate: float  # Hz
    channels: tuple[str, ...]
    unit: str
    signals: Signals  # (n, channels, length)
    subjects: Subjects  # (n,)
    targets: Mapping[str, tuple[TargetInfo, NDArray[Any]]]
    splits: Splits
    schemes: Mapping[str, str]

    def as_ingest(self) -> Ingest:
        """Return the ingest of one record with all of these windows."""
        arrays = {name: values for name, (_, values) in self.targets.items()}
        return Ingest(
            title=self.title,
            source=self.source,
            sampling_rate=self.sampling_rate,
            channels=self.channels,
            unit=self.unit,
            targets={name: info for name, (info, _) in self.targets.items()},
            records=[self.source],
            read=lambda _: RecordWindows(self.signals, self.subjects, arrays),
            split=lambda *_: self.splits,
            schemes=self.schemes,
        )


class TooManyBrokenError(DataError):
    """More records are broken than may be skipped; what was read is kept."""


def write_prepared(folder: Path, windows: ReadyWindows) -> PreparedDataset:
    """Write windows as a prepared dataset and open it."""
    return ingest(folder, windows.as_ingest(), max_skipped=0)


def ingest(folder: Path, source: Ingest, max_skipped: float = MAX_SKIPPED) -> PreparedDataset:
    """Read all records into a prepared dataset and open it.

    The folder appears whole or not at all. What an interrupted call has read, and one that ended because more than a
    share `max_skipped` of the records is broken, stays beside it, and the next call for the same goes on from there.

    Raises DataError when too many records are broken, when arrays do not fit together, or when the folder cannot be
    written.
    """
    partial = folder.parent / f".{folder.name}.partial"
    try:
        partial.mkdir(parents=True, exist_ok=True)
        info = _read_into(partial, source, name=folder.name, max_skipped=max_skipped)
        _replace(folder, partial=partial)
    except TooManyBrokenError:
        if not (partial / AppendLog.FILE).is_file():
            shutil.rmtree(partial, ignore_errors=True)
        raise
    except DataError:
        # What is broken stays broken: there is nothing to go on with.
        shutil.rmtree(partial, ignore_errors=True)
        raise
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror or error}") from error
    _report_skipped(info)
    return open_prepared(folder)


def _read_into(partial: Path, source: Ingest, *, name: str, max_skipped: float) -> DatasetInfo:
    """Read all records into the folder `partial`, and complete and describe its arrays."""
    log = AppendLog.open(partial, source.identity())
    if log.entries:
        note(f"going on after {len(log.entries)} of {len(source.records)} records")
    with ArrayAppender(partial, log) as appender:
        _read_all(source, appender, limit=max_skipped * len(source.records))
    if not log.n_windows:
        why = f": {appender.skipped[0]}" if appender.skipped else ""
        raise DataError(f"{source.source}: no window in {len(source.records)} records{why}")
    info = _finish(partial, source, log, name=name)
    (partial / "dataset.json").write_text(info.model_dump_json(indent=2), encoding="utf-8")
    (partial / AppendLog.FILE).unlink()
    return info


def _replace(folder: Path, *, partial: Path) -> None:
    """Move a complete folder to its place, from which an older one is moved away first and then deleted."""
    old = folder.parent / f".{folder.name}.old"
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _read_all(source: Ingest, appender: ArrayAppender, *, limit: float) -> None:
    records = source.records
    _check_skipped(appender, n_records=len(records), limit=limit)
    with progress(f"reading {source.source}", len(records)) as tick:
        for index in range(len(appender.log.entries), len(records)):
            try:
                windows = source.read(records[index])
                _check_shapes(records[index], windows, source)
                appender.add(records[index], windows)
            except DataError as error:
                appender.skip(records[index], str(error))
                _check_skipped(appender, n_records=len(records), limit=limit)
            tick(index + 1, {"windows": appender.n_windows, "skipped": len(appender.skipped)})


def _check_skipped(appender: ArrayAppender, *, n_records: int, limit: float) -> None:
    """Raise TooManyBrokenError when more records are broken than may be skipped."""
    skipped = appender.skipped
    if len(skipped) <= limit:
        return
    if n_records == 1:
        raise TooManyBrokenError(skipped[-1])
    raise TooManyBrokenError(
        f"{skipped[-1]}; {len(skipped)} of {n_records} records are broken, more than the {limit:g} that may be "
        "skipped; what was read is kept: the same command with a larger share (data prepare --max-skipped SHARE) "
        "goes on from here"
    )


def _finish(partial: Path, source: Ingest, log: AppendLog, *, name: str) -> DatasetInfo:
    """Complete the arrays and describe them."""
    n = log.n_windows
    for file_name, (shape, dtype) in log.layout.items():
        with (partial / file_name).open("rb+") as file:
            file.write(header(n, shape, dtype))
    subjects = np.array([who for entry in log.entries for who, many in entry.subjects for _ in range(many)], np.str_)
    np.save(partial / "subjects.npy", subjects)
    signals: Signals = np.load(partial / "signals.npy", mmap_mode="r")
    targets = {key: np.load(partial / f"target-{key}.npy", mmap_mode="r") for key in source.targets}
    splits = source.split(subjects, targets)
    flat = {f"{scheme}/{split}": rows for scheme, parts in splits.items() for split, rows in parts.items()}
    np.savez(partial / "splits.npz", **flat)  # type: ignore[arg-type]  # numpy types keyword arrays loosely
    n_missing, first = _missing(signals)
    dropped: dict[str, int] = {}
    for entry in log.entries:
        for why, many in entry.dropped.items():
            dropped[why] = dropped.get(why, 0) + many
    info = DatasetInfo(
        name=name,
        title=source.title,
        source=source.source,
        sampling_rate=source.sampling_rate,
        channels=source.channels,
        unit=source.unit,
        n=n,
        length=signals.shape[-1],
        targets=dict(source.targets),
        schemes=dict(source.schemes),
        overlap=overlaps(signals, subjects, splits),
        n_missing=n_missing,
        first_missing=_place(first, subjects, source.channels) if first else "",
        n_records=len(log.entries),
        skipped={entry.record: entry.skipped for entry in log.entries if entry.skipped},
        dropped=dropped,
    )
    return info.model_copy(update={"fingerprint": fingerprint(partial, info)})


def overlaps(signals: Signals, subjects: Subjects, splits: Splits) -> dict[str, dict[str, Overlap]]:
    """Count, for each scheme and pair of splits, the subjects and identical windows that are in both."""
    windows = np.array([hashlib.blake2b(window.tobytes(), digest_size=16).digest() for window in signals])
    result: dict[str, dict[str, Overlap]] = {}
    for scheme, parts in splits.items():
        result[scheme] = {
            f"{first}/{second}": Overlap(
                subjects=len(np.intersect1d(subjects[parts[first]], subjects[parts[second]])),
                windows=len(np.intersect1d(windows[parts[first]], windows[parts[second]])),
            )
            for first, second in combinations(parts, 2)
        }
    return result


def _report_skipped(info: DatasetInfo) -> None:
    if info.skipped:
        shown = "; ".join(f"{record}: {why}" for record, why in list(info.skipped.items())[:3])
        more = f"; and {len(info.skipped) - 3} more" if len(info.skipped) > 3 else ""
        warn(f"{len(info.skipped)} of {info.n_records} records skipped: {shown}{more}")


def _missing(signals: Signals) -> tuple[int, tuple[int, int, int] | None]:
    """Return how many samples are NaN or infinite, and where the first one is (window, channel, sample)."""
    count, first = 0, None
    for start in range(0, len(signals), _CHUNK):
        missing = ~np.isfinite(signals[start : start + _CHUNK])
        count += int(missing.sum())
        if first is None and missing.any():
            window, channel, sample = (int(index) for index in np.argwhere(missing)[0])
            first = (start + window, channel, sample)
    return count, first


def _place(first: tuple[int, int, int], subjects: Subjects, channels: Sequence[str]) -> str:
    window, channel, sample = first
    return f"window {window} (subject {subjects[window]}), channel {channels[channel]}, sample {sample}"


def _check_shapes(record: str, windows: RecordWindows, source: Ingest) -> None:
    n, channels = len(windows.signals), len(source.channels)
    if windows.signals.ndim != 3 or (n and windows.signals.shape[1] != channels):
        raise DataError(f"{record}: signals have shape {windows.signals.shape}, not (n, {channels}, length)")
    if set(windows.targets) != set(source.targets):
        raise DataError(f"{record}: targets {sorted(windows.targets)} instead of {sorted(source.targets)}")
    for name, values in {"subjects": windows.subjects, **windows.targets}.items():
        if len(values) != n:
            raise DataError(f"{record}: {n} windows but {len(values)} {name}")
