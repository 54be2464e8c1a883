"""Metrics of any of several labels: 0 or 1 `(n, n_labels)` against probabilities of the same shape.

AUROC and average precision average over the labels that some windows have and some have not, F1 over the labels that
occur. NaN where a metric is not defined.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

Labels = NDArray[np.int64]
Probabilities = NDArray[np.float64]


def accuracy(targets: Labels, predictions: Probabilities) -> float:
    """Return the share of right predictions over windows and labels, as in the lab's rows."""
    return float(((predictions >= 0.5) == targets).mean())


def f1_weighted(targets: Labels, predictions: Probabilities) -> float:
    """Return F1, averaged over labels by how often they occur."""
    return _f1(targets, predictions, "weighted")


def f1_macro(targets: Labels, predictions: Probabilities) -> float:
    """Return F1, averaged over the labels that occur."""
    return _f1(targets, predictions, "macro")


def auroc(targets: Labels, predictions: Probabilities) -> float:
    """Return the area under the ROC curve."""
    labels = _both_sides(targets)
    return float(np.mean([roc_auc_score(targets[:, k], predictions[:, k]) for k in labels])) if labels else np.nan


def average_precision(targets: Labels, predictions: Probabilities) -> float:
    """Return the average precision."""
    labels = _both_sides(targets)
    if not labels:
        return np.nan
    return float(np.mean([average_precision_score(targets[:, k], predictions[:, k]) for k in labels]))


def _f1(targets: Labels, predictions: Probabilities, average: str) -> float:
    occurring = np.flatnonzero(targets.any(axis=0))
    if not len(occurring):
        return np.nan
    predicted = predictions[:, occurring] >= 0.5
    return float(f1_score(targets[:, occurring], predicted, average=average, zero_division=0))


def _both_sides(targets: Labels) -> list[int]:
    """Return the labels that some windows have and some have not."""
    return [int(k) for k in np.flatnonzero(targets.any(axis=0)) if not targets[:, k].all()]
