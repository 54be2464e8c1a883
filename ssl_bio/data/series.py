"""Embedded one-channel series for forecasting: simulated, periodic, noisy."""

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.convert import Recording
from ssl_bio.data.store import TargetInfo

VERSION = 1
N_SERIES = 24
LENGTH = 2400
SAMPLING_RATE = 50.0  # Hz
_PARTS = {"train": 16, "val": 4, "test": 4}
_NOISE = 3.0

_Floats = NDArray[np.float64]

# Of each beat: its share of the period, then (place within it, width as a share of it, height) of its peaks.
_TWO_PEAKS = ((1.0, ((0.25, 0.05, 100.0), (0.6, 0.09, 45.0))),)
_LONG_PATTERN = (
    (0.22, ((0.3, 0.10, 100.0), (0.7, 0.12, 30.0))),
    (0.30, ((0.4, 0.14, 60.0),)),
    (0.20, ((0.3, 0.12, 90.0), (0.75, 0.10, 55.0))),
    (0.28, ((0.5, 0.10, -50.0), (0.8, 0.06, 40.0))),
)
PATTERNS = {
    # name: beats, and samples in a period
    "two-peaks": (_TWO_PEAKS, 55.7),
    "long-pattern": (_LONG_PATTERN, 300.4),
}
TITLES = {
    "two-peaks": "Two peaks over and over (24 simulated series)",
    "long-pattern": "Four beats over and over, six seconds to a round (24 simulated series)",
}
SCHEMES = {"subject": "16 series train, 4 validate, 4 test"}


def generate(name: str) -> Recording:
    """A Recording of 24 series of 48 s at 50 Hz, one channel `value`: the pattern `name` with a height (up to 10 % off)
    and a phase of its own, and white noise with a deviation of 3. Target: `height`, over the pattern's."""
    beats, period = PATTERNS[name]
    rng = np.random.default_rng(sum(name.encode()))
    signals = np.empty((N_SERIES, 1, LENGTH), np.float32)
    heights = rng.uniform(0.9, 1.1, N_SERIES)
    for row in range(N_SERIES):
        phase = (np.arange(LENGTH) / period + rng.uniform()) % 1
        signals[row, 0] = heights[row] * _pattern(phase, beats) + rng.normal(0, _NOISE, LENGTH)
    order = rng.permutation(N_SERIES)
    ends = np.cumsum(list(_PARTS.values()))
    rows = {part: np.sort(chosen) for part, chosen in zip(_PARTS, np.split(order, ends[:-1]), strict=True)}
    return Recording(
        title=TITLES[name],
        source="simulated",
        sampling_rate=SAMPLING_RATE,
        channels=("value",),
        unit="arbitrary",
        signals=signals,
        subjects=np.array([f"s{row:02d}" for row in range(N_SERIES)]),
        targets={"height": (TargetInfo(kind="value"), heights.astype(np.float32))},
        splits={"subject": rows},
        schemes=SCHEMES,
    )


def _pattern(phase: _Floats, beats: tuple[tuple[float, tuple[tuple[float, float, float], ...]], ...]) -> _Floats:
    """The pattern at phases between 0 and 1."""
    value = np.zeros_like(phase)
    begin = 0.0
    for share, peaks in beats:
        for place, width, height in peaks:
            distance = phase - (begin + place * share)
            distance -= np.round(distance)  # the shorter way round
            value += height * np.exp(-0.5 * (distance / (width * share)) ** 2)
        begin += share
    return value
