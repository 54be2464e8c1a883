"""From a publisher's files to a prepared dataset, record by record.

Windows are appended to the arrays on disk as they are read, so memory stays flat however large the archive
is; an interrupted conversion goes on after the last whole record. A record that cannot be read is named,
counted and skipped, up to a share.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.journal import Appender, Journal, Windows, header
from ssl_bio.data.store import (
    DatasetInfo,
    Overlap,
    PreparedDataset,
    Rows,
    Signals,
    Splits,
    Subjects,
    TargetInfo,
    Targets,
    fingerprint,
    open_dataset,
)
from ssl_bio.errors import DataError
from ssl_bio.terminal import note, progress, warn

MAX_SKIPPED = 0.05
_CHUNK = 64  # windows looked at in one go


@dataclass(frozen=True)
class Conversion:
    """A publisher's files about to become windows.

    `read` turns a record's name into its windows and raises DataError for one that is broken; `split` makes
    the splits once subjects and targets of all windows are known.
    """

    title: str
    source: str
    sampling_rate: float  # Hz
    channels: tuple[str, ...]
    unit: str
    targets: Mapping[str, TargetInfo]
    records: Sequence[str]
    read: Callable[[str], Windows]
    split: Callable[[Subjects, Targets], Splits]
    schemes: Mapping[str, str]
    origin: str = ""  # what tells these files from others of the same names


@dataclass(frozen=True)
class Recording:
    """Ready-cut windows that are in memory already, with their splits."""

    title: str
    source: str
    sampling_rate: float
    channels: tuple[str, ...]
    unit: str
    signals: Signals  # (n, channels, length)
    subjects: Subjects  # (n,)
    targets: Mapping[str, tuple[TargetInfo, NDArray[Any]]]
    splits: Splits
    schemes: Mapping[str, str]

    def conversion(self) -> Conversion:
        """The same as a conversion of a single record."""
        arrays = {name: values for name, (_, values) in self.targets.items()}
        return Conversion(
            title=self.title,
            source=self.source,
            sampling_rate=self.sampling_rate,
            channels=self.channels,
            unit=self.unit,
            targets={name: info for name, (info, _) in self.targets.items()},
            records=[self.source],
            read=lambda _: Windows(self.signals, self.subjects, arrays),
            split=lambda *_: self.splits,
            schemes=self.schemes,
        )


def write(folder: Path, recording: Recording) -> PreparedDataset:
    """Write ready-cut windows as a prepared dataset and open it."""
    return convert(folder, recording.conversion(), max_skipped=0)


def convert(folder: Path, conversion: Conversion, max_skipped: float = MAX_SKIPPED) -> PreparedDataset:
    """Read all records into a prepared dataset and open it. The folder appears whole or not at all; what an
    interrupted call has read stays beside it, and the same call goes on from there.

    Raises DataError when more than a share `max_skipped` of the records is broken, when arrays do not fit
    together, or when the folder cannot be written.
    """
    work = folder.parent / f".{folder.name}.partial"
    limit = max_skipped * len(conversion.records)
    try:
        work.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            journal = Journal.open(work, _identity(conversion))
            if journal.done:
                note(f"going on after {len(journal.done)} of {len(conversion.records)} records")
            store = stack.enter_context(Appender(work, journal))
            _read_all(conversion, journal, store, limit)
        if not journal.n_windows:
            why = f": {store.skipped[0]}" if store.skipped else ""
            raise DataError(f"{conversion.source}: no window in {len(conversion.records)} records{why}")
        info = _finish(work, folder.name, conversion, journal)
        (work / "dataset.json").write_text(info.model_dump_json(indent=2), encoding="utf-8")
        (work / Journal.FILE).unlink()
        if folder.exists():
            shutil.rmtree(folder)
        work.rename(folder)
    except DataError:
        # What is broken stays broken: nothing to go on with.
        shutil.rmtree(work, ignore_errors=True)
        raise
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror or error}") from error
    _tell(info)
    return open_dataset(folder)


def _read_all(conversion: Conversion, journal: Journal, store: Appender, limit: float) -> None:
    records = conversion.records
    with progress(f"reading {conversion.source}", len(records)) as tick:
        for index in range(len(journal.done), len(records)):
            try:
                windows = conversion.read(records[index])
                _check_shapes(records[index], windows, conversion)
            except DataError as error:
                store.skip(records[index], str(error))
                if len(store.skipped) > limit:
                    raise _too_many(error, len(store.skipped), len(records), limit) from error
            else:
                store.add(records[index], windows)
            tick(index + 1, {"windows": store.n_windows, "skipped": len(store.skipped)})


def _too_many(error: DataError, n_skipped: int, n: int, limit: float) -> DataError:
    if n_skipped == 1:
        return error
    return DataError(
        f"{error}; with it {n_skipped} of {n} records are broken, more than the {limit:g} that may be skipped "
        "(data prepare --max-skipped SHARE)"
    )


def _finish(work: Path, name: str, conversion: Conversion, journal: Journal) -> DatasetInfo:
    """Complete the arrays and describe them."""
    n = journal.n_windows
    for file_name, (shape, kind) in journal.shapes.items():
        with (work / file_name).open("rb+") as file:
            file.write(header(n, shape, kind))
    subjects = np.array([who for line in journal.done for who, many in line.subjects for _ in range(many)], np.str_)
    np.save(work / "subjects.npy", subjects)
    signals: Signals = np.load(work / "signals.npy", mmap_mode="r")
    targets = {key: np.load(work / f"target-{key}.npy", mmap_mode="r") for key in conversion.targets}
    splits = conversion.split(subjects, targets)
    flat = {f"{scheme}/{split}": rows for scheme, parts in splits.items() for split, rows in parts.items()}
    np.savez(work / "splits.npz", **flat)  # type: ignore[arg-type]  # numpy types keyword arrays loosely
    n_missing, first = _missing(signals)
    dropped: dict[str, int] = {}
    for line in journal.done:
        for why, many in line.dropped.items():
            dropped[why] = dropped.get(why, 0) + many
    info = DatasetInfo(
        name=name,
        title=conversion.title,
        source=conversion.source,
        sampling_rate=conversion.sampling_rate,
        channels=conversion.channels,
        unit=conversion.unit,
        n=n,
        length=signals.shape[-1],
        targets=dict(conversion.targets),
        schemes=dict(conversion.schemes),
        overlap=overlaps(signals, subjects, splits),
        n_missing=n_missing,
        first_missing=_place(first, subjects, conversion.channels) if first else "",
        n_records=len(journal.done),
        skipped={line.record: line.skipped for line in journal.done if line.skipped},
        dropped=dropped,
    )
    return info.model_copy(update={"fingerprint": fingerprint(work, info)})


def overlaps(signals: Signals, subjects: Subjects, splits: Splits) -> dict[str, dict[str, Overlap]]:
    """For each scheme and pair of splits: subjects and identical windows that stand in both."""
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


def _tell(info: DatasetInfo) -> None:
    if info.skipped:
        shown = "; ".join(f"{record}: {why}" for record, why in list(info.skipped.items())[:3])
        more = f"; and {len(info.skipped) - 3} more" if len(info.skipped) > 3 else ""
        warn(f"{len(info.skipped)} of {info.n_records} records skipped: {shown}{more}")


def _missing(signals: Signals) -> tuple[int, tuple[int, int, int] | None]:
    """How many samples are NaN or infinite, and where the first one is (window, channel, sample)."""
    count, first = 0, None
    for start in range(0, len(signals), _CHUNK):
        gone = ~np.isfinite(signals[start : start + _CHUNK])
        count += int(gone.sum())
        if first is None and gone.any():
            window, channel, sample = (int(index) for index in np.argwhere(gone)[0])
            first = (start + window, channel, sample)
    return count, first


def _place(first: tuple[int, int, int], subjects: Subjects, channels: Sequence[str]) -> str:
    window, channel, sample = first
    return f"window {window} (subject {subjects[window]}), channel {channels[channel]}, sample {sample}"


def _identity(conversion: Conversion) -> str:
    facts = [
        conversion.title,
        conversion.source,
        conversion.sampling_rate,
        conversion.channels,
        conversion.unit,
        {name: info.model_dump() for name, info in conversion.targets.items()},
        list(conversion.records),
        conversion.origin,
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _check_shapes(record: str, windows: Windows, conversion: Conversion) -> None:
    n, channels = len(windows.signals), len(conversion.channels)
    if windows.signals.ndim != 3 or (n and windows.signals.shape[1] != channels):
        raise DataError(f"{record}: signals have shape {windows.signals.shape}, not (n, {channels}, length)")
    if set(windows.targets) != set(conversion.targets):
        raise DataError(f"{record}: targets {sorted(windows.targets)} instead of {sorted(conversion.targets)}")
    for name, values in {"subjects": windows.subjects, **windows.targets}.items():
        if len(values) != n:
            raise DataError(f"{record}: {n} windows but {len(values)} {name}")


def by_subject(subjects: Subjects, shares: Sequence[float] = (0.1, 0.1), seed: int = 42) -> dict[str, Rows]:
    """80 / 10 / 10: people drawn at random for test and validation (at least one each), the others train."""
    people = np.random.default_rng(seed).permutation(np.unique(subjects))
    counts = [max(1, round(share * len(people))) for share in shares]
    parts = np.split(people, np.cumsum(counts))
    rows = [np.flatnonzero(np.isin(subjects, part)) for part in parts]
    return {"train": rows[2], "val": rows[1], "test": rows[0]}
