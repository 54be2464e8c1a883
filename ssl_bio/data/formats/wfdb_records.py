"""Records in PhysioNet's WFDB format, read with the library wfdb.

Its parser of headers lets no path into the name of a file or segment, so that a record leads to no other folder; a test
holds it to that.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.formats.signal_files import SignalFile
from ssl_bio.data.ingest.archive import Files
from ssl_bio.data.recording import Signals
from ssl_bio.errors import DataError


class Record(NamedTuple):
    """A record: signals `(channels, samples)` in physical units, NaN in gaps."""

    name: str
    signals: Signals
    sampling_rate: float  # Hz
    leads: tuple[str, ...]

    def select(self, leads: tuple[str, ...]) -> Signals:
        """Return the signals of these leads, in that order. Raises DataError when one is missing."""
        missing = [lead for lead in leads if lead not in self.leads]
        if missing:
            raise DataError(f"record {self.name}: no lead {', '.join(missing)}; it has {', '.join(self.leads)}")
        return self.signals[[self.leads.index(lead) for lead in leads]]


class Annotations(NamedTuple):
    """Annotations of a record: sample numbers, symbols and notes, `n` each."""

    samples: NDArray[np.int64]
    symbols: list[str]
    notes: list[str]


@contextmanager
def quiet_wfdb() -> Iterator[ModuleType]:
    """Import the library, which takes its time, and silence its warnings about its own use of pandas."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import wfdb

        yield wfdb


@contextmanager
def reading_wfdb(path: Path) -> Iterator[ModuleType]:
    """Import the library to read the record `path` (without suffix): whatever it raises becomes a DataError."""
    try:
        with quiet_wfdb() as wfdb:
            yield wfdb
    # wfdb raises whatever numpy or the parser met.
    except Exception as error:
        raise DataError(f"record {path.name}: cannot be read ({type(error).__name__}: {error})") from error


def read_record(path: Path) -> Record:
    """Return the record `path` (without suffix). Raises DataError that names it when it is broken."""
    with reading_wfdb(path) as wfdb:
        record = wfdb.rdrecord(str(path))
    if record.p_signal is None or not record.p_signal.size:
        raise DataError(f"record {path.name}: holds no signal")
    # Some publishers' tools leave a comma behind a lead's name.
    leads = tuple(name.strip(", ") for name in record.sig_name)
    return Record(path.name, record.p_signal.T.astype(np.float64), float(record.fs), leads)


@contextmanager
def open_signals(path: Path, scratch: Path) -> Iterator[SignalFile]:
    """Open the record of a header file (.hea). Raises DataError that names it when it is broken."""
    record = path.with_suffix("")

    def read_part(first: int, last: int) -> Any:
        with reading_wfdb(record) as wfdb:
            return wfdb.rdrecord(str(record), sampfrom=first, sampto=last)

    with reading_wfdb(record) as wfdb:
        header = wfdb.rdheader(str(record))
    if not header.sig_len or not header.n_sig:
        raise DataError(f"{path.name}: holds no signal")
    beginning = read_part(0, 1)  # of a record in segments only this tells the names
    n = beginning.p_signal.shape[1]
    names = [(name or "").strip(", ") or f"ch{index}" for index, name in enumerate(beginning.sig_name or [""] * n)]
    yield SignalFile(
        lambda first, last: np.asarray(read_part(first, last).p_signal.T, np.float64),
        int(header.sig_len),
        tuple(name if names.count(name) == 1 else f"{name}_{index}" for index, name in enumerate(names)),
        float(header.fs),
        tuple(unit or "NU" for unit in beginning.units or [""] * n),
    )


def read_annotations(path: Path, extension: str) -> Annotations:
    """Return the annotations `extension` of the record `path` (without suffix). Raises DataError that names it."""
    with reading_wfdb(path) as wfdb:
        found = wfdb.rdann(str(path), extension)
        return Annotations(np.asarray(found.sample, np.int64), list(found.symbol), list(found.aux_note))


def record_names(files: Files, *, header: str, partner: str) -> list[str]:
    """Return the names without suffix of all records, which have a file with the suffix `header`.

    Raises DataError when there is none, or when one lacks the file with the suffix `partner`.
    """
    found = [name.removesuffix(header) for name in files.find(header)]
    if not found:
        raise DataError(f"{files.source}: no *{header} file inside: not this database")
    for name in found:
        if not files.has(name + partner):
            raise DataError(f"{files.source}: record {stem(name)} has no {partner} file")
    return found


def stem(name: str) -> str:
    """Return the last part of a record's name."""
    return name.rpartition("/")[2]
