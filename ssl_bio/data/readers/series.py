"""Embedded one-channel series for forecasting: simulated, periodic, noisy."""

from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.registry import Dataset
from ssl_bio.data.splits import draw_groups
from ssl_bio.data.targets import TargetInfo
from ssl_bio.data.windowing import ReadyWindows

N_SERIES = 24
LENGTH = 2400
SAMPLING_RATE = 50.0  # Hz
SCHEMES = {"subject": "16 series train, 4 validate, 4 test"}
_COUNTS = {"train": 16, "val": 4}
_NOISE = 3.0  # standard deviation

_Floats = NDArray[np.float64]


class _Peak(NamedTuple):
    position: float  # in its beat, as a share of it
    width: float  # standard deviation, as a share of the beat
    height: float


class _Beat(NamedTuple):
    share: float  # of the period
    peaks: tuple[_Peak, ...]


class Pattern(NamedTuple):
    """Beats that repeat, and how many samples a repetition lasts."""

    name: str
    title: str
    beats: tuple[_Beat, ...]
    period: float


PATTERNS = {
    "two-peaks": Pattern(
        "two-peaks",
        "Two peaks over and over (24 simulated series)",
        (_Beat(1.0, (_Peak(0.25, 0.05, 100.0), _Peak(0.6, 0.09, 45.0))),),
        55.7,
    ),
    "long-pattern": Pattern(
        "long-pattern",
        "Four beats over and over, six seconds to a round (24 simulated series)",
        (
            _Beat(0.22, (_Peak(0.3, 0.10, 100.0), _Peak(0.7, 0.12, 30.0))),
            _Beat(0.30, (_Peak(0.4, 0.14, 60.0),)),
            _Beat(0.20, (_Peak(0.3, 0.12, 90.0), _Peak(0.75, 0.10, 55.0))),
            _Beat(0.28, (_Peak(0.5, 0.10, -50.0), _Peak(0.8, 0.06, 40.0))),
        ),
        300.4,
    ),
}


def generate(name: str) -> ReadyWindows:
    """Return 24 series of 48 s at 50 Hz, one channel `value`; the bytes are always the same.

    Each is the pattern `name` with a height of its own (up to 10 % off) and a phase of its own, and white noise with a
    standard deviation of 3. Target: `height`, relative to the pattern's.
    """
    pattern = PATTERNS[name]
    rng = np.random.default_rng(sum(name.encode()))
    signals = np.empty((N_SERIES, 1, LENGTH), np.float32)
    heights = rng.uniform(0.9, 1.1, N_SERIES)
    for row in range(N_SERIES):
        phase = (np.arange(LENGTH) / pattern.period + rng.uniform()) % 1
        signals[row, 0] = heights[row] * _values(phase, pattern.beats) + rng.normal(0, _NOISE, LENGTH)
    return ReadyWindows(
        title=pattern.title,
        source="simulated",
        sampling_rate=SAMPLING_RATE,
        channels=("value",),
        unit="arbitrary",
        signals=signals,
        subjects=np.array([f"s{row:02d}" for row in range(N_SERIES)]),
        targets={"height": (TargetInfo(kind="value"), heights.astype(np.float32))},
        splits={"subject": draw_groups(np.arange(N_SERIES), counts=_COUNTS, rest="test", rng=rng)},
        schemes=SCHEMES,
    )


TWO_PEAKS = Dataset(title=PATTERNS["two-peaks"].title, generate=partial(generate, "two-peaks"), version=1)
LONG_PATTERN = Dataset(title=PATTERNS["long-pattern"].title, generate=partial(generate, "long-pattern"), version=1)


def _values(phase: _Floats, beats: tuple[_Beat, ...]) -> _Floats:
    """Return the pattern at phases between 0 and 1."""
    value = np.zeros_like(phase)
    begin = 0.0
    for beat in beats:
        for peak in beat.peaks:
            distance = phase - (begin + peak.position * beat.share)
            distance -= np.round(distance)  # the shorter way round the period
            value += peak.height * np.exp(-0.5 * (distance / (peak.width * beat.share)) ** 2)
        begin += beat.share
    return value
