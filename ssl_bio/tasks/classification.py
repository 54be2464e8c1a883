"""Classification: one class of several."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ssl_bio.config.tasks import ClassificationConfig, EvaluateConfig
from ssl_bio.data.dataset import PreparedDataset, Rows
from ssl_bio.errors import DataError
from ssl_bio.metrics.classification import confusion
from ssl_bio.results.evaluation import Evaluation, Table
from ssl_bio.tasks.base import LabelledRows
from ssl_bio.tasks.class_plots import class_figures
from ssl_bio.tasks.windows import WindowTarget, WindowTask
from ssl_bio.training import probe

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ClassTarget(WindowTarget):
    """One class of several: targets are codes `(n,)`, predictions probabilities `(n, n_classes)`."""

    task: Literal["classification"] = "classification"

    def encode(self, targets: Tensor) -> Tensor:
        """Return codes `(batch,)` as one-hot `(batch, n_classes)`."""
        return F.one_hot(targets, self.n_outputs).float()

    def loss(self, outputs: Tensor, encoded: Tensor, *, label_smoothing: float = 0.0, mean: bool = True) -> Tensor:
        """Return the cross entropy of logits."""
        reduction = "mean" if mean else "none"
        return F.cross_entropy(outputs, encoded, label_smoothing=label_smoothing, reduction=reduction)

    def predictions(self, outputs: Tensor) -> Tensor:
        """Return probabilities."""
        return outputs.double().softmax(dim=1)

    @property
    def meaning(self) -> str:
        """Return in words what stands in the columns of predictions."""
        return f"probability of {', '.join(self.names)}, which add up to 1"


class Classification(WindowTask[ClassificationConfig, EvaluateConfig, ClassTarget]):
    """Which class a window is of."""

    Config, EvaluateConfig, Target = ClassificationConfig, EvaluateConfig, ClassTarget
    leading_metrics: ClassVar = ("Accuracy", "F1_macro", "AUROC")
    target_kind, predictions_kind, prediction_array = "class", "classes", "probability"

    @property
    def label_smoothing(self) -> float:
        """Return the label smoothing of training."""
        return self.config.label_smoothing

    def target(self, dataset: PreparedDataset, rows: Rows) -> ClassTarget:
        """Return the classes."""
        (info,) = self.target_infos(dataset.info)
        return ClassTarget(names=info.classes)

    def strata(self, dataset: PreparedDataset, rows: Rows, split: str) -> LabelledRows:
        """Return the classes that a share of the labels must hold: all; of validation those that are there."""
        codes = self.target_values(dataset)
        (info,) = self.target_infos(dataset.info)
        if split != "val":
            return LabelledRows(codes, info.classes)
        present = [code for code in range(len(info.classes)) if (codes[rows] == code).any()]
        recoded = np.searchsorted(present, codes) if present else codes
        return LabelledRows(recoded, [info.classes[code] for code in present])

    def encoded_targets(self, dataset: PreparedDataset, rows: Rows, target: ClassTarget) -> NDArray[Any]:
        """Return the codes of rows in the order of the run's classes, matched by name."""
        (info,) = self.target_infos(dataset.info)
        codes = self.target_values(dataset)[rows]
        if info.classes == target.names:
            return codes
        return np.asarray(positions_of(info.classes, target.names, dataset.info.name)[codes])

    def solve_head(
        self, features: NDArray[np.floating[Any]], targets: NDArray[Any], target: ClassTarget
    ) -> probe.LinearHead:
        """Return the head of a ridge or logistic classifier."""
        if self.config.probe == "ridge":
            return probe.ridge_classifier(features, targets, self.config.probe_alpha)
        return probe.logistic_classifier(features, targets, self.config.probe_c)

    def figures(self, target: ClassTarget, evaluation: Evaluation, *, sampling_rate: float) -> "dict[str, Figure]":
        """Return the confusion of classes, and for each class the curves of one against rest."""
        arrays = evaluation.predictions.arrays
        return class_figures(target.names, arrays["target"], arrays["probability"])

    def answer_columns(self, target: ClassTarget, answers: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
        """Return the likeliest class, and the probability of each."""
        columns = {f"probability {name}": answers[:, place] for place, name in enumerate(target.names)}
        return {self.recipe.data.target: np.array(target.names)[answers.argmax(axis=1)], **columns}

    def tables(self, target: ClassTarget, evaluations: Sequence[Evaluation]) -> list[Table]:
        """Return the confusion of classes of a single evaluation."""
        if len(evaluations) != 1:
            return []
        arrays = evaluations[0].predictions.arrays
        counts = confusion(arrays["target"], arrays["probability"])
        rows = [[name, *(str(count) for count in row)] for name, row in zip(target.names, counts, strict=True)]
        return [Table("true class (rows) against predicted", ["", *target.names], rows)]


def positions_of(theirs: Sequence[str], ours: Sequence[str], dataset: str) -> NDArray[np.int64]:
    """Return where another dataset's classes or labels stand among this run's.

    Raises DataError for one that the run does not know.
    """
    unknown = [label for label in theirs if label not in ours]
    if unknown:
        raise DataError(
            f"dataset {dataset} has labels that this run does not know: {', '.join(unknown)}; "
            f"it knows {', '.join(ours)}"
        )
    return np.array([ours.index(label) for label in theirs])
