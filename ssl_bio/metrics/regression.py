"""Metrics of values `(n, n_values)`: means over the values."""

import numpy as np
import sklearn.metrics
from numpy.typing import NDArray

Values = NDArray[np.float64]


def mean_absolute_error(targets: Values, predictions: Values) -> float:
    """Return the mean absolute error."""
    return float(np.abs(targets - predictions).mean())


def root_mean_squared_error(targets: Values, predictions: Values) -> float:
    """Return the root mean squared error."""
    return float(sklearn.metrics.root_mean_squared_error(targets, predictions))


def r2(targets: Values, predictions: Values) -> float:
    """Return the coefficient of determination; NaN with fewer than two windows."""
    return float(sklearn.metrics.r2_score(targets, predictions)) if len(targets) > 1 else np.nan
