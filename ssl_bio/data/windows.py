"""From a record to windows: gaps interpolated, resampled, filtered, standardised and windowed as `ReadOptions` say."""

from collections.abc import Iterator, Mapping
from math import floor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.filters import highpass, resample
from ssl_bio.data.store import ReadOptions, Signals
from ssl_bio.errors import DataError

# Why windows were left out, or what happened to them, as `DatasetInfo.dropped` counts it.
GAPS = "windows touch a gap in their record and are left out"
CONSTANT = "records have a silent lead, which became zeros"


class WindowedRecord(NamedTuple):
    """Windows of one record, where they are in it, and what was left out."""

    signals: Signals  # (n, channels, length with the context on both sides)
    starts: NDArray[np.int64]  # (n,) first sample of the labelled part, in the record at the target rate
    length: int  # samples of the labelled part
    sampling_rate: float  # Hz
    window: float  # s, of which length is the nearest number of samples
    n_samples: int  # of the record
    dropped: Mapping[str, int]

    def label_events(self, times: NDArray[np.float64], codes: NDArray[np.int8]) -> NDArray[np.int8]:
        """Return `(n, length)`: at each sample the code of the event there, 0 for none.

        `times` are in s from the start of the record.
        """
        return self._events(times, codes, begin=self.starts, length=self.length)

    def mark_events(self, times: NDArray[np.float64]) -> NDArray[np.int8]:
        """Return `(n, length with the context)`: 1 at events, 0 for none, -1 outside of the record.

        `times` are in s from the start of the record.
        """
        length = self.signals.shape[-1]
        begin = self.starts - (length - self.length) // 2
        found = self._events(times, np.ones(len(times), np.int8), begin=begin, length=length)
        samples = begin[:, None] + np.arange(length)
        found[(samples < 0) | (samples >= self.n_samples)] = -1
        return found

    def _events(
        self, times: NDArray[np.float64], codes: NDArray[np.int8], *, begin: NDArray[np.int64], length: int
    ) -> NDArray[np.int8]:
        found = np.zeros((len(begin), length), np.int8)
        samples = np.round(times * self.sampling_rate).astype(np.int64)
        for row, start in enumerate(begin):
            inside = (samples >= start) & (samples < start + length)
            found[row, samples[inside] - start] = codes[inside]
        return found

    def bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return begin and end of each window, `(n,)` each, in s from the start of the record."""
        begin = self.starts / self.sampling_rate
        return begin, begin + self.window

    def count_events(self, times: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return how many of the times (s from the start of the record, in any order) lie in each window.

        A window's end is not part of it.
        """
        begin, end = self.bounds()
        ordered = np.sort(times)
        return np.searchsorted(ordered, end) - np.searchsorted(ordered, begin)

    def mean_values(self, times: NDArray[np.float64], *, values: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the mean of the finite values at ascending times (s) in each window; NaN where there are none.

        A window's end is not part of it.
        """
        known = np.isfinite(values)
        total = np.concatenate([[0.0], np.cumsum(values[known])])
        begin, end = self.bounds()
        first, last = np.searchsorted(times[known], begin), np.searchsorted(times[known], end)
        n = last - first
        return np.where(n > 0, (total[last] - total[first]) / np.maximum(n, 1), np.nan).astype(np.float32)


class Windower:
    """Turns records into windows, by options of which none is left open.

    Raises DataError for options that make no window.
    """

    def __init__(self, options: ReadOptions) -> None:
        self.options = options
        self.length = round(options.window * options.sampling_rate)
        if self.length < 1:
            raise DataError(f"data.window: {options.window:g} s hold no sample at {options.sampling_rate:g} Hz")
        if options.stride < 0:
            raise DataError(f"data.stride: {options.stride:g} s is negative; 0 takes one window a record")
        if not 0 <= options.highpass < options.sampling_rate / 2:
            raise DataError(
                f"data.highpass: {options.highpass:g} Hz is not between 0 and half of {options.sampling_rate:g} Hz"
            )

    def unit(self, physical: str) -> str:
        """Return the unit of windows of signals that are recorded in a physical unit."""
        return "deviations of the record" if self.options.standardize == "record" else physical

    def windows(self, signals: Signals, sampling_rate: float, *, pad: bool = True) -> WindowedRecord:
        """Filter a record `(channels, samples)`, NaN in its gaps, and divide it into windows.

        A record shorter than the window is padded at its end with zeros, or with itself again, as the options say;
        without `pad` it gives no window. With `context` a window also shows what stands before and after it, mirrored
        at the ends of the record. A constant channel becomes zeros; a window that touches a gap is left out.
        """
        options, rate = self.options, self.options.sampling_rate
        treated, gap, constant = self._treated(signals, sampling_rate)
        n = treated.shape[1]
        all_starts = [start for start in self._starts(n) if pad or start + self.length <= n]
        starts = [start for start in all_starts if not gap[start : start + self.length].any()]
        context = round(max(options.context, 0) * rate)
        if context:
            treated = np.pad(treated, ((0, 0), (context, context)), mode="reflect" if context < n else "edge")
        length = self.length + 2 * context
        windows = np.zeros((len(starts), len(treated), length), np.float32)
        for row, start in enumerate(starts):
            part = treated[:, start : start + length]
            if options.padding == "repeat" and part.shape[1] < length:
                part = np.tile(part, -(-length // part.shape[1]))[:, :length]
            windows[row, :, : part.shape[1]] = part
        n_gaps = len(all_starts) - len(starts)
        dropped = {why: many for why, many in ((GAPS, n_gaps), (CONSTANT, int(constant.any()))) if many}
        return WindowedRecord(windows, np.array(starts, np.int64), self.length, rate, options.window, n, dropped)

    def _treated(self, signals: Signals, sampling_rate: float) -> tuple[Signals, NDArray[np.bool_], NDArray[np.bool_]]:
        """Return the filtered record at the target rate, which of its samples are gaps, and which channels constant."""
        options, rate = self.options, self.options.sampling_rate
        missing = ~np.isfinite(signals)
        bridged = _interpolate_gaps(signals, missing)
        constant = np.ptp(bridged, axis=1, keepdims=True) == 0
        # The filter pads with zeros: around the mean that leaves no step at the ends.
        mean = bridged.mean(axis=1, keepdims=True)
        treated = resample(bridged - mean, sampling_rate, rate) + mean
        n = treated.shape[1]
        gap = np.zeros(n, bool)
        touched = np.flatnonzero(missing.any(axis=0)) * rate / sampling_rate
        gap[np.minimum(touched.astype(int), n - 1)] = True
        if options.highpass:
            treated = highpass(treated, cutoff=options.highpass, sampling_rate=rate)
        if options.standardize == "record":
            spread = treated.std(axis=1, keepdims=True)
            treated = (treated - treated.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1)
        return np.where(constant, 0, treated), gap, constant

    def _starts(self, n: int) -> Iterator[int]:
        if not self.options.stride:
            yield max(0, (n - self.length) // 2)
            return
        step = max(self.options.stride * self.options.sampling_rate, 1)
        # The last window may end with the record, which rounding of the step must not take away.
        for index in range(max(0, floor((n - self.length) / step + 1e-6)) + 1):
            yield round(index * step)


def _interpolate_gaps(signals: Signals, missing: NDArray[np.bool_]) -> Signals:
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
