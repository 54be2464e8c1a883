"""Windows of a store's recordings: cut once for each way to cut them, kept beside the recordings, and opened.

<store>/windows/<label>-<digest>/
  windows.json     what they are: channels, sampling rate, targets, splits, overlaps, fingerprint
  index.npz        recording and start of each window, its subject, and where each recording's samples lie
  signals.bin      samples of the recordings that are not shown as published, one after another; mostly there are none
  target-*.npy     one file a target with a value for each window; target-*.bin: one along the recordings
  splits.npz       "<scheme>/<split>" -> row numbers

Where the store's folder cannot be written, they are kept in the user's cache folder instead.
"""

import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import platformdirs
from numpy.typing import NDArray
from pydantic import ValidationError

from ssl_bio.console import progress
from ssl_bio.data.dataset import DatasetInfo, Overlap, PreparedDataset, Subjects, Target, Targets
from ssl_bio.data.ingest.ingest import replace_folder
from ssl_bio.data.locations import preparing
from ssl_bio.data.recording import SIGNALS, Recording
from ssl_bio.data.recording_store import WINDOWS_FOLDER, Block, Bytes, RecordingStore, read_info
from ssl_bio.data.splits import Rows, Splits
from ssl_bio.data.windowed import Sources, WindowedArray
from ssl_bio.data.windowing import LabelledWindows, Windowing, WindowTable
from ssl_bio.data.windows import Layout, Track
from ssl_bio.errors import DataError

VERSION = 1  # of how windows are cut and kept; another one cuts them anew
INFO_FILE, _INDEX, _SPLITS = "windows.json", "index.npz", "splits.npz"
_CHUNK = 64  # windows read at a time
_EMPTY: Bytes = np.empty(0, np.uint8)


#: The windows of the recordings of these numbers, in order.
WindowRecordings = Callable[[Iterable[int]], Iterator[LabelledWindows]]


def open_windows(
    store: RecordingStore, windowing: Windowing, *, label: str, window: WindowRecordings | None = None
) -> PreparedDataset:
    """Return the windows of a store's recordings, cut now unless they were before.

    `window` yields those of recordings by number; unless it is given they are cut one by one.

    Raises DataError when there is no window, or they can be kept nowhere.
    """
    name = f"{label}-{_digest(store, windowing)}"
    beside = store.folder / WINDOWS_FOLDER / name
    if (beside / INFO_FILE).is_file():
        return _open(beside, store)
    if os.access(store.folder, os.W_OK):
        folder = beside
    else:
        folder = Path(platformdirs.user_cache_dir("ssl-bio")) / WINDOWS_FOLDER / f"{name}-{store.info.fingerprint}"
    with preparing(folder, complete=INFO_FILE):
        if read_info(store.folder).fingerprint != store.info.fingerprint:
            raise DataError(f"{store.info.name} was prepared anew while it was open: run the command again")
        if not (folder / INFO_FILE).is_file():
            one_by_one: WindowRecordings = lambda numbers: (  # noqa: E731
                windowing.window(store.read(number)) for number in numbers
            )
            _cut(store, windowing, window or one_by_one, folder=folder, label=label)
    return _open(folder, store)


def kept_windows(store: RecordingStore) -> Iterator[PreparedDataset]:
    """Yield all windows that are kept beside a store's recordings. Raises DataError for broken ones."""
    for path in sorted((store.folder / WINDOWS_FOLDER).glob(f"*/{INFO_FILE}")):
        yield _open(path.parent, store)


def _digest(store: RecordingStore, windowing: Windowing) -> str:
    """Return 8 hex digits of a digest of all that decides the windows beside the recordings."""
    facts = [
        VERSION,
        store.info.fingerprint,
        store.info.reader_version,
        asdict(windowing.options),
        windowing.channels,
        windowing.unit,
        {name: info.model_dump() for name, info in windowing.targets.items()},
        dict(windowing.schemes),
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:8]


@dataclass
class _TrackFile:
    """Where the samples of each recording lie that windows show: in the store where they are as published, else
    appended to a file of their own."""

    path: Path
    layout: Layout
    dtype: np.dtype[Any]
    channels: tuple[int, ...]
    file: BinaryIO
    blocks: list[tuple[bool, Block]] = field(default_factory=list)
    end: int = 0

    def add(self, track: Track, recording: Recording, blocks: Mapping[str, Block]) -> None:
        """Take the samples of the next recording."""
        values = track.values
        for name, block in blocks.items():
            if block.shape == values.shape and _equal(recording.arrays[name].astype(values.dtype), values):
                self.blocks.append((False, block))
                return
        self.blocks.append((True, Block(self.end, values.dtype.str, values.shape, 0.0)))
        self.file.write(np.ascontiguousarray(values).data)
        self.end += values.nbytes


