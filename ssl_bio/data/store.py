"""Prepared datasets on disk: written once, opened as memory maps, identified by a fingerprint of their content.

<root>/<name>/
  dataset.json     what it is: channels, sampling rate, targets, splits, overlaps, fingerprint
  signals.npy      (n, channels, length) float32
  target-*.npy     one file a target, n rows each
  subjects.npy     (n,) subject of each window, as text
  splits.npz       "<scheme>/<split>" -> row numbers
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import platformdirs
from filelock import FileLock
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from ssl_bio.data.splits import Rows as Rows  # who reads datasets needs the type, too
from ssl_bio.data.splits import Splits, cross_validation_split
from ssl_bio.errors import DataError

FORMAT_VERSION = 1
ENVIRONMENT_VARIABLE = "SSL_BIO_DATA"

Signals = NDArray[np.float32]
Subjects = NDArray[np.str_]
Targets = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How a reader turns recordings into windows. A field left at its default follows the reader's protocol."""

    sampling_rate: float = 0  # Hz
    window: float = 0  # s
    stride: float = -1  # s from one window's start to the next; 0: one window a record, its middle
    highpass: float = -1  # Hz; 0: no filter
    standardize: str = "auto"  # "record" or "none"
    padding: str = "auto"  # "zero" or "repeat": what fills a window after the end of a shorter record
    context: float = -1  # s of signal shown on either side of the window that is labelled
    derive: str = "auto"  # "none", or "breathing": respiratory modulations of the pulse in place of the channels

    @property
    def chosen(self) -> dict[str, Any]:
        """The options that differ from their defaults."""
        unset = asdict(ReadOptions())
        return {name: value for name, value in asdict(self).items() if value != unset[name]}

    def with_defaults(self, protocol: "ReadOptions") -> "ReadOptions":
        """Return the protocol's options, replaced by these where one was chosen.

        Raises DataError for derived channels that the protocol, its `derive` left at "auto", does not offer.
        """
        if self.derive == "breathing" and "derive" not in protocol.chosen:
            raise DataError("data.derive: this dataset has no derived channels; bidmc offers 'breathing'")
        return replace(protocol, **self.chosen)

    def require_unset(self) -> None:
        """Raise DataError when any option was chosen: the windows of this dataset cannot be changed."""
        if self.chosen:
            raise DataError(f"data.{', data.'.join(self.chosen)}: this dataset's windows come ready-made; leave it out")

    def folder_name(self, dataset: str) -> str:
        """Return the name of the prepared folder: the dataset's, and every option that was chosen."""
        labels = {
            "sampling_rate": "hz",
            "window": "s",
            "stride": "step",
            "highpass": "hp",
            "standardize": "by-",
            "padding": "pad-",
            "context": "around",
            "derive": "derive-",
        }
        parts = [
            f"{labels[name]}{value:g}" if isinstance(value, float | int) else f"{labels[name]}{value}"
            for name, value in self.chosen.items()
        ]
        return "-".join([dataset, *parts])


class EventCount(BaseModel):
    """How a value follows from events: `weight` times the number of events of the target `events` that lie in the
    middle `span` samples of the window."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    events: str
    span: int
    weight: float


class TargetInfo(BaseModel):
    """What a target means.

    - "class": codes of `classes`.
    - "labels": 0 or 1 for each of `classes`, of which a window may have several.
    - "value": a number in `unit`, perhaps a count of events (`counts`).
    - "signal": a second signal.
    - "events": at every sample the code of the event there, 0 for none, -1 outside of the record.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["class", "labels", "value", "signal", "events"]
    classes: tuple[str, ...] = ()
    unit: str = ""
    counts: EventCount | None = None


