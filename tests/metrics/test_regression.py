"""Metrics of values against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from ssl_bio.metrics import compute


def test_it_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    targets = rng.normal([120, 70], [20, 10], (50, 2))
    predictions = targets + rng.normal(0, 5, (50, 2))
    found = compute("values", targets, predictions)
    assert found == pytest.approx(
        {
            "MAE": mean_absolute_error(targets, predictions),
            "R2": r2_score(targets, predictions),
            "RMSE": root_mean_squared_error(targets, predictions),
        }
    )


def test_r2_needs_two_windows() -> None:
    assert compute("values", np.array([[1.0]]), np.array([[3.0]])) == {"MAE": 2.0, "RMSE": 2.0}