def _equal(first: NDArray[Any], second: NDArray[Any]) -> bool:
    """Return whether two arrays of one type and shape have the same bits."""
    return first.tobytes() == second.tobytes()


class _Cutter:
    """Windows recordings one by one and keeps what is needed to find the windows again."""

    def __init__(self, store: RecordingStore, windowing: Windowing, folder: Path, stack: ExitStack) -> None:
        self.store, self.windowing, self.folder, self.stack = store, windowing, folder, stack
        self.tracks: dict[str, _TrackFile] = {}
        self.values: dict[str, list[NDArray[Any]]] = {}
        self.recordings: list[NDArray[np.int64]] = []
        self.starts: list[NDArray[np.int64]] = []
        self.dropped: dict[str, int] = {}

    def add(self, index: int, found: LabelledWindows) -> None:
        """Take the windows of the next recording."""
        recording, entry = self.store.read(index), self.store.entries[index]
        _check(recording, found, self.windowing)
        n = len(found.record.starts)
        self.recordings.append(np.full(n, index, np.int64))
        self.starts.append(found.record.starts)
        for why, many in {**found.record.dropped, **found.dropped}.items():
            self.dropped[why] = self.dropped.get(why, 0) + many
        for name, target in {SIGNALS: found.record.track, **_by_file(found.targets)}.items():
            if isinstance(target, Track):
                self._track(name, target).add(target, recording, entry.blocks)
            else:
                self.values.setdefault(name, []).append(target)

    def _track(self, name: str, track: Track) -> _TrackFile:
        found = self.tracks.get(name)
        if not found:
            path = self.folder / f"{name}.bin"
            file = self.stack.enter_context(path.open("wb"))
            found = _TrackFile(path, track.layout, track.values.dtype, track.values.shape[:-1], file)
            self.tracks[name] = found
        if (track.layout, track.values.dtype, track.values.shape[:-1]) != (found.layout, found.dtype, found.channels):
            raise DataError(f"{self.store.info.name}: recordings differ in channels or lengths of windows")
        return found

    def finish(self, label: str) -> None:
        """Write the index and what the windows are. Raises DataError when there is none."""
        recordings = np.concatenate(self.recordings)
        if not len(recordings):
            raise DataError(f"{self.store.info.source}: no window in {len(self.store)} recordings")
        entries = self.store.entries
        index: dict[str, NDArray[Any]] = {
            "recordings": recordings,
            "starts": np.concatenate(self.starts),
            "subjects": np.array([entry.subject for entry in entries], np.str_),
            "names": np.array([entry.name for entry in entries], np.str_),
            "begins": np.array([entry.start for entry in entries], np.float64),
        }
        for name, track in self.tracks.items():
            sources = Sources.of_blocks(track.blocks)
            index |= {f"{name}/{key}": value for key, value in vars(sources).items()}
            facts = {"layout": track.layout, "channels": track.channels, "dtype": track.dtype.str}
            index[f"{name}/facts"] = np.array(json.dumps(facts))
            track.file.close()
            if not sources.any_own:
                track.path.unlink()
        np.savez(self.folder / _INDEX, **index)  # type: ignore[arg-type]  # numpy types keyword arrays loosely
        targets = {name: np.concatenate(parts) for name, parts in self.values.items()}
        for name, values in targets.items():
            np.save(self.folder / f"{name}.npy", values)
        table = WindowTable(
            subjects=index["subjects"][recordings],
            recordings=recordings,
            targets={name.removeprefix("target-"): values for name, values in targets.items()},
            facts=[entry.facts for entry in entries],
        )
        splits = self.windowing.split(table)
        flat = {f"{scheme}/{split}": rows for scheme, parts in splits.items() for split, rows in parts.items()}
        np.savez(self.folder / _SPLITS, **flat)  # type: ignore[arg-type]
        info = self._describe(splits, label=label)
        (self.folder / INFO_FILE).write_text(info.model_dump_json(indent=2), encoding="utf-8")

    def _describe(self, splits: Splits, *, label: str) -> DatasetInfo:
        windowing, store = self.windowing, self.store.info
        opened = _open_arrays(self.folder, self.store, targets=windowing.targets)
        n_missing, first = _missing(opened.signals)
        info = DatasetInfo(
            name=label,
            title=store.title,
            source=store.source,
            sampling_rate=windowing.options.sampling_rate,
            channels=windowing.channels,
            unit=windowing.unit,
            n=len(opened.signals),
            length=opened.signals.shape[-1],
            targets=dict(windowing.targets),
            schemes=dict(windowing.schemes),
            overlap=overlaps(opened.signals, opened.subjects, splits),
            n_missing=n_missing,
            first_missing=_place(first, opened.subjects, windowing) if first else "",
            n_records=store.n_records,
            skipped=store.skipped,
            dropped=self.dropped,
            options=asdict(windowing.options),
        )
        return info.model_copy(update={"fingerprint": _fingerprint(opened, info, splits)})


