"""Linear probes on a frozen backbone: features computed once, standardised, then a linear classifier."""

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from torch import nn

from ssl_bio.data.view import Batches
from ssl_bio.errors import TrainingError
from ssl_bio.models.heads import Classifier
from ssl_bio.terminal import progress

_MAX_ITERATIONS = 1000


@torch.no_grad()
def extract(classifier: Classifier, batches: Batches, device: torch.device) -> NDArray[np.float32]:
    """Pooled features `(n, n_features)` of all windows, in order, in evaluation mode."""
    training = classifier.training
    classifier.to(device).eval()
    features = []
    with progress("features", len(batches)) as tick:
        for step, batch in enumerate(batches.ordered(), 1):
            features.append(classifier.features(torch.from_numpy(batch.inputs).to(device)).cpu().numpy())
            tick(step)
    classifier.train(training)
    return np.concatenate(features)


def standardise(classifier: Classifier, features: NDArray[np.float32]) -> None:
    """Have the classifier scale its features by the mean and deviation of these, `(n, n_features)`."""
    std = features.std(axis=0, dtype=np.float64)
    classifier.feature_mean.copy_(torch.from_numpy(features.mean(axis=0, dtype=np.float64)))
    classifier.feature_std.copy_(torch.from_numpy(np.where(std > 1e-8, std, 1.0)))


def solve_logistic(classifier: Classifier, features: NDArray[np.float32], targets: NDArray[np.int64], c: float) -> bool:
    """Set the head to the multinomial logistic regression on standardised features (scikit-learn, L2, `c`).

    Returns whether the solver converged.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        solved = LogisticRegression(C=c, max_iter=_MAX_ITERATIONS).fit(_scaled(classifier, features), targets)
    _set_head(classifier, solved.coef_, solved.intercept_)
    return not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)


def solve_ridge(
    classifier: Classifier, features: NDArray[np.float32], targets: NDArray[np.int64], alpha: float
) -> None:
    """Set the head to ridge regression onto -1 and 1, a class at a time (scikit-learn, `alpha`).

    The answer people put on MiniRocket's features. Its scores are no log odds: the class is meant, and
    ranking within a class, not the probabilities.
    """
    solved = RidgeClassifier(alpha=alpha).fit(_scaled(classifier, features), targets)
    _set_head(classifier, solved.coef_, solved.intercept_)


def _scaled(classifier: Classifier, features: NDArray[np.float32]) -> NDArray[np.float32]:
    mean, std = classifier.feature_mean.cpu().numpy(), classifier.feature_std.cpu().numpy()
    return np.asarray((features - mean) / std, np.float32)


def _set_head(classifier: Classifier, weight: NDArray[np.float64], bias: NDArray[np.float64]) -> None:
    if len(weight) == 1:  # two classes: one row, the score of the second class over the first
        weight, bias = np.stack([np.zeros_like(weight[0]), weight[0]]), np.array([0.0, bias[0]])
    with torch.no_grad():
        classifier.head.weight.copy_(torch.from_numpy(weight))
        classifier.head.bias.copy_(torch.from_numpy(bias))


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
