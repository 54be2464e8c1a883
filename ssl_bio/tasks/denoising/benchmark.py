"""How well a denoiser does: types of noise at levels over windows, beside the noisy signal and a classical baseline."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import pywt
import torch
from numpy.typing import NDArray

from ssl_bio.data.dataset import Rows
from ssl_bio.data.filters import bandpass
from ssl_bio.data.loader import Batch, Loader, SignalDataset
from ssl_bio.data.noise import Noise
from ssl_bio.data.recording import Signals
from ssl_bio.metrics.beats import compare_beats, find_beats
from ssl_bio.models.denoiser import Denoiser
from ssl_bio.models.overlap_add import ReadSegment, denoise_stream
from ssl_bio.models.waveform_loss import waveform_loss
from ssl_bio.training import runtime
from ssl_bio.training.evaluation import map_batches

Floats = NDArray[np.float64]
DenoiseFunction = Callable[[Signals], Signals]

BLOCK = 10.0  # s over which a recording's offset and standard deviation are looked at
_HIGHEST = 0.45  # of the sampling rate, for a band's upper end
_BATCH = 8  # windows of minutes, of which a network's layers hold many copies
_SECONDS_SHOWN = 6.0

NOISY, OURS, CLASSICAL = "noisy", "ours", "classical"
#: Of a window: variance of the clean signal, mean squared error, correlation with it, the loss that was learnt; of its
#: beats how many were found, found where none is, and missed. NaN where there is nothing to say.
STATISTICS = ("power", "error", "correlation", "loss", "hits", "extra", "missed")


class NoiseCondition(NamedTuple):
    """A type of noise at a level, or (`unit` empty) the noise that signals were recorded with."""

    noise: str
    level: float = 0.0
    unit: Literal["dB", "x", ""] = "dB"

    @property
    def label(self) -> str:
        """Return the condition as tables name it: "ma -5 dB", "motor x0.5"."""
        level = {"dB": f" {self.level:g} dB", "x": f" x{self.level:g}", "": ""}[self.unit]
        return self.noise + level


def noise_conditions(noise: Noise | None, levels: Sequence[float]) -> tuple[NoiseCondition, ...]:
    """Return every type of noise at every level, or the one condition of signals that were recorded with noise."""
    if noise is None:
        return (NoiseCondition("as recorded", unit=""),)
    unit: Literal["dB", "x"] = "dB" if noise.level == "snr" else "x"
    return tuple(NoiseCondition(kind, level, unit) for kind in noise.sources for level in levels)


@dataclass(frozen=True, kw_only=True)
class DenoisingBenchmark:
    """What a denoiser is evaluated on: windows of clean signals under conditions of noise.

    Without `noise` the signals have twice as many channels, the latter half as recorded. `beats`, `(n, length)`, are
    codes above 0 where there is one; they are looked for in the first channel. Without a `classical_band` (Hz) there is
    no classical baseline. `loss` and `peak_weight`: the waveform loss that was learnt.
    """

    clean: SignalDataset
    noise: Noise | None
    conditions: tuple[NoiseCondition, ...]
    loss: str
    peak_weight: float
    beats: NDArray[np.int8] | None = None
    classical_band: Sequence[float] = ()


class DenoisingScores(NamedTuple):
    """Statistics `(n, n_conditions, n_statistics)` by what gave the signals ("noisy", "ours", "classical"), and for
    each condition a few seconds `(n_curves, samples)` of the first window that is not silent: clean, then as in
    `statistics`.
    """

    statistics: Mapping[str, Floats]
    examples: NDArray[np.float32]


def run_benchmark(model: Denoiser, benchmark: DenoisingBenchmark, device: torch.device) -> DenoisingScores:
    """Evaluate a denoiser. The noise of a window depends on the window and the condition alone: every model meets the
    same."""
    rate, conditions = benchmark.clean.sampling_rate, benchmark.conditions
    methods: dict[str, DenoiseFunction] = {
        NOISY: lambda signals: signals,
        OURS: lambda signals: denoise_windows(model, signals, sampling_rate=rate, device=device),
    }
    if benchmark.classical_band:
        methods[CLASSICAL] = lambda signals: classical_denoise(signals, rate, benchmark.classical_band)
    examples: dict[str, NDArray[np.float32]] = {}

    def measure(index: int, batch: Batch) -> dict[str, Floats]:
        place = slice(index * _BATCH, (index + 1) * _BATCH)
        clean, noisy = _with_noise(benchmark, batch.inputs, benchmark.clean.rows[place])
        beats = None if benchmark.beats is None else benchmark.beats[place]
        audible = np.flatnonzero(np.ptp(clean[:, 0], axis=-1))[:1]
        found = {name: np.empty((len(clean), len(conditions), len(STATISTICS))) for name in methods}
        for column, condition in enumerate(conditions):
            denoised = {name: method(noisy[column]) for name, method in methods.items()}
            for name, signals in denoised.items():
                found[name][:, column] = _statistics(signals, clean, benchmark=benchmark, beats=beats)
            for row in audible:
                curves = [clean[row, 0], *(signals[row, 0] for signals in denoised.values())]
                examples.setdefault(condition.label, _excerpt(curves, rate))
        return found

    loader = Loader(source=benchmark.clean, batch_size=_BATCH)
    parts = map_batches(model, loader, measure, device=device, title="denoise")
    shown = np.stack(list(examples.values())) if examples else np.empty((0, 1 + len(methods), 0), np.float32)
    return DenoisingScores({name: np.concatenate([part[name] for part in parts]) for name in methods}, shown)


def _excerpt(curves: Sequence[NDArray[np.float32]], sampling_rate: float) -> NDArray[np.float32]:
    """Return the middle seconds of curves without their offsets, which are no signal."""
    stacked = np.stack([curve - curve.mean() for curve in curves])
    n = round(_SECONDS_SHOWN * sampling_rate)
    start = max(0, stacked.shape[1] // 2 - n // 2)
    return np.asarray(stacked[:, start : start + n], np.float32)


def _with_noise(benchmark: DenoisingBenchmark, signals: Signals, rows: Rows) -> tuple[Signals, list[Signals]]:
    """Return clean windows, and the same with the noise of each condition."""
    if benchmark.noise is None:
        halves = np.split(signals, 2, axis=1)
        return halves[0], [halves[1]]
    noisy = []
    for condition in benchmark.conditions:
        parts = [
            benchmark.noise.at(
                window[None],
                kind=condition.noise,
                level=condition.level,
                # Another name of this stream would draw other noise than published results met.
                rng=runtime.stream(0, f"judged under {condition.label}", row),
            )
            for row, window in zip(rows.tolist(), signals, strict=True)
        ]
        noisy.append(signals + np.concatenate(parts))
    return signals, noisy


def denoise_windows(model: Denoiser, noisy: Signals, *, sampling_rate: float, device: torch.device) -> Signals:
    """Return noisy windows `(n, channels, length)` clean and without offset, each channel as a recording of its own."""

    def read(first: int, last: int) -> Signals:
        return noisy[..., first:last]

    offset, spread = usual_levels(read, noisy.shape[-1], sampling_rate)
    standard = standardised(noisy, offset, spread)
    segments = denoise_stream(
        model, lambda first, last: standard[..., first:last], n_samples=noisy.shape[-1], device=device
    )
    return np.asarray(np.concatenate(list(segments), axis=-1) * spread, np.float32)


def usual_levels(read: ReadSegment, total: int, sampling_rate: float) -> tuple[Signals, Signals]:
    """Return offset and standard deviation of each channel `(..., channels, 1)`.

    They are medians over blocks of 10 s in which it does something, so that an electrode that came off for a while,
    or a gap (NaN), changes neither; 0 for a channel that never does.
    """
    block = max(2, round(BLOCK * sampling_rate))
    starts = range(0, max(total - block // 2, 1), block)
    levels = np.array([_levels(read(first, min(first + block, total))) for first in starts])
    found = np.zeros(levels.shape[1:])  # levels: (blocks, 2, ..., channels)
    for place in np.ndindex(levels.shape[2:]):
        offsets, spreads = levels[:, 0][(slice(None), *place)], levels[:, 1][(slice(None), *place)]
        active = spreads > 0
        if active.any():
            found[(slice(None), *place)] = np.median(offsets[active]), np.median(spreads[active])
    return found[0][..., None].astype(np.float32), found[1][..., None].astype(np.float32)


def _levels(block: Signals) -> tuple[Floats, Floats]:
    """Return mean and standard deviation of each channel over its finite samples."""
    known = np.isfinite(block)
    n = np.maximum(known.sum(axis=-1), 1)
    values = np.where(known, block, 0.0).astype(np.float64)
    mean = values.sum(axis=-1) / n
    return mean, np.sqrt((np.square(values - mean[..., None]) * known).sum(axis=-1) / n)


def standardised(signals: Signals, offset: Signals, spread: Signals) -> Signals:
    """Return signals as a denoiser takes them; a silent channel is zero."""
    return np.asarray((signals - offset) / np.where(spread > 0, spread, 1.0), np.float32)


def classical_denoise(noisy: Signals, sampling_rate: float, band: Sequence[float]) -> Signals:
    """Denoise windows `(n, channels, length)` without learning.

    A second-order Butterworth band-pass run both ways, then soft thresholds on sym8 wavelet coefficients (Donoho and
    Johnstone 1994, noise from the finest ones).
    """
    passed = bandpass(noisy, low=band[0], high=min(band[1], _HIGHEST * sampling_rate), sampling_rate=sampling_rate)
    coarse, *fine = pywt.wavedec(passed, "sym8", axis=-1)
    if fine:
        noise = np.median(np.abs(fine[-1]), axis=-1, keepdims=True) / 0.6745
        limit = noise * np.sqrt(2 * np.log(noisy.shape[-1]))
        fine = [pywt.threshold(part, np.maximum(limit, _TINY), mode="soft") for part in fine]
    return np.asarray(pywt.waverec([coarse, *fine], "sym8", axis=-1)[..., : noisy.shape[-1]], np.float32)


_TINY = np.finfo(np.float32).tiny  # pywt divides by the threshold's size


def _statistics(
    denoised: Signals, clean: Signals, *, benchmark: DenoisingBenchmark, beats: NDArray[np.int8] | None
) -> Floats:
    """Return the statistics `(n, n_statistics)` of denoised windows, both without offset; means over channels, so
    that of several the loudest weighs most."""
    ours, theirs = (part - part.mean(axis=-1, keepdims=True, dtype=np.float64) for part in (denoised, clean))
    power, error = theirs.var(axis=-1), np.square(ours - theirs).mean(axis=-1)
    scale = np.sqrt(ours.var(axis=-1) * power)
    correlation = (ours * theirs).mean(axis=-1) / np.where(scale > 0, scale, 1.0)
    unit = np.sqrt(np.where(power > 0, power, 1.0))[..., None]
    mine, wanted = (torch.from_numpy((part / unit).astype(np.float32)) for part in (ours, theirs))
    loss = waveform_loss(mine, wanted, loss=benchmark.loss, peak_weight=benchmark.peak_weight).numpy()
    counts = np.full((len(clean), 3), np.nan)
    if beats is not None:
        rate = benchmark.clean.sampling_rate
        for row, codes in enumerate(beats):
            counts[row] = compare_beats(find_beats(denoised[row, 0], rate), np.flatnonzero(codes > 0), rate)
    means = (part.mean(axis=1) for part in (power, error, correlation))
    return np.column_stack([*means, loss, counts])
