"""Long signals, read and treated a chunk at a time, so that memory does not grow with them."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Chunk = NDArray[np.float32]  # (channels, samples)
ReadChunk = Callable[[int, int], NDArray[Any]]  # (first, last) -> samples from the first to before the last

CHUNK_SAMPLES = 65_536


def chunks(n_samples: int) -> Iterator[tuple[int, int]]:
    """Yield first and last sample of each chunk."""
    for first in range(0, n_samples, CHUNK_SAMPLES):
        yield first, min(first + CHUNK_SAMPLES, n_samples)


def resample_chunks(
    read: ReadChunk, n_samples: int, ratio: Fraction, *, beyond: Literal["edge", "constant"] = "edge"
) -> tuple[ReadChunk, int]:
    """Return a recording of `n_samples` at `ratio` times its rate, still read in chunks, and its number of samples.

    Polyphase filter, zero phase; chunks are those of the whole recording resampled at once. `beyond` its ends the
    filter sees its outermost samples ("edge"), or zeros.
    """
    from scipy.signal import resample_poly

    if ratio == 1:
        return read, n_samples
    up, down = ratio.numerator, ratio.denominator
    # The filter covers ten samples of the slower rate on either side; chunks begin where both rates have a sample.
    guard = ceil((10 * max(1.0, down / up) + 1) / down)

    def read_resampled(first: int, last: int) -> Chunk:
        begin = max(0, first // up - guard)
        end = min(ceil(last / up) + guard, ceil(n_samples / down))
        found = resample_poly(read(begin * down, min(end * down, n_samples)), up, down, axis=-1, padtype=beyond)
        return np.asarray(found[:, first - begin * up : last - begin * up])

    return read_resampled, ceil(n_samples * up / down)


def interpolate_gaps(read: ReadChunk, shape: tuple[int, int], scratch: Path) -> ReadChunk:
    """Return signals of the shape `(channels, samples)` with their gaps filled linearly; they are written once to the
    folder `scratch`.

    Gaps at the ends repeat the nearest sample; a channel that is all gap is 0.
    """
    filled = np.memmap(scratch / "filled", np.float64, "w+", shape=shape)
    known: list[int | None] = [None] * shape[0]  # the last sample known of each channel
    for first, last in chunks(shape[1]):
        part = read(first, last)
        filled[:, first:last] = np.nan_to_num(part, nan=0.0, posinf=0.0, neginf=0.0)
        for channel, samples in enumerate(part):
            for gap in _ends_of_gaps(np.isfinite(samples), known[channel] != first - 1):
                before = known[channel] if gap.before < 0 else first + gap.before
                _interpolate(filled[channel], before, first + gap.after)
            finite = np.flatnonzero(np.isfinite(samples))
            known[channel] = first + int(finite[-1]) if len(finite) else known[channel]
    for channel, end in enumerate(known):
        if end is not None:
            filled[channel, end + 1 :] = filled[channel, end]
    return lambda first, last: np.array(filled[:, first:last])


class _Gap(NamedTuple):
    before: int  # the last known sample before it; -1: there is none in this chunk
    after: int  # the first one after it


def _ends_of_gaps(known: NDArray[np.bool_], open_before: bool) -> list[_Gap]:
    """Return the gaps of a chunk that end in it; one may have begun before it."""
    finite = np.flatnonzero(known)
    if not len(finite):
        return []
    jumps = np.flatnonzero(np.diff(finite) > 1)
    gaps = [_Gap(int(finite[index]), int(finite[index + 1])) for index in jumps]
    return [_Gap(-1, int(finite[0])), *gaps] if finite[0] > 0 or open_before else gaps


def _interpolate(samples: NDArray[Any], before: int | None, after: int) -> None:
    """Fill the samples between two known ones linearly; without the former, with the latter."""
    start = -1 if before is None else before
    low = samples[after] if before is None else samples[before]
    samples[start + 1 : after] = np.linspace(low, samples[after], after - start + 1)[1:-1]