def _by_file(targets: Mapping[str, NDArray[Any] | Track]) -> dict[str, NDArray[Any] | Track]:
    return {f"target-{name}": target for name, target in targets.items()}


def _check(recording: Recording, found: LabelledWindows, windowing: Windowing) -> None:
    n, n_channels = len(found.record.starts), len(windowing.channels)
    shape = found.record.track.values.shape
    if len(shape) != 2 or shape[0] != n_channels:
        raise DataError(f"{recording.name}: signals have shape {shape}, not ({n_channels}, samples)")
    if set(found.targets) != set(windowing.targets):
        raise DataError(f"{recording.name}: targets {sorted(found.targets)} instead of {sorted(windowing.targets)}")
    for name, target in found.targets.items():
        if not isinstance(target, Track) and len(target) != n:
            raise DataError(f"{recording.name}: {n} windows but {len(target)} {name}")


def _cut(store: RecordingStore, windowing: Windowing, window: WindowRecordings, *, folder: Path, label: str) -> None:
    """Window all recordings into `folder`, which appears whole or not at all."""
    partial = folder.parent / f".{folder.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        with ExitStack() as stack:
            cutter = _Cutter(store, windowing, partial, stack)
            with progress(f"windows of {label}", len(store)) as tick:
                numbers = range(len(store))
                for index, found in zip(numbers, window(numbers), strict=True):
                    cutter.add(index, found)
                    tick(index + 1)
            cutter.finish(label)
        replace_folder(folder, partial=partial)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@dataclass(frozen=True)
class _Arrays:
    """The windows of a folder without what windows.json and splits.npz say of them."""

    signals: WindowedArray
    subjects: Subjects
    targets: Targets
    recordings: Rows
    starts: NDArray[np.int64]
    begins: NDArray[np.float64]
    names: Subjects


def _open_arrays(folder: Path, store: RecordingStore, targets: Mapping[str, Any]) -> _Arrays:
    index = _read_npz(folder / _INDEX)
    try:
        recordings, starts = index["recordings"], index["starts"]
        found: dict[str, Target] = {}
        for name in targets:
            key = f"target-{name}"
            is_track = f"{key}/facts" in index
            found[name] = (
                _windowed(folder, store, index, name=key) if is_track else _load(folder / f"{key}.npy", n=len(starts))
            )
        return _Arrays(
            signals=_windowed(folder, store, index, name=SIGNALS),
            subjects=index["subjects"][recordings],
            targets=found,
            recordings=recordings,
            starts=starts,
            begins=index["begins"],
            names=index["names"],
        )
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise _broken(folder / _INDEX, error) from error


def _windowed(folder: Path, store: RecordingStore, index: Mapping[str, NDArray[Any]], *, name: str) -> WindowedArray:
    facts = json.loads(str(index[f"{name}/facts"]))
    sources = Sources(
        **{key: index[f"{name}/{key}"] for key in ("own", "offset", "n_samples", "dtype", "scale", "order")}
    )
    channels, dtype = tuple(facts["channels"]), np.dtype(facts["dtype"])
    own = _map(folder / f"{name}.bin") if sources.any_own else _EMPTY
    ends = sources.ends(int(np.prod(channels, dtype=np.int64)))
    for memory, is_there, path in (
        (own, sources.own, folder / f"{name}.bin"),
        (store.memory, ~sources.own, store.path),
    ):
        wanted = int(ends[is_there].max(initial=0))
        if len(memory) < wanted:
            raise DataError(f"{path}: {len(memory)} bytes instead of {wanted}: truncated; prepare the dataset again")
    return WindowedArray(
        store=store.memory,
        own=own,
        sources=sources,
        recordings=index["recordings"],
        starts=index["starts"],
        layout=Layout(*facts["layout"]),
        channels=channels,
        dtype=dtype,
    )


def _check_size(memory: Bytes, ends: NDArray[np.int64], path: Path) -> None:
    wanted = int(ends.max(initial=0))
    if len(memory) < wanted:
        raise DataError(f"{path}: {len(memory)} bytes instead of {wanted}: truncated; prepare the dataset again")


