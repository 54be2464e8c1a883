"""Metrics of classes against hand-computed cases and scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, balanced_accuracy_score, cohen_kappa_score, f1_score, roc_auc_score

from ssl_bio.metrics import compute, metrics_of
from ssl_bio.metrics.classification import confusion


def likely(*codes: int, n_classes: int = 3) -> np.ndarray:
    """Return probabilities that make these classes the likeliest."""
    return np.eye(n_classes)[list(codes)] * 0.8 + 0.2 / n_classes


def test_it_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 4, 300)
    probabilities = rng.dirichlet(np.ones(4), 300)
    predicted = probabilities.argmax(axis=1)
    found = compute("classes", targets, probabilities)
    assert set(found) == set(metrics_of("classes"))
    assert found["AUROC"] == pytest.approx(roc_auc_score(targets, probabilities, multi_class="ovr"))
    assert found["AUC_PR"] == pytest.approx(average_precision_score(np.eye(4)[targets], probabilities))
    assert found["Accuracy"] == pytest.approx((predicted == targets).mean())
    assert found["BalancedAccuracy"] == pytest.approx(balanced_accuracy_score(targets, predicted))
    assert found["CohenKappa"] == pytest.approx(cohen_kappa_score(targets, predicted))
    assert found["F1_weighted"] == pytest.approx(f1_score(targets, predicted, average="weighted"))
    assert found["F1_macro"] == pytest.approx(f1_score(targets, predicted, average="macro"))


def test_a_class_that_does_not_occur_is_left_out() -> None:
    found = compute("classes", np.array([0, 1, 0]), likely(0, 1, 0))
    assert found == pytest.approx(dict.fromkeys(metrics_of("classes"), 1.0))
    predicted_anyway = compute("classes", np.array([0, 1, 0]), likely(0, 1, 2))
    assert predicted_anyway["BalancedAccuracy"] == pytest.approx((1 / 2 + 1) / 2)
    assert predicted_anyway["F1_macro"] == pytest.approx((2 / 3 + 1) / 2)


@pytest.mark.parametrize("code", [0, 1])
def test_of_a_single_class_balanced_accuracy_is_its_recall(code: int) -> None:
    # The first window is wrong, the others are right.
    found = compute("classes", np.full(3, code), likely(1 - code, code, code))
    assert found["BalancedAccuracy"] == found["Accuracy"] == pytest.approx(2 / 3)
    assert {"AUROC", "AUC_PR", "CohenKappa"}.isdisjoint(found)


def test_confusion_rows_are_true_classes() -> None:
    counts = confusion(np.array([0, 0, 2]), likely(1, 0, 2))
    assert counts.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
