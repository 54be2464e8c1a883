"""Pulse recordings (photoplethysmograms): `bidmc` from intensive care and `dalia` from daily life.

A person is a record: read, cut as `ReadOptions` say, and labelled window by window.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt, welch

from ssl_bio.data import modulations, pickles
from ssl_bio.data.archive import Files
from ssl_bio.data.convert import Conversion, by_subject
from ssl_bio.data.cutting import Cuts, Cutter
from ssl_bio.data.journal import Windows
from ssl_bio.data.physionet import read_record, reading_wfdb, unit_of
from ssl_bio.data.store import Counting, ReadOptions, TargetInfo
from ssl_bio.data.transforms import resample
from ssl_bio.errors import DataError

BIDMC_TITLE = "BIDMC: PPG, ECG and respiration of 53 people in intensive care, 8 min each, breaths annotated"
BIDMC_URL = "https://physionet.org/static/published-projects/bidmc/bidmc-ppg-and-respiration-dataset-1.0.0.zip"
BIDMC_HOMEPAGE = "https://physionet.org/content/bidmc/1.0.0/"
#: The protocol of CM-SSL's `bidmc_hr` and `bidmc_rr`.
BIDMC_DEFAULTS = ReadOptions(
    sampling_rate=125.0, window=10.0, stride=2.0, highpass=0.0, standardize="none", derive="none"
)

DALIA_TITLE = "PPG-DaLiA: wrist PPG and acceleration of 15 people in daily life, heart rate from the ECG"
DALIA_URL = "https://archive.ics.uci.edu/static/public/495/ppg+dalia.zip"
DALIA_HOMEPAGE = "https://archive.ics.uci.edu/dataset/495"
#: The publisher's own windows, one a label.
DALIA_DEFAULTS = ReadOptions(sampling_rate=64.0, window=8.0, stride=2.0, highpass=0.0, standardize="none")
ACTIVITIES = (
    "transient",
    "sitting",
    "stairs",
    "table soccer",
    "cycling",
    "driving",
    "lunch break",
    "walking",
    "working",
)

SCHEMES = {"subject": "people are drawn 80 / 10 / 10 into training, validation and test, seed 42"}
RATES = {
    "hr": TargetInfo(kind="value", unit="beats/min"),
    "pulse": TargetInfo(kind="value", unit="beats/min"),
    "rr": TargetInfo(kind="value", unit="breaths/min"),
    "rr_hz": TargetInfo(kind="value", unit="Hz"),
    "rr_monitor": TargetInfo(kind="value", unit="breaths/min"),
}
_BIDMC_CSV = re.compile(r"(?:.*/)?bidmc_(\d\d)_Signals\.csv")
_BIDMC_WFDB = re.compile(r"(?:.*/)?bidmc(\d\d)\.hea")
_MIMIC_ID = re.compile(r"matched wdb ID: *(\w+)")
_BIDMC_RATE = 125.0
_BIDMC_SIGNALS = {"ppg": "PLETH", "ecg": "II", "resp": "RESP"}  # what everyone has
_BIDMC_NUMERICS = {"hr": "HR", "pulse": "PULSE", "rr_monitor": "RESP"}
_ANNOTATOR = "breaths ann1 [signal sample no]"
_TRUNCATED = 2.0  # s by which signals and numerics of a whole record differ at most

_DALIA_NAME = re.compile(r"(?:.*/)?S(\d+)/S\1\.pkl")
_DALIA_CHANNELS = ("ppg", "acc_x", "acc_y", "acc_z")
_BVP_RATE, _ACC_RATE, _CHEST_RATE, _ACTIVITY_RATE = 64.0, 32.0, 700, 4.0  # Hz
_LABEL_STEP, _LABEL_WINDOW = 2.0, 8.0  # s
_BREATH_FILTER, _BREATH_BAND = (0.08, 2.0), (0.1, 0.5)  # Hz
_BREATH_STEP = 40  # chest samples to one of the filtered respiration: 17.5 Hz
_BREATH_GRID = 8192  # points of the padded spectrum: a step of 0.002 Hz
_CHUNK = 256  # windows looked at in one go


class Stay(NamedTuple):
    """A person of BIDMC."""

    signals: NDArray[Any]  # (3, samples): ppg, ecg, resp; or the PPG's modulations
    sampling_rate: float  # Hz
    seconds: NDArray[np.float64]  # (n,) when the monitor gave its numbers
    numerics: dict[str, NDArray[np.float64]]  # (n,) each: hr, pulse, rr_monitor
    breaths: NDArray[np.float64]  # s, of annotator 1


def read_bidmc(files: Files, options: ReadOptions) -> Conversion:
    """The BIDMC PPG and Respiration Dataset (Pimentel et al. 2017, from MIMIC II), as CSV files or WFDB records;
    where both are there the CSV files count.

    Channels: ppg (PLETH), ecg (lead II), resp (impedance), which everyone has; other leads are left out. With
    `derive = "breathing"` the PPG's respiratory modulations (`modulations.NAMES`) take their place, which come at
    4 Hz: `sampling_rate = 4` keeps them so. Targets:

    - `hr`, `pulse`, `rr_monitor`: mean of the monitor's HR (from the ECG), PULSE (from the PPG) and RESP over the
      seconds in the window, its end excluded. Seconds without a number are passed over, and so are an HR or PULSE
      of 0, the monitor's other way to say so; a window that has none left keeps its place with NaN.
    - `breaths`: annotator 1's breaths, sample by sample, in all that a window shows, its context too.
    - `rr`: how many of them lie in the window, times 60 / window (6 for 10 s), breaths/min; `rr_hz`: the same in Hz.
      The protocol says nothing of stretches that annotator 1 left empty (the first 35 s of person 46): they count as
      no breath.

    Several records are of one patient: where the publisher's `bidmc_NN_Fix.txt` is there, its MIMIC II ID is the
    subject (42 patients in the 47 records at hand: 06, 07 and 09 are one, 20 to 23 another), else the record's number.

    A breath's place is the published sample number, taken to count from 0 (a difference of 8 ms at most). The
    protocol is that of CM-SSL: 10 s windows, 2 s step, 125 Hz, no filter; people 80 / 10 / 10, seed 42 (its own
    draw is not published, so the people in test differ).

    Raises DataError for a person whose files are missing, broken or of unequal duration.
    """
    options = options.over(BIDMC_DEFAULTS)
    cutter = Cutter(options)
    tables = [name.removesuffix("_Signals.csv") for name in files.names if _BIDMC_CSV.fullmatch(name)]
    records = tables or [name.removesuffix(".hea") for name in files.names if _BIDMC_WFDB.fullmatch(name)]
    if not records:
        raise DataError(f"{files.source}: neither bidmc_NN_Signals.csv nor bidmcNN.hea inside: not BIDMC")

    patients = _patients(files)
    derived = options.derive == "breathing"

    def read(name: str) -> Windows:
        stay = _stay_of_tables(files, name) if tables else _stay_of_wfdb(files, name)
        stay = _modulations(stay) if derived else stay
        cuts = cutter.cut(stay.signals, stay.sampling_rate, pad=False)
        subject = patients.get(name[-2:], name[-2:])
        return Windows(cuts.signals, [subject] * len(cuts.starts), _rates(cuts, stay), cuts.dropped)

    return Conversion(
        title=BIDMC_TITLE,
        source=files.source.name,
        sampling_rate=options.sampling_rate,
        channels=modulations.NAMES if derived else tuple(_BIDMC_SIGNALS),
        unit=unit_of(options, modulations.UNIT if derived else "arbitrary (ppg, resp), mV (ecg)"),
        targets=_bidmc_targets(cutter),
        records=records,
        read=read,
        split=lambda subjects, _: {"subject": by_subject(subjects)},
        schemes=SCHEMES,
    )


def _patients(files: Files) -> dict[str, str]:
    """Number of a record -> ID of its patient in MIMIC II."""
    found = {}
    for name in files.find("_Fix.txt"):
        with files.borrowed(name) as (path,):
            match = _MIMIC_ID.search(path.read_text(encoding="utf-8", errors="replace"))
        if match:
            found[name.removesuffix("_Fix.txt")[-2:]] = match[1]
    return found


def _rates(cuts: Cuts, stay: Stay) -> dict[str, NDArray[Any]]:
    per_second = cuts.n_inside(stay.breaths) / cuts.window
    means = {name: cuts.mean_inside(stay.seconds, values) for name, values in stay.numerics.items()}
    rates = {**means, "rr": (60 * per_second).astype(np.float32), "rr_hz": per_second.astype(np.float32)}
    return {**{name: rates[name] for name in RATES}, "breaths": cuts.shown_events(stay.breaths)}


def _bidmc_targets(cutter: Cutter) -> dict[str, TargetInfo]:
    """RATES, those that count breaths saying so, and the breaths."""
    per_breath = {"rr": 60 / cutter.options.window, "rr_hz": 1 / cutter.options.window}
    counts = {
        name: Counting(events="breaths", span=cutter.length, weight=weight) for name, weight in per_breath.items()
    }
    rates = {name: info.model_copy(update={"counts": counts.get(name)}) for name, info in RATES.items()}
    return {**rates, "breaths": TargetInfo(kind="events", classes=("breath",))}


def _stay_of_tables(files: Files, name: str) -> Stay:
    parts = [f"{name}_{part}.csv" for part in ("Signals", "Numerics", "Breaths")]
    with files.borrowed(*parts) as (signal_path, numeric_path, breath_path):
        signals = _columns(signal_path, _BIDMC_SIGNALS.values())
        numerics = _columns(numeric_path, ["Time [s]", *_BIDMC_NUMERICS.values()])
        breaths = _columns(breath_path, [_ANNOTATOR])[0]
    # The shorter of the two annotators' columns ends in NaN.
    return _stay(name, signals, _BIDMC_RATE, numerics[0], numerics[1:], breaths[np.isfinite(breaths)])


def _stay_of_wfdb(files: Files, name: str) -> Stay:
    parts = [f"{name}.hea", f"{name}.dat", f"{name}n.hea", f"{name}n.dat", f"{name}.breath"]
    with files.borrowed(*parts) as (header, *_):
        path = header.with_suffix("")
        record, monitor = read_record(path), read_record(path.with_name(path.name + "n"))
        with reading_wfdb(path) as wfdb:
            annotation = wfdb.rdann(str(path), "breath")
    first = np.array([text.strip("\0 ") == "ann1" for text in annotation.aux_note], bool)
    chosen = []
    for found, wanted in ((record, _BIDMC_SIGNALS), (monitor, _BIDMC_NUMERICS)):
        missing = [lead for lead in wanted.values() if lead not in found.leads]
        if missing:
            raise DataError(f"record {found.name}: no {', '.join(missing)}; it has {', '.join(found.leads)}")
        chosen.append(found.signals[[found.leads.index(lead) for lead in wanted.values()]])
    seconds = np.arange(chosen[1].shape[1]) / monitor.sampling_rate
    return _stay(path.name, chosen[0], record.sampling_rate, seconds, chosen[1], annotation.sample[first])


def _stay(
    name: str,
    signals: NDArray[Any],
    sampling_rate: float,
    seconds: NDArray[np.float64],
    numerics: NDArray[Any],
    samples: NDArray[Any],
) -> Stay:
    duration = (signals.shape[1] - 1) / sampling_rate
    if not len(seconds) or abs(duration - seconds[-1]) > _TRUNCATED:
        last = f"{seconds[-1]:g}" if len(seconds) else "no"
        raise DataError(f"{Path(name).name}: {duration:g} s of signals but {last} s of numerics: truncated?")
    values = dict(zip(_BIDMC_NUMERICS, numerics, strict=True))
    for rate in ("hr", "pulse"):
        values[rate] = np.where(values[rate] > 0, values[rate], np.nan)
    return Stay(signals, sampling_rate, seconds, values, samples / sampling_rate)


def _modulations(stay: Stay) -> Stay:
    ppg = stay.signals[list(_BIDMC_SIGNALS).index("ppg")]
    return stay._replace(signals=modulations.breathing(ppg, stay.sampling_rate), sampling_rate=modulations.RATE)


def _columns(path: Path, names: Iterable[str]) -> NDArray[np.float64]:
    """Columns of a CSV file by the names in its first line: `(len(names), lines)`, NaN where a field is empty."""
    try:
        table = pd.read_csv(path, skipinitialspace=True, dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{path.name}: not a table of numbers ({error})") from error
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise DataError(f"{path.name}: no column {', '.join(missing)}; it has {', '.join(table.columns)}")
    return table[list(names)].to_numpy().T


def read_dalia(files: Files, options: ReadOptions) -> Conversion:
    """PPG-DaLiA (Reiss et al. 2019): `S*/S*.pkl`, pickles of numpy arrays, read without running anything in them.

    Channels: ppg (the wrist's BVP, 64 Hz), then acc_x, acc_y, acc_z of the same wrist (32 Hz, resampled to 64),
    in the units of the device. Targets:

    - `hr`: the publisher's heart rate from the ECG, beats/min. Its windows last 8 s and start every 2 s, as ours do
      unless told otherwise. Another window has the mean of the labels whose windows lie wholly inside it, or, where
      none does, the label with the nearest centre; one that reaches beyond the last label has NaN.
    - `rr_hz`, `rr` (breaths/min): the strongest frequency from 0.1 to 0.5 Hz of the chest respiration. The protocol
      (CM-SSL's `ppg_dalia_rr`: window = 19.53125, stride = 1) names a band-pass of 0.08 to 2 Hz and Welch's method;
      we run a second-order Butterworth both ways over the whole record, and take a single Hann segment, the window,
      padded to a grid of 0.002 Hz. NaN where there is no such respiration.
    - `activity`: the commonest code in the window.

    People are split 80 / 10 / 10, seed 42; the publisher's own protocol leaves one person out at a time.

    Raises DataError for a pickle that is broken, lacks a signal or asks for more than data.
    """
    options = options.over(DALIA_DEFAULTS)
    cutter = Cutter(options)
    found = {int(match[1]): name for name in files.names if (match := _DALIA_NAME.fullmatch(name))}
    if not found:
        raise DataError(f"{files.source}: no S1/S1.pkl inside: not PPG-DaLiA")

    def read(name: str) -> Windows:
        with files.borrowed(name) as (path,):
            wearer = _wearer(path)
        cuts = cutter.cut(wearer.signals, _BVP_RATE, pad=False)
        breaths = _breathing(wearer.respiration, *cuts.seconds())
        targets: dict[str, NDArray[Any]] = {
            "hr": _labels_of(wearer.labels, *cuts.seconds()).astype(np.float32),
            "rr_hz": breaths.astype(np.float32),
            "rr": (60 * breaths).astype(np.float32),
            "activity": _commonest(wearer.activity, *cuts.seconds()),
        }
        return Windows(cuts.signals, [path.stem] * len(cuts.starts), targets, cuts.dropped)

    return Conversion(
        title=DALIA_TITLE,
        source=files.source.name,
        sampling_rate=options.sampling_rate,
        channels=_DALIA_CHANNELS,
        unit=unit_of(options, "as the wrist device gives them"),
        targets={
            **{name: RATES[name] for name in ("hr", "rr_hz", "rr")},
            "activity": TargetInfo(kind="class", classes=ACTIVITIES),
        },
        records=[found[number] for number in sorted(found)],
        read=read,
        split=lambda subjects, _: {"subject": by_subject(subjects)},
        schemes=SCHEMES,
    )


class Wearer(NamedTuple):
    """A person of PPG-DaLiA."""

    signals: NDArray[Any]  # (4, samples) at 64 Hz: ppg, acceleration
    respiration: NDArray[Any]  # (samples,) at 700 Hz
    labels: NDArray[Any]  # (n,) beats/min, every 2 s
    activity: NDArray[np.int64]  # (samples,) codes at 4 Hz


def _wearer(path: Path) -> Wearer:
    data = pickles.load(path)
    ppg = _entry(path, data, 1, "signal", "wrist", "BVP")
    slow: NDArray[Any] = _entry(path, data, 3, "signal", "wrist", "ACC")
    acceleration = resample(slow, _ACC_RATE, _BVP_RATE)
    n = min(ppg.shape[1], acceleration.shape[1])
    activity = _entry(path, data, 1, "activity")[0]
    strange = activity[~np.isin(activity, range(len(ACTIVITIES)))]
    if len(strange):
        raise DataError(f"{path.name}: activity {strange[0]:g} is not 0 to {len(ACTIVITIES) - 1}")
    return Wearer(
        np.concatenate([ppg[:, :n], acceleration[:, :n]]),
        _entry(path, data, 1, "signal", "chest", "Resp")[0],
        _entry(path, data, 1, "label")[0],
        activity.astype(np.int64),
    )


def _entry(path: Path, data: Any, n_columns: int, *keys: str) -> NDArray[np.float64]:
    """What stands under keys within keys: `(n_columns, samples)`."""
    value = data
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuf" or value.size % n_columns:
        raise DataError(f"{path.name}: no numbers under {' / '.join(keys)}, {n_columns} to a sample")
    return value.reshape(-1, n_columns).T.astype(np.float64)


def _labels_of(labels: NDArray[Any], begin: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """The label of each window."""
    last_of_all = len(labels) - 1
    first = np.ceil(begin / _LABEL_STEP - 1e-6).astype(int)
    last = np.minimum(np.floor((end - _LABEL_WINDOW) / _LABEL_STEP + 1e-6).astype(int), last_of_all)
    nearest = np.round(((begin + end) - _LABEL_WINDOW) / 2 / _LABEL_STEP).astype(int).clip(0, max(last_of_all, 0))
    known = end <= last_of_all * _LABEL_STEP + _LABEL_WINDOW + 1e-6
    found = np.full(len(begin), np.nan)
    for row in np.flatnonzero(known):
        inside = labels[first[row] : max(last[row] + 1, first[row])]
        found[row] = inside.mean() if len(inside) else labels[nearest[row]]
    return found


def _breathing(respiration: NDArray[Any], begin: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """The frequency in Hz of the breath in each window."""
    rate = _CHEST_RATE / _BREATH_STEP
    found = np.full(len(begin), np.nan)
    if not len(begin) or len(respiration) < _CHEST_RATE:
        return found
    sections = butter(2, _BREATH_FILTER, "bandpass", fs=_CHEST_RATE, output="sos")
    breath = sosfiltfilt(sections, respiration)[::_BREATH_STEP]
    starts, length = np.round(begin * rate).astype(int), round((end[0] - begin[0]) * rate)
    whole = np.flatnonzero(starts + length <= len(breath))
    for rows in np.split(whole, range(_CHUNK, len(whole), _CHUNK)):
        windows = breath[starts[rows][:, None] + np.arange(length)]
        frequencies, power = welch(windows, rate, nperseg=length, nfft=max(_BREATH_GRID, length))
        band = (frequencies >= _BREATH_BAND[0]) & (frequencies <= _BREATH_BAND[1])
        strongest = frequencies[band][power[:, band].argmax(axis=1)]
        found[rows] = np.where(power[:, band].max(axis=1) > 0, strongest, np.nan)
    return found


def _commonest(activity: NDArray[np.int64], begin: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.int64]:
    first, last = (np.round(edge * _ACTIVITY_RATE).astype(int) for edge in (begin, end))
    counts = [np.bincount(activity[a:b], minlength=len(ACTIVITIES)) for a, b in zip(first, last, strict=True)]
    return np.array([count.argmax() for count in counts], np.int64)
