"""Signals in a file of its own, in whatever format: read in chunks, or as a whole.

A format is a module beside this one with a function that opens a file; `FORMATS` has a line for each suffix.
"""

import importlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.chunks import ReadChunk
from ssl_bio.errors import DataError

FORMATS = {
    ".hea": "ssl_bio.data.formats.wfdb_records:open_signals",
    ".edf": "ssl_bio.data.formats.edf:open_signals",
    ".bdf": "ssl_bio.data.formats.edf:open_signals",
    ".wav": "ssl_bio.data.formats.wav:open_signals",
    ".csv": "ssl_bio.data.formats.tables:open_text",
    ".tsv": "ssl_bio.data.formats.tables:open_text",
    ".txt": "ssl_bio.data.formats.tables:open_text",
    ".parquet": "ssl_bio.data.formats.tables:open_parquet",
    ".npy": "ssl_bio.data.formats.numpy_files:open_npy",
    ".npz": "ssl_bio.data.formats.numpy_files:open_npz",
    ".mat": "ssl_bio.data.formats.matlab:open_signals",
    ".fif": "ssl_bio.data.formats.mne_files:open_signals",
    ".vhdr": "ssl_bio.data.formats.mne_files:open_signals",
}
SUFFIXES = tuple(FORMATS)
#: Files without which others mean nothing, and which are read along with them.
COMPANIONS = (".dat", ".eeg", ".vmrk")
PREFERRED_NAMES = ("signals", "val")
RATE_NAMES = ("sampling_rate", "fs", "sfreq")  # of a number beside the signals, in Hz


class SignalFile(NamedTuple):
    """An open file. `read` gives samples `(channels, n)` in physical units, NaN in gaps."""

    read: ReadChunk
    n_samples: int
    channels: tuple[str, ...]
    sampling_rate: float = 0.0  # Hz; 0: the file does not say
    units: tuple[str, ...] = ()  # of each channel; "NU": the file does not say
    named: bool = True  # whether the file has names for its channels
    remarks: tuple[str, ...] = ()  # what was done that a person would like to know
    of_channels: Mapping[str, str] = {}  # the same of single channels, by name

    @property
    def shape(self) -> tuple[int, int]:
        """The number of channels and of samples."""
        return len(self.channels), self.n_samples

    def said(self, channels: Iterable[str]) -> tuple[str, ...]:
        """Return what was done to the file and to these of its channels."""
        return (*self.remarks, *(self.of_channels[name] for name in channels if name in self.of_channels))


class Signals(NamedTuple):
    """A file's signals `(channels, samples)`, in memory."""

    values: NDArray[Any]
    file: SignalFile


OpenFile = Callable[[Path, Path], AbstractContextManager[SignalFile]]


@contextmanager
def open_file(path: Path, scratch: Path) -> Iterator[SignalFile]:
    """Open a file for reading; formats without random access are unpacked into the folder `scratch`.

    Nothing is ever unpickled.

    Raises DataError that names the file.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise DataError(f"{path}: one of {', '.join(FORMATS)} is wanted")
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    module, _, function = FORMATS[suffix].partition(":")
    opener: OpenFile = getattr(importlib.import_module(module), function)
    with opener(path, scratch) as found:
        if not found.n_samples or not found.channels:
            raise DataError(f"{path.name}: holds no signal")
        yield found


def load_file(path: Path) -> Signals:
    """Return all signals of a file. Raises DataError that names it."""
    with tempfile.TemporaryDirectory(prefix="ssl-bio-") as folder, open_file(path, Path(folder)) as file:
        return Signals(np.array(file.read(0, file.n_samples)), file)


def of_array(path: Path, array: NDArray[Any], sampling_rate: float = 0.0) -> SignalFile:
    """Return the signals of an array without names, which may be a memory map.

    Of its two axes the longer one is time, of equal ones the second; a single axis is one channel.

    Raises DataError that names the file when it holds no numbers or has another number of axes, and for a sampling rate
    in Hz (0: unknown) that is none.
    """
    if not (np.isfinite(sampling_rate) and sampling_rate >= 0):
        raise DataError(f"{path.name}: its sampling_rate is {sampling_rate:g} Hz")
    if array.dtype.kind not in "biuf" or array.ndim not in (1, 2) or not array.size:
        raise DataError(f"{path.name}: {array.dtype} {array.shape} instead of numbers (channels, samples)")
    array = np.atleast_2d(array)
    turned = array.shape[0] > array.shape[1]
    signals = array.T if turned else array
    n, total = signals.shape
    return SignalFile(
        lambda first, last: np.array(signals[:, first:last], np.float64),
        total,
        tuple(f"ch{index}" for index in range(n)),
        sampling_rate,
        ("NU",) * n,
        named=False,
        remarks=(f"an array {array.shape} is taken for {n} channels of {total} samples",) if turned else (),
    )