def _open(folder: Path, store: RecordingStore) -> PreparedDataset:
    """Open windows without reading their signals.

    Raises DataError when a file is missing, truncated, of another format or not what windows.json says.
    """
    info = _read_info(folder)
    arrays = _open_arrays(folder, store, info.targets)
    expected = (info.n, len(info.channels), info.length)
    if arrays.signals.shape != expected:
        found = arrays.signals.shape
        raise DataError(f"{folder / _INDEX}: windows {found} instead of {expected}; prepare the dataset again")
    splits: dict[str, dict[str, Rows]] = {scheme: {} for scheme in info.schemes}
    for key, rows in _read_npz(folder / _SPLITS).items():
        scheme, _, split = key.partition("/")
        splits.setdefault(scheme, {})[split] = rows
    return PreparedDataset(
        folder=store.folder,
        info=info,
        signals=arrays.signals,
        subjects=arrays.subjects,
        targets=arrays.targets,
        splits=splits,
        recordings=arrays.recordings,
        starts=arrays.begins[arrays.recordings] + arrays.starts / info.sampling_rate,
        names=arrays.names,
    )


def fingerprint(dataset: PreparedDataset) -> str:
    """Return 16 hex digits of a SHA-256 over all windows, their targets and splits and windows.json, without names and
    counts of records, as though each window were stored on its own."""
    return _fingerprint(dataset, dataset.info, dataset.splits)


def _fingerprint(arrays: "_Arrays | PreparedDataset", info: DatasetInfo, splits: Splits) -> str:
    nameless = info.model_copy(update={"fingerprint": "", "source": "", "name": "", "title": ""})
    facts = nameless.model_dump_json(exclude={"n_records", "skipped", "dropped", "options"}, exclude_none=True)
    digest = hashlib.sha256(facts.encode())
    digest.update(_npy_digest(arrays.signals))
    digest.update(_npy_digest(arrays.subjects))
    for name in sorted(info.targets):
        digest.update(_npy_digest(arrays.targets[name]))
    flat = {f"{scheme}/{split}": rows for scheme, parts in splits.items() for split, rows in parts.items()}
    for key in sorted(flat):
        digest.update(key.encode() + flat[key].astype("<i8").tobytes())
    return digest.hexdigest()[:16]


def _npy_digest(array: Target) -> bytes:
    """Return the SHA-256 of an array as a file of numpy's format holds it."""
    buffer = io.BytesIO()
    facts = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape}
    np.lib.format.write_array_header_1_0(buffer, facts)
    digest = hashlib.sha256(buffer.getvalue())
    for part in _parts(array):
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.digest()


def _parts(array: Target) -> Iterator[NDArray[Any]]:
    for start in range(0, len(array), _CHUNK):
        yield array[start : start + _CHUNK]


def overlaps(signals: Target, subjects: Subjects, splits: Splits) -> dict[str, dict[str, Overlap]]:
    """Count, for each scheme and pair of splits, the subjects and identical windows that are in both."""
    windows = np.array(
        [hashlib.blake2b(window.tobytes(), digest_size=16).digest() for part in _parts(signals) for window in part]
    )
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


def _missing(signals: WindowedArray) -> tuple[int, tuple[int, int, int] | None]:
    """Return how many samples are NaN or infinite, and where the first one is (window, channel, sample)."""
    count, first, start = 0, None, 0
    for part in _parts(signals):
        missing = ~np.isfinite(part)
        count += int(missing.sum())
        if first is None and missing.any():
            window, channel, sample = (int(place) for place in np.argwhere(missing)[0])
            first = (start + window, channel, sample)
        start += len(part)
    return count, first


def _place(first: tuple[int, int, int], subjects: Subjects, windowing: Windowing) -> str:
    window, channel, sample = first
    return f"window {window} (subject {subjects[window]}), channel {windowing.channels[channel]}, sample {sample}"


def _read_info(folder: Path) -> DatasetInfo:
    path = folder / INFO_FILE
    try:
        return DatasetInfo.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, ValidationError) as error:
        raise _broken(path, error) from error


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    try:
        # Opened here, because np.load leaves its own handle open when the archive is broken.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise _broken(path, error) from error


def _load(path: Path, *, n: int) -> NDArray[Any]:
    try:
        found: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _broken(path, error) from error
    if len(found) != n:
        raise DataError(f"{path}: {len(found)} rows instead of {n}; prepare the dataset again")
    return found


def _map(path: Path) -> Bytes:
    try:
        return np.memmap(path, np.uint8, "r")
    except (OSError, ValueError) as error:
        raise _broken(path, error) from error


def _broken(path: Path, error: Exception) -> DataError:
    why = (
        "missing" if isinstance(error, FileNotFoundError) else f"truncated or broken ({type(error).__name__}: {error})"
    )
    return DataError(f"{path}: {why}; delete {path.parent}: these windows are then made anew")
