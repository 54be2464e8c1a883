"""Respiratory modulations of a photoplethysmogram (PPG): how breathing moves the pulse, as slow signals.

Baseline, amplitude and beat interval are the classical three (Charlton et al. 2018, "Breathing rate estimation from
the electrocardiogram and photoplethysmogram: a review", IEEE Reviews in Biomedical Engineering); the shape of a beat
adds two more.
"""

from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter, uniform_filter1d
from scipy.signal import butter, find_peaks, sosfiltfilt, welch

from ssl_bio.data.filters import fill_missing, resample

RATE = 4.0  # Hz
NAMES = ("ppg", "baseline", "peak", "amplitude", "interval", "width", "slope")
UNIT = "local deviations"

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]

_SHORTEST = 6.0  # s
_FEWEST_BEATS = 4
_BREATH_BAND = (0.08, 0.7)  # Hz
_LOCAL = 60.0  # s over which the "local" scale is measured
_SMALLEST_SCALE = 0.2  # of the record's median scale: what is smaller is not brought up to unit scale
_CLIP = 4.0
_PULSE_BAND = (0.5, 8.0)  # Hz
_HEART_RATES = (0.7, 3.0)  # Hz
_RATE_SEGMENT = 32.0  # s
_STEEPNESS_OVER = 8.0  # s over which a beat's slope is compared with others
_STEEP = 0.9  # of the root mean square of rising slopes
_APART, _FOOT_TO_PEAK = 0.55, 0.35  # of a beat's period: least between beats; from steepest rise to foot and peak
_OUTLIER, _NEIGHBOURS = 4.0, 11  # deviations from the median of so many beats
_FLATTEST = 1e-3  # of the PPG's deviation: what a beat's height is divided by at least
_TINY = 1e-6  # deviations of the PPG, or s: below any modulation, above the noise of the arithmetic


def respiratory_modulations(ppg: NDArray[np.floating], sampling_rate: float) -> NDArray[np.float32]:
    """Return the modulations `NAMES` of a PPG `(samples,)` at `sampling_rate` (Hz, above 16), in any unit.

    The PPG is NaN in its gaps. Shape `(n_modulations, m)` at `RATE`, m = samples * RATE / sampling_rate rounded up,
    sample k at k / RATE s: the PPG itself below 2 Hz; then, beat by beat and linearly interpolated, the level of its
    foot and of its peak, the height between them, the time since the beat before, the width at half height, and the
    steepest rise over the height. Of each, beats that differ much from the 11 around them are replaced by their median
    (Hampel filter); what is left between 0.08 and 0.7 Hz (third-order Butterworth, forwards and backwards) is divided
    by its root mean square over a minute and clipped at +-4.

    All is zero for a silent signal, one below 6 s and one with fewer than 4 beats; NaN where the PPG has a gap.
    """
    missing = ~np.isfinite(ppg)
    whole = fill_missing(ppg[None, None].astype(np.float64), "interpolate")[0, 0]
    centred = whole - whole.mean()
    slow = resample(centred, sampling_rate, RATE)
    found = np.zeros((len(NAMES), len(slow)))
    if len(whole) >= _SHORTEST * sampling_rate and np.ptp(whole) > 0:
        scale = centred.std()
        beats = _beats(centred / scale, sampling_rate)
        if len(beats[0][0]) >= _FEWEST_BEATS:
            grid = np.arange(len(slow)) / RATE
            modulations = [np.interp(grid, at, _without_outliers(values)) for at, values in beats]
            found[:] = [_normalised(modulation) for modulation in (slow / scale, *modulations)]
    gaps = (np.flatnonzero(missing) * RATE / sampling_rate).astype(int)
    found[:, np.minimum(gaps, len(slow) - 1)] = np.nan
    return found.astype(np.float32)


