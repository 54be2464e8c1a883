"""How a denoiser fares: types of noise at levels over windows, beside the noisy signal and a classical answer."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pywt
import torch
from numpy.typing import NDArray

from ssl_bio import runtime
from ssl_bio.beats import compare_beats, find_beats
from ssl_bio.data.mixing import Noise
from ssl_bio.data.store import Signals
from ssl_bio.data.transforms import bandpass
from ssl_bio.data.view import View
from ssl_bio.models.denoiser import Denoiser
from ssl_bio.models.pieces import Read, cleaned
from ssl_bio.models.waveform_loss import waveform_loss
from ssl_bio.outcome import STATISTICS, Answers, Cell, Signal
from ssl_bio.terminal import progress

BLOCK = 10.0  # s over which a recording's offset and deviation are looked at
_HIGHEST = 0.45  # of the sampling rate, for a band's upper end
_BATCH = 8  # windows of minutes, of which a network's layers hold many copies

Cleaner = Callable[[Signals], Signals]


class Example(NamedTuple):
    """A stretch of one channel `(samples,)` under one cell, for people to look at."""

    cell: Cell
    clean: NDArray[np.float32]
    noisy: NDArray[np.float32]
    answers: Mapping[str, NDArray[np.float32]]


def _example(
    cell: Cell, clean: NDArray[np.float32], noisy: NDArray[np.float32], answers: Mapping[str, NDArray[np.float32]]
) -> Example:
    """All without their offsets, which are no signal."""
    centred = {name: answer - answer.mean() for name, answer in answers.items()}
    return Example(cell, clean - clean.mean(), noisy - noisy.mean(), centred)


class Trial(NamedTuple):
    """What a denoiser is judged by: windows of clean signals under cells of noise.

    Without `noise` the view holds twice as many channels, the latter half as recorded. `beats`, `(n, length)`, are
    codes above 0 where there is one; they are looked for in the first channel. Without a `classical_band` (Hz) nothing
    classical stands beside.
    """

    clean: View
    noise: Noise | None
    cells: tuple[Cell, ...]
    beats: NDArray[np.int8] | None = None
    classical_band: Sequence[float] = ()


class Fared(NamedTuple):
    """Statistics `(n, n_cells, n_statistics)` of the noisy windows and of each answer, by name, and examples."""

    noisy: Answers
    answers: Mapping[str, Answers]
    examples: Sequence[Example]


OURS, CLASSICAL = "ours", "classical"


def cells_of(noise: Noise | None, levels: Sequence[float]) -> tuple[Cell, ...]:
    """Every type of noise at every level, or the one cell of signals that were recorded with noise."""
    if noise is None:
        return (Cell(noise="as recorded", unit=""),)
    unit = "dB" if noise.level == "snr" else "x"
    return tuple(Cell.model_validate({"noise": k, "level": x, "unit": unit}) for k in noise.sources for x in levels)


def fared(model: Denoiser, outcome: Signal, trial: Trial, device: torch.device) -> Fared:
    """Judge a denoiser. The noise of a window depends on the window and the cell alone: every model meets the same."""
    rate = trial.clean.sampling_rate
    cleaners: dict[str, Cleaner] = {OURS: lambda signals: denoise(model, signals, rate, device)}
    if trial.classical_band:
        cleaners[CLASSICAL] = lambda signals: classical(signals, rate, trial.classical_band)
    found: dict[str, list[Answers]] = {name: [] for name in ("noisy", *cleaners)}
    examples: dict[str, Example] = {}
    training = model.training
    model.to(device).eval()
    with progress("denoise", len(trial.clean)) as tick:
        for start in range(0, len(trial.clean), _BATCH):
            signals, noisy = _shown(trial, start)
            for parts in found.values():
                parts.append(np.empty((len(signals), len(trial.cells), len(STATISTICS))))
            alive = np.flatnonzero(np.ptp(signals[:, 0], axis=-1))  # silence is nothing to look at
            beats = None if trial.beats is None else trial.beats[start : start + _BATCH]
            for index, cell in enumerate(trial.cells):
                answers = {name: clean_up(noisy[index]) for name, clean_up in cleaners.items()}
                for name, answer in {"noisy": noisy[index], **answers}.items():
                    found[name][-1][:, index] = _statistics(answer, signals, outcome, beats, rate)
                for row in alive[:1]:
                    shown = {name: answer[row, 0] for name, answer in answers.items()}
                    examples.setdefault(cell.label, _example(cell, signals[row, 0], noisy[index][row, 0], shown))
            tick(min(start + _BATCH, len(trial.clean)))
    model.train(training)
    whole = {name: np.concatenate(parts) for name, parts in found.items()}
    return Fared(whole.pop("noisy"), whole, list(examples.values()))


def _shown(trial: Trial, start: int) -> tuple[Signals, list[Signals]]:
    """Clean windows from a position on, and the same with the noise of each cell."""
    signals = trial.clean.read(slice(start, start + _BATCH))
    if trial.noise is None:
        halves = np.split(signals, 2, axis=1)
        return halves[0], [halves[1]]
    noisy = []
    for cell in trial.cells:
        parts = [
            trial.noise.at(window[None], cell.noise, cell.level, runtime.stream(0, f"judged under {cell.label}", row))
            for row, window in zip(trial.clean.rows[start : start + _BATCH].tolist(), signals, strict=True)
        ]
        noisy.append(signals + np.concatenate(parts))
    return signals, noisy


def denoise(model: Denoiser, noisy: Signals, sampling_rate: float, device: torch.device) -> Signals:
    """Noisy windows `(n, channels, length)` -> clean ones without offset, each channel as a recording of its own."""

    def read(first: int, last: int) -> Signals:
        return noisy[..., first:last]

    offset, spread = usual_levels(read, noisy.shape[-1], sampling_rate)
    standard = standardised(noisy, offset, spread)
    pieces = cleaned(model, lambda first, last: standard[..., first:last], noisy.shape[-1], device)
    return np.asarray(np.concatenate(list(pieces), axis=-1) * spread, np.float32)


def usual_levels(read: Read, total: int, sampling_rate: float) -> tuple[Signals, Signals]:
    """Offset and deviation of each channel `(..., channels, 1)`: medians over blocks of 10 s in which it does
    something, so that an electrode that came off for a while, or a gap (NaN), changes neither; 0 for a channel that
    never does."""
    block = max(2, round(BLOCK * sampling_rate))
    starts = range(0, max(total - block // 2, 1), block)
    levels = np.array(
        [_levels(read(first, min(first + block, total))) for first in starts]
    )  # (blocks, 2, ..., channels)
    found = np.zeros(levels.shape[1:])
    for place in np.ndindex(levels.shape[2:]):
        offsets, spreads = levels[:, 0][(slice(None), *place)], levels[:, 1][(slice(None), *place)]
        alive = spreads > 0
        if alive.any():
            found[(slice(None), *place)] = np.median(offsets[alive]), np.median(spreads[alive])
    return found[0][..., None].astype(np.float32), found[1][..., None].astype(np.float32)


def _levels(block: Signals) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation of each channel over its finite samples."""
    known = np.isfinite(block)
    n = np.maximum(known.sum(axis=-1), 1)
    values = np.where(known, block, 0.0).astype(np.float64)
    mean = values.sum(axis=-1) / n
    return mean, np.sqrt((np.square(values - mean[..., None]) * known).sum(axis=-1) / n)


