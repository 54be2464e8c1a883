"""BIDMC PPG and Respiration Dataset (Pimentel et al. 2017, from MIMIC II): pulse, ECG and respiration."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.formats.wfdb_records import read_annotations, read_record
from ssl_bio.data.ingest.archive import Files
from ssl_bio.data.ingest.ingest import Ingest
from ssl_bio.data.options import WindowOptions
from ssl_bio.data.recording import Recording
from ssl_bio.data.recording_store import RecordingStore
from ssl_bio.data.registry import Dataset
from ssl_bio.data.splits import draw_subjects
from ssl_bio.data.targets import EventCount, TargetInfo
from ssl_bio.data.windowing import LabelledWindows, Windowing
from ssl_bio.data.windows import Track, WindowedRecord, Windower
from ssl_bio.errors import DataError

TITLE = "BIDMC: PPG, ECG and respiration of 53 people in intensive care, 8 min each, breaths annotated"
#: The protocol of CM-SSL's `bidmc_hr` and `bidmc_rr`.
PROTOCOL = WindowOptions(sampling_rate=125.0, window=10.0, stride=2.0, highpass=0.0, standardize="none", derive="none")
SCHEMES = {"subject": "people are drawn 80 / 10 / 10 into training, validation and test, seed 42"}

_RATES = {
    "hr": TargetInfo(kind="value", unit="beats/min"),
    "pulse": TargetInfo(kind="value", unit="beats/min"),
    "rr": TargetInfo(kind="value", unit="breaths/min"),
    "rr_hz": TargetInfo(kind="value", unit="Hz"),
    "rr_monitor": TargetInfo(kind="value", unit="breaths/min"),
}
_CSV_NAME = re.compile(r"(?:.*/)?bidmc_(\d\d)_Signals\.csv")
_WFDB_NAME = re.compile(r"(?:.*/)?bidmc(\d\d)\.hea")
_MIMIC_ID = re.compile(r"matched wdb ID: *(\w+)")
_CSV_RATE = 125.0  # Hz
_SIGNALS = {"ppg": "PLETH", "ecg": "II", "resp": "RESP"}  # what everyone has
_NUMERICS = {"hr": "HR", "pulse": "PULSE", "rr_monitor": "RESP"}
_ANNOTATOR = "breaths ann1 [signal sample no]"
_LARGEST_DIFFERENCE = 2.0  # s by which signals and numerics of a whole record differ at most


def read(files: Files) -> Ingest:
    """Read CSV files or WFDB records; where both are there, the CSV files.

    Channels: ppg (PLETH), ecg (lead II), resp (impedance), which everyone has; other leads are left out. Beside them
    the monitor's numbers, second by second, and annotator 1's breaths.

    Several records are of one patient: where the publisher's `bidmc_NN_Fix.txt` is there, its MIMIC II ID is the
    subject (42 patients in the 47 records at hand: 06, 07 and 09 are one, 20 to 23 another), else the record's number.

    A breath's place is the published sample number, taken to count from 0 (a difference of 8 ms at most).

    Raises DataError for a person whose files are missing, broken or of unequal duration.
    """
    tables = [name.removesuffix("_Signals.csv") for name in files.names if _CSV_NAME.fullmatch(name)]
    records = tables or [name.removesuffix(".hea") for name in files.names if _WFDB_NAME.fullmatch(name)]
    if not records:
        raise DataError(f"{files.source}: neither bidmc_NN_Signals.csv nor bidmcNN.hea inside: not BIDMC")
    patients = _patients(files)

    def read_one(name: str) -> list[Recording]:
        subject = patients.get(name[-2:], name[-2:])
        return [_of_tables(files, name, subject=subject) if tables else _of_wfdb(files, name, subject=subject)]

    return Ingest(title=TITLE, source=files.source.name, records=records, read=read_one)


def windowing(store: RecordingStore, options: WindowOptions) -> Windowing:
    """Return windows of CM-SSL's protocol: 10 s, 2 s step, 125 Hz, no filter; people 80 / 10 / 10, seed 42.

    Its own draw is not published, so the people in test differ.

    With `derive = "breathing"` the PPG's respiratory modulations (`respiration.NAMES`) take the channels' place, which
    come at 4 Hz: `sampling_rate = 4` keeps them so. Targets:

    - `hr`, `pulse`, `rr_monitor`: mean of the monitor's HR (from the ECG), PULSE (from the PPG) and RESP over the
      seconds in the window, its end excluded. Seconds without a number are passed over, and so are an HR or PULSE
      of 0, the monitor's other way to say so; a window that has none left keeps its place with NaN.
    - `breaths`: annotator 1's breaths, sample by sample, in all that a window shows, its context too.
    - `rr`: how many of them lie in the window, times 60 / window (6 for 10 s), breaths/min; `rr_hz`: the same in Hz.
      The protocol says nothing of parts that annotator 1 left empty (the first 35 s of person 46): they count as
      no breath.
    """
    windower = Windower(options.with_defaults(PROTOCOL))
    channels, unit = tuple(_SIGNALS), "arbitrary (ppg, resp), mV (ecg)"
    derived = windower.options.derive == "breathing"
    if derived:
        from ssl_bio.data import respiration  # imported when needed: it takes its time

        channels, unit = respiration.NAMES, respiration.UNIT

    def label(recording: Recording) -> LabelledWindows:
        signals, rate = recording.signals, recording.facts["sampling_rate"]
        if derived:
            ppg = signals[list(_SIGNALS).index("ppg")]
            signals, rate = respiration.respiratory_modulations(ppg, rate), respiration.RATE
        windows = windower.windows(signals, rate, pad=False)
        return LabelledWindows(record=windows, targets=_values(windows, recording))

    return Windowing(
        options=windower.options,
        channels=channels,
        unit=windower.unit(unit),
        targets=_targets(windower),
        window=label,
        split=lambda table: {"subject": draw_subjects(table.subjects)},
        schemes=SCHEMES,
    )


DATASET = Dataset(
    title=TITLE,
    homepage="https://physionet.org/content/bidmc/1.0.0/",
    url="https://physionet.org/static/published-projects/bidmc/bidmc-ppg-and-respiration-dataset-1.0.0.zip",
    read=read,
    windowing=windowing,
)


def _patients(files: Files) -> dict[str, str]:
    """Return the ID in MIMIC II of each record's patient, by the record's number."""
    found = {}
    for name in files.find("_Fix.txt"):
        with files.borrowed(name) as (path,):
            match = _MIMIC_ID.search(path.read_text(encoding="utf-8", errors="replace"))
        if match:
            found[name.removesuffix("_Fix.txt")[-2:]] = match[1]
    return found


def _values(windows: WindowedRecord, recording: Recording) -> dict[str, NDArray[Any] | Track]:
    """Return the targets of all windows."""
    breaths, seconds = recording.arrays["breaths"], recording.arrays["seconds"]
    per_second = windows.count_events(breaths) / windows.window
    means = {name: windows.mean_values(seconds, values=recording.arrays[name]) for name in _NUMERICS}
    rates = {**means, "rr": (60 * per_second).astype(np.float32), "rr_hz": per_second.astype(np.float32)}
    return {**{name: rates[name] for name in _RATES}, "breaths": windows.mark_events(breaths)}


def _targets(windower: Windower) -> dict[str, TargetInfo]:
    """Return the meaning of all targets, with the counts of breaths that `rr` and `rr_hz` are."""
    per_breath = {"rr": 60 / windower.options.window, "rr_hz": 1 / windower.options.window}
    counts = {
        name: EventCount(events="breaths", span=windower.length, weight=weight) for name, weight in per_breath.items()
    }
    rates = {name: info.model_copy(update={"counts": counts.get(name)}) for name, info in _RATES.items()}
    return {**rates, "breaths": TargetInfo(kind="events", classes=("breath",))}


def _of_tables(files: Files, name: str, *, subject: str) -> Recording:
    parts = [f"{name}_{part}.csv" for part in ("Signals", "Numerics", "Breaths")]
    with files.borrowed(*parts) as (signal_path, numeric_path, breath_path):
        signals = _columns(signal_path, _SIGNALS.values())
        numerics = _columns(numeric_path, ["Time [s]", *_NUMERICS.values()])
        breaths = _columns(breath_path, [_ANNOTATOR])[0]
    return _recording(
        name.rpartition("/")[2],
        subject=subject,
        signals=signals,
        sampling_rate=_CSV_RATE,
        seconds=numerics[0],
        numerics=numerics[1:],
        samples=breaths[np.isfinite(breaths)],  # the shorter of the two annotators' columns ends in NaN
    )


def _of_wfdb(files: Files, name: str, *, subject: str) -> Recording:
    parts = [f"{name}.hea", f"{name}.dat", f"{name}n.hea", f"{name}n.dat", f"{name}.breath"]
    with files.borrowed(*parts) as (header, *_):
        path = header.with_suffix("")
        record, monitor = read_record(path), read_record(path.with_name(path.name + "n"))
        annotations = read_annotations(path, "breath")
    first = np.array([text.strip("\0 ") == "ann1" for text in annotations.notes], bool)
    numerics = monitor.select(tuple(_NUMERICS.values()))
    return _recording(
        path.name,
        subject=subject,
        signals=record.select(tuple(_SIGNALS.values())),
        sampling_rate=record.sampling_rate,
        seconds=np.arange(numerics.shape[1]) / monitor.sampling_rate,
        numerics=numerics,
        samples=annotations.samples[first],
    )


def _recording(
    name: str,
    *,
    subject: str,
    signals: NDArray[Any],
    sampling_rate: float,
    seconds: NDArray[np.float64],
    numerics: NDArray[Any],
    samples: NDArray[Any],
) -> Recording:
    """Return a recording. Its arrays: "signals", "seconds" `(n,)` when the monitor gave its numbers, those numbers
    `(n,)` each, and "breaths", in s.

    Raises DataError when its parts differ in duration.
    """
    duration = (signals.shape[1] - 1) / sampling_rate
    if not len(seconds) or abs(duration - seconds[-1]) > _LARGEST_DIFFERENCE:
        last = f"{seconds[-1]:g}" if len(seconds) else "no"
        raise DataError(f"{name}: {duration:g} s of signals but {last} s of numerics: truncated?")
    values = dict(zip(_NUMERICS, numerics, strict=True))
    for rate in ("hr", "pulse"):
        values[rate] = np.where(values[rate] > 0, values[rate], np.nan)
    return Recording(
        name=name,
        subject=subject,
        arrays={"signals": signals, "seconds": seconds, **values, "breaths": samples / sampling_rate},
        facts={"sampling_rate": sampling_rate},
    )


def _columns(path: Path, names: Iterable[str]) -> NDArray[np.float64]:
    """Return columns of a CSV file by the names in its first line: `(len(names), lines)`, NaN for an empty field."""
    import pandas as pd

    try:
        table = pd.read_csv(path, skipinitialspace=True, dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{path.name}: not a table of numbers ({error})") from error
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise DataError(f"{path.name}: no column {', '.join(missing)}; it has {', '.join(table.columns)}")
    return table[list(names)].to_numpy().T
