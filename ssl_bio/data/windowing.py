"""How the recordings of a dataset become labelled windows: what each dataset declares beside its reader."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.ingest.ingest import Ingest
from ssl_bio.data.options import WindowOptions
from ssl_bio.data.recording import SIGNALS, Recording
from ssl_bio.data.recording_store import RecordingStore
from ssl_bio.data.splits import Splits
from ssl_bio.data.targets import TargetInfo
from ssl_bio.data.windows import Layout, Track, WindowedRecord

_DTYPES = {"class": np.int64, "value": np.float32, "labels": np.int8}


@dataclass(frozen=True, kw_only=True)
class LabelledWindows:
    """The windows of one recording, the targets of each (n rows, or a track along the recording), and why others were
    left out."""

    record: WindowedRecord
    targets: Mapping[str, NDArray[Any] | Track]
    dropped: Mapping[str, int] = field(default_factory=dict)


class WindowTable(NamedTuple):
    """All windows of a dataset, without their signals, as splits are made from them."""

    subjects: NDArray[np.str_]  # (n,)
    recordings: NDArray[np.int64]  # (n,) which recording a window is from
    targets: Mapping[str, NDArray[Any]]  # n rows each; those that are tracks are left out
    facts: Sequence[Mapping[str, Any]]  # of every recording

    def fact(self, name: str) -> NDArray[Any]:
        """Return one of the recordings' facts for each window, `(n,)`."""
        return np.array([facts[name] for facts in self.facts])[self.recordings]


@dataclass(frozen=True, kw_only=True)
class Windowing:
    """How recordings become windows under chosen options, of which none is left open.

    `window` divides a recording and labels its windows; `split` divides the windows of all.
    """

    options: WindowOptions
    channels: tuple[str, ...]
    unit: str
    targets: Mapping[str, TargetInfo]
    window: Callable[[Recording], LabelledWindows]
    split: Callable[[WindowTable], Splits]
    schemes: Mapping[str, str]  # split scheme -> what it is


WindowingFactory = Callable[[RecordingStore, WindowOptions], Windowing]


@dataclass(frozen=True, kw_only=True)
class ReadyWindows:
    """Windows that come ready-made, with their splits."""

    title: str
    source: str
    sampling_rate: float  # Hz
    channels: tuple[str, ...]
    unit: str
    signals: NDArray[np.float32]  # (n, channels, length)
    subjects: NDArray[np.str_]  # (n,)
    targets: Mapping[str, tuple[TargetInfo, NDArray[Any]]]
    splits: Splits
    schemes: Mapping[str, str]

    def as_ingest(self) -> Ingest:
        """Return the ingest of one record: every window is a recording of its own."""
        targets = {name: info.model_dump(mode="json") for name, (info, _) in self.targets.items()}
        splits = {
            scheme: {split: rows.tolist() for split, rows in parts.items()} for scheme, parts in self.splits.items()
        }
        facts = ready_facts(
            sampling_rate=self.sampling_rate,
            channels=self.channels,
            unit=self.unit,
            length=self.signals.shape[-1],
            targets=targets,
            schemes=self.schemes,
        )
        return Ingest(
            title=self.title,
            source=self.source,
            records=[self.source],
            read=lambda _: [self._recording(row) for row in range(len(self.signals))],
            facts={**facts, "splits": splits},
        )

    def _recording(self, row: int) -> Recording:
        values = {name: array[row] for name, (_, array) in self.targets.items()}
        tracks = {name: value for name, value in values.items() if self.targets[name][0].kind not in _DTYPES}
        return Recording(
            name=f"{self.source} {row}",
            subject=str(self.subjects[row]),
            arrays={SIGNALS: self.signals[row], **tracks},
            facts={name: np.asarray(value).tolist() for name, value in values.items() if name not in tracks},
        )


def ready_facts(
    *,
    sampling_rate: float,
    channels: Sequence[str],
    unit: str,
    length: int,
    targets: Mapping[str, Mapping[str, Any]],
    schemes: Mapping[str, str],
) -> dict[str, Any]:
    """Return what `ready_windowing` needs to know of recordings that are one window each, `length` samples at most."""
    return {
        "ready": True,
        "sampling_rate": sampling_rate,
        "channels": list(channels),
        "unit": unit,
        "length": length,
        "targets": dict(targets),
        "schemes": dict(schemes),
    }


def has_ready_windows(store: RecordingStore) -> bool:
    """Return whether every recording of a store is one window, which no option can change."""
    return bool(store.facts.get("ready"))


def ready_windowing(store: RecordingStore, options: WindowOptions) -> Windowing:
    """Return the windowing of recordings that are one window each; a shorter one ends in zeros.

    Raises DataError for options: ready-made windows cannot be made otherwise.
    """
    options.require_unset()
    facts = store.facts
    targets = {name: TargetInfo.model_validate(info) for name, info in facts["targets"].items()}
    rate, length = float(facts["sampling_rate"]), int(facts["length"])
    window = length / rate

    def whole(recording: Recording) -> LabelledWindows:
        layout = Layout(length)
        record = WindowedRecord(
            track=Track(recording.signals, layout), starts=np.zeros(1, np.int64), sampling_rate=rate, window=window
        )
        found: dict[str, NDArray[Any] | Track] = {}
        for name, info in targets.items():
            if info.kind in _DTYPES:
                found[name] = np.array([recording.facts[name]], _DTYPES[info.kind])
            else:
                found[name] = Track(recording.arrays[name], layout)
        return LabelledWindows(record=record, targets=found)

    splits = {
        scheme: {split: np.array(rows, np.int64) for split, rows in parts.items()}
        for scheme, parts in facts.get("splits", {}).items()
    }
    return Windowing(
        options=WindowOptions(
            sampling_rate=rate,
            window=window,
            stride=window,
            highpass=0.0,
            standardize="none",
            padding="zero",
            context=0.0,
            derive="none",
        ),
        channels=tuple(facts["channels"]),
        unit=facts["unit"],
        targets=targets,
        window=whole,
        split=lambda _: splits,
        schemes=facts["schemes"],
    )
