"""Long recordings, read in chunks: .hea (WFDB), .wav, .npy, .npz, .csv, .mat."""

import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.formats import signal_files
from ssl_bio.data.formats.wfdb_records import reading_wfdb
from ssl_bio.errors import DataError

Chunk = NDArray[np.float32]  # (channels, samples)
ReadChunk = Callable[[int, int], Chunk]  # (first, last) -> samples from the first to before the last

SUFFIXES = (".hea", ".wav", ".npy", ".npz", ".csv", ".mat")
CHUNK_SAMPLES = 65_536  # samples of a recording, or lines of a table, at a time


class LongRecording(NamedTuple):
    """A recording that is read in chunks; NaN in its gaps."""

    read: ReadChunk
    n_samples: int
    channels: tuple[str, ...]
    sampling_rate: float  # Hz; 0: the file does not say
    units: tuple[str, ...]  # of each channel; "NU": the file does not say


@contextmanager
def open_recording(path: Path, scratch: Path) -> Iterator[LongRecording]:
    """Open a recording for reading; formats without random access are unpacked into the folder `scratch`.

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
    record = path.with_suffix("")

    def read_record(first: int, last: int) -> Any:
        with reading_wfdb(record) as wfdb:
            return wfdb.rdrecord(str(record), sampfrom=first, sampto=last)

    with reading_wfdb(record) as wfdb:
        header = wfdb.rdheader(str(record))
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
    from scipy.io import wavfile  # imported when needed: it takes its time

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
    import pandas as pd

    names = signal_files.channels_of_table(path)
    n, raw = 0, scratch / "samples"
    try:
        with raw.open("wb") as file:
            for part in pd.read_csv(path, header=None, skiprows=1, dtype=np.float64, chunksize=CHUNK_SAMPLES):
                if part.shape[1] != len(names):
                    raise DataError(f"{path.name}: {part.shape[1]} numbers a line under {len(names)} names")
                file.write(part.to_numpy(np.float32).tobytes())
                n += len(part)
    except ValueError as error:
        raise DataError(f"{path.name}: not a line of names and lines of numbers ({error})") from error
    if not n:
        raise DataError(f"{path.name}: holds no signal")
    samples = np.memmap(raw, np.float32, "r", shape=(n, len(names))).T
    if len(names) > 1 and n > 2 and (np.diff(samples[0, :CHUNK_SAMPLES]) > 0).all():
        raise DataError(f"{path.name}: {names[0]} rises steadily, as a clock does: leave that column out")
    return _of_channels(samples, 0.0)._replace(channels=names)


def _of_array(path: Path, scratch: Path) -> LongRecording:
    if path.suffix == ".mat":
        return _of_channels(signal_files.load(path).signals, 0.0)
    plain, rate = (path, 0.0) if path.suffix == ".npy" else _unpack_npz(path, scratch)
    try:
        array = np.load(plain, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path.name}: not a whole file of plain numpy arrays ({error})") from error
    return _of_channels(signal_files.channels_by_samples(path, array), rate)


def _unpack_npz(path: Path, scratch: Path) -> tuple[Path, float]:
    """Return where the array of an .npz file was unpacked, and the file's sampling rate in Hz, 0 if it has none."""
    rate, plain = 0.0, scratch / "array.npy"
    try:
        with zipfile.ZipFile(path) as archive:
            members = [name for name in archive.namelist() if name != "sampling_rate.npy"]
            preferred = [name for name in members if name.removesuffix(".npy") in signal_files.PREFERRED_NAMES]
            if len(members) != 1 and not preferred:
                raise DataError(f"{path.name}: one array is wanted; it has {', '.join(members)}")
            if "sampling_rate.npy" in archive.namelist():
                with archive.open("sampling_rate.npy") as file:
                    rate = float(np.lib.format.read_array(file, allow_pickle=False).reshape(()))
            with archive.open((preferred or members)[0]) as packed, plain.open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked)
    except (OSError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(f"{path.name}: not a whole file of plain numpy arrays ({error})") from error
    return plain, rate


def _of_channels(array: NDArray[Any], sampling_rate: float) -> LongRecording:
    """Return a recording of an array `(channels, samples)`, which may be a memory map."""

    def read(first: int, last: int) -> Chunk:
        return np.array(array[:, first:last], np.float32)

    n, total = array.shape
    return LongRecording(read, total, tuple(f"ch{index}" for index in range(n)), sampling_rate, ("NU",) * n)


def resample_chunks(read: ReadChunk, n_samples: int, ratio: Fraction) -> tuple[ReadChunk, int]:
    """Return a recording of `n_samples` at `ratio` times its rate, still read in chunks, and its number of samples.

    Polyphase filter, zero phase; chunks are those of the whole recording resampled at once.
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
        found = resample_poly(read(begin * down, min(end * down, n_samples)), up, down, axis=-1, padtype="edge")
        return np.asarray(found[:, first - begin * up : last - begin * up], np.float32)

    return read_resampled, ceil(n_samples * up / down)


def interpolate_gaps(recording: LongRecording, scratch: Path) -> ReadChunk:
    """Return the recording with its gaps filled linearly; it is written once to the folder `scratch`.

    Gaps at the recording's ends repeat the nearest sample; a channel that is all gap is 0.
    """
    n, total = len(recording.channels), recording.n_samples
    filled = np.memmap(scratch / "filled", np.float32, "w+", shape=(n, total))
    known: list[int | None] = [None] * n  # the last sample known of each channel
    for first in range(0, total, CHUNK_SAMPLES):
        part = recording.read(first, min(first + CHUNK_SAMPLES, total))
        filled[:, first : first + part.shape[1]] = np.nan_to_num(part, nan=0.0, posinf=0.0, neginf=0.0)
        for channel, samples in enumerate(part):
            for gap in _ends_of_gaps(np.isfinite(samples), known[channel] != first - 1):
                before = known[channel] if gap.before < 0 else first + gap.before
                _interpolate(filled[channel], before, first + gap.after)
            finite = np.flatnonzero(np.isfinite(samples))
            known[channel] = first + int(finite[-1]) if len(finite) else known[channel]
    for channel, last in enumerate(known):
        if last is not None:
            filled[channel, last + 1 :] = filled[channel, last]
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


def _interpolate(samples: Chunk, before: int | None, after: int) -> None:
    """Fill the samples between two known ones linearly; without the former, with the latter."""
    start = -1 if before is None else before
    low = samples[after] if before is None else samples[before]
    samples[start + 1 : after] = np.linspace(low, samples[after], after - start + 1)[1:-1]
