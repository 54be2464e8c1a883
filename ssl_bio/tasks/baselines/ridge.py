"""Ridge regression on features, whose penalty is chosen among the people that it learns from."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold

from ssl_bio.training.probe import LinearHead

#: Penalties that are tried, for each feature: standardised ones add up, so more of them want more.
_PENALTIES = (0.001, 0.01, 0.1, 1.0, 10.0)
_FOLDS = 3
_MOST_FOR_CHOICE = 2000  # windows, evenly spaced, by which the penalty is chosen

#: (features, places of their windows in training, alpha) -> a head, or None where these windows give none.
Solve = Callable[[NDArray[np.float32], NDArray[np.int64], float], LinearHead | None]
#: (outputs, places of their windows in training) -> how bad they are.
Loss = Callable[[NDArray[np.float32], NDArray[np.int64]], float]


class RidgeHead(NamedTuple):
    """A solved head on standardised features, and the penalty that was chosen for it."""

    head: LinearHead
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    alpha: float

    @property
    def n_parameters(self) -> int:
        """Return how many numbers were learnt."""
        return self.head.weight.size + self.head.bias.size

    def outputs(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return outputs `(n, n_outputs)` for features `(n, n_features)`."""
        return _apply(self.head, (features - self.mean) / self.std)


def fit(features: NDArray[np.float32], *, subjects: NDArray[np.str_], solve: Solve, loss: Loss) -> RidgeHead:
    """Return ridge regression of features `(n, n_features)`, standardised by these.

    The penalty is the one with the least loss on people left out, in three parts. Where there are too few people, or a
    part lacks a class, it is the middle one.
    """
    mean, std = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    mean, std = mean.astype(np.float32), np.where(std > 1e-6, std, 1.0).astype(np.float32)
    x, everything = (features - mean) / std, np.arange(len(features))
    alphas = [penalty * features.shape[1] for penalty in _PENALTIES]
    places = everything[:: -(-len(everything) // _MOST_FOR_CHOICE)]
    losses = _losses(x, alphas, places=places, subjects=subjects, solve=solve, loss=loss)
    best = int(np.argmin(losses)) if losses else len(alphas) // 2
    head = solve(x, everything, alphas[best])
    if head is None:
        raise ValueError("training windows without one of the classes")
    return RidgeHead(head, mean, std, alphas[best])


def _losses(
    x: NDArray[np.float32],
    alphas: list[float],
    *,
    places: NDArray[np.int64],
    subjects: NDArray[np.str_],
    solve: Solve,
    loss: Loss,
) -> list[float]:
    """Return the loss of each penalty on people left out, nothing where they cannot be left out."""
    n_people = len(np.unique(subjects[places]))
    if n_people < 2:
        return []
    parts = list(GroupKFold(min(_FOLDS, n_people)).split(places, groups=subjects[places]))
    losses = []
    for alpha in alphas:
        heads = [solve(x[places[learnt]], places[learnt], alpha) for learnt, _ in parts]
        if any(head is None for head in heads):
            return []
        left_out = np.concatenate([places[left] for _, left in parts])
        found = [_apply(head, x[places[left]]) for head, (_, left) in zip(heads, parts, strict=True) if head]
        losses.append(loss(np.concatenate(found), left_out))
    return losses


def _apply(head: LinearHead, x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(x @ head.weight.T.astype(np.float32) + head.bias, np.float32)
