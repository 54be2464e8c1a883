"""The denoising task: what it learns, how it is evaluated, what is said of it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ssl_bio.config.tasks import DenoisingConfig, DenoisingEvaluateConfig
from ssl_bio.console import note
from ssl_bio.data.augmentations import parse_augmentation
from ssl_bio.data.dataset import DatasetInfo, PreparedDataset, Rows
from ssl_bio.data.loader import Loader, SignalDataset
from ssl_bio.data.noise import Noise, NoisyLoader
from ssl_bio.errors import DataError, SslBioError
from ssl_bio.metrics.beats import f1_of_counts
from ssl_bio.models.base import Backbone, SignalNetwork
from ssl_bio.models.denoiser import Denoiser, SignalDenoiser, TokenDenoiser
from ssl_bio.models.onnx import ExportedNetwork
from ssl_bio.models.waveform_loss import waveform_loss
from ssl_bio.results.evaluation import Evaluation, Group, Predictions, Table
from ssl_bio.runs.inputs import InputSpec
from ssl_bio.tasks.base import EvaluationRequest, TargetSpec, Task, expect
from ssl_bio.tasks.denoising import noise as noises
from ssl_bio.tasks.denoising.benchmark import (
    CLASSICAL,
    NOISY,
    OURS,
    STATISTICS,
    DenoisingBenchmark,
    NoiseCondition,
    noise_conditions,
    run_benchmark,
)
from ssl_bio.tasks.denoising.plots import denoising_figures
from ssl_bio.training.objective import BaseObjective, StepOutput, TensorBatch, mean_loss
from ssl_bio.training.optim import ParameterGroup, groups_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CHECKED = 64  # windows that are looked at before training
_CHANNEL_BY_CHANNEL = ("random_filter", "jitter", "drop_channels")


class SignalTarget(TargetSpec):
    """The signal without its noise."""

    task: Literal["denoising"] = "denoising"
    unit: str
    learnt: tuple[str, ...]  # types of noise that training showed; empty: all, or as recorded
    error: str  # the loss
    peak_weight: float


class Denoising(Task[DenoisingConfig, DenoisingEvaluateConfig, SignalTarget, Denoiser]):
    """What a signal is without its noise."""

    Config, EvaluateConfig, Target, Model = DenoisingConfig, DenoisingEvaluateConfig, SignalTarget, Denoiser
    leading_metrics: ClassVar = ("snr_gain", "correlation", "RMSE")

    @property
    def metrics(self) -> Sequence[str]:
        """Return the names of the metrics that an evaluation may have."""
        return ("snr_gain", "RMSE", "correlation", "beat_F1", "beat_F1_noisy")

    def task_name(self) -> str:
        """Return the task's name in the sheet, to which each condition of noise is added."""
        return self.recipe.task_name or f"{self.recipe.data.dataset}_denoise"

    def target(self, dataset: PreparedDataset, rows: Rows) -> SignalTarget:
        """Return what is denoised, and the loss that is learnt."""
        return SignalTarget(
            names=dataset.info.channels,
            unit=dataset.info.unit,
            learnt=tuple(self.config.noise.types),
            error=self.config.loss,
            peak_weight=self.config.peak_weight,
        )

    def build(self, backbone: Backbone | SignalNetwork, target: SignalTarget, spec: InputSpec) -> Denoiser:
        """Return a network that denoises as it is, or a token backbone with a decoder."""
        if isinstance(backbone, SignalNetwork):
            return SignalDenoiser(backbone=backbone)
        return TokenDenoiser(backbone=backbone, window=spec.window)

    def objective(self, model: Denoiser, target: SignalTarget) -> "DenoisingObjective":
        """Return the waveform loss with its ramps."""
        config = self.config
        return DenoisingObjective(
            model,
            lr=config.lr,
            backbone_lr=config.backbone_lr if config.pretrained else config.lr,
            loss=target.error,
            peak_weight=target.peak_weight,
            ramp_epochs=config.noise.ramp_epochs,
            peak_ramp_epochs=config.peak_ramp_epochs,
        )

    def exported(self, model: Denoiser, target: SignalTarget, spec: InputSpec) -> ExportedNetwork:
        """Return the network from noisy windows to clean ones, each channel standardised by its own window."""
        length = model.window or spec.window
        meaning = f"(batch, {spec.n_channels}, {length}): the signals without noise and without offset"
        return ExportedNetwork(StandardisedDenoiser(model).eval(), spec.n_channels, length, {"clean": meaning})

    def clean(self, dataset: PreparedDataset, rows: Rows, spec: InputSpec) -> SignalDataset:
        """Return clean signals, and where noise comes from no other dataset, the recorded ones beside them."""
        return noises.clean_signals(dataset, rows, data=self.recipe.data, noise=self.config.noise, spec=spec)

    def noise(self, *, split: str, spec: InputSpec, types: Sequence[str], length: int) -> Noise | None:
        """Return the noise of a split, or None where signals were recorded with it."""
        source = noises.open_noise(self.recipe, self.config.noise)
        if source is None:
            return None
        return noises.noise_of_split(
            source,
            config=self.config.noise,
            missing=self.recipe.data.missing,
            split=split,
            sampling_rate=spec.sampling_rate,
            types=types,
            length=length,
        )

    def training_loader(
        self, dataset: PreparedDataset, rows: Rows, *, model: Denoiser, target: SignalTarget, spec: InputSpec
    ) -> NoisyLoader:
        """Return crops of clean signals, as many an epoch as cover each window once, and noise to be added to them."""
        config = self.config
        shown = dataset.with_channels(config.draw_channels)
        clean = self.clean(shown, np.repeat(rows, max(1, spec.length // spec.window)), spec)
        loader = Loader(
            source=clean,
            batch_size=config.batch_size,
            augment=config.augment,
            augment_strength=config.augment_strength,
            draw_channel=bool(config.draw_channels),
            window=spec.window,
            weights=self.drawing_weights(dataset, clean.rows),
        )
        source = noises.open_noise(self.recipe, config.noise)
        if source and source.info.sampling_rate != spec.sampling_rate:
            note(f"noise of {source.info.name} is resampled to {spec.sampling_rate:g} Hz")
        noise = self.noise(split=config.fit_on, spec=spec, types=config.noise.types, length=spec.window)
        return NoisyLoader(clean=loader, noise=noise)

    def has_known_target(self, dataset: PreparedDataset, rows: Rows) -> NDArray[np.bool_]:
        """Return for each row whether it is of the clean signal, where one dataset holds it and the noise."""
        config = self.config.noise
        if not config.clean:
            return np.ones(len(rows), bool)
        target = noises.noise_target(dataset.info, config.target)
        return np.isin(rows, noises.rows_of_class(dataset, rows, target=target, name=config.clean))

    def pretraining_dataset(self, dataset: PreparedDataset) -> PreparedDataset:
        """Return the dataset with its clean signals."""
        return noises.with_clean_signals(dataset, self.recipe.data.target)

    def pretraining_rows(self, dataset: PreparedDataset, split: str) -> Rows:
        """Return the rows of clean signals."""
        return self.known_rows(dataset, split)

    def validation_rows(self, dataset: PreparedDataset, split: str) -> Rows:
        """Return the rows of a split that choose the epoch."""
        return self.evaluated_rows(dataset, split)

    def predict(self, model: Denoiser, target: SignalTarget, request: EvaluationRequest) -> Predictions:
        """Return how noisy and denoised signals fare under each condition: statistics `(n, n_conditions, ...)`.

        `validating`: under noise as it was learnt, and with neither beats nor a classical baseline.
        """
        dataset, rows, split, spec, device, validating = request
        config, evaluate = self.config, self.evaluate_config
        types, levels = evaluate.noises, evaluate.levels
        if validating:
            low, high = config.noise.range
            types = config.noise.types
            levels = [level for level in levels if low <= level <= high] or [(low + high) / 2]
        noise = self.noise(split=split, spec=spec, types=types, length=spec.length)
        benchmark = DenoisingBenchmark(
            clean=self.clean(dataset, rows, spec),
            noise=noise,
            conditions=noise_conditions(noise, levels),
            loss=target.error,
            peak_weight=target.peak_weight,
            beats=None if validating else noises.annotated_beats(dataset, rows, spec),
            classical_band=() if validating else evaluate.classical_band,
        )
        scores = run_benchmark(model, benchmark, device)
        conditions = benchmark.conditions
        return Predictions(
            arrays={f"statistics_{name}": values for name, values in scores.statistics.items()},
            constants={
                "cells": np.array([condition.label for condition in conditions]),
                "noises": np.array([condition.noise for condition in conditions]),
                "levels": np.array([condition.level for condition in conditions]),
                "units": np.array([condition.unit for condition in conditions]),
                "statistics": np.array(STATISTICS),
                "examples": scores.examples,
            },
        )

    def score(self, target: SignalTarget, predictions: Predictions) -> Evaluation:
        """Return SNR gain in dB (mean over windows and conditions), RMSE in the signal's unit, correlation, and F1 of
        beats before and after, where there is anything to measure; the loss is the one that was learnt."""
        arrays = predictions.arrays
        found, baselines = _scores(arrays, slice(None))
        groups = [
            Group(str(label).replace(" ", "_"), *_scores(arrays, slice(k, k + 1)))
            for k, label in enumerate(predictions.constants["cells"])
        ]
        ours = arrays[f"statistics_{OURS}"]
        return Evaluation(
            n=len(ours),
            loss=float(ours[..., STATISTICS.index("loss")].mean()),
            metrics=found,
            groups=groups,
            predictions=predictions,
            baselines=baselines,
        )

    def tables(self, target: SignalTarget, evaluations: Sequence[Evaluation]) -> list[Table]:
        """Return a row for each noise at each level: mean ± std over seeds, beside the noisy signal and the classical
        baseline."""
        asked = {
            "SNR gain (dB)": ("snr_gain", (CLASSICAL,)),
            "correlation": ("correlation", (NOISY,)),
            "F1 of beats": ("beat_F1", (NOISY, CLASSICAL)),
        }
        known = {
            title: (name, [other for other in others if other in evaluations[0].baselines])
            for title, (name, others) in asked.items()
            if all(name in one.metrics for one in evaluations)
        }
        rows = []
        for index, condition in enumerate(conditions_of(evaluations[0])):
            groups = [one.groups[index] for one in evaluations]
            unseen = condition.noise not in (target.learnt or [condition.noise])
            row = [condition.label + (" *" if unseen else "")]
            for name, others in known.values():
                values = [group.metrics.get(name, np.nan) for group in groups]
                beside = [groups[0].baselines[other].get(name, np.nan) for other in others]
                row.append(" -> ".join([*(_short(name, [value]) for value in beside), _short(name, values)]))
            rows.append(row)
        legend = "; ".join(f"{title} {' -> '.join([*others, 'ours'])}" for title, (_, others) in known.items())
        unseen_note = "; * not learnt" if any(row[0].endswith("*") for row in rows) else ""
        return [Table(f"noise by noise: {legend}{unseen_note}", ["", *known], rows)]

    def figures(self, target: SignalTarget, evaluation: Evaluation, *, sampling_rate: float) -> "dict[str, Figure]":
        """Return a few seconds before and after, and the SNR gain against the level of each type of noise."""
        return denoising_figures(evaluation, conditions=conditions_of(evaluation), sampling_rate=sampling_rate)

    def check_data(self, dataset: PreparedDataset) -> Iterator[str]:
        """Yield what signals and noise make impossible."""
        config, data, info = self.config, self.recipe.data, dataset.info
        if data.normalize != "none" and self.recipe.model.output == "signals":
            yield "denoising standardises every window itself: leave out data.normalize"
        if config.noise.level == "gain" and min(self.evaluate_config.levels) < 0:
            yield f"evaluate.levels {self.evaluate_config.levels}: gains, as finetune.noise.level says, start from 0"
        if config.noise.band and config.noise.band[1] >= info.sampling_rate / 2:
            yield f"finetune.noise.band {config.noise.band}: it ends below half of {info.sampling_rate:g} Hz"
        if config.draw_channels and len(info.channels) > 1:
            yield "finetune.draw_channels shows one channel at a time: name one in data.channels"
        apart = [name for name, _ in map(parse_augmentation, config.augment) if name in _CHANNEL_BY_CHANNEL]
        if apart and not config.noise.dataset:
            yield f"finetune.augment {apart[0]!r} would treat noisy and clean recordings differently"
        try:
            self._check_signals(dataset)
        except SslBioError as error:
            yield str(error)

    def _check_signals(self, dataset: PreparedDataset) -> None:
        """Raise for noise that is not there and for clean signals without anything in them."""
        dataset.with_channels(self.config.draw_channels)
        spec, config = self.input_spec(dataset.info), self.config
        splits = [
            (config.fit_on, config.noise.types, spec.window),
            (self.evaluate_config.split, self.evaluate_config.noises, spec.length),
        ]
        if config.selected_on != "last":
            splits.append((config.selected_on, config.noise.types, spec.length))
        for split, types, length in splits:
            clean = self.clean(dataset, self.labelled_rows(dataset, split)[:_CHECKED], spec)
            if not np.ptp(clean.read(slice(None))[:, : spec.n_channels], axis=-1).any():
                raise DataError(f"dataset {dataset.info.name}: its clean signals in split {split!r} are silent")
            self.noise(split=split, spec=spec, types=types, length=length)

    def check_same_question(self, target: SignalTarget, info: DatasetInfo) -> None:
        """Accept every dataset: signals are their own target."""


class StandardisedDenoiser(nn.Module):
    """Noisy windows `(batch, n_channels, length)` as recorded -> clean ones in their unit, without offset."""

    def __init__(self, model: Denoiser) -> None:
        super().__init__()
        self.model = model

    def forward(self, noisy: Tensor) -> Tensor:
        scale = _standard_deviation(noisy)
        clean: Tensor = self.model(_centred(noisy) / scale) * scale
        return clean


class DenoisingObjective(BaseObjective):
    """The clean signal from the noisy one, both without their offsets, which are no signal.

    Each channel is shown in standard deviations of the noisy window; the loss is in those of the clean one, so that
    quiet windows count as much as loud ones. Noise grows from nothing to its level over `ramp_epochs`, the weight of
    peaks over `peak_ramp_epochs`.
    """

    def __init__(
        self,
        model: Denoiser,
        *,
        lr: float,
        backbone_lr: float,
        loss: str,
        peak_weight: float = 0.0,
        ramp_epochs: int = 0,
        peak_ramp_epochs: int = 0,
    ) -> None:
        self.module, self.lr, self.backbone_lr = model, lr, backbone_lr
        self.loss, self.peak_weight = loss, peak_weight
        self.ramp_epochs, self.peak_ramp_epochs = ramp_epochs, peak_ramp_epochs
        self.noise_share, self.peak_share = 1.0, 1.0

    def on_epoch_start(self, epoch: int) -> None:
        """Set the shares of noise and of the peaks' weight, 0 in the first epoch of a ramp."""
        self.noise_share = min(1.0, epoch / self.ramp_epochs) if self.ramp_epochs else 1.0
        self.peak_share = min(1.0, epoch / self.peak_ramp_epochs) if self.peak_ramp_epochs else 1.0

    def step(self, batch: TensorBatch) -> StepOutput:
        """Return the loss of clean signals, and the noise to be added to them at its final level."""
        noise = self.noise_share * expect(Tensor, batch.targets)
        noisy, clean = (_centred(signals) for signals in (batch.inputs + noise, batch.inputs))
        scale, own = _standard_deviation(noisy), clean.std(dim=-1, keepdim=True)
        unit = scale / torch.where(own > 0, own, scale)
        prediction = self.module.predict_x0(noisy / scale, clean / scale)
        weight = self.peak_weight * self.peak_share
        loss = waveform_loss(prediction * unit, clean / scale * unit, loss=self.loss, peak_weight=weight).mean()
        return mean_loss(loss, len(batch.inputs))

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the backbone at its own rate, a decoder on top of it at `lr`."""
        head = groups_of("head", self.module.decoder, self.lr) if self.module.decoder else []
        return [*head, *groups_of("backbone", self.module.backbone, self.backbone_lr)]


def conditions_of(evaluation: Evaluation) -> list[NoiseCondition]:
    """Return the conditions that an evaluation's groups are of, in their order."""
    constants = evaluation.predictions.constants
    return [
        NoiseCondition(str(noise), float(level), _UNITS[str(unit)])
        for noise, level, unit in zip(constants["noises"], constants["levels"], constants["units"], strict=True)
    ]


_UNITS: dict[str, Literal["dB", "x", ""]] = {"dB": "dB", "x": "x", "": ""}


def _centred(signals: Tensor) -> Tensor:
    return signals - signals.mean(dim=-1, keepdim=True)


def _standard_deviation(signals: Tensor) -> Tensor:
    """Return that of each channel over time, `(batch, n_channels, 1)`; 1 where it is silent."""
    found = signals.std(dim=-1, keepdim=True)
    return torch.where(found > 0, found, 1.0)


def _scores(arrays: Mapping[str, NDArray[Any]], part: slice) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Return our metrics under some of the conditions, and those of the noisy signal and of the classical baseline."""
    names = [name for name in (NOISY, CLASSICAL) if f"statistics_{name}" in arrays]
    noisy = arrays[f"statistics_{NOISY}"][:, part]
    ours = _of_statistics(arrays[f"statistics_{OURS}"][:, part], noisy)
    return ours, {name: _of_statistics(arrays[f"statistics_{name}"][:, part], noisy) for name in names}


def _of_statistics(statistics: NDArray[np.float64], noisy: NDArray[np.float64]) -> dict[str, float]:
    power, error, correlation, _, *beats = np.moveaxis(statistics, -1, 0)
    known = (power > 0) & (noisy[..., 1] > 0)
    found = {}
    if known.any():
        gain = 10 * np.log10(noisy[..., 1][known] / np.maximum(error[known], 1e-12 * power[known]))
        found["snr_gain"] = float(gain.mean())
    found["RMSE"] = float(np.sqrt(error.mean()))
    if known.any():
        found["correlation"] = float(correlation[known].mean())
    if np.isfinite(beats[0]).any():
        found["beat_F1"] = f1_of_counts(*(float(np.nansum(part)) for part in beats))
        before = np.moveaxis(noisy[..., 4:], -1, 0)
        found["beat_F1_noisy"] = f1_of_counts(*(float(np.nansum(part)) for part in before))
    return found


def _short(name: str, values: Sequence[float]) -> str:
    """Return mean ± std with as many digits as these metrics bear."""
    if not np.isfinite(values).all():
        return "none"
    digits = 1 if name == "snr_gain" else 3
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"
