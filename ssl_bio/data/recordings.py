"""Long recordings, read a stretch at a time: .hea (WFDB), .wav, .npy, .npz, .csv, .mat."""

import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.io import wavfile
from scipy.signal import resample_poly

from ssl_bio.data import signal_files
from ssl_bio.data.physionet import reading_wfdb
from ssl_bio.errors import DataError

Stretch = NDArray[np.float32]  # (channels, samples)
Read = Callable[[int, int], Stretch]

SUFFIXES = (".hea", ".wav", ".npy", ".npz", ".csv", ".mat")
STRETCH = 65_536  # lines of a table, or samples of a recording, in one go


class LongRecording(NamedTuple):
    """A recording that is read a stretch at a time; NaN in its gaps."""

    read: Read  # (first, last) -> samples from the first to before the last
    n_samples: int
    channels: tuple[str, ...]
    sampling_rate: float  # Hz; 0: the file does not say
    units: tuple[str, ...]  # of each channel; "NU": the file does not say


@contextmanager
def opened(path: Path, scratch: Path) -> Iterator[LongRecording]:
    """A recording, open for reading; what a format hides from random access is unpacked into the folder `scratch`.

    Arrays are as `signal_files.load` takes them; an .npz may hold a `sampling_rate` beside them. A .mat file is read
    as a whole.

    Raises DataError that names the file.
    """
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path}: one of {', '.join(SUFFIXES)} is wanted")
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    yield {".hea": _of_wfdb, ".wav": _of_wav, ".csv": _of_table}.get(path.suffix, _of_array)(path, scratch)


def _of_wfdb(path: Path, scratch: Path) -> LongRecording:
    place = path.with_suffix("")

    def read_record(first: int, last: int) -> Any:
        with reading_wfdb(place) as wfdb:
            return wfdb.rdrecord(str(place), sampfrom=first, sampto=last)

    with reading_wfdb(place) as wfdb:
        header = wfdb.rdheader(str(place))
    if not header.sig_len or not header.n_sig:
        raise DataError(f"{path.name}: holds no signal")
    beginning = read_record(0, 1)  # of a record in segments only this tells the names
    n = beginning.p_signal.shape[1]
    names = [(name or "").strip(", ") or f"ch{index}" for index, name in enumerate(beginning.sig_name or [""] * n)]
    return LongRecording(
        lambda first, last: np.asarray(read_record(first, last).p_signal.T, np.float32),
        int(header.sig_len),
        tuple(name if names.count(name) == 1 else f"{name}_{index}" for index, name in enumerate(names)),
        float(header.fs),
        tuple(unit or "NU" for unit in beginning.units or [""] * n),
    )


def _of_wav(path: Path, scratch: Path) -> LongRecording:
    try:
        try:
            rate, samples = wavfile.read(path, mmap=True)
        except ValueError:  # of 24 bits there is no memory map
            rate, samples = wavfile.read(path)
    except (ValueError, OSError) as error:
        raise DataError(f"{path.name}: not a whole .wav file ({error})") from error
    if not samples.size:
        raise DataError(f"{path.name}: holds no signal")
    return _of_channels(samples.reshape(len(samples), -1).T, float(rate))


def _of_table(path: Path, scratch: Path) -> LongRecording:
    """Raises DataError unless the file holds a line of names and lines of as many numbers."""
    names = signal_files.channels_of_table(path)
    n, raw = 0, scratch / "samples"
    try:
        with raw.open("wb") as file:
            for part in pd.read_csv(path, header=None, skiprows=1, dtype=np.float64, chunksize=STRETCH):
                if part.shape[1] != len(names):
                    raise DataError(f"{path.name}: {part.shape[1]} numbers a line under {len(names)} names")
                file.write(part.to_numpy(np.float32).tobytes())
                n += len(part)
    except ValueError as error:
        raise DataError(f"{path.name}: not a line of names and lines of numbers ({error})") from error
    if not n:
        raise DataError(f"{path.name}: holds no signal")
    samples = np.memmap(raw, np.float32, "r", shape=(n, len(names))).T
    if len(names) > 1 and n > 2 and (np.diff(samples[0, :STRETCH]) > 0).all():
        raise DataError(f"{path.name}: {names[0]} rises steadily, as a clock does: leave that column out")
    return _of_channels(samples, 0.0)._replace(channels=names)


