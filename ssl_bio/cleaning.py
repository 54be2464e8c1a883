"""`ssl-bio denoise`: a recording of any length, cleaned by a finetuned run."""

import tempfile
from collections.abc import Iterator
from math import isfinite
from pathlib import Path

import numpy as np
import torch

from ssl_bio import denoising, judging, resolve, runtime
from ssl_bio.checkpoint import Facts, load
from ssl_bio.data import saving
from ssl_bio.data.recordings import STRETCH, SUFFIXES, LongRecording, Read, Stretch, bridged, opened, resampled
from ssl_bio.data.transforms import rate_ratio
from ssl_bio.errors import CheckpointError, DataError
from ssl_bio.models.denoiser import Denoiser
from ssl_bio.models.pieces import PIECE, cleaned
from ssl_bio.terminal import note, progress, warn


def denoise(checkpoint: Path, source: Path, output: Path, sampling_rate: float, device: str, overwrite: bool) -> None:
    """Clean the recording in the file `source` and write it, at its own rate, to `output`.

    A run of one channel cleans every channel on its own. Another sampling rate is resampled to the run's and back. Gaps
    (NaN) are bridged in a straight line for the network and stay gaps. What comes out has no offset. Memory does not
    grow with the recording, but for .mat files, which are read and written whole.

    Raises CheckpointError for a run that does not denoise, DataError for files that cannot be read or written.
    """
    place = runtime.pick_device(device)
    facts, model = _denoiser(checkpoint)
    _check_output(source, output, overwrite)
    try:
        with (
            tempfile.TemporaryDirectory(dir=output.parent, prefix=".denoise-") as folder,
            opened(source, Path(folder)) as recording,
        ):
            rate = _rate(recording, sampling_rate, source)
            saving.check_name(output, rate)
            _say(recording, rate, facts, source)
            found = _cleaned(model.to(place).eval(), recording, rate, facts, place, Path(folder))
            saving.save(output, found, rate, recording.channels, recording.units, Path(folder))
    except OSError as error:
        raise DataError(f"{output.parent}: cannot be written: {error.strerror or error}") from error
    note(f"clean signal in {output}")


def _rate(recording: LongRecording, said: float, source: Path) -> float:
    """The recording's rate, as the file or the command line says it."""
    rate = recording.sampling_rate or said
    if not rate:
        raise DataError(f"{source.name} does not say its sampling rate: give --sampling-rate HZ")
    if not (isfinite(rate) and rate > 0):
        raise DataError(f"{source.name}: {rate:g} Hz is no sampling rate")
    if said and said != rate:
        raise DataError(f"{source.name} was recorded at {rate:g} Hz, not --sampling-rate {said:g}")
    return rate


def _denoiser(checkpoint: Path) -> tuple[Facts, Denoiser]:
    loaded = load(checkpoint)
    if loaded.facts.kind != "finetune":
        raise CheckpointError(f"{checkpoint}: a pretraining run; finetune it to denoise first")
    model = judging.load_network(loaded, resolve.resolve([resolve.from_checkpoint(loaded.facts)]).recipe)
    if not isinstance(model, Denoiser):
        raise CheckpointError(f'{checkpoint}: this run does not denoise: choose one with finetune.task "denoise"')
    return loaded.facts, model


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


def _say(recording: LongRecording, rate: float, facts: Facts, source: Path) -> None:
    """What is about to happen. Raises DataError for channels that the run cannot take."""
    n, n_channels = len(recording.channels), len(facts.channels)
    if n_channels not in (1, n):
        raise DataError(f"{source.name} has {n} channels, and the run cleans {n_channels} together")
    how = "1 channel" if n == 1 else f"{n} channels {'each on its own' if n_channels == 1 else 'together'}"
    note(f"{source.name}: {recording.n_samples / rate:,.1f} s at {rate:g} Hz, {how}")
    wanted = facts.sampling_rate
    if rate != wanted:
        lost = f"; what is faster than {wanted / 2:g} Hz is lost" if rate > wanted else ""
        note(f"resampled to {wanted:g} Hz, the run's rate, and back{lost}")


def _cleaned(
    model: Denoiser, recording: LongRecording, rate: float, facts: Facts, device: torch.device, scratch: Path
) -> Stretch:
    """The clean recording at its own rate, `(channels, samples)`, as a memory map, NaN in its gaps."""
    offset, spread = denoising.usual_levels(recording.read, recording.n_samples, rate)
    n, ratio, n_missing = len(recording.channels), rate_ratio(rate, facts.sampling_rate), _n_missing(recording)
    if n_missing:
        warn(f"{n_missing} samples are missing: bridged for the network, and left missing")
    whole = bridged(recording, scratch) if n_missing else recording.read
    read, total = resampled(whole, recording.n_samples, ratio)

    def standard(first: int, last: int) -> Stretch:
        found = denoising.standardised(read(first, last), offset, spread)
        return found[:, None] if len(facts.channels) == 1 else found[None]

    clean = np.memmap(scratch / "clean", np.float32, "w+", shape=(n, total))
    done, piece = 0, int(PIECE * min(1.0, float(ratio)))  # as many samples of the recording, where that is the faster
    with progress("denoise", total) as tick:
        for stretch in cleaned(model, standard, total, device, piece):
            end = done + stretch.shape[-1]
            clean[:, done:end] = stretch.reshape(n, -1) * spread
            done = end
            tick(done)
    back, _ = resampled(lambda first, last: np.asarray(clean[:, first:last]), total, 1 / ratio)
    return _with_gaps(back, recording, scratch)


def _stretches(recording: LongRecording) -> Iterator[tuple[int, int]]:
    for first in range(0, recording.n_samples, STRETCH):
        yield first, min(first + STRETCH, recording.n_samples)


def _n_missing(recording: LongRecording) -> int:
    return sum(int((~np.isfinite(recording.read(*ends))).sum()) for ends in _stretches(recording))


def _with_gaps(read: Read, recording: LongRecording, scratch: Path) -> Stretch:
    """What `read` gives, as a memory map, NaN where the recording has none."""
    found = np.memmap(scratch / "found", np.float32, "w+", shape=(len(recording.channels), recording.n_samples))
    for first, last in _stretches(recording):
        found[:, first:last] = np.where(np.isfinite(recording.read(first, last)), read(first, last), np.nan)
    return np.asarray(found)
