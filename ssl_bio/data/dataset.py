"""A dataset as runs see it: labelled windows of recordings, and their division into splits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from ssl_bio.data.channels import match_channels, plain_name
from ssl_bio.data.options import WindowOptions
from ssl_bio.data.recording import Signals
from ssl_bio.data.splits import Rows as Rows  # who reads datasets needs the type, too
from ssl_bio.data.splits import Splits, cross_validation_split, cut_validation
from ssl_bio.data.targets import TargetInfo
from ssl_bio.data.windowed import WindowedArray
from ssl_bio.errors import DataError

Subjects = NDArray[np.str_]
Target = NDArray[Any] | WindowedArray
Targets = Mapping[str, Target]


class Overlap(BaseModel):
    """How many subjects and identical windows two splits share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subjects: int
    windows: int


class DatasetInfo(BaseModel):
    """What windows.json holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = 1  # of the facts that the fingerprint covers
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
    options: dict[str, float | str] = {}  # how recordings became windows: the fields of `WindowOptions`
    fingerprint: str = ""


@dataclass(frozen=True)
class PreparedDataset:
    """An open prepared dataset; signals, and targets along them, are read when asked for.

    `folder` holds the recordings, of which `recordings` `(n,)` and `starts` `(n,)`, in s from the beginning of the
    file, say where windows are from; `names` are those of the recordings.
    """

    folder: Path
    info: DatasetInfo
    signals: Target
    subjects: Subjects
    targets: Targets
    splits: Splits
    recordings: NDArray[np.int64]
    starts: NDArray[np.float64]
    names: Subjects
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
        """Return this dataset with the named channels, in that order and under these names, whatever their spelling;
        with all of them for an empty list.

        Raises DataError that lists the valid names.
        """
        stored = self.stored_channels or self.info.channels
        spellings = {*stored, *map(plain_name, stored)}
        unknown = [name for name in names if name not in spellings and plain_name(name) not in spellings]
        if unknown:
            raise DataError(
                f"data.channels: dataset {self.info.name} has no channel {', '.join(unknown)}; "
                f"it has {', '.join(stored)}"
            )
        if not names or tuple(names) == self.info.channels:
            return self
        indices = tuple(match_channels(names, stored, where=f"data.channels: dataset {self.info.name}"))
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

    def with_validation(self, scheme: str, share: float) -> "PreparedDataset":
        """Return this dataset with a share of the training people of `scheme` for validation, where it has none.

        Raises DataError when nobody would be left to train.
        """
        split = self._scheme(scheme)
        if len(split.get("val", ())):
            return self
        made = cut_validation(split, self.subjects, share=share)
        text = f"{self.info.schemes[scheme]}; {share:g} of the training people validate, seed 42"
        info = self.info.model_copy(update={"schemes": {**self.info.schemes, scheme: text}})
        return replace(self, info=info, splits={**self.splits, scheme: made})

    def read(self, rows: Rows) -> Signals:
        """Return the signals `(n, channels, length)` of rows, with the chosen channels."""
        signals = self.signals[rows]
        return np.ascontiguousarray(signals if self.channel_indices is None else signals[:, list(self.channel_indices)])

    @property
    def options(self) -> WindowOptions:
        """How recordings became windows; none is left open."""
        return WindowOptions(**self.info.options)  # type: ignore[arg-type]  # fields checked when they were written

    def places(self, rows: Rows) -> tuple[Subjects, NDArray[np.float64]]:
        """Return which recording the windows of rows are from, and where they start in it, in s."""
        return self.names[self.recordings[rows]], self.starts[rows]

    def target(self, name: str) -> tuple[TargetInfo, Target]:
        """Return a target's meaning and its array. Raises DataError that lists the valid names."""
        if name not in self.targets:
            raise DataError(
                f"data.target: dataset {self.info.name} has no target {name!r}; it has {', '.join(self.targets)}"
            )
        return self.info.targets[name], self.targets[name]
