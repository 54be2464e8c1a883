"""Long recordings, written in chunks: .hea (WFDB), .wav, .npy, .npz, .csv, .mat."""

import csv
import re
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ssl_bio.data.chunks import CHUNK_SAMPLES, Chunk
from ssl_bio.data.formats.wfdb_records import quiet_wfdb
from ssl_bio.errors import DataError

#: What `save_recording` can write.
SUFFIXES = (".hea", ".wav", ".npy", ".npz", ".csv", ".mat")
_FULL_SCALE = 32_000  # largest stored value, of 16 bits
_GAP = -32_768  # what WFDB takes for a missing sample


def save_recording(
    path: Path,
    signals: Chunk,
    *,
    sampling_rate: float,
    channels: Sequence[str],
    units: Sequence[str],
    scratch: Path,
) -> None:
    """Write signals `(channels, samples)`, which may be a memory map, in the format of the suffix, whole or not at all.

    WFDB files hold 16 bits a sample, every channel scaled to use them. `scratch` is a folder for temporary files.

    Raises DataError when the file cannot be written, or the format cannot hold these signals.
    """
    temporary = scratch / path.name
    try:
        if path.suffix == ".hea":
            _save_wfdb(path, signals, sampling_rate=sampling_rate, channels=channels, units=units, scratch=scratch)
        elif path.suffix == ".wav":
            _save_wav(temporary, signals, round(sampling_rate))
        elif path.suffix == ".csv":
            _save_table(temporary, signals, channels)
        elif path.suffix == ".mat":
            from scipy.io import savemat  # imported when needed: it takes its time

            savemat(temporary, {"signals": signals, "sampling_rate": sampling_rate})
        elif path.suffix == ".npz":
            np.savez(temporary, signals=signals, sampling_rate=np.float64(sampling_rate))
        else:
            np.save(temporary, signals)
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error
    except (struct.error, ValueError, TypeError) as error:  # what the formats' own libraries raise
        raise DataError(f"{path}: this format cannot hold it: {error}") from error


def check_recording_name(path: Path, sampling_rate: float) -> None:
    """Raise DataError for a name or a sampling rate (Hz) that the format cannot hold.

    Names of WFDB records have letters, digits, "-" and "_" alone; a .wav file has a whole number of samples a second.
    """
    if path.suffix == ".hea" and not re.fullmatch(r"[-\w]+", path.stem, re.ASCII):
        raise DataError(f"{path}: the name of a WFDB record has letters, digits, - and _ alone")
    if path.suffix == ".wav" and (sampling_rate < 1 or sampling_rate % 1):
        raise DataError(f"{path}: a .wav file holds whole rates, not {sampling_rate:g} Hz: choose another suffix")


def _save_wav(path: Path, signals: Chunk, sampling_rate: int) -> None:
    """Write 32-bit floating point samples (format 3 of the RIFF specification)."""
    n, total = signals.shape
    size = 4 * n * total
    layout = struct.pack("<HHIIHHH", 3, n, sampling_rate, 4 * n * sampling_rate, 4 * n, 32, 0)
    chunks = b"fmt " + struct.pack("<I", len(layout)) + layout + b"fact" + struct.pack("<II", 4, total)
    with path.open("wb") as file:
        file.write(b"RIFF" + struct.pack("<I", 4 + len(chunks) + 8 + size) + b"WAVE" + chunks)
        file.write(b"data" + struct.pack("<I", size))
        for first in range(0, total, CHUNK_SAMPLES):
            file.write(signals[:, first : first + CHUNK_SAMPLES].T.astype("<f4").tobytes())


def _save_table(path: Path, signals: Chunk, channels: Sequence[str]) -> None:
    import pandas as pd

    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow(channels)
        for first in range(0, signals.shape[1], CHUNK_SAMPLES):
            part = pd.DataFrame(signals[:, first : first + CHUNK_SAMPLES].T)
            part.to_csv(file, header=False, index=False, float_format="%.7g", lineterminator="\n")


def _save_wfdb(
    path: Path, signals: Chunk, *, sampling_rate: float, channels: Sequence[str], units: Sequence[str], scratch: Path
) -> None:
    parts = range(0, signals.shape[1], CHUNK_SAMPLES)
    peak = np.zeros(len(signals))
    for first in parts:
        peak = np.fmax(peak, np.nanmax(np.abs(np.nan_to_num(signals[:, first : first + CHUNK_SAMPLES])), axis=1))
    gain = _FULL_SCALE / np.where(peak > 0, peak, 1.0)
    n, data = len(signals), scratch / f"{path.stem}.dat"
    first_counts, total = np.zeros(n, np.int64), np.zeros(n, np.int64)
    with data.open("wb") as file:
        for first in parts:
            part = signals[:, first : first + CHUNK_SAMPLES]
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
            units=list(units),
            adc_res=[16] * n,
            adc_zero=[0] * n,
            init_value=first_counts.tolist(),
            checksum=(total % 65_536).tolist(),
            block_size=[0] * n,
            sig_name=list(channels),
        )
        header.wrheader(write_dir=str(scratch))
    data.replace(path.with_suffix(".dat"))