def standardised(signals: Signals, offset: Signals, spread: Signals) -> Signals:
    """Signals as a denoiser takes them; a silent channel is zero."""
    return np.asarray((signals - offset) / np.where(spread > 0, spread, 1.0), np.float32)


def classical(noisy: Signals, sampling_rate: float, band: Sequence[float]) -> Signals:
    """What needs no learning, of windows `(n, channels, length)`: a second-order Butterworth band-pass run both ways,
    then soft thresholds on sym8 wavelet coefficients (Donoho and Johnstone 1994, noise from the finest ones)."""
    passed = bandpass(noisy, band[0], min(band[1], _HIGHEST * sampling_rate), sampling_rate)
    coarse, *fine = pywt.wavedec(passed, "sym8", axis=-1)
    if fine:
        noise = np.median(np.abs(fine[-1]), axis=-1, keepdims=True) / 0.6745
        limit = noise * np.sqrt(2 * np.log(noisy.shape[-1]))
        fine = [np.sign(part) * np.maximum(np.abs(part) - limit, 0) for part in fine]
    return np.asarray(pywt.waverec([coarse, *fine], "sym8", axis=-1)[..., : noisy.shape[-1]], np.float32)


def _statistics(
    answer: Signals, clean: Signals, outcome: Signal, beats: NDArray[np.int8] | None, sampling_rate: float
) -> Answers:
    """The statistics `(n, n_statistics)` of answers to windows, both without offset; means over channels, so that of
    several the loudest weighs most."""
    ours, theirs = (part - part.mean(axis=-1, keepdims=True, dtype=np.float64) for part in (answer, clean))
    power, error = theirs.var(axis=-1), np.square(ours - theirs).mean(axis=-1)
    scale = np.sqrt(ours.var(axis=-1) * power)
    correlation = (ours * theirs).mean(axis=-1) / np.where(scale > 0, scale, 1.0)
    unit = np.sqrt(np.where(power > 0, power, 1.0))[..., None]
    mine, wanted = (torch.from_numpy((part / unit).astype(np.float32)) for part in (ours, theirs))
    loss = waveform_loss(mine, wanted, outcome.error, outcome.peak_weight).numpy()
    counts = np.full((len(clean), 3), np.nan)
    if beats is not None:
        for row, codes in enumerate(beats):
            found = find_beats(answer[row, 0], sampling_rate)
            counts[row] = compare_beats(found, np.flatnonzero(codes > 0), sampling_rate)
    means = (part.mean(axis=1) for part in (power, error, correlation))
    return np.column_stack([*means, loss, counts])
