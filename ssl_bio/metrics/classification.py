"""Metrics of one class of several: codes `(n,)` against probabilities `(n, n_classes)`.

AUROC and average precision are one-against-rest, averaged over the classes that occur in the targets with at least one
window of another class beside them; F1 and balanced accuracy average over the classes that occur. NaN where a metric is
not defined.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    average_precision_score,
    cohen_kappa_score,
    confusion_matrix,
    f1_score,
    recall_score,
    roc_auc_score,
)

Codes = NDArray[np.int64]
Probabilities = NDArray[np.float64]


def accuracy(targets: Codes, predictions: Probabilities) -> float:
    """Return the share of windows whose likeliest class is theirs."""
    return float((targets == predictions.argmax(axis=1)).mean())


def balanced_accuracy(targets: Codes, predictions: Probabilities) -> float:
    """Return the mean recall of the classes that occur."""
    occurring = np.unique(targets)  # scikit-learn's own score warns when another class is predicted
    return float(recall_score(targets, predictions.argmax(axis=1), labels=occurring, average="macro"))


def cohen_kappa(targets: Codes, predictions: Probabilities) -> float:
    """Return Cohen's kappa; NaN with a single class."""
    if not len(_both_sides(targets, predictions)):
        return float("nan")
    return float(cohen_kappa_score(targets, predictions.argmax(axis=1)))


def f1_weighted(targets: Codes, predictions: Probabilities) -> float:
    """Return F1, averaged over classes by how often they occur."""
    return float(f1_score(targets, predictions.argmax(axis=1), average="weighted", zero_division=0))


def f1_macro(targets: Codes, predictions: Probabilities) -> float:
    """Return F1, averaged over the classes that occur."""
    occurring = np.unique(targets)
    return float(f1_score(targets, predictions.argmax(axis=1), labels=occurring, average="macro", zero_division=0))


def auroc(targets: Codes, predictions: Probabilities) -> float:
    """Return the area under the ROC curve."""
    codes = _both_sides(targets, predictions)
    return float(np.mean([roc_auc_score(targets == code, predictions[:, code]) for code in codes])) if codes else np.nan


def average_precision(targets: Codes, predictions: Probabilities) -> float:
    """Return the average precision."""
    codes = _both_sides(targets, predictions)
    if not codes:
        return np.nan
    return float(np.mean([average_precision_score(targets == code, predictions[:, code]) for code in codes]))


def confusion(targets: Codes, predictions: Probabilities) -> NDArray[np.int64]:
    """Return counts `(n_classes, n_classes)`: a row a true class, a column a predicted one."""
    labels = np.arange(predictions.shape[1])
    return np.asarray(confusion_matrix(targets, predictions.argmax(axis=1), labels=labels), np.int64)


def _both_sides(targets: Codes, predictions: Probabilities) -> list[int]:
    """Return the classes that some windows have and some have not."""
    return [code for code in range(predictions.shape[1]) if 0 < (targets == code).sum() < len(targets)]
