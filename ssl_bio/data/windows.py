"""From a recording to windows: treated as `WindowOptions` say, then divided.

Windows are not copied out of a recording: they are places in it, and are read when asked for.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import floor
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.chunks import ReadChunk
from ssl_bio.data.options import WindowOptions
from ssl_bio.data.recording import Signals
from ssl_bio.data.treatment import LARGEST_AT_ONCE, Treated, treat, treat_in_chunks
from ssl_bio.errors import DataError

Padding = Literal["zero", "repeat", "missing"]

# Why windows were left out, or what happened to them, as `DatasetInfo.dropped` counts it.
GAPS = "windows touch a gap in their record and are left out"
CONSTANT = "records have a silent lead, which became zeros"


class Layout(NamedTuple):
    """What windows show of a recording: `length` samples from their start, and a `margin` on either side.

    Beyond the recording's ends, a margin mirrors it; what is missing after them is filled with zeros ("zero") or with
    the window again ("repeat"). "missing" mirrors nothing and puts -1 there.
    """

    length: int
    margin: int = 0
    padding: Padding = "zero"

    @property
    def total(self) -> int:
        """Samples in a window."""
        return self.length + 2 * self.margin

    @property
    def fill(self) -> int:
        """What stands where a window shows nothing."""
        return -1 if self.padding == "missing" else 0

    def positions(self, start: int, n_samples: int) -> NDArray[np.int64]:
        """Return the sample of a recording at each place of the window that starts at `start`, -1 for none."""
        shown = np.arange(start, start + self.total)  # counted from the beginning of the margin before the recording
        end = n_samples + 2 * self.margin
        if self.padding == "repeat" and start + self.total > end:
            shown = start + np.arange(self.total) % (end - start)
        found = shown - self.margin
        if self.padding == "missing":
            return np.where((found >= 0) & (found < n_samples), found, -1)
        if self.margin < n_samples:
            mirrored = np.where(found < 0, -found, np.where(found >= n_samples, 2 * (n_samples - 1) - found, found))
        else:
            mirrored = found.clip(0, n_samples - 1)
        return np.where(shown < end, mirrored, -1)

    def window(self, samples: NDArray[Any], start: int) -> NDArray[Any]:
        """Return the window of `samples` `(..., n)` that starts at `start`, as `(..., total)`."""
        first, n = start - self.margin, samples.shape[-1]
        if first >= 0 and first + self.total <= n:
            return samples[..., first : first + self.total]
        positions = self.positions(start, n)
        return np.where(positions < 0, np.asarray(self.fill, samples.dtype), samples[..., positions])


class Track(NamedTuple):
    """Samples along a recording, `(n,)` or `(channels, n)`, that are shown in windows as its signals are."""

    values: NDArray[Any]
    layout: Layout

    def windows(self, starts: NDArray[np.int64]) -> NDArray[Any]:
        """Return the windows that start at `starts`: `(n_windows, ..., total)`."""
        shape = (len(starts), *self.values.shape[:-1], self.layout.total)
        found = np.empty(shape, self.values.dtype)
        for row, start in enumerate(starts):
            found[row] = self.layout.window(self.values, int(start))
        return found


@dataclass(frozen=True, kw_only=True)
class WindowedRecord:
    """A recording as windows show it, where they are in it, and what was left out."""

    track: Track  # (channels, samples) float32, at the windows' rate
    starts: NDArray[np.int64]  # (n,) first sample of the labelled part
    sampling_rate: float  # Hz
    window: float  # s, of which the layout's length is the nearest number of samples
    dropped: Mapping[str, int] = field(default_factory=dict)

    @property
    def signals(self) -> Signals:
        """The windows `(n, channels, length with the margin on both sides)`."""
        return self.track.windows(self.starts)

    @property
    def length(self) -> int:
        """Samples of the labelled part."""
        return self.track.layout.length

    def select(self, kept: NDArray[np.bool_]) -> "WindowedRecord":
        """Return the record with some of its windows."""
        return replace(self, starts=self.starts[kept])

    def label_events(self, times: NDArray[np.float64], codes: NDArray[np.int8]) -> Track:
        """Return at each sample the code of the event there, 0 for none; windows show their labelled part.

        `times` are in s from the start of the record.
        """
        return Track(self._events(times, codes), Layout(self.length))

    def mark_events(self, times: NDArray[np.float64]) -> Track:
        """Return 1 at events, 0 for none; windows show their margin, too, and -1 outside of the record.

        `times` are in s from the start of the record.
        """
        marked = self._events(times, np.ones(len(times), np.int8))
        return Track(marked, self.track.layout._replace(padding="missing"))

    def _events(self, times: NDArray[np.float64], codes: NDArray[np.int8]) -> NDArray[np.int8]:
        found = np.zeros(self.track.values.shape[-1], np.int8)
        samples = np.round(times * self.sampling_rate).astype(np.int64)
        inside = (samples >= 0) & (samples < len(found))
        found[samples[inside]] = codes[inside]
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
    """Turns recordings into windows, by options of which none is left open.

    Raises DataError for options that make no window.
    """

    def __init__(self, options: WindowOptions) -> None:
        self.options = options
        length = round(options.window * options.sampling_rate)
        if length < 1:
            raise DataError(f"data.window: {options.window:g} s hold no sample at {options.sampling_rate:g} Hz")
        if options.stride < 0:
            raise DataError(f"data.stride: {options.stride:g} s is negative; 0 takes one window a record")
        if not 0 <= options.highpass < options.sampling_rate / 2:
            raise DataError(
                f"data.highpass: {options.highpass:g} Hz is not between 0 and half of {options.sampling_rate:g} Hz"
            )
        margin = round(max(options.context, 0) * options.sampling_rate)
        self.layout = Layout(length, margin, "repeat" if options.padding == "repeat" else "zero")

    @property
    def length(self) -> int:
        """Samples of a window's labelled part."""
        return self.layout.length

    def unit(self, physical: str) -> str:
        """Return the unit of windows of signals that are recorded in a physical unit."""
        return "deviations of the record" if self.options.standardize == "record" else physical

    def windows(self, signals: NDArray[Any], sampling_rate: float, *, pad: bool = True) -> WindowedRecord:
        """Filter a record `(channels, samples)`, NaN in its gaps, and divide it into windows.

        A record shorter than the window is padded at its end with zeros, or with itself again, as the options say;
        without `pad` it gives no window. With `context` a window also shows what stands before and after it, mirrored
        at the ends of the record. A constant channel becomes zeros; a window that touches a gap is left out.
        """
        return self._windows(treat(signals, sampling_rate, self.options), pad=pad)

    def windows_of_file(
        self, read: ReadChunk, shape: tuple[int, int], sampling_rate: float, *, scratch: Path, pad: bool = True
    ) -> WindowedRecord:
        """Return the windows of signals of the shape `(channels, samples)` that are read in chunks; see `windows`.

        What is too long to be treated at once is treated in chunks and kept in the folder `scratch`, so that memory
        does not grow with it.
        """
        treated = (
            treat(np.asarray(read(0, shape[1])), sampling_rate, self.options)
            if shape[0] * shape[1] <= LARGEST_AT_ONCE
            else treat_in_chunks(read, shape, sampling_rate, self.options, scratch=scratch)
        )
        return self._windows(treated, pad=pad)

    def _windows(self, found: Treated, *, pad: bool) -> WindowedRecord:
        treated, gap, constant = found
        n = treated.shape[1]
        all_starts = [start for start in self._starts(n) if pad or start + self.length <= n]
        starts = [start for start in all_starts if not gap[start : start + self.length].any()]
        n_gaps = len(all_starts) - len(starts)
        return WindowedRecord(
            track=Track(treated, self.layout),
            starts=np.array(starts, np.int64),
            sampling_rate=self.options.sampling_rate,
            window=self.options.window,
            dropped={why: many for why, many in ((GAPS, n_gaps), (CONSTANT, int(constant.any()))) if many},
        )

    def _starts(self, n: int) -> Iterator[int]:
        if not self.options.stride:
            yield max(0, (n - self.length) // 2)
            return
        step = max(self.options.stride * self.options.sampling_rate, 1)
        # The last window may end with the record, which rounding of the step must not take away.
        for index in range(max(0, floor((n - self.length) / step + 1e-6)) + 1):
            yield round(index * step)