class Overlap(BaseModel):
    """How many subjects and identical windows two splits share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subjects: int
    windows: int


class DatasetInfo(BaseModel):
    """What dataset.json holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    name: str
    title: str
    source: str
    sampling_rate: float  # Hz
    channels: tuple[str, ...]
    unit: str
    n: int
    length: int  # samples in a window
    targets: dict[str, TargetInfo]
    schemes: dict[str, str]  # split scheme -> what it is
    overlap: dict[str, dict[str, Overlap]] = {}  # scheme -> "train/test" -> counts
    n_missing: int = 0  # NaN or infinite samples
    first_missing: str = ""
    n_records: int = 0
    skipped: dict[str, str] = {}  # record that could not be read -> why
    dropped: dict[str, int] = {}  # why windows were left out -> how many
    fingerprint: str = ""


@dataclass(frozen=True)
class PreparedDataset:
    """An open prepared dataset; `signals` and large targets are memory maps."""

    folder: Path
    info: DatasetInfo
    signals: Signals
    subjects: Subjects
    targets: Targets
    splits: Splits
    channel_indices: tuple[int, ...] | None = None  # of the chosen channels; None: all
    stored_channels: tuple[str, ...] = ()  # names of the channels on disk, once some were chosen

    def rows(self, scheme: str, split: str) -> Rows:
        """Return the row numbers of one split ("train", "val", "test") under a split scheme.

        Raises DataError that lists the valid names.
        """
        parts = self._scheme(scheme)
        if split not in parts:
            raise DataError(f"dataset {self.info.name} has no split {split!r}; it has {', '.join(parts)}")
        return parts[split]

    def _scheme(self, name: str) -> Mapping[str, Rows]:
        if name not in self.splits:
            raise DataError(
                f"data.split_scheme: dataset {self.info.name} has no split scheme {name!r}; "
                f"it has {', '.join(self.splits)}"
            )
        return self.splits[name]

    def with_channels(self, names: Sequence[str]) -> "PreparedDataset":
        """Return this dataset with the named channels, in that order; with all of them for an empty list.

        Raises DataError that lists the valid names.
        """
        stored = self.stored_channels or self.info.channels
        unknown = [name for name in names if name not in stored]
        if unknown:
            raise DataError(
                f"data.channels: dataset {self.info.name} has no channel {', '.join(unknown)}; "
                f"it has {', '.join(stored)}"
            )
        if not names or tuple(names) == self.info.channels:
            return self
        indices = tuple(stored.index(name) for name in names)
        info = self.info.model_copy(update={"channels": tuple(names)})
        return replace(self, info=info, channel_indices=indices, stored_channels=stored)

    def with_folds(self, scheme: str, folds: int, fold: int) -> "PreparedDataset":
        """Return this dataset with the rows of `scheme` split anew for cross-validation by subject.

        Part `fold` (from 0) of `folds` is the test split; see `splits.cross_validation_split`.

        Raises DataError when there is no such part, or there are too few people.
        """
        rows = np.unique(np.concatenate(list(self._scheme(scheme).values())))
        split = cross_validation_split(self.subjects, rows, folds=folds, fold=fold)
        text = f"part {fold} of {folds} tests, by subject; a tenth of the people validates"
        info = self.info.model_copy(update={"schemes": {scheme: text}, "overlap": {scheme: {}}})
        return replace(self, info=info, splits={scheme: split})

    def read(self, rows: Rows) -> Signals:
        """Return the signals `(n, channels, length)` of rows, with the chosen channels."""
        signals = self.signals[rows]
        return np.ascontiguousarray(signals if self.channel_indices is None else signals[:, list(self.channel_indices)])

    def target(self, name: str) -> tuple[TargetInfo, NDArray[Any]]:
        """Return a target's meaning and its array. Raises DataError that lists the valid names."""
        if name not in self.targets:
            raise DataError(
                f"data.target: dataset {self.info.name} has no target {name!r}; it has {', '.join(self.targets)}"
            )
        return self.info.targets[name], self.targets[name]


def data_root(root: str = "") -> Path:
    """Return the folder of prepared datasets: `root`, else $SSL_BIO_DATA, else one in the user's cache folder."""
    chosen = root or os.environ.get(ENVIRONMENT_VARIABLE, "")
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("ssl-bio")) / "data"


