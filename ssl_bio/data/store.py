"""Prepared datasets: written once, opened as memory maps, named by a fingerprint.

<root>/<name>/
  dataset.json     what it is: channels, sampling rate, targets, splits, overlaps, fingerprint
  signals.npy      (n, channels, length) float32
  target-*.npy     one file a target, n rows each
  subjects.npy     (n,) text ids
  splits.npz       "<scheme>/<split>" -> row numbers
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import platformdirs
from filelock import FileLock
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from ssl_bio.errors import DataError

FORMAT_VERSION = 1
ENVIRONMENT_VARIABLE = "SSL_BIO_DATA"
_FOLD_SEED = 42

Signals = NDArray[np.float32]
Rows = NDArray[np.int64]
Splits = Mapping[str, Mapping[str, Rows]]  # scheme -> split -> rows
Subjects = NDArray[np.str_]
Targets = Mapping[str, NDArray[Any]]


class ReadOptions(NamedTuple):
    """How a reader cuts recordings into windows; what is left at its default follows the reader's protocol."""

    sampling_rate: float = 0  # Hz
    window: float = 0  # s
    stride: float = -1  # s from one window's start to the next; 0: one window a record, its middle
    highpass: float = -1  # Hz; 0: no filter
    standardize: str = "auto"  # "record" or "none"
    padding: str = "auto"  # "zero" or "repeat": what fills a window after the end of a shorter record
    context: float = -1  # s of signal shown on either side of the window that is labelled
    derive: str = "auto"  # "none", or "breathing": how it moves the pulse, in place of the channels

    def over(self, protocol: "ReadOptions") -> "ReadOptions":
        """These options where somebody chose, the protocol's elsewhere.

        Raises DataError for derived channels that the protocol, its `derive` left at "auto", does not offer.
        """
        unset = ReadOptions()._asdict()
        if protocol.derive == unset["derive"] and self.derive == "breathing":
            raise DataError("data.derive: only bidmc offers 'breathing'")
        return protocol._replace(**{key: mine for key, mine in self._asdict().items() if mine != unset[key]})

    def refuse(self) -> None:
        """Raise DataError when anything was chosen: the windows of this dataset come ready cut."""
        if self != ReadOptions():
            raise DataError(
                "data.sampling_rate, window, stride, highpass, standardize, padding, context, derive: this dataset's "
                "windows come ready cut; leave them out"
            )

    def folder(self, name: str) -> str:
        """The prepared folder's name: the dataset's, and every option that was chosen."""
        unset = ReadOptions()
        labels = ("hz", "s", "step", "hp", "by-", "pad-", "around", "derive-")
        parts = [
            f"{label}{value:g}" if isinstance(value, float | int) else f"{label}{value}"
            for label, value, default in zip(labels, self, unset, strict=True)
            if value != default
        ]
        return "-".join([name, *parts])


class Counting(BaseModel):
    """A value that counts the events of a target of that kind: `weight` times how many lie in the middle `span` samples
    of the window."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    events: str
    span: int
    weight: float


class TargetInfo(BaseModel):
    """What a target means: class codes with their names, labels of which a window may have several (0 or 1 for
    each of `classes`), values with their unit, a second signal, or, at every sample, the code of the event there
    (0: none, -1: outside of the record). A value may be a count of events."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["class", "labels", "value", "signal", "events"]
    classes: tuple[str, ...] = ()
    unit: str = ""
    counts: Counting | None = None


