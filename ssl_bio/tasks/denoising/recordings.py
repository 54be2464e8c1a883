"""A recording of any length, denoised by a finetuned run."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ssl_bio.console import note, progress, warn
from ssl_bio.data.channels import match_channels
from ssl_bio.data.chunks import Chunk, ReadChunk, chunks, interpolate_gaps, resample_chunks
from ssl_bio.data.filters import rate_ratio
from ssl_bio.data.formats.signal_files import SignalFile, open_file
from ssl_bio.data.new_recordings import sampling_rate_of
from ssl_bio.data.saving import SUFFIXES, check_recording_name, save_recording
from ssl_bio.errors import CheckpointError, DataError
from ssl_bio.models.denoiser import Denoiser
from ssl_bio.models.overlap_add import SEGMENT_LENGTH, denoise_stream
from ssl_bio.runs.checkpoint import CheckpointMetadata, load_checkpoint
from ssl_bio.tasks.denoising.benchmark import standardised, usual_levels
from ssl_bio.tasks.load import load_finetuned


def denoise_recording(
    checkpoint: Path, *, source: Path, output: Path, sampling_rate: float, device: torch.device, overwrite: bool
) -> None:
    """Denoise the recording in the file `source` and write it, at its own rate, to `output`.

    A run of one channel denoises every channel on its own. Another sampling rate (Hz) is resampled to the run's and
    back. Gaps (NaN) are bridged in a straight line for the network and stay gaps. What comes out has no offset. Memory
    does not grow with the recording, but for .mat files, which are read and written whole.

    Raises CheckpointError for a run that does not denoise, DataError for files that cannot be read or written.
    """
    run = load_finetuned(load_checkpoint(checkpoint))
    if not isinstance(run.model, Denoiser):
        raise CheckpointError(f'{checkpoint}: this run does not denoise: choose one with finetune.task "denoising"')
    _check_output(source, output, overwrite)
    try:
        with (
            tempfile.TemporaryDirectory(dir=output.parent, prefix=".denoise-") as folder,
            open_file(source, Path(folder)) as recording,
        ):
            recording = _chosen(recording, run.metadata.channels, source)
            rate = sampling_rate_of(source, said=sampling_rate, stored=recording.sampling_rate)
            check_recording_name(output, rate)
            _say(recording, rate=rate, metadata=run.metadata, source=source)
            model = run.model.to(device).eval()
            found = _denoised(model, recording, rate=rate, metadata=run.metadata, device=device, scratch=Path(folder))
            save_recording(
                output,
                found,
                sampling_rate=rate,
                channels=recording.channels,
                units=recording.units,
                scratch=Path(folder),
            )
    except OSError as error:
        raise DataError(f"{output.parent}: cannot be written: {error.strerror or error}") from error
    note(f"clean signal in {output}")


def _chosen(recording: SignalFile, channels: Sequence[str], source: Path) -> SignalFile:
    """Return a recording with the channels that a run of several takes, by name and in its order.

    Raises DataError when one is missing.
    """
    if len(channels) == 1 or (not recording.named and len(recording.channels) == len(channels)):
        return recording
    places = match_channels(channels, recording.channels, where=source.name)
    read = recording.read
    return recording._replace(
        read=lambda first, last: read(first, last)[places],
        channels=tuple(recording.channels[place] for place in places),
        units=tuple(recording.units[place] for place in places),
    )


def _check_output(source: Path, output: Path, overwrite: bool) -> None:
    if output.suffix not in SUFFIXES:
        raise DataError(f"--output {output}: one of {', '.join(SUFFIXES)} is wanted")
    if not output.parent.is_dir():
        raise DataError(f"--output {output}: no folder {output.parent}")
    taken = [path.resolve() for path in _files(source)]
    for path in _files(output):
        if path.resolve() in taken:
            raise DataError(f"--output {output} is the input itself: choose another name")
        if path.exists() and not overwrite:
            raise DataError(f"{path} is there already: choose another --output, or --overwrite")


def _files(recording: Path) -> list[Path]:
    return [recording, recording.with_suffix(".dat")] if recording.suffix == ".hea" else [recording]


def _say(recording: SignalFile, *, rate: float, metadata: CheckpointMetadata, source: Path) -> None:
    """Say what is about to happen. Raises DataError for channels that the run cannot take."""
    for remark in recording.said(recording.channels):
        note(f"{source.name}: {remark}")
    n, n_channels = len(recording.channels), len(metadata.channels)
    if n_channels not in (1, n):
        raise DataError(f"{source.name} has {n} channels, and the run denoises {n_channels} together")
    how = "1 channel" if n == 1 else f"{n} channels {'each on its own' if n_channels == 1 else 'together'}"
    note(f"{source.name}: {recording.n_samples / rate:,.1f} s at {rate:g} Hz, {how}")
    wanted = metadata.sampling_rate
    if rate != wanted:
        lost = f"; what is faster than {wanted / 2:g} Hz is lost" if rate > wanted else ""
        note(f"resampled to {wanted:g} Hz, the run's rate, and back{lost}")


def _denoised(
    model: Denoiser,
    recording: SignalFile,
    *,
    rate: float,
    metadata: CheckpointMetadata,
    device: torch.device,
    scratch: Path,
) -> Chunk:
    """Return the clean recording at its own rate, `(channels, samples)`, as a memory map, NaN in its gaps."""
    offset, spread = usual_levels(recording.read, recording.n_samples, rate)
    n, ratio, n_missing = len(recording.channels), rate_ratio(rate, metadata.sampling_rate), _n_missing(recording)
    if n_missing:
        warn(f"{n_missing} samples are missing: bridged for the network, and left missing")
    whole = interpolate_gaps(recording.read, recording.shape, scratch) if n_missing else recording.read
    read, total = resample_chunks(whole, recording.n_samples, ratio)

    def standard(first: int, last: int) -> Chunk:
        found = standardised(read(first, last), offset, spread)
        return found[:, None] if len(metadata.channels) == 1 else found[None]

    clean = np.memmap(scratch / "clean", np.float32, "w+", shape=(n, total))
    done, chunk = (
        0,
        int(SEGMENT_LENGTH * min(1.0, float(ratio))),
    )  # as many samples of the recording, where that is the faster
    with progress("denoise", total) as tick:
        for segment in denoise_stream(model, standard, n_samples=total, device=device, segment_length=chunk):
            end = done + segment.shape[-1]
            clean[:, done:end] = segment.reshape(n, -1) * spread
            done = end
            tick(done)
    back, _ = resample_chunks(lambda first, last: np.asarray(clean[:, first:last]), total, 1 / ratio)
    return _with_gaps(back, recording, scratch)


def _n_missing(recording: SignalFile) -> int:
    return sum(int((~np.isfinite(recording.read(*ends))).sum()) for ends in chunks(recording.n_samples))


def _with_gaps(read: ReadChunk, recording: SignalFile, scratch: Path) -> Chunk:
    """Return what `read` gives, as a memory map, NaN where the recording has none."""
    found = np.memmap(scratch / "found", np.float32, "w+", shape=(len(recording.channels), recording.n_samples))
    for first, last in chunks(recording.n_samples):
        found[:, first:last] = np.where(np.isfinite(recording.read(first, last)), read(first, last), np.nan)
    return np.asarray(found)
