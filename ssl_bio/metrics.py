"""Figures of merit: the sheet's metric columns, ranking metrics and codebook use."""

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    confusion_matrix,
    f1_score,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)
from torch import Tensor

#: Ends of the names of figures of which the least is the best.
LOWER_IS_BETTER = ("loss", "MAE", "RMSE", "mse_batch", "mse_regressive")


def classification(targets: NDArray[np.int64], probabilities: NDArray[np.float64]) -> dict[str, float]:
    """Metric columns of a multi-class task from class codes `(n,)` and probabilities `(n, n_classes)`.

    AUROC and AUC_PR are one-against-rest, averaged over the classes that occur in `targets` with at
    least one window of another class beside them; F1_macro and balanced accuracy average over the
    classes that occur.
    """
    predicted = probabilities.argmax(axis=1)
    present = [code for code in range(probabilities.shape[1]) if 0 < (targets == code).sum() < len(targets)]
    result = {
        "Accuracy": accuracy_score(targets, predicted),
        "BalancedAccuracy": balanced_accuracy_score(targets, predicted)
        if present
        else float(targets[0] == predicted[0]),
        "F1_weighted": f1_score(targets, predicted, average="weighted", zero_division=0),
        "F1_macro": f1_score(targets, predicted, labels=np.unique(targets), average="macro", zero_division=0),
    }
    if present:
        result["CohenKappa"] = cohen_kappa_score(targets, predicted)
        result["AUROC"] = np.mean([roc_auc_score(targets == code, probabilities[:, code]) for code in present])
        result["AUC_PR"] = np.mean(
            [average_precision_score(targets == code, probabilities[:, code]) for code in present]
        )
    return {name: float(value) for name, value in result.items()}


def multilabel(targets: NDArray[np.int64], probabilities: NDArray[np.float64]) -> dict[str, float]:
    """Metric columns of a multi-label task from 0 or 1 `(n, n_labels)` and probabilities of the same shape.

    Accuracy is element-wise, as in the lab's rows: the share of right answers over windows and labels. AUROC and
    AUC_PR average over the labels that some windows have and some have not, F1 over the labels that occur.
    """
    predicted = probabilities >= 0.5
    occurring = np.flatnonzero(targets.any(axis=0))
    present = [label for label in occurring if not targets[:, label].all()]
    result = {"Accuracy": (predicted == targets).mean()}
    for average in ("weighted", "macro") if len(occurring) else ():
        result[f"F1_{average}"] = f1_score(
            targets[:, occurring], predicted[:, occurring], average=average, zero_division=0
        )
    if present:
        pairs = [(targets[:, label], probabilities[:, label]) for label in present]
        result["AUROC"] = np.mean([roc_auc_score(*pair) for pair in pairs])
        result["AUC_PR"] = np.mean([average_precision_score(*pair) for pair in pairs])
    return {name: float(value) for name, value in result.items()}


def regression(targets: NDArray[np.float64], answers: NDArray[np.float64]) -> dict[str, float]:
    """Metric columns of values `(n, n_values)`: means over the values. R2 needs two windows."""
    result = {"MAE": mean_absolute_error(targets, answers), "RMSE": root_mean_squared_error(targets, answers)}
    if len(targets) > 1:
        result["R2"] = r2_score(targets, answers)
    return {name: float(value) for name, value in result.items()}


def confusion(targets: NDArray[np.int64], probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Counts `(n_classes, n_classes)`: a row a true class, a column a predicted one."""
    n_classes = probabilities.shape[1]
    counts = confusion_matrix(targets, probabilities.argmax(axis=1), labels=np.arange(n_classes))
    return np.asarray(counts, np.int64)


def f1_of_counts(hits: float, extra: float, missed: float) -> float:
    """F1 of events found where they are, where none is, and not found; 0 where there are none of any kind."""
    return 2 * hits / max(2 * hits + extra + missed, 1)


def ndcg(scores: Tensor, targets: Tensor, k: int = 10) -> Tensor:
    """NDCG@k with one relevant item: scores `(n, n_items)`, targets `(n,)` -> a scalar.

    One relevant item of rank r (from 0) makes the ideal gain 1 and the gain 1 / log2(r + 2), or 0 from
    rank k on (Järvelin and Kekäläinen 2002). Ties count against the target.
    """
    target_scores = scores.gather(1, targets[:, None])
    rank = (scores >= target_scores).sum(dim=1) - 1
    return torch.where(rank < k, 1 / torch.log2(rank + 2.0), 0.0).mean()


def perplexity(counts: Tensor) -> Tensor:
    """exp(entropy) of how often each codeword was used: `(..., n_codewords)` -> between 1 and n_codewords."""
    share = counts / counts.sum(dim=-1, keepdim=True).clamp(min=1)
    return torch.exp(-torch.xlogy(share, share).sum(dim=-1))


def codes_used(counts: Tensor) -> Tensor:
    """Share of the codewords that were used at all: `(..., n_codewords)` -> between 0 and 1."""
    return (counts > 0).float().mean(dim=-1)
