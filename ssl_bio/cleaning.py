"""`ssl-bio denoise`: a recording of any length, cleaned by a finetuned run."""

import tempfile
from math import ceil
from pathlib import Path

import numpy as np
import torch

from ssl_bio import denoising, judging, resolve, runtime
from ssl_bio.checkpoint import Facts, load
from ssl_bio.data import recordings
from ssl_bio.data.recordings import LongRecording, Read, Stretch, opened, resampled
from ssl_bio.data.transforms import fill_missing
from ssl_bio.errors import CheckpointError, DataError
from ssl_bio.models.denoiser import Denoiser
from ssl_bio.models.pieces import cleaned
from ssl_bio.terminal import note, progress, warn

_STRETCH = 65_536  # samples


def denoise(checkpoint: Path, source: Path, output: Path, sampling_rate: float, device: str, overwrite: bool) -> None:
    """Clean the recording in the file `source` and write it, at its own rate, to `output`.

    A run of one channel cleans every channel on its own. Another sampling rate is resampled to the run's and back. Gaps
    (NaN) are bridged in a straight line for the network and stay gaps. What comes out has no offset. Memory does not
    grow with the recording.

    Raises CheckpointError for a run that does not denoise, DataError for files that cannot be read or written.
    """
    place = runtime.pick_device(device)
    facts, model = _denoiser(checkpoint)
    _check_output(source, output, overwrite)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".denoise-") as folder:
        scratch = Path(folder)
        with opened(source, scratch) as recording:
            rate = recording.sampling_rate or sampling_rate
            if not rate:
                raise DataError(f"{source.name} does not say its sampling rate: give --sampling-rate HZ")
            if sampling_rate and sampling_rate != rate:
                raise DataError(f"{source.name} was recorded at {rate:g} Hz, not --sampling-rate {sampling_rate:g}")
            _say(recording, rate, facts.sampling_rate, len(facts.channels), source)
            found = _cleaned(model, recording, rate, facts.sampling_rate, len(facts.channels), place, scratch)
            recordings.save(output, found, rate, recording.channels, recording.unit, scratch)
    note(f"clean signal in {output}")


def _denoiser(checkpoint: Path) -> tuple[Facts, Denoiser]:
    loaded = load(checkpoint)
    model = judging.load_network(loaded, resolve.resolve([resolve.from_checkpoint(loaded.facts)]).recipe)
    if not isinstance(model, Denoiser):
        raise CheckpointError(f'{checkpoint}: this run does not denoise: choose one with finetune.task "denoise"')
    return loaded.facts, model


def _check_output(source: Path, output: Path, overwrite: bool) -> None:
    if output.suffix not in recordings.SUFFIXES:
        raise DataError(f"--output {output}: one of {', '.join(recordings.SUFFIXES)} is wanted")
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


def _say(recording: LongRecording, rate: float, wanted_rate: float, n_channels: int, source: Path) -> None:
    """What is about to happen. Raises DataError for channels that the run cannot take."""
    n = len(recording.channels)
    if n_channels not in (1, n):
        raise DataError(f"{source.name} has {n} channels, and the run cleans {n_channels} together")
    how = "1 channel" if n == 1 else f"{n} channels {'each on its own' if n_channels == 1 else 'together'}"
    note(f"{source.name}: {recording.n_samples / rate:,.1f} s at {rate:g} Hz, {how}")
    if rate != wanted_rate:
        lost = f"; what is faster than {wanted_rate / 2:g} Hz is lost" if rate > wanted_rate else ""
        note(f"resampled to {wanted_rate:g} Hz, the run's rate, and back{lost}")


def _cleaned(
    model: Denoiser,
    recording: LongRecording,
    rate: float,
    wanted_rate: float,
    n_channels: int,
    device: torch.device,
    scratch: Path,
) -> Stretch:
    """The clean recording at its own rate, `(channels, samples)`, as a memory map, NaN in its gaps."""

    def whole(first: int, last: int) -> Stretch:
        filled: Stretch = fill_missing(recording.read(first, last)[None], "interpolate")[0]
        return filled

    read, total = resampled(whole, recording.n_samples, rate, wanted_rate)
    offset, spread = denoising.usual_levels(read, total, wanted_rate)

    def standard(first: int, last: int) -> Stretch:
        found = denoising.standardised(read(first, last), offset, spread)
        return found[:, None] if n_channels == 1 else found[None]

    n = len(recording.channels)
    clean = np.memmap(scratch / "clean", np.float32, "w+", shape=(n, total))
    done = 0
    with progress("denoise", total) as tick:
        for stretch in cleaned(model.to(device).eval(), standard, total, device):
            end = done + stretch.shape[-1]
            clean[:, done:end] = stretch.reshape(n, -1) * spread
            done = end
            tick(done)
    return _at_own_rate(clean, recording, rate, wanted_rate, scratch)


def _at_own_rate(clean: Stretch, recording: LongRecording, rate: float, wanted_rate: float, scratch: Path) -> Stretch:
    back: Read
    back, _ = resampled(lambda first, last: np.asarray(clean[:, first:last]), clean.shape[1], wanted_rate, rate)
    total, n_missing = recording.n_samples, 0
    found = np.memmap(scratch / "found", np.float32, "w+", shape=(len(clean), total))
    for index in range(ceil(total / _STRETCH)):
        first, last = index * _STRETCH, min((index + 1) * _STRETCH, total)
        gone = ~np.isfinite(recording.read(first, last))
        found[:, first:last] = np.where(gone, np.nan, back(first, last))
        n_missing += int(gone.sum())
    if n_missing:
        warn(f"{n_missing} samples are missing: bridged for the network, and left missing")
    return np.asarray(found)
