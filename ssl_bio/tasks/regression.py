"""Regression: values in their units, learnt by an error or as a histogram; counts also around every token."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ssl_bio.config.tasks import RegressionConfig, RegressionEvaluateConfig
from ssl_bio.data.augmentations import parse_augmentation
from ssl_bio.data.dataset import DatasetInfo, PreparedDataset, Rows
from ssl_bio.data.events import EventTrack
from ssl_bio.data.loader import Loader, SignalDataset
from ssl_bio.errors import DataError, RecipeError
from ssl_bio.metrics import compute, metric_text
from ssl_bio.models.heads import Predictor, Unit
from ssl_bio.results.evaluation import Evaluation, Group, Predictions, Table
from ssl_bio.runs.inputs import InputSpec
from ssl_bio.tasks.base import expect
from ssl_bio.tasks.value_plots import value_figures
from ssl_bio.tasks.windows import WindowObjective, WindowTarget, WindowTask
from ssl_bio.training import probe
from ssl_bio.training.objective import BaseObjective, Objective, StepOutput, TensorBatch, mean_loss
from ssl_bio.training.optim import ParameterGroup

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_LEVELS = 256
#: What needs no learning: its name in tables, and its array in `predictions.npz`.
_BASELINES = {"always the mean": "always_the_mean", "always the median": "always_the_median"}


class ValueTarget(WindowTarget):
    """Values in their units; targets and predictions `(n, n_values)`. The loss sees them standardised by training.

    With error "bins" the network gives, for each value, a histogram over `bins`, a row of evenly spaced centres: it
    learns a normal distribution around the value, one bin wide (Imani and White 2018), and predicts the median. With
    `levels` the bins are the only values there are, as for counts: it learns the nearest and predicts one of them.
    """

    task: Literal["regression"] = "regression"
    units: tuple[str, ...]
    mean: tuple[float, ...]  # of the training windows, as are the others
    std: tuple[float, ...]
    median: tuple[float, ...]
    error: Literal["mse", "l1", "huber", "bins"] = "mse"
    bins: tuple[tuple[float, ...], ...] = ()
    levels: bool = False

    @property
    def n_outputs(self) -> int:
        """Return the number of outputs of the network."""
        return sum(len(row) for row in self.bins) or len(self.names)

    @property
    def rates(self) -> tuple[bool, ...]:
        """Return which of the values count something in time, and grow when a signal is played faster."""
        return tuple(_is_rate(unit) for unit in self.units)

    def encode(self, targets: Tensor) -> Tensor:
        """Return values in floating point."""
        return targets.float()

    def loss(self, outputs: Tensor, encoded: Tensor, *, label_smoothing: float = 0.0, mean: bool = True) -> Tensor:
        """Return squared, absolute or Huber's error in training standard deviations, or the histograms' cross entropy;
        averaged over values."""
        if self.error == "bins":
            entropy = self._cross_entropy(outputs, encoded)  # (batch, n_values)
            return entropy.mean() if mean else entropy.mean(dim=-1)
        scale = torch.tensor(self.std, dtype=outputs.dtype, device=outputs.device)
        ours, theirs, reduction = outputs / scale, encoded / scale, "mean" if mean else "none"
        if self.error == "mse":
            loss = F.mse_loss(ours, theirs, reduction=reduction)
        elif self.error == "l1":
            loss = F.l1_loss(ours, theirs, reduction=reduction)
        else:
            loss = F.huber_loss(ours, theirs, reduction=reduction)
        return loss if mean else loss.mean(dim=-1)

    def _cross_entropy(self, outputs: Tensor, encoded: Tensor) -> Tensor:
        centres = self._centres(outputs)
        width = centres[:, 1:2] - centres[:, :1]
        share = (-0.5 * ((centres - encoded[..., None]) / width) ** 2).softmax(dim=-1)
        if self.levels:
            nearest = (centres - encoded[..., None]).abs().argmin(dim=-1)
            share = F.one_hot(nearest, centres.shape[1]).to(outputs.dtype)
        return -(share * self._histograms(outputs).log_softmax(dim=-1)).sum(dim=-1)

    def predictions(self, outputs: Tensor) -> Tensor:
        """Return the outputs, for the network's last layer puts the unit back; or the histograms' medians."""
        if self.error != "bins":
            return outputs.double()
        centres = self._centres(outputs.double())
        width = centres[:, 1:2] - centres[:, :1]
        share = self._histograms(outputs.double()).softmax(dim=-1)
        total = share.cumsum(dim=-1)
        middle = (total < 0.5).sum(dim=-1, keepdim=True).clamp(max=share.shape[-1] - 1)
        if self.levels:
            return centres.expand_as(share).gather(-1, middle)[..., 0]
        inside = (0.5 - (total - share).gather(-1, middle)) / share.gather(-1, middle)
        lower = centres.expand_as(share).gather(-1, middle) - width / 2
        return (lower + width * inside)[..., 0]

    @property
    def meaning(self) -> str:
        """Return in words what stands in the columns of predictions."""
        return ", ".join(
            f"{name} in {unit}" if unit else name for name, unit in zip(self.names, self.units, strict=True)
        )

    def _centres(self, like: Tensor) -> Tensor:
        return torch.tensor(self.bins, dtype=like.dtype, device=like.device)  # (n_values, n_bins)

    def _histograms(self, outputs: Tensor) -> Tensor:
        return outputs.view(len(outputs), len(self.bins), -1)


class Regression(WindowTask[RegressionConfig, RegressionEvaluateConfig, ValueTarget]):
    """Which values a window has."""

    Config, EvaluateConfig, Target = RegressionConfig, RegressionEvaluateConfig, ValueTarget
    leading_metrics: ClassVar = ("MAE", "RMSE", "R2")
    target_kind, predictions_kind, prediction_array = "value", "values", "value"
    settings_of_probes: ClassVar[dict[str, object]] = {"dense": False}

    @property
    def tta_rates(self) -> Sequence[float]:
        """Return how many times as fast windows are played in evaluation."""
        return self.evaluate_config.tta_rates

    def task_name(self) -> str:
        """Return the task's name in the sheet; of several values each row's ends in its value's."""
        several = len(self.target_names()) > 1
        return self.recipe.task_name or (self.recipe.data.dataset if several else super().task_name())

    def target_names(self) -> list[str]:
        """Return the names of the values that the recipe asks for."""
        return self.recipe.data.target.split("+")

    def target_values(self, dataset: PreparedDataset) -> NDArray[np.float32]:
        """Return the values of every row, `(n, n_values)`, NaN where one is not known."""
        self.target_infos(dataset.info)
        return np.stack([np.asarray(dataset.targets[name], np.float32) for name in self.target_names()], axis=1)

    def has_known_target(self, dataset: PreparedDataset, rows: Rows) -> NDArray[np.bool_]:
        """Return for each row whether all of its values are known."""
        return np.asarray(np.isfinite(self.target_values(dataset)[rows]).all(axis=1))

    def unit(self, target: ValueTarget) -> Unit | None:
        """Return what puts the unit back behind the head, where it gives standardised values."""
        return None if target.error == "bins" else Unit(target.mean, target.std)

    def target(self, dataset: PreparedDataset, rows: Rows) -> ValueTarget:
        """Return the values, their units, and what standardises them, measured on training rows."""
        names, infos = self.target_names(), self.target_infos(dataset.info)
        values = self.target_values(dataset)[rows].astype(np.float64)
        std, config = values.std(axis=0), self.config
        in_bins = config.loss == "bins"
        return ValueTarget(
            names=tuple(names),
            units=tuple(info.unit for info in infos),
            mean=tuple(values.mean(axis=0).tolist()),
            std=tuple(np.where(std > 0, std, 1.0).tolist()),
            median=tuple(np.median(values, axis=0).tolist()),
            error=config.loss,
            bins=_bins(values, config.bins, names) if in_bins else (),
            levels=in_bins and config.bins == 0,
        )

    def answer_columns(self, target: ValueTarget, answers: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
        """Return the values, with their units in the columns' names."""
        units = [f" [{unit}]" if unit else "" for unit in target.units]
        return {f"{name}{units[place]}": answers[:, place] for place, name in enumerate(target.names)}

    def objective(self, model: Predictor, target: ValueTarget) -> Objective:
        """Return the loss of windows, or of every token."""
        windows = self.window_objective(model, target)
        return DenseObjective(windows) if self.config.dense else windows

    def training_loader(
        self, dataset: PreparedDataset, rows: Rows, *, model: Predictor, target: ValueTarget, spec: InputSpec
    ) -> Loader:
        """Return shuffled windows; "stretch" changes the targets that are rates with the windows."""
        loader = super().training_loader(dataset, rows, model=model, target=target, spec=spec)
        if self.config.frozen:
            return loader
        source = expect(SignalDataset, loader.source)
        if self.config.dense:
            source = replace(source, events=self._events(dataset, rows, spec))
        return replace(loader, source=source, rates=target.rates)

    def _events(self, dataset: PreparedDataset, rows: Rows, spec: InputSpec) -> EventTrack:
        """Return the events that the recipe's target counts.

        Raises RecipeError when the target counts none, or when the network does not see windows as they are.
        """
        info, name = dataset.info, self.recipe.data.target
        counts = self.target_infos(info)[0].counts
        if counts is None or len(self.target_names()) > 1:
            raise RecipeError(f"finetune.dense learns counts of events, and {name!r} is none: leave it out")
        if info.length < 2 * counts.span:
            raise RecipeError(
                f"finetune.dense counts over {counts.span} samples around every token, and windows show "
                f"{info.length}: set data.context to half a window or more"
            )
        if (spec.sampling_rate, spec.length, spec.window) != (info.sampling_rate, info.length, info.length):
            raise RecipeError("finetune.dense goes with windows as they are: no model.window, no other sampling rate")
        return EventTrack(np.asarray(dataset.targets[counts.events][rows]), counts.span, counts.weight)

    def check_data(self, dataset: PreparedDataset) -> Iterator[str]:
        """Yield what is wrong with stretched windows, rates in evaluation and dense counts."""
        names = [parse_augmentation(text)[0] for text in self.config.augment]
        infos = self.target_infos(dataset.info)
        unknown = [name for name, info in zip(self.target_names(), infos, strict=True) if not info.unit]
        if "stretch" in names and unknown:
            yield (
                f'finetune.augment "stretch" changes rates, and nothing says whether {unknown[0]!r} is one: name its '
                "unit in the table, as in heart_rate [beats/min], or leave stretch out"
            )
        if list(self.tta_rates) != [1.0] and not all(_is_rate(info.unit) for info in infos):
            yield f"evaluate.tta_rates is for rates (Hz, /min), and {self.recipe.data.target!r} is none: leave it out"
        if self.config.dense:
            yield from self._check_dense(dataset, names)

    def _check_dense(self, dataset: PreparedDataset, augmentations: Sequence[str]) -> Iterator[str]:
        rows = self.training_rows(dataset, self.config.fit_on)
        try:
            self._events(dataset, rows, self.input_spec(dataset.info))
        except RecipeError as error:
            yield str(error)
        moving = [
            name for name in augmentations if name in ("shift", "reverse_time") or augmentations.count("stretch") > 1
        ]
        if moving:
            yield f"finetune.dense cannot follow {moving[0]!r}: of what moves a window it knows one stretch"
        length = dataset.info.length
        token = self.recipe.model.samples_per_token
        n_tokens = -(-length // token)
        if -(-length // n_tokens) != token or n_tokens // 2 * token != length // 2:
            yield (
                f"model.wave_length {token}: no token stands in the middle of windows of {length} samples; "
                f"choose one that divides {length // 2}"
            )

    def solve_head(
        self, features: NDArray[np.floating[Any]], targets: NDArray[Any], target: ValueTarget
    ) -> probe.LinearHead:
        """Return the head of ridge regression onto standardised values."""
        standardised = (targets - np.array(target.mean)) / np.array(target.std)
        return probe.ridge_regression(features, standardised, self.config.probe_alpha)

    def score(self, target: ValueTarget, predictions: Predictions) -> Evaluation:
        """Return the errors, means over the values, of each value, and of the best constants beside them."""
        arrays = predictions.arrays
        if "always_the_mean" not in arrays:
            n = len(arrays["target"])
            constants = {"always_the_mean": target.mean, "always_the_median": target.median}
            arrays = {**arrays, **{name: np.tile(np.array(value), (n, 1)) for name, value in constants.items()}}
        targets = arrays["target"]
        found, baselines = _errors(arrays, slice(None))
        groups = [Group("", found, baselines)]
        if len(target.names) > 1:
            groups = [Group(name, *_errors(arrays, slice(k, k + 1))) for k, name in enumerate(target.names)]
        return Evaluation(
            n=len(targets),
            loss=float(arrays["loss"].mean()),
            metrics=found,
            groups=groups,
            predictions=Predictions(arrays=arrays, constants=predictions.constants),
            baselines=baselines,
        )

    def figures(self, target: ValueTarget, evaluation: Evaluation, *, sampling_rate: float) -> "dict[str, Figure]":
        """Return predictions against the truth, their differences and each person's error, of each value."""
        arrays = evaluation.predictions.arrays
        found: dict[str, Figure] = {}
        for index, (name, unit) in enumerate(zip(target.names, target.units, strict=True)):
            drawn = value_figures(
                name,
                unit,
                targets=arrays["target"][:, index],
                predictions=arrays["value"][:, index],
                subjects=arrays["subject"],
            )
            ending = f"_{name}" if len(target.names) > 1 else ""
            found |= {f"{figure}{ending}": one for figure, one in drawn.items()}
        return found

    def tables(self, target: ValueTarget, evaluations: Sequence[Evaluation]) -> list[Table]:
        """Return the errors of each of several values, of a single evaluation."""
        if len(evaluations) != 1 or len(target.names) == 1:
            return []
        groups = evaluations[0].groups
        names = list(groups[0].metrics)
        rows = [
            [f"{group.name} ({unit})", *(metric_text(name, group.metrics[name]) for name in names)]
            for group, unit in zip(groups, target.units, strict=True)
        ]
        return [Table("value by value", ["", *names], rows)]

    def check_same_question(self, target: ValueTarget, info: DatasetInfo) -> None:
        """Raise DataError when another dataset's target of the same name is of another kind or in another unit."""
        units = tuple(other.unit for other in self.target_infos(info))
        if units != target.units:
            raise DataError(
                f"dataset {info.name}: its {self.recipe.data.target!r} is in {', '.join(units) or 'no unit'}, and this "
                f"run predicts {', '.join(target.units)}: choose another --data"
            )


class DenseObjective(BaseObjective):
    """In training every token learns the value around it; what trains at which rate is as `windows` has it."""

    def __init__(self, windows: WindowObjective) -> None:
        self.windows, self.module, self.target = windows, windows.module, windows.target

    def on_epoch_start(self, epoch: int) -> None:
        """Put stages that do not train yet into evaluation mode."""
        self.windows.on_epoch_start(epoch)

    def step(self, batch: TensorBatch) -> StepOutput:
        """Return the loss of signals and of a value at every sample, `(batch, length)`, NaN where there is none."""
        outputs = self.module.predict_per_token(batch.inputs)
        targets = expect(Tensor, batch.targets)
        wanted = targets[:, :: -(-targets.shape[1] // outputs.shape[1])]
        known = wanted.isfinite()
        # A batch of which nothing is known teaches nothing.
        loss = outputs.sum() * 0
        if known.any():
            loss = self.target.loss(outputs[known], wanted[known][:, None])
        return mean_loss(loss, len(batch.inputs))

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the groups of learning from windows."""
        return self.windows.parameter_groups()


def _errors(arrays: Mapping[str, NDArray[Any]], part: slice) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Return the metrics of some of the values, and those of the best constants."""
    targets = arrays["target"][:, part]
    baselines = {name: compute("values", targets, arrays[array][:, part]) for name, array in _BASELINES.items()}
    return compute("values", targets, arrays["value"][:, part]), baselines


def _is_rate(unit: str) -> bool:
    return unit == "Hz" or unit.endswith("/min")


def _bins(values: NDArray[np.float64], n: int, names: Sequence[str]) -> tuple[tuple[float, ...], ...]:
    """Return for each value the centres of `n` bins that cover what training has and half as much again, as stretched
    windows need; or, for n = 0, the values that training has.

    Raises RecipeError for too many values, or another number of them for each of several.
    """
    if n == 0:
        levels = [np.unique(column) for column in values.T]
        if len({len(level) for level in levels}) > 1 or not 2 <= len(levels[0]) <= _MAX_LEVELS:
            counts = ", ".join(f"{len(level)} of {name}" for level, name in zip(levels, names, strict=True))
            raise RecipeError(
                f"finetune.bins 0 takes 2 to {_MAX_LEVELS} values that occur, not {counts}: give a number"
            )
        return tuple(tuple(level.tolist()) for level in levels)
    centres = []
    for low, high in zip(values.min(axis=0), values.max(axis=0), strict=True):
        first, last = (low / 1.5, high * 1.5) if low > 0 else (low - (high - low) / 4, high + (high - low) / 4)
        centres.append(tuple(np.linspace(first, last if last > first else first + 1, n).tolist()))
    return tuple(centres)
