"""Resampling, filtering and filling of signals `(..., length)`; no function writes into its input."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.chunks import ReadChunk, chunks
from ssl_bio.data.recording import Signals
from ssl_bio.errors import DataError

_LARGEST_FACTOR = 20_000  # of a ratio of rates: the polyphase filter is ten times as long
_EDGE_PADDING = 3 * 5  # samples; what sosfiltfilt pads a filter of one section with


def fill_missing(signals: Signals, how: str) -> Signals:
    """Replace NaN and infinite samples of `(n, channels, length)`: "zero", or "interpolate" linearly in time.

    Interpolation repeats the nearest sample at the edges. A channel with no finite sample becomes zero under both.
    """
    finite = np.isfinite(signals)
    if finite.all():
        return signals
    filled = np.where(finite, signals, np.float32(0))
    if how == "interpolate":
        time = np.arange(signals.shape[-1])
        for window, channel in np.argwhere(~finite.all(axis=-1)):
            known = finite[window, channel]
            if known.any():
                filled[window, channel] = np.interp(time, time[known], signals[window, channel, known])
    return filled


def channel_statistics(parts: Iterable[Signals]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mean and standard deviation of each channel over windows and time; 1 for a constant channel's deviation.

    `parts` are `(n, channels, length)` each, merged one after the other (Chan et al. 1979, "Updating formulae and a
    pairwise algorithm for computing sample variances"), so that a split need not fit into memory.
    """
    n, mean, square = 0, np.zeros(1), np.zeros(1)
    for part in parts:
        size = part.shape[0] * part.shape[2]
        centre = part.mean(axis=(0, 2), dtype=np.float64)
        shift, total = centre - mean, n + size
        square = square + part.var(axis=(0, 2), dtype=np.float64) * size + shift**2 * n * size / total
        n, mean = total, mean + shift * size / total
    std = np.sqrt(square / n)
    return mean.astype(np.float32), np.where(std > 0, std, 1.0).astype(np.float32)


def resample(signals: Signals, sampling_rate: float, target_rate: float) -> Signals:
    """Return signals `(..., length)` at another rate (polyphase filter, zero phase); rates in Hz."""
    from scipy.signal import resample_poly  # imported when needed: it takes its time

    if sampling_rate == target_rate:
        return signals
    ratio = rate_ratio(sampling_rate, target_rate)
    return cast(Signals, resample_poly(signals, ratio.numerator, ratio.denominator, axis=-1))


def rate_ratio(sampling_rate: float, target_rate: float) -> Fraction:
    """Return target_rate / sampling_rate, exactly as the rates are written.

    Raises DataError when that is no fraction of numbers up to 20,000, for the filter would be too long.
    """
    ratio = Fraction(repr(float(target_rate))) / Fraction(repr(float(sampling_rate)))
    if max(ratio.numerator, ratio.denominator) > _LARGEST_FACTOR:
        raise DataError(f"{sampling_rate:g} Hz and {target_rate:g} Hz have no simple ratio: round one of them")
    return ratio


def highpass(signals: Signals, *, cutoff: float, sampling_rate: float) -> Signals:
    """Remove what is slower than `cutoff` Hz (second-order Butterworth, forwards and backwards)."""
    from scipy.signal import butter, sosfiltfilt

    sections = butter(2, cutoff, "highpass", fs=sampling_rate, output="sos")
    # The usual padding at the edges, less for a record that is shorter than it.
    padding = min(_EDGE_PADDING, signals.shape[-1] - 1)
    return cast(Signals, sosfiltfilt(sections, signals, axis=-1, padlen=padding))


def highpass_chunks(
    read: ReadChunk, shape: tuple[int, int], *, cutoff: float, sampling_rate: float, path: Path
) -> ReadChunk:
    """Return signals of the shape `(channels, samples)` after `highpass`, filtered in chunks within the file `path`."""
    from scipy.signal import butter, sosfilt, sosfilt_zi

    sections = butter(2, cutoff, "highpass", fs=sampling_rate, output="sos")
    padding = min(_EDGE_PADDING, shape[1] - 1)
    head, tail = read(0, padding + 1), read(shape[1] - padding - 1, shape[1])
    # Odd extensions at both ends, as sosfiltfilt makes them.
    before = 2 * head[:, :1] - head[:, padding:0:-1]
    after = 2 * tail[:, -1:] - tail[:, -2 : -padding - 2 : -1]
    settled = sosfilt_zi(sections)[:, None, :]
    filtered = np.memmap(path, np.float64, "w+", shape=shape)
    _, state = sosfilt(sections, before, zi=settled * before[:, :1])
    for first, last in chunks(shape[1]):
        filtered[:, first:last], state = sosfilt(sections, read(first, last), zi=state)
    end, _ = sosfilt(sections, after, zi=state)
    _, state = sosfilt(sections, end[:, ::-1], zi=settled * end[:, -1:])
    for first, last in reversed(list(chunks(shape[1]))):
        backwards, state = sosfilt(sections, filtered[:, first:last][:, ::-1], zi=state)
        filtered[:, first:last] = backwards[:, ::-1]
    return lambda first, last: np.array(filtered[:, first:last])


def bandpass(signals: Signals, *, low: float, high: float, sampling_rate: float) -> Signals:
    """Keep what is between `low` and `high` Hz (second-order Butterworth, forwards and backwards).

    Raises DataError when these are no band below half the sampling rate.
    """
    from scipy.signal import butter, sosfiltfilt

    if not 0 < low < high < sampling_rate / 2:
        raise DataError(f"from {low:g} to {high:g} Hz is no band below half of {sampling_rate:g} Hz")
    sections = butter(2, [low, high], "bandpass", fs=sampling_rate, output="sos")
    padding = min(_EDGE_PADDING, signals.shape[-1] - 1)
    return cast(Signals, sosfiltfilt(sections, signals, axis=-1, padlen=padding).astype(np.float32))


def conform(signals: Signals, *, sampling_rate: float, target_rate: float, length: int) -> Signals:
    """Resample signals to another rate, then return their middle `length` samples.

    Raises DataError when they are shorter than that.
    """
    signals = resample(signals, sampling_rate, target_rate).astype(np.float32, copy=False)
    found = signals.shape[-1]
    if found < length:
        raise DataError(f"windows have {found} samples at {target_rate:g} Hz, fewer than the model's {length}")
    start = (found - length) // 2
    return signals[..., start : start + length]
