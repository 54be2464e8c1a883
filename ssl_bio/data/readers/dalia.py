"""PPG-DaLiA (Reiss et al. 2019): wrist PPG and acceleration of 15 people in daily life."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.filters import resample
from ssl_bio.data.formats import pickles
from ssl_bio.data.ingest.archive import Files
from ssl_bio.data.ingest.ingest import Ingest
from ssl_bio.data.options import WindowOptions
from ssl_bio.data.recording import Recording
from ssl_bio.data.recording_store import RecordingStore
from ssl_bio.data.registry import Dataset
from ssl_bio.data.splits import draw_subjects
from ssl_bio.data.targets import TargetInfo
from ssl_bio.data.windowing import LabelledWindows, Windowing
from ssl_bio.data.windows import Track, Windower
from ssl_bio.errors import DataError

TITLE = "PPG-DaLiA: wrist PPG and acceleration of 15 people in daily life, heart rate from the ECG"
#: The publisher's own windows, one a label.
PROTOCOL = WindowOptions(sampling_rate=64.0, window=8.0, stride=2.0, highpass=0.0, standardize="none")
SCHEMES = {"subject": "people are drawn 80 / 10 / 10 into training, validation and test, seed 42"}
CHANNELS = ("ppg", "acc_x", "acc_y", "acc_z")
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

_FILE_NAME = re.compile(r"(?:.*/)?S(\d+)/S\1\.pkl")
_PPG_RATE, _ACC_RATE, _CHEST_RATE, _ACTIVITY_RATE = 64.0, 32.0, 700, 4.0  # Hz
_LABEL_STEP, _LABEL_WINDOW = 2.0, 8.0  # s
_BREATH_FILTER, _BREATH_BAND = (0.08, 2.0), (0.1, 0.5)  # Hz
_BREATH_STEP = 40  # chest samples to one of the filtered respiration: 17.5 Hz
_BREATH_GRID = 8192  # points of the padded spectrum: a step of 0.002 Hz
_CHUNK = 256  # windows whose spectra are computed at a time


def read(files: Files) -> Ingest:
    """Read `S*/S*.pkl`, pickles of numpy arrays, without running anything in them.

    Of each person: ppg (the wrist's BVP, 64 Hz) and acceleration of the same wrist (32 Hz), in the units of the device;
    the publisher's heart rates, the activities, and the chest respiration, which is filtered and stored at 17.5 Hz: at
    its 700 Hz it would be eight times all the rest.

    Raises DataError for a pickle that is broken, lacks a signal or asks for more than data.
    """
    found = {int(match[1]): name for name in files.names if (match := _FILE_NAME.fullmatch(name))}
    if not found:
        raise DataError(f"{files.source}: no S1/S1.pkl inside: not PPG-DaLiA")

    def read_one(name: str) -> list[Recording]:
        with files.borrowed(name) as (path,):
            return [_wearer(path)]

    records = [found[number] for number in sorted(found)]
    return Ingest(title=TITLE, source=files.source.name, records=records, read=read_one)


def windowing(store: RecordingStore, options: WindowOptions) -> Windowing:
    """Return windows with the channels ppg, acc_x, acc_y, acc_z, the latter resampled to the former's 64 Hz. Targets:

    - `hr`: the publisher's heart rate from the ECG, beats/min. Its windows last 8 s and start every 2 s, as ours do
      unless told otherwise. Another window has the mean of the labels whose windows lie wholly inside it, or, where
      none does, the label with the nearest centre; one that extends beyond the last label has NaN.
    - `rr_hz`, `rr` (breaths/min): the strongest frequency from 0.1 to 0.5 Hz of the chest respiration. The protocol
      (CM-SSL's `ppg_dalia_rr`: window = 19.53125, stride = 1) names a band-pass of 0.08 to 2 Hz and Welch's method;
      here a second-order Butterworth runs both ways over the whole record, and a single Hann segment, the window, is
      padded to a grid of 0.002 Hz. NaN where there is no such respiration.
    - `activity`: the most frequent code in the window.

    People are split 80 / 10 / 10, seed 42; the publisher's own protocol leaves one person out at a time.
    """
    windower = Windower(options.with_defaults(PROTOCOL))

    def label(recording: Recording) -> LabelledWindows:
        arrays = recording.arrays
        acceleration: NDArray[Any] = resample(arrays["acceleration"], _ACC_RATE, _PPG_RATE)
        n = min(arrays["ppg"].shape[1], acceleration.shape[1])
        signals = np.concatenate([arrays["ppg"][:, :n], acceleration[:, :n]])
        windows = windower.windows(signals, _PPG_RATE, pad=False)
        begin, end = windows.bounds()
        breaths = _breathing(arrays["breath"], begin=begin, end=end)
        targets: dict[str, NDArray[Any] | Track] = {
            "hr": _heart_rates(arrays["heart_rates"], begin=begin, end=end).astype(np.float32),
            "rr_hz": breaths.astype(np.float32),
            "rr": (60 * breaths).astype(np.float32),
            "activity": _most_frequent(arrays["activity"], begin=begin, end=end),
        }
        return LabelledWindows(record=windows, targets=targets)

    return Windowing(
        options=windower.options,
        channels=CHANNELS,
        unit=windower.unit("as the wrist device gives them"),
        targets={
            "hr": TargetInfo(kind="value", unit="beats/min"),
            "rr_hz": TargetInfo(kind="value", unit="Hz"),
            "rr": TargetInfo(kind="value", unit="breaths/min"),
            "activity": TargetInfo(kind="class", classes=ACTIVITIES),
        },
        window=label,
        split=lambda table: {"subject": draw_subjects(table.subjects)},
        schemes=SCHEMES,
    )


DATASET = Dataset(
    title=TITLE,
    homepage="https://archive.ics.uci.edu/dataset/495",
    url="https://archive.ics.uci.edu/static/public/495/ppg+dalia.zip",
    read=read,
    windowing=windowing,
)


def _wearer(path: Path) -> Recording:
    data = pickles.load(path)
    ppg = _entry(path, data, 1, "signal", "wrist", "BVP")
    acceleration = _entry(path, data, 3, "signal", "wrist", "ACC")
    activity = _entry(path, data, 1, "activity")[0]
    unknown = activity[~np.isin(activity, range(len(ACTIVITIES)))]
    if len(unknown):
        raise DataError(f"{path.name}: activity {unknown[0]:g} is not 0 to {len(ACTIVITIES) - 1}")
    arrays: dict[str, NDArray[Any]] = {
        "ppg": ppg,
        "acceleration": acceleration,
        "breath": _filtered_breath(_entry(path, data, 1, "signal", "chest", "Resp")[0]),
        "heart_rates": _entry(path, data, 1, "label")[0],
        "activity": activity.astype(np.int64),
    }
    return Recording(name=path.stem, subject=path.stem, arrays=arrays)


def _filtered_breath(respiration: NDArray[Any]) -> NDArray[Any]:
    """Return the chest respiration at 17.5 Hz; nothing of one shorter than a second."""
    from scipy.signal import butter, sosfiltfilt  # imported when needed: it takes its time

    if len(respiration) < _CHEST_RATE:
        return np.empty(0)
    sections = butter(2, _BREATH_FILTER, "bandpass", fs=_CHEST_RATE, output="sos")
    return np.asarray(sosfiltfilt(sections, respiration)[::_BREATH_STEP])


def _entry(path: Path, data: Any, n_columns: int, *keys: str) -> NDArray[np.float64]:
    """Return what is under keys within keys: `(n_columns, samples)`."""
    value = data
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuf" or value.size % n_columns:
        raise DataError(f"{path.name}: no numbers under {' / '.join(keys)}, {n_columns} to a sample")
    return value.reshape(-1, n_columns).T.astype(np.float64)


def _heart_rates(labels: NDArray[Any], *, begin: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the label of each window; see `read`."""
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


def _breathing(breath: NDArray[Any], *, begin: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the frequency in Hz of the breath in each window."""
    from scipy.signal import welch  # imported when needed: it takes its time

    rate = _CHEST_RATE / _BREATH_STEP
    found = np.full(len(begin), np.nan)
    if not len(begin) or not len(breath):
        return found
    starts, length = np.round(begin * rate).astype(int), round((end[0] - begin[0]) * rate)
    whole = np.flatnonzero(starts + length <= len(breath))
    for rows in np.split(whole, range(_CHUNK, len(whole), _CHUNK)):
        windows = breath[starts[rows][:, None] + np.arange(length)]
        frequencies, power = welch(windows, rate, nperseg=length, nfft=max(_BREATH_GRID, length))
        band = (frequencies >= _BREATH_BAND[0]) & (frequencies <= _BREATH_BAND[1])
        strongest = frequencies[band][power[:, band].argmax(axis=1)]
        found[rows] = np.where(power[:, band].max(axis=1) > 0, strongest, np.nan)
    return found


def _most_frequent(
    activity: NDArray[np.int64], *, begin: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.int64]:
    first, last = (np.round(edge * _ACTIVITY_RATE).astype(int) for edge in (begin, end))
    counts = [np.bincount(activity[a:b], minlength=len(ACTIVITIES)) for a, b in zip(first, last, strict=True)]
    return np.array([count.argmax() for count in counts], np.int64)