def is_prepared(folder: Path) -> bool:
    """Return whether `folder` holds a prepared dataset (it is renamed into place only when whole)."""
    return (folder / "dataset.json").is_file()


@contextmanager
def preparing(folder: Path) -> Iterator[bool]:
    """Hold the right to prepare `folder`, which one process has at a time; others wait for it.

    Yields whether another process has prepared the folder since this call began.

    Raises DataError when the folder's parent cannot be written.
    """
    before = _state(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.parent / f".{folder.name}.lock")
        lock.acquire()
    except OSError as error:
        raise DataError(f"{folder.parent}: cannot be written: {error.strerror or error}") from error
    try:
        after = _state(folder)
        yield after is not None and after != before
    finally:
        lock.release()


def _state(folder: Path) -> tuple[int, int] | None:
    """Tell one preparation of a folder from the next; None while it is not prepared."""
    try:
        facts = (folder / "dataset.json").stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_mtime_ns


def open_prepared(folder: Path) -> PreparedDataset:
    """Open a prepared dataset without reading its signals.

    Raises DataError when a file is missing, truncated, of another format or not what dataset.json says.
    """
    info = _read_info(folder)
    arrays = {name: _load(folder / name) for name in _array_files(info)}
    for name, array in arrays.items():
        if len(array) != info.n:
            raise DataError(f"{folder / name}: {len(array)} rows instead of {info.n}; prepare the dataset again")
    signals = arrays["signals.npy"]
    expected = (info.n, len(info.channels), info.length)
    if signals.shape != expected or signals.dtype != np.float32:
        raise DataError(f"{folder / 'signals.npy'}: {signals.dtype} {signals.shape} instead of float32 {expected}")
    splits: dict[str, dict[str, Rows]] = {scheme: {} for scheme in info.schemes}
    try:
        # Opened here, because np.load leaves its own handle open when the archive is broken.
        with (folder / "splits.npz").open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            for key in file.files:
                scheme, _, split = key.partition("/")
                splits[scheme][split] = file[key]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{folder / 'splits.npz'}: broken ({error}); prepare the dataset again") from error
    targets = {name: arrays[f"target-{name}.npy"] for name in info.targets}
    return PreparedDataset(folder, info, signals, np.asarray(arrays["subjects.npy"]), targets, splits)


def fingerprint(folder: Path, info: DatasetInfo) -> str:
    """Return 16 hex digits of a SHA-256 over every array file and dataset.json without names and counts of records."""
    nameless = info.model_copy(update={"fingerprint": "", "source": "", "name": "", "title": ""})
    facts = nameless.model_dump_json(exclude={"n_records", "skipped", "dropped"}, exclude_none=True)
    digest = hashlib.sha256(facts.encode())
    for name in _array_files(info):
        with (folder / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    with np.load(folder / "splits.npz", allow_pickle=False) as file:
        for key in sorted(file.files):  # the archive's own bytes carry its time of writing
            digest.update(key.encode() + file[key].astype("<i8").tobytes())
    return digest.hexdigest()[:16]


def _array_files(info: DatasetInfo) -> list[str]:
    return ["signals.npy", "subjects.npy", *(f"target-{name}.npy" for name in sorted(info.targets))]


def _read_info(folder: Path) -> DatasetInfo:
    path = folder / "dataset.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        version = raw.get("format_version") if isinstance(raw, dict) else None
        if version != FORMAT_VERSION:
            raise DataError(f"{path}: format version {version}, not {FORMAT_VERSION}; prepare the dataset again")
        return DatasetInfo.model_validate(raw)
    except FileNotFoundError:
        raise DataError(f"{folder}: not a prepared dataset (no dataset.json)") from None
    except (OSError, ValueError, ValidationError) as error:
        raise DataError(f"{path}: broken ({type(error).__name__}); prepare the dataset again") from error


def _load(path: Path) -> NDArray[Any]:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    except FileNotFoundError:
        raise DataError(f"{path}: missing; prepare the dataset again") from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: truncated or broken ({error}); prepare the dataset again") from error
