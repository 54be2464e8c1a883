"""Cuff-less blood pressure estimation (Kachuee et al. 2015, UCI repository): PPG, ECG and arterial pressure."""

import re
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.formats import matlab
from ssl_bio.data.ingest.archive import Files
from ssl_bio.data.ingest.ingest import Ingest
from ssl_bio.data.options import WindowOptions
from ssl_bio.data.recording import Recording
from ssl_bio.data.recording_store import RecordingStore
from ssl_bio.data.registry import Dataset
from ssl_bio.data.splits import split_by_position
from ssl_bio.data.targets import TargetInfo
from ssl_bio.data.windowing import LabelledWindows, Windowing
from ssl_bio.data.windows import Windower
from ssl_bio.errors import DataError

TITLE = "UCI cuff-less blood pressure: PPG, ECG and arterial pressure from intensive care (MIMIC II)"
PROTOCOL = WindowOptions(sampling_rate=125.0, window=10.0, stride=10.0, highpass=0.0, standardize="none")
SCHEMES = {
    "subject": "cells in their order: the first 80 % train, the next 10 % validate, the last 10 % test; "
    "who they are of is not published"
}

_PART_NAME = re.compile(r"(?:.*/)?(Part_\d+)\.mat")
_RATE = 125.0  # Hz
_SHORTEST_BEAT = 0.3  # s, 200 beats/min
_FEWEST_BEATS = 0.5  # a second, 30 beats/min
_SMALLEST_PULSE = 10.0  # mmHg
_LONGEST_CONSTANT = 0.5  # s
_SYSTOLIC, _DIASTOLIC = (60.0, 220.0), (30.0, 140.0)  # mmHg

# Why windows are left out.
GAP = "windows have a gap in their arterial pressure and are left out"
FLAT = f"windows have a PPG or arterial pressure constant for {_LONGEST_CONSTANT:g} s or longer and are left out"
NO_BEATS = "windows show fewer than 30 beats/min in their arterial pressure and are left out"
IMPLAUSIBLE = (
    f"windows have a pressure outside of {_SYSTOLIC[0]:g}-{_SYSTOLIC[1]:g} over {_DIASTOLIC[0]:g}-{_DIASTOLIC[1]:g} "
    f"mmHg, or less than {_SMALLEST_PULSE:g} mmHg between the two, and are left out"
)


class Pressure(NamedTuple):
    """A window's blood pressure in mmHg, or why it has none."""

    systolic: float = np.nan
    diastolic: float = np.nan
    flaw: str = ""


def read(files: Files) -> Ingest:
    """Read `Part_1.mat` to `Part_4.mat`, MATLAB 7.3 files.

    A part is a cell array of 3,000 matrices `(3, samples)` at 125 Hz: PPG, arterial pressure (ABP) in mmHg, ECG
    lead II. A cell, named "Part_1/17" as MATLAB counts, is a record; a subject here is a cell, too.

    Of an archive one part at a time is unpacked. Raises DataError for a file that is no whole MATLAB 7.3 file.
    """
    parts = {match[1]: name for name in files.names if (match := _PART_NAME.fullmatch(name))}
    if not parts:
        raise DataError(f"{files.source}: no Part_1.mat inside: not the UCI set of blood pressure")
    cells = _Cells(files, parts)

    def read_one(name: str) -> list[Recording]:
        ppg, arterial, ecg = cells.read(name)
        arrays = {"signals": np.stack([ppg, ecg]), "arterial": arterial}
        return [Recording(name=name, subject=name, arrays=arrays)]

    facts = {"cells": cells.names}
    return Ingest(title=TITLE, source=files.source.name, records=cells.names, read=read_one, facts=facts)


