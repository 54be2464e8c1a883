"""Forecasting: how a series goes on, one step ahead of the truth and feeding on its own forecasts."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_bio.config.tasks import ForecastingConfig, ForecastingEvaluateConfig
from ssl_bio.data.dataset import DatasetInfo, PreparedDataset, Rows
from ssl_bio.data.filters import channel_statistics
from ssl_bio.data.loader import Batch, Loader
from ssl_bio.errors import CheckpointError, DataError
from ssl_bio.models.base import Backbone, SignalNetwork, StreamingBackbone
from ssl_bio.models.forecaster import Forecaster, LastTokenForecaster, PatchForecaster, Scaling, StreamingForecaster
from ssl_bio.models.onnx import ExportedNetwork
from ssl_bio.results.evaluation import Evaluation, Group, Predictions
from ssl_bio.results.plots import ACCENT, GREY, SECOND, stacked_axes
from ssl_bio.runs.checkpoint import CheckpointMetadata
from ssl_bio.runs.inputs import InputSpec
from ssl_bio.tasks.base import EvaluationRequest, TargetSpec, Task, expect, ordered_loader
from ssl_bio.training.evaluation import map_batches
from ssl_bio.training.objective import BaseObjective, StepOutput, TensorBatch, mean_loss
from ssl_bio.training.optim import ParameterGroup, groups_of
from ssl_bio.training.runtime import evaluation_mode

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SEASON_FROM = 64  # training series
_NEARLY_HIGHEST = 0.95  # of the highest peak of the autocorrelation
_N_DRAWN = 4
#: What needs no learning: its name in tables, and its array in `predictions.npz`.
_BASELINES = {"last value": "last_value", "seasonal naive": "seasonal_naive"}


class SeriesTarget(TargetSpec):
    """The samples of a series that follow its first `time_steps`; the loss sees them standardised by training."""

    task: Literal["forecasting"] = "forecasting"
    unit: str
    mean: float  # of the training windows, as are the others
    std: float
    season: int  # samples after which the series resembles itself most
    time_steps: int
    error: Literal["mse", "l1"] = "mse"

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the squared or absolute error of standardised samples."""
        return F.mse_loss(outputs, targets) if self.error == "mse" else F.l1_loss(outputs, targets)


