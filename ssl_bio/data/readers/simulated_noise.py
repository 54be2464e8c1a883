"""Simulated noise to be added to clean signals, embedded: baseline wander and muscle noise."""

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.registry import Dataset
from ssl_bio.data.splits import split_by_time
from ssl_bio.data.targets import TargetInfo
from ssl_bio.data.windowing import ReadyWindows

TITLE = "Simulated wander and muscle noise, to be added to clean signals (embedded)"
TYPES = ("wander", "muscle")
SCHEMES = {"time": "of each record the first 60 % train, the next 10 % validate, the last 30 % test"}
_RATE, _LENGTH, _N_WINDOWS = 50.0, 3000, 20


def generate() -> ReadyWindows:
    """Return 20 windows of a minute at 50 Hz of each type, one channel.

    `wander` is a slow random walk below 0.7 Hz; `muscle` are bursts between 5 and 24 Hz. The bytes are always the same.
    """
    rng = np.random.default_rng(sum(b"simulated-noise"))
    kinds = np.repeat(np.arange(len(TYPES)), _N_WINDOWS)
    drawn = [_wander(rng) if TYPES[kind] == "wander" else _muscle(rng) for kind in kinds]
    subjects = np.array([TYPES[kind] for kind in kinds])
    return ReadyWindows(
        title=TITLE,
        source="simulated",
        sampling_rate=_RATE,
        channels=("noise",),
        unit="arbitrary",
        signals=np.stack(drawn)[:, None].astype(np.float32),
        subjects=subjects,
        targets={"noise": (TargetInfo(kind="class", classes=TYPES), kinds)},
        splits={"time": split_by_time(subjects)},
        schemes=SCHEMES,
    )


DATASET = Dataset(title=TITLE, generate=generate, version=1)


def _wander(rng: np.random.Generator) -> NDArray[np.float64]:
    from scipy.signal import butter, sosfiltfilt  # imported when needed: it takes its time

    slow = butter(2, 0.7, "lowpass", fs=_RATE, output="sos")
    walk = np.cumsum(rng.standard_normal(2 * _LENGTH)) + 20 * rng.standard_normal(2 * _LENGTH)
    found = sosfiltfilt(slow, walk)[_LENGTH // 2 : -_LENGTH // 2]
    return np.asarray((found - found.mean()) / found.std())


def _muscle(rng: np.random.Generator) -> NDArray[np.float64]:
    from scipy.signal import butter, sosfiltfilt

    band = butter(2, [5, 24], "bandpass", fs=_RATE, output="sos")
    slow = butter(2, 0.5, "lowpass", fs=_RATE, output="sos")
    strength = np.exp(1.5 * sosfiltfilt(slow, rng.standard_normal(_LENGTH)) / 0.15)
    found = strength * sosfiltfilt(band, rng.standard_normal(_LENGTH))
    return np.asarray(found / found.std())