def windowing(store: RecordingStore, options: WindowOptions) -> Windowing:
    """Return windows with the channels ppg and ecg; ABP is the label and no channel.

    The conversion behind the published figures of CM-SSL is lost, so this one is our own:

    - Windows of 10 s without overlap; a cell shorter than a window gives none.
    - Beats are peaks of the window's ABP at least 0.3 s apart, with a prominence of 10 mmHg and of half of the distance
      between its 5th and 95th percentile, so that the dicrotic wave is none.
    - Targets: `sbp`, the mean of the ABP's values at its beats; `dbp`, the mean of the least values between a beat
      and the next; mmHg.
    - Left out, and counted by reason: windows with a gap; with a PPG or ABP that stays the same for 0.5 s (no pulse,
      or clipped); with fewer than 30 beats/min; with SBP outside of 60-220 or DBP outside of 30-140 mmHg or less
      than 10 mmHg between them, which living people hardly have and disconnected or flushed lines do. The
      publishers' paper selects more narrowly (80-180 over 60-130) and so loses the patients that matter most.

    The cells carry no patient; cells that follow one another are often of one. So the cells are split in their order
    (80 / 10 / 10) instead of by a draw: at most a person at each of the two borders is on both sides, if the order is
    the patients' at all.
    """
    windower = Windower(options.with_defaults(PROTOCOL))

    def label(recording: Recording) -> LabelledWindows:
        ppg, arterial = recording.signals[0], recording.arrays["arterial"]
        windows = windower.windows(recording.signals, _RATE, pad=False)
        edges = [np.round(edge * _RATE).astype(int) for edge in windows.bounds()]
        found = [pressure_of(ppg=ppg[a:b], arterial=arterial[a:b]) for a, b in zip(*edges, strict=True)]
        kept = np.array([not pressure.flaw for pressure in found], bool)
        flaws = [pressure.flaw for pressure in found if pressure.flaw]
        targets = {
            "sbp": np.array([pressure.systolic for pressure in found], np.float32)[kept],
            "dbp": np.array([pressure.diastolic for pressure in found], np.float32)[kept],
        }
        dropped = {flaw: flaws.count(flaw) for flaw in dict.fromkeys(flaws)}
        return LabelledWindows(record=windows.select(kept), targets=targets, dropped=dropped)

    return Windowing(
        options=windower.options,
        channels=("ppg", "ecg"),
        unit=windower.unit("arbitrary"),
        targets={name: TargetInfo(kind="value", unit="mmHg") for name in ("sbp", "dbp")},
        window=label,
        split=lambda table: {"subject": split_by_position(table.subjects, store.facts["cells"])},
        schemes=SCHEMES,
    )


DATASET = Dataset(
    title=TITLE,
    homepage="https://archive.ics.uci.edu/dataset/340",
    url="https://archive.ics.uci.edu/static/public/340/cuff+less+blood+pressure+estimation.zip",
    read=read,
    windowing=windowing,
)


def pressure_of(*, ppg: NDArray[Any], arterial: NDArray[Any]) -> Pressure:
    """Return the blood pressure of a window, both signals `(samples,)` at 125 Hz; see `read`."""
    from scipy.signal import find_peaks  # imported when needed: it takes its time

    if not np.isfinite(arterial).all():
        return Pressure(flaw=GAP)
    if max(_longest_constant(ppg), _longest_constant(arterial)) >= _LONGEST_CONSTANT * _RATE:
        return Pressure(flaw=FLAT)
    low, high = np.percentile(arterial, [5, 95])
    prominence = max(_SMALLEST_PULSE, (high - low) / 2)
    beats, _ = find_peaks(arterial, distance=round(_SHORTEST_BEAT * _RATE), prominence=prominence)
    if len(beats) < max(2, _FEWEST_BEATS * len(arterial) / _RATE):
        return Pressure(flaw=NO_BEATS)
    valleys = [arterial[beat:following].min() for beat, following in pairwise(beats)]
    systolic, diastolic = float(arterial[beats].mean()), float(np.mean(valleys))
    plausible = _SYSTOLIC[0] <= systolic <= _SYSTOLIC[1] and _DIASTOLIC[0] <= diastolic <= _DIASTOLIC[1]
    if not plausible or systolic - diastolic < _SMALLEST_PULSE:
        return Pressure(flaw=IMPLAUSIBLE)
    return Pressure(systolic, diastolic)


def _longest_constant(signal: NDArray[Any]) -> int:
    """Return the length of the longest run of equal samples."""
    changes = np.flatnonzero(np.diff(signal) != 0)
    return int(np.diff(np.concatenate([[-1], changes, [len(signal) - 1]])).max())


class _Cells:
    """The cells of all parts, of which one at a time is unpacked."""

    def __init__(self, files: Files, parts: dict[str, str]) -> None:
        self.files, self.parts = files, parts
        self.borrowed, self.part, self.path = ExitStack(), "", Path()
        self.names: list[str] = []
        for part, name in parts.items():
            with files.borrowed(name) as (path,):
                n = matlab.n_cells(path, part)
            self.names += [f"{part}/{number}" for number in range(1, n + 1)]

    def read(self, name: str) -> NDArray[Any]:
        """Return the matrix `(3, samples)` of a cell."""
        part, _, number = name.partition("/")
        if part != self.part:
            self.borrowed.close()
            (self.path,) = self.borrowed.enter_context(self.files.borrowed(self.parts[part]))
            self.part = part
        matrix = matlab.read_cell(self.path, part, int(number) - 1)
        if matrix.ndim != 2 or 3 not in matrix.shape or matrix.dtype.kind not in "iuf":
            raise DataError(f"{name}: a matrix of {matrix.dtype} {matrix.shape}, not of numbers (3, samples)")
        return (matrix.T if matrix.shape[1] == 3 else matrix).astype(np.float64)
