"""What becomes of a recording before it is divided: gaps interpolated, resampled, filtered, standardised."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.chunks import ReadChunk, chunks, interpolate_gaps, resample_chunks
from ssl_bio.data.filters import highpass, highpass_chunks, rate_ratio, resample
from ssl_bio.data.options import WindowOptions
from ssl_bio.data.recording import Signals

LARGEST_AT_ONCE = 2**23  # numbers of a recording; longer ones are treated in chunks


class Treated(NamedTuple):
    """A recording at the target rate: signals `(channels, samples)`, which of its samples are gaps `(samples,)`, and
    which channels are constant `(channels, 1)`."""

    signals: Signals
    gap: NDArray[np.bool_]
    constant: NDArray[np.bool_]


def treat(signals: NDArray[Any], sampling_rate: float, options: WindowOptions) -> Treated:
    """Return a recording `(channels, samples)`, NaN in its gaps, as the options say; constant channels become zeros."""
    rate = options.sampling_rate
    missing = ~np.isfinite(signals)
    silent = missing.all(axis=1, keepdims=True)
    if silent.any():  # a lead that is never there is no gap
        signals, missing = np.where(silent, 0.0, signals), missing & ~silent
    bridged = _interpolate_gaps(signals, missing)
    constant = np.ptp(bridged, axis=1, keepdims=True) == 0
    # The filter pads with zeros: around the mean that leaves no step at the ends.
    mean = bridged.mean(axis=1, keepdims=True)
    treated = resample(bridged - mean, sampling_rate, rate) + mean
    gap = np.zeros(treated.shape[1], bool)
    _mark(gap, missing, first=0, ratio=(rate, sampling_rate))
    if options.highpass:
        treated = highpass(treated, cutoff=options.highpass, sampling_rate=rate)
    if options.standardize == "record":
        spread = treated.std(axis=1, keepdims=True)
        treated = (treated - treated.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1)
    return Treated(np.where(constant, 0, treated).astype(np.float32, copy=False), gap, constant)


def treat_in_chunks(
    read: ReadChunk, shape: tuple[int, int], sampling_rate: float, options: WindowOptions, *, scratch: Path
) -> Treated:
    """Return what `treat` returns, up to rounding, of a recording of the shape `(channels, samples)`.

    Its signals are a memory map in the folder `scratch`.
    """
    rate = options.sampling_rate
    original = _Summary.of(read, shape)
    bridged = interpolate_gaps(read, shape, scratch) if original.n_missing else read
    mean = original.mean
    if original.n_missing:
        mean = _Summary.of(bridged, shape).mean
    ratio = rate_ratio(sampling_rate, rate)
    resampled, n = resample_chunks(lambda first, last: bridged(first, last) - mean, shape[1], ratio, beyond="constant")
    treated: ReadChunk = lambda first, last: resampled(first, last) + mean  # noqa: E731
    gap = np.zeros(n, bool)
    if original.n_missing:
        for first, last in chunks(shape[1]):
            missing = ~np.isfinite(read(first, last)) & ~original.silent
            _mark(gap, missing, first=first, ratio=(rate, sampling_rate))
    if options.highpass:
        treated = highpass_chunks(
            treated, (shape[0], n), cutoff=options.highpass, sampling_rate=rate, path=scratch / "filtered"
        )
    offset, scale = np.zeros((shape[0], 1)), np.ones((shape[0], 1))
    if options.standardize == "record":
        summary = _Summary.of(treated, (shape[0], n))
        offset, scale = summary.mean, np.where(summary.std > 0, summary.std, 1)
    constant = original.least == original.most
    found = np.memmap(scratch / "treated", np.float32, "w+", shape=(shape[0], n))
    for first, last in chunks(n):
        found[:, first:last] = np.where(constant, 0, (treated(first, last) - offset) / scale)
    return Treated(found, gap, constant)


class _Summary(NamedTuple):
    """Of each channel `(channels, 1)` the mean, standard deviation, least and most finite sample, and whether
    there is none; and how many samples of all are missing."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    least: NDArray[np.float64]
    most: NDArray[np.float64]
    silent: NDArray[np.bool_]
    n_missing: int

    @staticmethod
    def of(read: ReadChunk, shape: tuple[int, int]) -> "_Summary":
        """Return the summary of signals, chunks merged one after the other (Chan et al. 1979)."""
        n, mean, square = (np.zeros((shape[0], 1)) for _ in range(3))
        least, most = np.full((shape[0], 1), np.inf), np.full((shape[0], 1), -np.inf)
        missing = 0
        for first, last in chunks(shape[1]):
            part = np.asarray(read(first, last), np.float64)
            known = np.isfinite(part)
            missing += int((~known).sum())
            size = known.sum(axis=1, keepdims=True)
            filled = np.where(known, part, 0.0)
            centre = filled.sum(axis=1, keepdims=True) / np.maximum(size, 1)
            spread = (np.where(known, part - centre, 0.0) ** 2).sum(axis=1, keepdims=True)
            total = np.maximum(n + size, 1)
            square = square + spread + (centre - mean) ** 2 * n * size / total
            mean = mean + (centre - mean) * size / total
            n = n + size
            least = np.minimum(least, np.where(known, part, np.inf).min(axis=1, keepdims=True))
            most = np.maximum(most, np.where(known, part, -np.inf).max(axis=1, keepdims=True))
        empty = n == 0
        least, most = np.where(empty, 0, least), np.where(empty, 0, most)
        return _Summary(mean, np.sqrt(square / np.maximum(n, 1)), least, most, empty, missing)


def _mark(gap: NDArray[np.bool_], missing: NDArray[np.bool_], *, first: int, ratio: tuple[float, float]) -> None:
    """Mark the samples at the target rate that touch what is missing from sample `first` on; `ratio` are the target
    rate and the recording's."""
    touched = (first + np.flatnonzero(missing.any(axis=0))) * ratio[0] / ratio[1]
    gap[np.minimum(touched.astype(int), len(gap) - 1)] = True


def _interpolate_gaps(signals: NDArray[Any], missing: NDArray[np.bool_]) -> NDArray[Any]:
    """Fill gaps linearly, so that filters stay finite; the windows that touch one are left out later."""
    if not missing.any():
        return signals
    time = np.arange(signals.shape[1])
    filled = np.where(missing, 0.0, signals)
    for channel in np.flatnonzero(missing.any(axis=1)):
        known = ~missing[channel]
        if known.any():
            filled[channel] = np.interp(time, time[known], signals[channel, known])
    return filled