def _of_array(path: Path, scratch: Path) -> LongRecording:
    if path.suffix == ".mat":
        return _of_memory(path, signal_files.load(path).signals, 0.0)
    rate = 0.0
    if path.suffix == ".npz":
        try:
            with zipfile.ZipFile(path) as archive:
                members = [name for name in archive.namelist() if name != "sampling_rate.npy"]
                preferred = [name for name in members if name.removesuffix(".npy") in signal_files.PREFERRED]
                if len(members) != 1 and not preferred:
                    raise DataError(f"{path.name}: one array is wanted; it has {', '.join(members)}")
                if "sampling_rate.npy" in archive.namelist():
                    with archive.open("sampling_rate.npy") as file:
                        rate = float(np.lib.format.read_array(file, allow_pickle=False).reshape(()))
                with archive.open((preferred or members)[0]) as packed, (scratch / "array.npy").open("wb") as file:
                    shutil.copyfileobj(packed, file)
        except (OSError, ValueError, TypeError, zipfile.BadZipFile) as error:
            raise DataError(f"{path.name}: not a whole file of plain numpy arrays ({error})") from error
    try:
        array = np.load(scratch / "array.npy" if path.suffix == ".npz" else path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path.name}: not a whole file of plain numpy arrays ({error})") from error
    return _of_memory(path, array, rate)


def _of_memory(path: Path, array: NDArray[Any], sampling_rate: float) -> LongRecording:
    if array.dtype.kind not in "biuf" or array.ndim not in (1, 2) or not array.size:
        raise DataError(f"{path.name}: {array.dtype} {array.shape} instead of numbers (channels, samples)")
    array = np.atleast_2d(array)
    return _of_channels(array.T if array.shape[0] > array.shape[1] else array, sampling_rate)


def _of_channels(array: NDArray[Any], sampling_rate: float) -> LongRecording:
    """A recording of an array `(channels, samples)`, which may be a memory map."""

    def read(first: int, last: int) -> Stretch:
        return np.array(array[:, first:last], np.float32)

    n, total = array.shape
    return LongRecording(read, total, tuple(f"ch{index}" for index in range(n)), sampling_rate, ("NU",) * n)


def resampled(read: Read, total: int, ratio: Fraction) -> tuple[Read, int]:
    """A recording of `total` samples at `ratio` times its rate (polyphase filter, zero phase), still read a stretch at
    a time, and how many samples it then has."""
    if ratio == 1:
        return read, total
    up, down = ratio.numerator, ratio.denominator
    # The filter reaches ten samples of the slower rate to either side; stretches begin where both rates have a sample.
    guard = ceil((10 * max(1.0, down / up) + 1) / down)

    def read_resampled(first: int, last: int) -> Stretch:
        begin = max(0, first // up - guard)
        end = min(ceil(last / up) + guard, ceil(total / down))
        found = resample_poly(read(begin * down, min(end * down, total)), up, down, axis=-1, padtype="edge")
        return np.asarray(found[:, first - begin * up : last - begin * up], np.float32)

    return read_resampled, ceil(total * up / down)


def bridged(recording: LongRecording, scratch: Path) -> Read:
    """The recording without gaps: from one end of each to the other in a straight line, at the recording's ends level;
    a channel that is all gap is 0. It is written once to the folder `scratch`."""
    n, total = len(recording.channels), recording.n_samples
    filled = np.memmap(scratch / "bridged", np.float32, "w+", shape=(n, total))
    known: list[int | None] = [None] * n  # the last sample known of each channel
    for first in range(0, total, STRETCH):
        part = recording.read(first, min(first + STRETCH, total))
        filled[:, first : first + part.shape[1]] = np.nan_to_num(part, nan=0.0, posinf=0.0, neginf=0.0)
        for channel, samples in enumerate(part):
            for gap in _ends_of_gaps(np.isfinite(samples), known[channel] != first - 1):
                before = known[channel] if gap.before < 0 else first + gap.before
                _bridge(filled[channel], before, first + gap.after)
            there = np.flatnonzero(np.isfinite(samples))
            known[channel] = first + int(there[-1]) if len(there) else known[channel]
    for channel, last in enumerate(known):
        if last is not None:
            filled[channel, last + 1 :] = filled[channel, last]
    return lambda first, last: np.array(filled[:, first:last])


class _Gap(NamedTuple):
    before: int  # the last known sample before it; -1: there is none in this stretch
    after: int  # the first one after it


def _ends_of_gaps(known: NDArray[np.bool_], open_before: bool) -> list[_Gap]:
    """The gaps of a stretch that end in it; one may have begun before it."""
    there = np.flatnonzero(known)
    if not len(there):
        return []
    jumps = np.flatnonzero(np.diff(there) > 1)
    gaps = [_Gap(int(there[index]), int(there[index + 1])) for index in jumps]
    return [_Gap(-1, int(there[0])), *gaps] if there[0] > 0 or open_before else gaps


def _bridge(samples: Stretch, before: int | None, after: int) -> None:
    """Fill the samples between two known ones; without the former, with the latter."""
    start = -1 if before is None else before
    low = samples[after] if before is None else samples[before]
    samples[start + 1 : after] = np.linspace(low, samples[after], after - start + 1)[1:-1]