def _beats(ppg: _Floats, sampling_rate: float) -> list[tuple[_Floats, _Floats]]:
    """Return times (s) and values, `(n,)` each, of every modulation after the first; levels in the unit of the PPG."""
    smooth = sosfiltfilt(butter(2, _PULSE_BAND, "bandpass", fs=sampling_rate, output="sos"), ppg)
    rise = np.gradient(smooth)
    period = _period(smooth, sampling_rate) * sampling_rate  # samples
    at = _steepest(rise, period, sampling_rate)
    offsets = np.arange(max(int(_FOOT_TO_PEAK * period), 1) + 1)

    def around(samples: _Ints, offsets: _Ints) -> _Ints:
        return cast(_Ints, np.clip(samples[:, None] + offsets, 0, len(ppg) - 1))

    def first(where: NDArray[np.bool_]) -> _Ints:
        return cast(_Ints, np.where(where.any(axis=1), where.argmax(axis=1), where.shape[1]))

    beats = np.arange(len(at))
    before, after = around(at, -offsets), around(at, offsets)
    foot_at = before[beats, ppg[before].argmin(axis=1)]
    peak_at = after[beats, ppg[after].argmax(axis=1)]
    foot, peak = ppg[foot_at], ppg[peak_at]
    half = ((foot + peak) / 2)[:, None]
    begin = at - first(ppg[before] <= half)
    end = peak_at + first(ppg[around(peak_at, np.arange(int(period)))] <= half)
    slope = np.gradient(ppg)[around(at, np.arange(-2, 3))].max(axis=1)
    time = (at + _between_samples(rise, at)) / sampling_rate
    return [
        (foot_at / sampling_rate, foot),
        (peak_at / sampling_rate, peak),
        (time, peak - foot),
        (time[1:], np.diff(time)),
        (time, (end - begin) / sampling_rate),
        (time, slope / np.maximum(peak - foot, _FLATTEST)),
    ]


def _period(smooth: _Floats, sampling_rate: float) -> float:
    """Return the most frequent time between beats in s."""
    segment = round(_RATE_SEGMENT * sampling_rate)
    frequencies, power = welch(smooth, sampling_rate, nperseg=min(segment, len(smooth)), nfft=2 * segment)
    possible = (frequencies > _HEART_RATES[0]) & (frequencies < _HEART_RATES[1])
    return float(1 / frequencies[possible][power[possible].argmax()])


def _steepest(rise: _Floats, period: float, sampling_rate: float) -> _Ints:
    rising = np.maximum(rise, 0)
    usual = np.sqrt(np.maximum(uniform_filter1d(rising**2, round(_STEEPNESS_OVER * sampling_rate)), 0))
    found, _ = find_peaks(rising / (usual + _TINY), height=_STEEP, distance=max(_APART * period, 1))
    return found.astype(np.int64)


def _between_samples(values: _Floats, at: _Ints) -> _Floats:
    """Return how far the vertex of the parabola through each maximum `at` and its neighbours is from it, in samples."""
    left, top, right = values[at - 1], values[at], values[at + 1]
    bend = np.minimum(left - 2 * top + right, -_TINY)
    return cast(_Floats, np.clip((left - right) / (2 * bend), -0.5, 0.5))


def _without_outliers(values: _Floats) -> _Floats:
    usual = median_filter(values, _NEIGHBOURS, mode="nearest")
    away = np.abs(values - usual)
    deviation = 1.4826 * median_filter(away, 3 * _NEIGHBOURS, mode="nearest") + _TINY
    return np.where(away > _OUTLIER * deviation, usual, values)


def _normalised(modulation: _Floats) -> _Floats:
    band = sosfiltfilt(butter(3, _BREATH_BAND, "bandpass", fs=RATE, output="sos"), modulation)
    local = np.sqrt(np.maximum(uniform_filter1d(band**2, round(_LOCAL * RATE), mode="reflect"), 0))
    scale = np.maximum(local, _SMALLEST_SCALE * np.median(local) + _TINY)
    return cast(_Floats, np.clip(band / scale, -_CLIP, _CLIP))
