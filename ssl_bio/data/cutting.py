"""From a record to windows: gaps bridged, resampled, filtered, standardised, cut as `ReadOptions` say."""

from collections.abc import Iterator, Mapping
from math import floor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.store import ReadOptions, Signals
from ssl_bio.data.transforms import highpass, resample
from ssl_bio.errors import DataError

GAPS = "windows touch a gap in their record and are left out"
SILENT = "records have a silent lead, which became zeros"


class Cuts(NamedTuple):
    """Windows of one record, where they start in it, and what was left out."""

    signals: Signals  # (n, channels, length with the context on both sides)
    starts: NDArray[np.int64]  # (n,) in samples at the wanted rate: where the labelled part begins
    length: int  # of the labelled part
    sampling_rate: float  # Hz
    window: float  # s, of which length is the nearest number of samples
    total: int  # samples of the record
    dropped: Mapping[str, int]

    def of_events(self, at: NDArray[np.float64], codes: NDArray[np.int8]) -> NDArray[np.int8]:
        """Events at times `at` (s into the record) -> `(n, length)`: their codes, and 0 where none is."""
        return self._events(at, codes, self.starts, self.length)

    def shown_events(self, at: NDArray[np.float64]) -> NDArray[np.int8]:
        """Events at times `at` (s into the record) -> `(n, length with the context on both sides)`: 1, 0 where none
        is, and -1 outside of the record."""
        shown = self.signals.shape[-1]
        begin = self.starts - (shown - self.length) // 2
        found = self._events(at, np.ones(len(at), np.int8), begin, shown)
        place = begin[:, None] + np.arange(shown)
        found[(place < 0) | (place >= self.total)] = -1
        return found

    def _events(
        self, at: NDArray[np.float64], codes: NDArray[np.int8], begin: NDArray[np.int64], length: int
    ) -> NDArray[np.int8]:
        found = np.zeros((len(begin), length), np.int8)
        samples = np.round(at * self.sampling_rate).astype(np.int64)
        for row, start in enumerate(begin):
            inside = (samples >= start) & (samples < start + length)
            found[row, samples[inside] - start] = codes[inside]
        return found

    def seconds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Begin and end of each window, in s into the record."""
        begin = self.starts / self.sampling_rate
        return begin, begin + self.window

    def n_inside(self, at: NDArray[np.float64]) -> NDArray[np.int64]:
        """How many of the times `at` (s into the record, in any order) lie in each window, its end excluded."""
        begin, end = self.seconds()
        ordered = np.sort(at)
        return np.searchsorted(ordered, end) - np.searchsorted(ordered, begin)

    def mean_inside(self, at: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float32]:
        """Mean of the finite values at ascending times `at` (s into the record) that lie in each window, its end
        excluded; NaN where there are none."""
        known = np.isfinite(values)
        total = np.concatenate([[0.0], np.cumsum(values[known])])
        begin, end = self.seconds()
        first, last = np.searchsorted(at[known], begin), np.searchsorted(at[known], end)
        n = last - first
        return np.where(n > 0, (total[last] - total[first]) / np.maximum(n, 1), np.nan).astype(np.float32)

    def chosen(self, keep: NDArray[np.bool_], why: str) -> "Cuts":
        """Those of the windows to keep; `why` says what happened to the others."""
        left_out = int((~keep).sum())
        dropped = {**self.dropped, why: left_out} if left_out else self.dropped
        return self._replace(signals=self.signals[keep], starts=self.starts[keep], dropped=dropped)


class Cutter:
    """Cuts records by options that are complete.

    Raises DataError for options that make no window.
    """

    def __init__(self, options: ReadOptions) -> None:
        self.options = options
        self.length = round(options.window * options.sampling_rate)
        if self.length < 1:
            raise DataError(f"data.window: {options.window:g} s hold no sample at {options.sampling_rate:g} Hz")
        if options.stride < 0:
            raise DataError(f"data.stride: {options.stride:g} s leads backwards; 0 takes one window a record")
        if not 0 <= options.highpass < options.sampling_rate / 2:
            raise DataError(
                f"data.highpass: {options.highpass:g} Hz is not between 0 and half of {options.sampling_rate:g} Hz"
            )

    def cut(self, signals: Signals, sampling_rate: float, pad: bool = True) -> Cuts:
        """Treat a record `(channels, samples)`, NaN in its gaps, and cut it.

        A record shorter than the window is padded at its end with zeros, or with itself again, as the options say;
        without `pad` it gives no window. With `data.context` a window also shows what stands before and after it,
        mirrored at the ends of the record. A constant lead becomes zeros; a window that touches a gap is left out.
        """
        options, rate = self.options, self.options.sampling_rate
        missing = ~np.isfinite(signals)
        bridged = _bridged(signals, missing)
        silent = np.ptp(bridged, axis=1, keepdims=True) == 0
        # The filter pads with zeros: around the mean that leaves no step at the ends.
        mean = bridged.mean(axis=1, keepdims=True)
        treated = resample(bridged - mean, sampling_rate, rate) + mean
        n = treated.shape[1]
        gap = np.zeros(n, bool)
        touched = np.flatnonzero(missing.any(axis=0)) * rate / sampling_rate
        gap[np.minimum(touched.astype(int), n - 1)] = True
        if options.highpass:
            treated = highpass(treated, options.highpass, rate)
        if options.standardize == "record":
            spread = treated.std(axis=1, keepdims=True)
            treated = (treated - treated.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1)
        treated = np.where(silent, 0, treated)
        all_starts = [start for start in self._starts(n) if pad or start + self.length <= n]
        starts = [start for start in all_starts if not gap[start : start + self.length].any()]
        around = round(max(options.context, 0) * rate)
        if around:
            treated = np.pad(treated, ((0, 0), (around, around)), mode="reflect" if around < n else "edge")
        length = self.length + 2 * around
        windows = np.zeros((len(starts), len(treated), length), np.float32)
        for row, start in enumerate(starts):
            part = treated[:, start : start + length]
            if options.padding == "repeat" and part.shape[1] < length:
                part = np.tile(part, -(-length // part.shape[1]))[:, :length]
            windows[row, :, : part.shape[1]] = part
        n_gaps = len(all_starts) - len(starts)
        dropped = {why: many for why, many in ((GAPS, n_gaps), (SILENT, int(silent.any()))) if many}
        return Cuts(windows, np.array(starts, np.int64), self.length, rate, options.window, n, dropped)

    def _starts(self, n: int) -> Iterator[int]:
        if not self.options.stride:
            yield max(0, (n - self.length) // 2)
            return
        step = max(self.options.stride * self.options.sampling_rate, 1)
        # The last window may end with the record, which rounding of the step must not take away.
        for index in range(max(0, floor((n - self.length) / step + 1e-6)) + 1):
            yield round(index * step)


def _bridged(signals: Signals, missing: NDArray[np.bool_]) -> Signals:
    """Gaps filled linearly, so that filters stay finite; the windows that touch one are dropped later."""
    if not missing.any():
        return signals
    time = np.arange(signals.shape[1])
    filled = np.where(missing, 0.0, signals)
    for channel in np.flatnonzero(missing.any(axis=1)):
        known = ~missing[channel]
        if known.any():
            filled[channel] = np.interp(time, time[known], signals[channel, known])
    return filled