class Forecasting(Task[ForecastingConfig, ForecastingEvaluateConfig, SeriesTarget, Forecaster]):
    """How a series goes on."""

    Config, EvaluateConfig, Target, Model = ForecastingConfig, ForecastingEvaluateConfig, SeriesTarget, Forecaster
    leading_metrics: ClassVar = ("mse_regressive", "mse_batch")

    @property
    def metrics(self) -> Sequence[str]:
        """Return the two mean squared errors."""
        return self.leading_metrics

    def input_spec(self, info: DatasetInfo, start: CheckpointMetadata | None = None) -> InputSpec:
        """Return how series come to the network, which sees `time_steps` samples at once."""
        return super().input_spec(info, start)._replace(window=self.config.time_steps)

    def target(self, dataset: PreparedDataset, rows: Rows) -> SeriesTarget:
        """Return the series' mean, standard deviation and season, measured on training rows.

        Raises DataError for several channels, series that are too short or constant.
        """
        info, time_steps, horizon = dataset.info, self.config.time_steps, self.evaluate_config.horizon
        if len(info.channels) > 1:
            raise DataError(f"forecasts are of one channel: set data.channels to one of {', '.join(info.channels)}")
        if info.length < time_steps + max(horizon, 1):
            raise DataError(
                f"dataset {info.name}: its series have {info.length} samples, fewer than finetune.time_steps "
                f"{time_steps} and evaluate.horizon {horizon or 'of at least 1'}: choose less of either, or a longer "
                "data.window"
            )
        series = self.signals(
            dataset, rows, spec=InputSpec(info.channels, info.sampling_rate, info.length, info.length)
        )
        mean, std = channel_statistics(series.parts())
        shown = series.read(slice(0, _SEASON_FROM))[:, 0]
        if not np.ptp(shown, axis=1).any():
            raise DataError(f"dataset {info.name}: {info.channels[0]} is constant: there is nothing to forecast")
        return SeriesTarget(
            names=info.channels,
            unit=info.unit,
            mean=float(mean[0]),
            std=float(std[0]),
            season=season(shown, time_steps),
            time_steps=time_steps,
            error=self.config.loss,
        )

    def build(self, backbone: Backbone | SignalNetwork, target: SeriesTarget, spec: InputSpec) -> Forecaster:
        """Return a backbone with a head that forecasts: the next sample, or the next token's samples."""
        network = expect(Backbone, backbone)
        scaling = Scaling(target.mean, target.std, self.config.scale_by == "history")
        if isinstance(network, StreamingBackbone):
            kind = StreamingForecaster if network.streams else LastTokenForecaster
            return kind(backbone=network, time_steps=target.time_steps, scaling=scaling)
        return PatchForecaster(
            backbone=network, time_steps=target.time_steps, prediction_length=network.wave_length, scaling=scaling
        )

    def objective(self, model: Forecaster, target: SeriesTarget) -> "ForecastObjective":
        """Return the error of forecasts."""
        config = self.config
        return ForecastObjective(
            model,
            target,
            lr=config.lr,
            backbone_lr=config.backbone_lr if config.pretrained else config.lr,
            dense=config.dense,
            input_noise=config.input_noise,
            scheduled_sampling=config.scheduled_sampling,
        )

    def training_loader(
        self, dataset: PreparedDataset, rows: Rows, *, model: Forecaster, target: SeriesTarget, spec: InputSpec
    ) -> Loader:
        """Return crops of series: as many an epoch as cover each once, from places drawn at random."""
        config = self.config
        # Densely a crop holds as many forecasts that look back all the way as ones that cannot yet.
        crop = min((2 if config.dense else 1) * target.time_steps + model.prediction_length, spec.length)
        series = self.signals(dataset, np.repeat(rows, max(1, spec.length // crop)), spec=spec)
        return Loader(
            source=series,
            batch_size=config.batch_size,
            augment=config.augment,
            augment_strength=config.augment_strength,
            window=crop,
            weights=self.drawing_weights(dataset, series.rows),
        )

    def check_data(self, dataset: PreparedDataset) -> Iterator[str]:
        """Yield what the network's kind and the series' length make impossible."""
        model, config, data = self.recipe.model, self.config, self.recipe.data
        reads_samples = model.output == "sequence"
        if reads_samples and config.mode != "scratch":
            yield f'finetune.mode {config.mode!r}: {model.kind} starts from random weights, which is "scratch"'
        if reads_samples and (model.window or data.normalize != "none"):
            yield f"{model.kind} sees series as they are: leave out model.window and data.normalize"
        if config.dense and model.sees_whole_window:
            yield (
                f"finetune.dense learns a forecast after every sample, and {model.kind} "
                f"{'with model.causal = false ' if reads_samples else ''}sees all of a window: set finetune.dense to "
                "false"
            )
        token = model.samples_per_token
        if dataset.info.length < config.time_steps + token:
            yield (
                f"series of {dataset.info.length} samples are shorter than finetune.time_steps {config.time_steps} and "
                f"the {token} of model.wave_length that are forecast at once"
            )

    def check_start(self, start: CheckpointMetadata, info: DatasetInfo) -> None:
        """Raise CheckpointError for a pretraining run at another rate, or of fewer positions than time_steps."""
        if start.sampling_rate != info.sampling_rate:
            raise CheckpointError(
                f"the checkpoint takes signals at {start.sampling_rate:g} Hz, dataset {info.name} has "
                f"{info.sampling_rate:g} Hz, at which it would be forecast: set data.sampling_rate, or choose another "
                "run"
            )
        time_steps = self.config.time_steps
        if self.recipe.model.learns_positions and time_steps > start.window:
            raise CheckpointError(
                f"finetune.time_steps {time_steps}: the checkpoint has positions for {start.window} samples, no more: "
                "choose less, or pretrain on longer windows"
            )

    def predict(self, model: Forecaster, target: SeriesTarget, request: EvaluationRequest) -> Predictions:
        """Return the true samples `(n, horizon)`, free-running and one-step forecasts of them, and the baselines'.

        Raises DataError when the series are shorter than what is to be forecast.
        """
        dataset, rows, _, spec, device, _ = request
        loader = ordered_loader(self.signals(dataset, rows, spec=spec), self.evaluate_config.batch_size)
        horizon, start = self.evaluate_config.horizon, target.time_steps

        def forecast(index: int, batch: Batch) -> tuple[NDArray[np.float64], ...]:
            length = batch.inputs.shape[-1]
            end = start + horizon if horizon else length
            if not start < end <= length:
                raise DataError(f"evaluate.horizon {horizon} after {start} samples is longer than series of {length}")
            shown = torch.from_numpy(batch.inputs[:, 0, :end]).to(device)
            free = model.rollout(shown[:, :start], end - start).double().cpu().numpy()
            return batch.inputs[:, 0, :end].astype(np.float64), free, model.one_step(shown).double().cpu().numpy()

        found = map_batches(model, loader, forecast, device=device, title="forecast")
        whole, free, one_step = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return Predictions(
            arrays={
                "target": whole[:, start:],
                "free_running": free,
                "one_step": one_step,
                **naive_forecasts(whole, time_steps=start, season=target.season),
            }
        )

    def score(self, target: SeriesTarget, predictions: Predictions) -> Evaluation:
        """Return mean squared errors in the squared unit, beside those of what needs no learning."""
        arrays = predictions.arrays
        found = _errors(arrays, "free_running", "one_step")
        baselines = {
            name: _errors(arrays, f"{array}_free_running", f"{array}_one_step") for name, array in _BASELINES.items()
        }
        standardised = (arrays["one_step"] - arrays["target"]) / target.std
        loss = np.square(standardised) if target.error == "mse" else np.abs(standardised)
        return Evaluation(
            n=len(arrays["target"]),
            loss=float(loss.mean()),
            metrics=found,
            groups=[Group("", found, baselines)],
            predictions=predictions,
            baselines=baselines,
        )

    def exported(self, model: Forecaster, target: SeriesTarget, spec: InputSpec) -> ExportedNetwork:
        """Return the network from the last `time_steps` samples to the next ones, which may be fed to it in turn."""
        n = model.prediction_length
        meaning = f"(batch, {n}): the next {'sample' if n == 1 else f'{n} samples'}, unit: {target.unit}"
        return ExportedNetwork(NextSamples(model).eval(), 1, target.time_steps, {"forecast": meaning})

    def figures(self, target: SeriesTarget, evaluation: Evaluation, *, sampling_rate: float) -> "dict[str, Figure]":
        """Return free-running forecasts of the first series beside the truth and the last season."""
        arrays = evaluation.predictions.arrays
        figure, all_axes = stacked_axes(min(evaluation.n, _N_DRAWN), height=1.7)
        time = np.arange(arrays["target"].shape[1]) / sampling_rate
        for row, axes in enumerate(all_axes):
            true, free = arrays["target"][row], arrays["free_running"][row]
            axes.plot(time, true, color=GREY, linestyle="-", linewidth=1.4, label="true")
            naive = arrays["seasonal_naive_free_running"][row]
            axes.plot(time, naive, color=SECOND, linestyle="--", linewidth=0.7, label="last season")
            axes.plot(time, free, color=ACCENT, linestyle="-", linewidth=0.9, label="free-running")
            axes.set_title(f"MSE {float(np.square(free - true).mean()):.4g}", fontsize=8, loc="right")
            axes.margins(x=0)
        all_axes[0].legend(loc="upper left", fontsize=8, ncols=3)
        all_axes[-1].set_xlabel("time in s after the last sample that was shown")
        return {"forecast": figure}


class NextSamples(nn.Module):
    """Histories `(batch, 1, time_steps)` -> the samples that follow, `(batch, prediction_length)`, in their unit."""

    def __init__(self, model: Forecaster) -> None:
        super().__init__()
        self.model = model

    def forward(self, history: Tensor) -> Tensor:
        series = history[:, 0]
        scale = self.model.scale(series)
        forecasts: Tensor = self.model(scale.standardised(series))
        return scale.restored(forecasts[:, -self.model.prediction_length :])


class ForecastObjective(BaseObjective):
    """The next samples of a series from the ones before: after every sample (`dense`), or at the end of a crop alone.

    Where a series is standardised by its own first `time_steps` samples, forecasts among those would know the future:
    only later ones are learnt. `input_noise` disturbs the history in training, in standard deviations of the series,
    and `scheduled_sampling` replaces a share of what follows the first `time_steps` samples by the network's own
    forecasts (parallel scheduled sampling, Duckworth et al. 2019), so that a forecast that feeds on itself meets
    nothing new in its own errors.
    """

    def __init__(
        self,
        model: Forecaster,
        target: SeriesTarget,
        *,
        lr: float,
        backbone_lr: float,
        dense: bool,
        input_noise: float = 0.0,
        scheduled_sampling: float = 0.0,
    ) -> None:
        self.module, self.target = model, target
        self.lr, self.backbone_lr = lr, backbone_lr
        self.dense, self.input_noise, self.scheduled_sampling = dense, input_noise, scheduled_sampling

    def step(self, batch: TensorBatch) -> StepOutput:
        """Return the loss of series `(batch, 1, time)`; targets are not looked at."""
        model, series = self.module, batch.inputs[:, 0]
        series = model.scale(series).standardised(series)
        outputs = model(self._disturbed(series[:, : -model.prediction_length]))
        if not self.dense:
            outputs = outputs[:, -model.prediction_length :]
        elif model.own_scale:
            outputs = outputs[:, model.time_steps - 1 :]
        error = self.target.loss(outputs, series[:, -outputs.shape[1] :])
        loss = error + model.auxiliary_loss().to(error.device)
        return mean_loss(loss, len(batch.inputs), shown=error)

    def _disturbed(self, history: Tensor) -> Tensor:
        if self.scheduled_sampling and self.module.training:
            history = self._with_own_forecasts(history)
        if self.input_noise and self.module.training:
            history = history + self.input_noise * torch.randn_like(history)
        return history

    def _with_own_forecasts(self, history: Tensor) -> Tensor:
        with evaluation_mode(self.module):
            own = self.module(history)[:, :-1]
            drawn = torch.rand_like(own) < self.scheduled_sampling
            drawn[:, : self.module.time_steps - 1] = False
            return torch.cat([history[:, :1], torch.where(drawn, own, history[:, 1:])], dim=1)

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return everything at one rate, or the backbone at its own where that differs."""
        if self.backbone_lr == self.lr:
            return groups_of("head", self.module, self.lr)
        return [
            *groups_of("head", self.module.head, self.lr),
            *groups_of("backbone", self.module.backbone, self.backbone_lr),
        ]


def _errors(arrays: Mapping[str, NDArray[Any]], free_running: str, one_step: str) -> dict[str, float]:
    targets = arrays["target"]
    names = {"mse_regressive": free_running, "mse_batch": one_step}
    return {metric: float(np.square(arrays[array] - targets).mean()) for metric, array in names.items()}


def naive_forecasts(series: NDArray[np.float64], *, time_steps: int, season: int) -> dict[str, NDArray[np.float64]]:
    """Return what needs no learning, of series `(n, time_steps + horizon)`: the last value, and the value a season ago.

    Each once repeated over the whole horizon and once from the true samples before, `(n, horizon)`.
    """
    horizon = series.shape[1] - time_steps
    place = np.arange(horizon)
    last_season = (time_steps - season) + place % season
    return {
        "last_value_free_running": np.repeat(series[:, time_steps - 1 : time_steps], horizon, axis=1),
        "last_value_one_step": series[:, time_steps - 1 : -1],
        "seasonal_naive_free_running": series[:, last_season],
        "seasonal_naive_one_step": series[:, time_steps - season + place],
    }


def season(series: NDArray[np.floating], most: int) -> int:
    """Return after how many samples, 2 to `most`, series `(n, time)` resemble themselves.

    That is the first peak of their mean autocorrelation that is nearly as high as its highest, for every multiple of a
    period is one; `most` where it has none.
    """
    centred = series - series.mean(axis=1, keepdims=True)
    n = centred.shape[1]
    power = np.square(np.abs(np.fft.rfft(centred, 2 * n, axis=1))).mean(axis=0)
    n_lags = min(most + 2, n)
    likeness = np.fft.irfft(power)[:n_lags] / (n - np.arange(n_lags))  # per overlapping sample
    lags = np.arange(2, min(most, len(likeness) - 2) + 1)
    peaks = lags[(likeness[lags] >= likeness[lags - 1]) & (likeness[lags] >= likeness[lags + 1])]
    if not len(peaks):
        return most
    return int(peaks[likeness[peaks] >= _NEARLY_HIGHEST * likeness[peaks].max()][0])
