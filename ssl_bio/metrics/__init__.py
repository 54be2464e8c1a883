"""Metrics: one declaration each, from which the sheet's columns, what `monitor` may name, the ranking and the tables
follow. Nothing heavy is imported before a metric is computed."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_bio.errors import RecipeError

#: (targets, predictions) -> a number; NaN where it is not defined.
MetricFunction = Callable[[NDArray[Any], NDArray[Any]], float]


@dataclass(frozen=True)
class Metric:
    """A metric as it is declared.

    `functions`: for each kind of predictions it is defined on ("classes", "labels", "values"), how it is computed.
    Metrics without functions are computed by the tasks themselves. `digits`: decimals in tables and in the sheet;
    `significant`: of those with any size, significant digits instead. `baseline_of`: the metric of a baseline, as
    (metric, baseline), which gets a column of its own beside ours.
    """

    name: str
    description: str
    higher_is_better: bool = True
    digits: int = 4
    significant: bool = False
    functions: Mapping[str, MetricFunction] = field(default_factory=dict)
    baseline_of: tuple[str, str] | None = None

    def text(self, value: float) -> str:
        """Return a value as tables and the sheet show it."""
        return f"{value:.{self.digits}{'g' if self.significant else 'f'}}"


def _deferred(path: str) -> MetricFunction:
    """Return a function that is imported from "module:name" below this package when it is first called."""
    module, _, name = path.partition(":")

    def compute(targets: NDArray[Any], predictions: NDArray[Any]) -> float:
        function: MetricFunction = getattr(importlib.import_module(f"ssl_bio.metrics.{module}"), name)
        return function(targets, predictions)

    return compute


def _classes_and_labels(classes: str = "", labels: str = "") -> dict[str, MetricFunction]:
    both = {"classes": classes and f"classification:{classes}", "labels": labels and f"multilabel:{labels}"}
    return {kind: _deferred(path) for kind, path in both.items() if path}


#: The lab's columns first, in the order of the sheet it already has.
_DECLARED = (
    Metric(
        "AUC_PR",
        "average precision, one against rest, mean over classes or labels",
        functions=_classes_and_labels("average_precision", "average_precision"),
    ),
    Metric(
        "AUROC",
        "area under the ROC curve, one against rest, mean over classes or labels",
        functions=_classes_and_labels("auroc", "auroc"),
    ),
    Metric(
        "Accuracy",
        "share of windows (of labels: of windows and labels) that are right",
        functions=_classes_and_labels("accuracy", "accuracy"),
    ),
    Metric(
        "BalancedAccuracy",
        "mean recall over the classes that occur",
        functions=_classes_and_labels("balanced_accuracy"),
    ),
    Metric("CohenKappa", "agreement beyond chance", functions=_classes_and_labels("cohen_kappa")),
    Metric(
        "F1_weighted",
        "F1, mean over classes or labels by how often they occur",
        functions=_classes_and_labels("f1_weighted", "f1_weighted"),
    ),
    Metric(
        "MAE",
        "mean absolute error in the target's unit",
        higher_is_better=False,
        functions={"values": _deferred("regression:mean_absolute_error")},
    ),
    Metric("R2", "coefficient of determination", functions={"values": _deferred("regression:r2")}),
    Metric(
        "RMSE",
        "root mean squared error in the target's unit; of denoised signals in theirs",
        higher_is_better=False,
        functions={"values": _deferred("regression:root_mean_squared_error")},
    ),
    Metric(
        "F1_macro",
        "F1, mean over the classes or labels that occur",
        functions=_classes_and_labels("f1_macro", "f1_macro"),
    ),
    Metric(
        "MAE_constant",
        "mean absolute error of the training mean, predicted always",
        higher_is_better=False,
        baseline_of=("MAE", "always the mean"),
    ),
    Metric(
        "mse_batch",
        "mean squared error of forecasts, each from the true samples before it",
        higher_is_better=False,
        significant=True,
    ),
    Metric(
        "mse_regressive",
        "mean squared error of forecasts that feed on themselves",
        higher_is_better=False,
        significant=True,
    ),
    Metric("snr_gain", "dB by which denoising brings the noise down"),
    Metric(
        "snr_gain_classical",
        "the same of a band-pass and wavelet thresholds",
        baseline_of=("snr_gain", "classical"),
    ),
    Metric("correlation", "of the denoised signal with the clean one"),
    Metric("beat_F1", "F1 of beats found in the denoised signal"),
    Metric("beat_F1_noisy", "F1 of beats found in the noisy signal"),
)


@cache
def metrics() -> dict[str, Metric]:
    """Return all metrics by name: the declared ones, then those of installed plugins (group `ssl_bio.metrics`).

    Raises RecipeError for a plugin that cannot be loaded or takes a name that is taken.
    """
    found = {metric.name: metric for metric in _DECLARED}
    for point in entry_points(group="ssl_bio.metrics"):
        origin = point.dist.name if point.dist else point.value
        try:
            metric = point.load()
        except Exception as error:  # whatever a foreign module raises while it is imported
            raise RecipeError(
                f"plugin {origin}: its metric {point.name!r}: {point.value} cannot be imported "
                f"({type(error).__name__}: {error})"
            ) from error
        if not isinstance(metric, Metric) or metric.name != point.name or metric.name in found:
            raise RecipeError(
                f"plugin {origin}: its metric {point.name!r}: {point.value} is no Metric of that name, "
                "or the name is taken"
            )
        found[metric.name] = metric
    return found


def metrics_of(predictions: str) -> tuple[str, ...]:
    """Return the names of the metrics that are defined on a kind of predictions ("classes", "labels", "values")."""
    return tuple(name for name, metric in metrics().items() if predictions in metric.functions)


def compute(predictions_kind: str, targets: NDArray[Any], predictions: NDArray[Any]) -> dict[str, float]:
    """Return all metrics of a kind of predictions, without those that are not defined on these."""
    values = {
        name: float(metrics()[name].functions[predictions_kind](targets, predictions))
        for name in metrics_of(predictions_kind)
    }
    return {name: value for name, value in values.items() if np.isfinite(value)}


def lower_is_better(column: str) -> bool:
    """Return whether the least value is the best one: of a metric, a loss, or either with a prefix ("val_MAE")."""
    if column.endswith("loss"):
        return True
    for name, metric in metrics().items():
        if column == name or column.endswith(f"_{name}"):
            return not metric.higher_is_better
    return False


def metric_text(name: str, value: float) -> str:
    """Return a metric as tables and the sheet show it; of others than the declared, 4 decimals."""
    metric = metrics().get(name)
    return metric.text(value) if metric else f"{value:.4f}"
