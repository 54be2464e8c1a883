"""Recordings in the European Data Format and its kin (.edf, EDF+, .bdf), read with the library edfio."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.chunks import ReadChunk, resample_chunks
from ssl_bio.data.filters import rate_ratio
from ssl_bio.data.formats.signal_files import SignalFile
from ssl_bio.errors import DataError

if TYPE_CHECKING:
    import edfio


class _Channel(NamedTuple):
    name: str
    unit: str
    sampling_rate: float
    n_samples: int
    read: ReadChunk


@contextmanager
def open_signals(path: Path, scratch: Path) -> Iterator[SignalFile]:
    """Open a file; annotations are left out, and channels of lower rates are resampled to the highest.

    Raises DataError when the file is broken, or a recording with gaps between its data records (EDF+D).
    """
    import edfio  # imported when needed: it takes its time

    said: list[str] = []
    try:
        with _collected(said):
            file = edfio.read_bdf(path) if path.suffix.lower() == ".bdf" else edfio.read_edf(path, lazy_load_data=True)
        channels = [_channel(path, signal, file.num_data_records) for signal in file.signals]
        continuous = file.is_continuous
    # edfio raises whatever numpy or its parser of headers met.
    except Exception as error:
        raise DataError(f"{path.name}: not a whole EDF file ({type(error).__name__}: {error})") from error
    if not continuous:
        raise DataError(f"{path.name}: a recording with gaps (EDF+D): save it as continuous (EDF+C) first")
    if not channels:
        raise DataError(f"{path.name}: holds no signal")
    found = _joined(channels)
    yield found._replace(remarks=tuple(said))


@contextmanager
def _collected(texts: list[str]) -> Iterator[None]:
    """Collect what is warned of while the block runs, such as a file that was cut off."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    texts += dict.fromkeys(" ".join(str(warning.message).split()) for warning in caught)


def _channel(path: Path, signal: "edfio.EdfSignal | edfio.BdfSignal", n_records: int) -> _Channel:
    rate, n = signal.sampling_frequency, signal.samples_per_data_record * n_records

    def read(first: int, last: int) -> NDArray[np.float64]:
        try:
            return signal.get_data_slice(first / rate, last / rate)[None]
        except (OSError, ValueError) as error:
            raise DataError(f"{path.name}: {signal.label} cannot be read ({error})") from error

    return _Channel(signal.label.strip(), signal.physical_dimension.strip() or "NU", float(rate), n, read)


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of which equal ones are numbered."""
    return tuple(name if names.count(name) == 1 else f"{name}_{index}" for index, name in enumerate(names))


def _joined(channels: Sequence[_Channel]) -> SignalFile:
    """Return all channels at the highest of their rates."""
    rate = max(channel.sampling_rate for channel in channels)
    remarks: dict[str, str] = {}
    readers, lengths = [], []
    for channel in channels:
        read, n = channel.read, channel.n_samples
        if channel.sampling_rate != rate:
            read, n = resample_chunks(read, n, rate_ratio(channel.sampling_rate, rate))
            remarks[channel.name] = f"{channel.name} is resampled from {channel.sampling_rate:g} to {rate:g} Hz"
        readers.append(read)
        lengths.append(n)
    return SignalFile(
        lambda first, last: np.concatenate([read(first, last) for read in readers]),
        min(lengths),
        _distinct([channel.name or f"ch{index}" for index, channel in enumerate(channels)]),
        rate,
        tuple(channel.unit for channel in channels),
        of_channels=remarks,
    )