class Overlap(BaseModel):
    """How much two splits share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subjects: int
    windows: int


class DatasetInfo(BaseModel):
    """The facts of a prepared dataset, stored beside its arrays."""

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
    subjects: NDArray[np.str_]
    targets: Mapping[str, NDArray[Any]]
    splits: Splits
    chosen: tuple[int, ...] | None = None  # channels by position; None: all
    stored: tuple[str, ...] = ()  # names of the channels on disk, once some were chosen

    def rows(self, scheme: str, split: str) -> Rows:
        """Row numbers of one split ("train", "val", "test") under a scheme.

        Raises DataError that lists the valid names.
        """
        parts = self._scheme(scheme)
        if split not in parts:
            raise DataError(f"dataset {self.info.name} has no split {split!r}; it has {', '.join(parts)}")
        return parts[split]

    def _scheme(self, name: str) -> Mapping[str, Rows]:
        if name not in self.splits:
            raise DataError(
                f"data.validation: dataset {self.info.name} has no split scheme {name!r}; "
                f"it has {', '.join(self.splits)}"
            )
        return self.splits[name]

    def with_channels(self, names: Sequence[str]) -> "PreparedDataset":
        """This dataset with these of the channels on disk, in the order named; for an empty list as it is.

        Raises DataError that lists the valid names.
        """
        stored = self.stored or self.info.channels
        unknown = [name for name in names if name not in stored]
        if unknown:
            raise DataError(
                f"data.channels: dataset {self.info.name} has no channel {', '.join(unknown)}; "
                f"it has {', '.join(stored)}"
            )
        if not names or tuple(names) == self.info.channels:
            return self
        chosen = tuple(stored.index(name) for name in names)
        return replace(self, info=self.info.model_copy(update={"channels": tuple(names)}), chosen=chosen, stored=stored)

    def with_folds(self, scheme: str, folds: int, fold: int) -> "PreparedDataset":
        """This dataset cut into parts by subject, the same ones under any seed: part `fold` (from 0) of `folds` is the
        test split, a tenth of all people, at least one of those who follow it, validates, the others train.

        Raises DataError when there is no such part, or fewer people than parts and a validating one.
        """
        everything = np.unique(np.concatenate(list(self._scheme(scheme).values())))
        people = np.random.default_rng(_FOLD_SEED).permutation(np.unique(self.subjects[everything]))
        if not 0 <= fold < folds:
            raise DataError(f"data.fold: {fold} is not from 0 to {folds - 1}, as data.folds {folds} has it")
        if folds < 2 or len(people) <= folds:
            raise DataError(f"data.folds: {len(people)} people do not make {folds} parts and one to validate")
        parts = np.array_split(people, folds)
        others = np.concatenate([*parts[fold + 1 :], *parts[:fold]])
        n_val = max(1, round(len(people) / 10))
        drawn = {"train": others[n_val:], "val": others[:n_val], "test": parts[fold]}
        rows = {name: everything[np.isin(self.subjects[everything], who)] for name, who in drawn.items()}
        text = f"part {fold} of {folds} tests, by subject; a tenth of the people validates"
        info = self.info.model_copy(update={"schemes": {scheme: text}, "overlap": {scheme: {}}})
        return replace(self, info=info, splits={scheme: rows})

    def read(self, rows: Rows) -> Signals:
        """Signals `(n, channels, length)` of rows, with the chosen channels."""
        signals = self.signals[rows]
        return np.ascontiguousarray(signals if self.chosen is None else signals[:, list(self.chosen)])

    def target(self, name: str) -> tuple[TargetInfo, NDArray[Any]]:
        """A target's meaning and its array. Raises DataError that lists the valid names."""
        if name not in self.targets:
            raise DataError(
                f"data.target: dataset {self.info.name} has no target {name!r}; it has {', '.join(self.targets)}"
            )
        return self.info.targets[name], self.targets[name]


def data_root(recipe_root: str = "") -> Path:
    """Where prepared datasets live: the recipe's word, then $SSL_BIO_DATA, then the user's cache folder."""
    chosen = recipe_root or os.environ.get(ENVIRONMENT_VARIABLE, "")
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("ssl-bio")) / "data"


def is_prepared(folder: Path) -> bool:
    """Whether `folder` holds a prepared dataset (it is renamed into place only when whole)."""
    return (folder / "dataset.json").is_file()


@contextmanager
def preparing(folder: Path) -> Iterator[None]:
    """Hold the right to prepare `folder`: a second process waits instead of doing the work twice."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.parent / f".{folder.name}.lock")
        lock.acquire()
    except OSError as error:
        raise DataError(f"{folder.parent}: cannot be written: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()


def open_dataset(folder: Path) -> PreparedDataset:
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
    """SHA-256 over every array file and every fact but names and the fingerprint itself: 16 hex digits."""
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
