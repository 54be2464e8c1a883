"""Linear probes on a frozen backbone: features computed once, standardised, then a linear model."""

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from torch import nn

from ssl_bio.data.augmentations import even_crops
from ssl_bio.data.loader import Batch, Loader
from ssl_bio.errors import TrainingError
from ssl_bio.models.heads import Predictor
from ssl_bio.training.evaluation import map_batches

_MAX_ITERATIONS = 1000
_NEVER = -6.0  # log odds of a label that no training window has


class LinearHead(NamedTuple):
    """A solved head: weights `(n_outputs, n_features)`, biases `(n_outputs,)`, and whether its solver converged."""

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    converged: bool = True


def extract_features(model: Predictor, loader: Loader, device: torch.device) -> NDArray[np.float32]:
    """Return pooled features `(n, n_features)` of all windows, in order, in evaluation mode; of a window longer than
    the network's, the mean over crops."""

    def pooled(index: int, batch: Batch) -> NDArray[np.float32]:
        crops = even_crops(batch.inputs, model.window or batch.inputs.shape[-1])
        found = [model.features(torch.from_numpy(crop).to(device)) for crop in crops]
        return np.asarray(torch.stack(found).mean(dim=0).cpu().numpy())

    return np.concatenate(map_batches(model, loader, pooled, device=device, title="features"))


def standardise_features(model: Predictor, features: NDArray[np.float32]) -> None:
    """Have the predictor scale its features by the mean and standard deviation of these, `(n, n_features)`."""
    std = features.std(axis=0, dtype=np.float64)
    model.feature_mean.copy_(torch.from_numpy(features.mean(axis=0, dtype=np.float64)))
    model.feature_std.copy_(torch.from_numpy(np.where(std > 1e-8, std, 1.0)))


def scaled_features(model: Predictor, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return features as the predictor's head sees them."""
    mean, std = model.feature_mean.cpu().numpy(), model.feature_std.cpu().numpy()
    return np.asarray((features - mean) / std, np.float32)


def set_head(model: Predictor, head: LinearHead) -> None:
    """Give a predictor with a linear head the weights of a solved one."""
    if not isinstance(model.head, nn.Linear):
        raise TypeError("only a linear head can be solved for")
    with torch.no_grad():
        model.head.weight.copy_(torch.from_numpy(head.weight))
        model.head.bias.copy_(torch.from_numpy(head.bias))


def ridge_regression(x: NDArray[np.floating[Any]], targets: NDArray[np.float64], alpha: float) -> LinearHead:
    """Solve ridge regression onto targets `(n, n_values)`."""
    solved = Ridge(alpha=alpha).fit(x, targets)
    return LinearHead(np.atleast_2d(solved.coef_), np.atleast_1d(solved.intercept_))


def ridge_classifier(x: NDArray[np.floating[Any]], targets: NDArray[np.int64], alpha: float) -> LinearHead:
    """Solve ridge regression onto -1 and 1 for classes `(n,)` or labels `(n, n_labels)`.

    It is what people put on MiniRocket's features; its scores are no log odds: the class is meant, and ranking within
    a class, not the probabilities.
    """
    solved = RidgeClassifier(alpha=alpha).fit(x, targets)
    return _one_row_a_class(solved.coef_, solved.intercept_, targets)


def logistic_classifier(x: NDArray[np.floating[Any]], targets: NDArray[np.int64], c: float) -> LinearHead:
    """Solve multinomial logistic regression (L2, inverse strength `c`) of classes `(n,)`."""
    with _watching_convergence() as caught:
        solved = LogisticRegression(C=c, max_iter=_MAX_ITERATIONS).fit(x, targets)
    head = _one_row_a_class(solved.coef_, solved.intercept_, targets)
    return head._replace(converged=not caught)


def logistic_labels(x: NDArray[np.floating[Any]], targets: NDArray[np.int64], c: float) -> LinearHead:
    """Solve a logistic regression for each of labels `(n, n_labels)`; one that all windows have or none gets a bias."""
    weight, bias = np.zeros((targets.shape[1], x.shape[1])), np.zeros(targets.shape[1])
    with _watching_convergence() as caught:
        for label, column in enumerate(targets.T):
            if 0 < column.sum() < len(column):
                solved = LogisticRegression(C=c, max_iter=_MAX_ITERATIONS).fit(x, column)
                weight[label], bias[label] = solved.coef_[0], solved.intercept_[0]
            else:
                bias[label] = -_NEVER if column.any() else _NEVER
    return LinearHead(weight, bias, not caught)


def _one_row_a_class(
    coefficients: NDArray[np.float64], intercept: NDArray[np.float64], targets: NDArray[np.int64]
) -> LinearHead:
    """Return weights and biases; of two classes the solvers give one row, the score of the second over the first."""
    weight, bias = np.atleast_2d(coefficients), np.atleast_1d(intercept)
    if len(weight) == 1 and targets.ndim == 1:
        return LinearHead(np.stack([np.zeros_like(weight[0]), weight[0]]), np.array([0.0, bias[0]]))
    return LinearHead(weight, bias)


@contextmanager
def _watching_convergence() -> Iterator[list[warnings.WarningMessage]]:
    """Yield a list that holds, after the block, the warnings of solvers that did not converge."""
    failed: list[warnings.WarningMessage] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        yield failed
    failed += [warning for warning in caught if issubclass(warning.category, ConvergenceWarning)]


@contextmanager
def frozen(backbone: nn.Module) -> Iterator[str]:
    """Prove that the block changes no parameter and no buffer of the backbone; yield its digest.

    Raises TrainingError when something changed.
    """
    before = digest(backbone)
    yield before
    if digest(backbone) != before:
        raise TrainingError("the frozen backbone changed during the probe: this is a bug, and the result was dropped")


def digest(module: nn.Module) -> str:
    """Return SHA-256 over every parameter and buffer, by name: 16 hex digits."""
    sha = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        sha.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()[:16]
