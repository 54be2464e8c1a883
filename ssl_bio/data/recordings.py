"""Long recordings, read and written a stretch at a time: .hea (WFDB), .wav, .npy, .npz, .csv, .mat."""

import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.io import savemat, wavfile
from scipy.signal import resample_poly

from ssl_bio.data import signal_files
from ssl_bio.data.physionet import quiet_wfdb, reading_wfdb
from ssl_bio.errors import DataError

Stretch = NDArray[np.float32]  # (channels, samples)
Read = Callable[[int, int], Stretch]

SUFFIXES = (".hea", ".wav", ".npy", ".npz", ".csv", ".mat")
_LINES = 65_536  # of a table, or samples of a recording, in one go
_FULL_SCALE = 32_000  # of 16 bits
_GAP = -32_768  # what WFDB takes for a missing sample


class LongRecording(NamedTuple):
    """A recording that is read a stretch at a time; NaN in its gaps."""

    read: Read  # (first, last) -> samples from the first to before the last
    n_samples: int
    channels: tuple[str, ...]
    sampling_rate: float  # Hz; 0: the file does not say
    unit: str


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
    with reading_wfdb(place) as wfdb:
        header = wfdb.rdheader(str(place))

    def read(first: int, last: int) -> Stretch:
        with reading_wfdb(place) as wfdb:
            record = wfdb.rdrecord(str(place), sampfrom=first, sampto=last)
        return np.asarray(record.p_signal.T, np.float32)

    if not header.sig_len or not header.n_sig:
        raise DataError(f"{path.name}: holds no signal")
    names = tuple(name.strip(", ") for name in header.sig_name)
    return LongRecording(read, int(header.sig_len), names, float(header.fs), str((header.units or [""])[0]))


def _of_wav(path: Path, scratch: Path) -> LongRecording:
    try:
        rate, samples = wavfile.read(path, mmap=True)
    except (ValueError, OSError) as error:
        raise DataError(f"{path.name}: not a whole .wav file ({error})") from error
    return _of_memory(path, samples.reshape(len(samples), -1).T, float(rate))


def _of_table(path: Path, scratch: Path) -> LongRecording:
    """Raises DataError unless the file holds a line of names and lines of as many numbers."""
    names = signal_files.channels_of_table(path)
    n, raw = 0, scratch / "samples"
    try:
        with raw.open("wb") as file:
            for part in pd.read_csv(path, header=None, skiprows=1, dtype=np.float64, chunksize=_LINES):
                if part.shape[1] != len(names):
                    raise DataError(f"{path.name}: {part.shape[1]} numbers a line under {len(names)} names")
                file.write(part.to_numpy(np.float32).tobytes())
                n += len(part)
    except ValueError as error:
        raise DataError(f"{path.name}: not a line of names and lines of numbers ({error})") from error
    if not n:
        raise DataError(f"{path.name}: holds no signal")
    samples = np.memmap(raw, np.float32, "r", shape=(n, len(names))).T
    return LongRecording(lambda first, last: np.array(samples[:, first:last]), n, names, 0.0, "")


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
                        rate = float(np.lib.format.read_array(file, allow_pickle=False))
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
    array = array.T if array.shape[0] > array.shape[1] else array

    def read(first: int, last: int) -> Stretch:
        return np.asarray(array[:, first:last], np.float32)

    return LongRecording(read, array.shape[1], tuple(f"ch{i}" for i in range(len(array))), sampling_rate, "")


def resampled(read: Read, total: int, sampling_rate: float, wanted_rate: float) -> tuple[Read, int]:
    """A recording of `total` samples at another rate (polyphase filter, zero phase), still read a stretch at a time,
    and how many samples it then has."""
    if sampling_rate == wanted_rate:
        return read, total
    ratio = Fraction(wanted_rate / sampling_rate).limit_denominator(1000)
    up, down = ratio.numerator, ratio.denominator
    # The filter reaches ten samples of the slower rate to either side; stretches begin where both rates have a sample.
    guard = ceil((10 * max(1.0, down / up) + 1) / down)

    def read_resampled(first: int, last: int) -> Stretch:
        begin = max(0, first // up - guard)
        end = min(ceil(last / up) + guard, ceil(total / down))
        found = resample_poly(read(begin * down, min(end * down, total)), up, down, axis=-1, padtype="edge")
        return np.asarray(found[:, first - begin * up : last - begin * up], np.float32)

    return read_resampled, ceil(total * up / down)


def save(path: Path, signals: Stretch, sampling_rate: float, channels: Sequence[str], unit: str, scratch: Path) -> None:
    """Write signals `(channels, samples)`, which may be a memory map, as the suffix says, whole or not at all. WFDB
    files hold 16 bits, every channel scaled to use them.

    Raises DataError when that cannot be.
    """
    temporary = scratch / path.name
    try:
        if path.suffix == ".hea":
            _save_wfdb(path, signals, sampling_rate, channels, unit, scratch)
        elif path.suffix == ".wav":
            wavfile.write(temporary, round(sampling_rate), signals.T)
        elif path.suffix == ".csv":
            _save_table(temporary, signals, channels)
        elif path.suffix == ".mat":
            savemat(temporary, {"signals": signals, "sampling_rate": sampling_rate})
        elif path.suffix == ".npz":
            np.savez(temporary, signals=signals, sampling_rate=np.float64(sampling_rate))
        else:
            np.save(temporary, signals)
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error


def _save_table(path: Path, signals: Stretch, channels: Sequence[str]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(channels) + "\n")
        for first in range(0, signals.shape[1], _LINES):
            part = pd.DataFrame(signals[:, first : first + _LINES].T)
            part.to_csv(file, header=False, index=False, float_format="%.7g", lineterminator="\n")


def _save_wfdb(
    path: Path, signals: Stretch, sampling_rate: float, channels: Sequence[str], unit: str, scratch: Path
) -> None:
    parts = range(0, signals.shape[1], _LINES)
    height = np.zeros(len(signals))
    for first in parts:
        height = np.fmax(height, np.nanmax(np.abs(np.nan_to_num(signals[:, first : first + _LINES])), axis=1))
    gain = _FULL_SCALE / np.where(height > 0, height, 1.0)
    n, data = len(signals), scratch / f"{path.stem}.dat"
    first_counts, total = np.zeros(n, np.int64), np.zeros(n, np.int64)
    with data.open("wb") as file:
        for first in parts:
            part = signals[:, first : first + _LINES]
            counts = np.where(np.isfinite(part), np.round(np.nan_to_num(part) * gain[:, None]), _GAP).astype(np.int64)
            first_counts = counts[:, 0] if first == 0 else first_counts
            total += counts.sum(axis=1)
            file.write(counts.T.astype("<i2").tobytes())
    with quiet_wfdb() as wfdb:
        header = wfdb.Record(
            record_name=path.stem,
            n_sig=n,
            fs=sampling_rate,
            sig_len=signals.shape[1],
            file_name=[data.name] * n,
            fmt=["16"] * n,
            adc_gain=gain.tolist(),
            baseline=[0] * n,
            units=[unit or "mV"] * n,
            adc_res=[16] * n,
            adc_zero=[0] * n,
            init_value=first_counts.tolist(),
            checksum=(total % 65_536).tolist(),
            block_size=[0] * n,
            sig_name=list(channels),
        )
        header.wrheader(write_dir=str(scratch))
    data.replace(path.with_suffix(".dat"))
