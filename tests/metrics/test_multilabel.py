"""Metrics of labels against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from ssl_bio.metrics import compute, metrics_of


def test_it_agrees_with_scikit_learn_and_accuracy_is_element_wise() -> None:
    rng = np.random.default_rng(0)
    targets = (rng.random((200, 6)) < 0.3).astype(np.int8)
    targets[:, 5] = 0  # a label that nobody has
    probabilities = np.clip(0.4 * targets + 0.6 * rng.random((200, 6)), 0, 1)
    found = compute("labels", targets, probabilities)
    assert set(found) == set(metrics_of("labels"))
    occurring, likely = targets[:, :5], probabilities[:, :5]
    assert found["AUROC"] == pytest.approx(roc_auc_score(occurring, likely, average="macro"))
    assert found["AUC_PR"] == pytest.approx(average_precision_score(occurring, likely, average="macro"))
    assert found["Accuracy"] == pytest.approx(((probabilities >= 0.5) == targets).mean())
    assert found["F1_weighted"] == pytest.approx(f1_score(occurring, likely >= 0.5, average="weighted"))
    assert found["F1_macro"] == pytest.approx(f1_score(occurring, likely >= 0.5, average="macro"))


def test_what_is_not_defined_is_left_out() -> None:
    nobody = compute("labels", np.zeros((3, 2), np.int8), np.full((3, 2), 0.6))
    assert nobody == {"Accuracy": 0.0}
    everybody = compute("labels", np.ones((3, 2), np.int8), np.full((3, 2), 0.6))
    assert set(everybody) == {"Accuracy", "F1_weighted", "F1_macro"}
