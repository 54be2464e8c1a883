"""Noise to be added to clean signals: the noise stress test's recordings, and embedded simulated ones."""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

from ssl_bio.data.archive import Files
from ssl_bio.data.convert import Conversion, Recording
from ssl_bio.data.cutting import Cutter
from ssl_bio.data.journal import Windows
from ssl_bio.data.physionet import read_record, unit_of
from ssl_bio.data.store import ReadOptions, Rows, Subjects, TargetInfo
from ssl_bio.errors import DataError

TITLE = "MIT-BIH noise stress test: baseline wander, electrode motion, muscle artefact, half an hour each"
URL = "https://physionet.org/static/published-projects/nstdb/mit-bih-noise-stress-test-database-1.0.0.zip"
HOMEPAGE = "https://physionet.org/content/nstdb/1.0.0/"

#: As recorded, in stretches long enough to be laid over two minutes of signal.
DEFAULTS = ReadOptions(sampling_rate=360.0, window=120.0, stride=120.0, highpass=0.0, standardize="none")
TYPES = ("bw", "em", "ma")
SCHEMES = {"time": "of each record the first 60 % train, the next 10 % validate, the last 30 % test"}

SIMULATED = "simulated-noise"
SIMULATED_TITLE = "Simulated wander and muscle noise, to be added to clean signals (embedded)"
SIMULATED_VERSION = 1
SIMULATED_TYPES = ("wander", "muscle")
_RATE, _LENGTH, _STRETCHES = 50.0, 3000, 20


def read_nstdb(files: Files, options: ReadOptions) -> Conversion:
    """The noise of the MIT-BIH noise stress test database (Moody, Muldrow and Mark 1984), without its ECGs.

    Records `bw`, `em` and `ma`, those of them that are there, two channels each, cut into stretches of 120 s unless
    `data.window` says otherwise. Target: `noise`, the record. Splits are by time.

    Raises DataError for a file that is missing, truncated or of another layout.
    """
    options = options.over(DEFAULTS)
    cutter = Cutter(options)
    headers = {name.rpartition("/")[2]: name for name in files.find(".hea")}
    names = [headers[f"{kind}.hea"].removesuffix(".hea") for kind in TYPES if f"{kind}.hea" in headers]
    if not names:
        raise DataError(f"{files.source}: no record {', '.join(TYPES)} inside: not this database")

    def read(name: str) -> Windows:
        with files.borrowed(f"{name}.hea", f"{name}.dat") as (header, _):
            record = read_record(header.with_suffix(""))
        cuts = cutter.cut(record.signals, record.sampling_rate)
        n = len(cuts.signals)
        return Windows(
            cuts.signals, [record.name] * n, {"noise": np.full(n, TYPES.index(record.name), np.int64)}, cuts.dropped
        )

    return Conversion(
        title=TITLE,
        source=files.source.name,
        sampling_rate=options.sampling_rate,
        channels=("noise_1", "noise_2"),
        unit=unit_of(options, "mV"),
        targets={"noise": TargetInfo(kind="class", classes=TYPES)},
        records=names,
        read=read,
        split=lambda subjects, _: {"time": _by_time(subjects)},
        schemes=SCHEMES,
    )


def simulate() -> Recording:
    """A Recording of 20 stretches of a minute at 50 Hz for each of `wander` (a slow walk below 0.7 Hz) and `muscle`
    (bursts between 5 and 24 Hz), one channel."""
    rng = np.random.default_rng(sum(SIMULATED.encode()))
    kinds = np.repeat(np.arange(len(SIMULATED_TYPES)), _STRETCHES)
    drawn = [_wander(rng) if SIMULATED_TYPES[kind] == "wander" else _muscle(rng) for kind in kinds]
    subjects = np.array([SIMULATED_TYPES[kind] for kind in kinds])
    return Recording(
        title=SIMULATED_TITLE,
        source="simulated",
        sampling_rate=_RATE,
        channels=("noise",),
        unit="arbitrary",
        signals=np.stack(drawn)[:, None].astype(np.float32),
        subjects=subjects,
        targets={"noise": (TargetInfo(kind="class", classes=SIMULATED_TYPES), kinds)},
        splits={"time": _by_time(subjects)},
        schemes=SCHEMES,
    )


def _wander(rng: np.random.Generator) -> NDArray[np.float64]:
    slow = butter(2, 0.7, "lowpass", fs=_RATE, output="sos")
    walk = np.cumsum(rng.standard_normal(2 * _LENGTH)) + 20 * rng.standard_normal(2 * _LENGTH)
    found = sosfiltfilt(slow, walk)[_LENGTH // 2 : -_LENGTH // 2]
    return np.asarray((found - found.mean()) / found.std())


def _muscle(rng: np.random.Generator) -> NDArray[np.float64]:
    band = butter(2, [5, 24], "bandpass", fs=_RATE, output="sos")
    slow = butter(2, 0.5, "lowpass", fs=_RATE, output="sos")
    strength = np.exp(1.5 * sosfiltfilt(slow, rng.standard_normal(_LENGTH)) / 0.15)
    found = strength * sosfiltfilt(band, rng.standard_normal(_LENGTH))
    return np.asarray(found / found.std())


def _by_time(subjects: Subjects) -> dict[str, Rows]:
    """Rows follow one another in time within each record."""
    parts: dict[str, list[Rows]] = {"train": [], "val": [], "test": []}
    for who in dict.fromkeys(subjects.tolist()):
        rows = np.flatnonzero(subjects == who)
        first, second = round(0.6 * len(rows)), round(0.7 * len(rows))
        for name, part in zip(parts, np.split(rows, [first, second]), strict=True):
            parts[name].append(part)
    return {name: np.concatenate(found) for name, found in parts.items()}
