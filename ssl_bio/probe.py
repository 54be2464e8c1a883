"""Linear probes on a frozen backbone: features computed once, standardised, then a linear model."""

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from torch import nn

from ssl_bio.data.transforms import even_crops
from ssl_bio.data.view import Batches
from ssl_bio.errors import TrainingError
from ssl_bio.models.heads import Predictor
from ssl_bio.outcome import Classes, Labels, Outcome, Values
from ssl_bio.terminal import progress

_MAX_ITERATIONS = 1000
_NEVER = -6.0  # log odds of a label that no training window has


@torch.no_grad()
def extract(model: Predictor, batches: Batches, device: torch.device) -> NDArray[np.float32]:
    """Pooled features `(n, n_features)` of all windows, in order, in evaluation mode; of a window longer than the
    network's, the mean over crops."""
    training = model.training
    model.to(device).eval()
    features = []
    with progress("features", len(batches)) as tick:
        for step, batch in enumerate(batches.ordered(), 1):
            crops = even_crops(batch.inputs, model.window or batch.inputs.shape[-1])
            found = [model.features(torch.from_numpy(part).to(device)) for part in crops]
            features.append(torch.stack(found).mean(dim=0).cpu().numpy())
            tick(step)
    model.train(training)
    return np.concatenate(features)


def standardise(model: Predictor, features: NDArray[np.float32]) -> None:
    """Have the predictor scale its features by the mean and deviation of these, `(n, n_features)`."""
    std = features.std(axis=0, dtype=np.float64)
    model.feature_mean.copy_(torch.from_numpy(features.mean(axis=0, dtype=np.float64)))
    model.feature_std.copy_(torch.from_numpy(np.where(std > 1e-8, std, 1.0)))


def solve(
    model: Predictor,
    outcome: Outcome,
    features: NDArray[np.float32],
    targets: NDArray[Any],
    kind: str,
    c: float,
    alpha: float,
) -> bool:
    """Set the head by scikit-learn's solver on standardised features `(n, n_features)`.

    "logistic": multinomial logistic regression (L2, `c`), for labels one of its own each. "ridge": ridge
    regression (`alpha`) onto -1 and 1, the answer people put on MiniRocket's features; its scores are no log odds:
    the class is meant, and ranking within a class, not the probabilities. Values are always solved by ridge
    regression. Returns whether the solver converged.
    """
    x = _scaled(model, features)
    if isinstance(outcome, Values):
        standardised = (targets - np.array(outcome.mean)) / np.array(outcome.std)
        solved = Ridge(alpha=alpha).fit(x, standardised)
        _set_head(model, np.atleast_2d(solved.coef_), np.atleast_1d(solved.intercept_))
        return True
    if kind == "ridge":
        _set_head(model, *_two_rows(RidgeClassifier(alpha=alpha).fit(x, targets), outcome))
        return True
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        logistic = LogisticRegression(C=c, max_iter=_MAX_ITERATIONS)
        if isinstance(outcome, Labels):
            _set_head(model, *_label_by_label(logistic, x, targets))
        else:
            _set_head(model, *_two_rows(logistic.fit(x, targets), outcome))
    return not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)


def _two_rows(solved: Any, outcome: Outcome) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights and biases; of two classes the solvers give one row, the score of the second class over the first."""
    weight, bias = np.atleast_2d(solved.coef_), np.atleast_1d(solved.intercept_)
    if len(weight) == 1 and isinstance(outcome, Classes):
        return np.stack([np.zeros_like(weight[0]), weight[0]]), np.array([0.0, bias[0]])
    return weight, bias


def _label_by_label(
    solver: LogisticRegression, x: NDArray[np.float32], targets: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    weight, bias = np.zeros((targets.shape[1], x.shape[1])), np.zeros(targets.shape[1])
    for label, column in enumerate(targets.T):
        if 0 < column.sum() < len(column):
            solved = solver.fit(x, column)
            weight[label], bias[label] = solved.coef_[0], solved.intercept_[0]
        else:
            bias[label] = _NEVER if not column.any() else -_NEVER
    return weight, bias


def _scaled(model: Predictor, features: NDArray[np.float32]) -> NDArray[np.float32]:
    mean, std = model.feature_mean.cpu().numpy(), model.feature_std.cpu().numpy()
    return np.asarray((features - mean) / std, np.float32)


def _set_head(model: Predictor, weight: NDArray[np.float64], bias: NDArray[np.float64]) -> None:
    assert isinstance(model.head, nn.Linear)
    with torch.no_grad():
        model.head.weight.copy_(torch.from_numpy(weight))
        model.head.bias.copy_(torch.from_numpy(bias))


@contextmanager
def frozen(backbone: nn.Module) -> Iterator[str]:
    """Prove that the block changes no parameter and no buffer of the backbone; yields its digest.

    Raises TrainingError when something changed.
    """
    before = digest(backbone)
    yield before
    if digest(backbone) != before:
        raise TrainingError("the frozen backbone changed during the probe: this is a bug, and the result was dropped")


def digest(module: nn.Module) -> str:
    """SHA-256 over every parameter and buffer, by name: 16 hex digits."""
    sha = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        sha.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()[:16]
