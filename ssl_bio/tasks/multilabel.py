"""Multi-label classification: any of several labels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ssl_bio.config.tasks import EvaluateConfig, MultilabelConfig
from ssl_bio.data.dataset import PreparedDataset, Rows
from ssl_bio.metrics import compute
from ssl_bio.results.evaluation import Evaluation, Table
from ssl_bio.tasks.class_plots import label_figures
from ssl_bio.tasks.classification import positions_of
from ssl_bio.tasks.windows import WindowTarget, WindowTask
from ssl_bio.training import probe

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class LabelTarget(WindowTarget):
    """Any of several labels: targets are 0 or 1 `(n, n_labels)`, predictions their probabilities."""

    task: Literal["multilabel"] = "multilabel"

    def encode(self, targets: Tensor) -> Tensor:
        """Return labels in floating point."""
        return targets.float()

    def loss(self, outputs: Tensor, encoded: Tensor, *, label_smoothing: float = 0.0, mean: bool = True) -> Tensor:
        """Return the binary cross entropy of logits, averaged over labels."""
        smoothed = encoded * (1 - label_smoothing) + label_smoothing / 2
        if mean:
            return F.binary_cross_entropy_with_logits(outputs, smoothed)
        return F.binary_cross_entropy_with_logits(outputs, smoothed, reduction="none").mean(dim=1)

    def predictions(self, outputs: Tensor) -> Tensor:
        """Return probabilities."""
        return outputs.double().sigmoid()

    @property
    def meaning(self) -> str:
        """Return in words what stands in the columns of predictions."""
        return f"probability of each of {', '.join(self.names)}"


class Multilabel(WindowTask[MultilabelConfig, EvaluateConfig, LabelTarget]):
    """Which labels a window has."""

    Config, EvaluateConfig, Target = MultilabelConfig, EvaluateConfig, LabelTarget
    leading_metrics: ClassVar = ("Accuracy", "F1_macro", "AUROC")
    target_kind, predictions_kind, prediction_array = "labels", "labels", "probability"

    @property
    def label_smoothing(self) -> float:
        """Return the label smoothing of training."""
        return self.config.label_smoothing

    def target(self, dataset: PreparedDataset, rows: Rows) -> LabelTarget:
        """Return the labels."""
        (info,) = self.target_infos(dataset.info)
        return LabelTarget(names=info.classes)

    def encoded_targets(self, dataset: PreparedDataset, rows: Rows, target: LabelTarget) -> NDArray[Any]:
        """Return the labels of rows in the order of the run's, matched by name; labels they lack are 0."""
        (info,) = self.target_infos(dataset.info)
        labels = self.target_values(dataset)[rows]
        if info.classes == target.names:
            return labels
        recoded = np.zeros((len(labels), target.n_outputs), labels.dtype)
        recoded[:, positions_of(info.classes, target.names, dataset.info.name)] = labels
        return recoded

    def solve_head(
        self, features: NDArray[np.floating[Any]], targets: NDArray[Any], target: LabelTarget
    ) -> probe.LinearHead:
        """Return the heads of a ridge classifier or of one logistic classifier a label."""
        if self.config.probe == "ridge":
            return probe.ridge_classifier(features, targets, self.config.probe_alpha)
        return probe.logistic_labels(features, targets, self.config.probe_c)

    def figures(self, target: LabelTarget, evaluation: Evaluation, *, sampling_rate: float) -> "dict[str, Figure]":
        """Return the curves of each label."""
        arrays = evaluation.predictions.arrays
        return label_figures(target.names, arrays["target"], arrays["probability"])

    def answer_columns(self, target: LabelTarget, answers: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
        """Return the labels that are likelier than not, with ";" between, and the probability of each."""
        chosen = [";".join(np.array(target.names)[row >= 0.5]) for row in answers]
        columns = {f"probability {name}": answers[:, place] for place, name in enumerate(target.names)}
        return {self.recipe.data.target: np.array(chosen, np.str_), **columns}

    def tables(self, target: LabelTarget, evaluations: Sequence[Evaluation]) -> list[Table]:
        """Return each label's metrics of a single evaluation."""
        if len(evaluations) != 1:
            return []
        arrays, rows = evaluations[0].predictions.arrays, []
        for label, name in enumerate(target.names):
            part = slice(label, label + 1)
            found = compute("labels", arrays["target"][:, part], arrays["probability"][:, part])
            shown = [f"{found[column]:.4f}" if column in found else "" for column in ("AUROC", "AUC_PR", "F1_macro")]
            rows.append([name, str(int(arrays["target"][:, label].sum())), *shown])
        return [Table("label by label", ["", "windows", "AUROC", "AUC_PR", "F1"], rows)]
