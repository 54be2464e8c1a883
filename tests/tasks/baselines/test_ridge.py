"""The penalty of ridge regression is chosen on people left out."""

import numpy as np
from numpy.typing import NDArray

from ssl_bio.tasks.baselines import ridge
from ssl_bio.training.probe import LinearHead, ridge_regression

RNG = np.random.default_rng(0)
PEOPLE = np.repeat(np.arange(12), 20)
WEIGHT = RNG.standard_normal(5)
X = np.concatenate([RNG.standard_normal((240, 5)), np.eye(12)[PEOPLE] * 3], axis=1).astype(np.float32)
#: What the five features say, and something that is each person's own, which the other twelve tell.
Y = X[:, :5] @ WEIGHT + RNG.standard_normal(12)[PEOPLE] * 4


def fitted(subjects: NDArray[np.str_], *, penalties: list[float] | None = None) -> ridge.RidgeHead:
    def solve(x: NDArray[np.float32], places: NDArray[np.int64], alpha: float) -> LinearHead:
        if penalties is not None:
            penalties.append(alpha)
        return ridge_regression(x, Y[places, None], alpha)

    def loss(outputs: NDArray[np.float32], places: NDArray[np.int64]) -> float:
        return float(((outputs[:, 0] - Y[places]) ** 2).mean())

    return ridge.fit(X, subjects=subjects, solve=solve, loss=loss)


def test_people_left_out_want_a_stronger_penalty_than_windows_left_out() -> None:
    by_person = fitted(PEOPLE.astype(np.str_))
    by_window = fitted(np.arange(240).astype(np.str_))
    assert by_person.alpha > by_window.alpha


def test_one_person_gets_the_middle_penalty_and_is_fitted_once() -> None:
    penalties: list[float] = []
    found = fitted(np.full(240, "p"), penalties=penalties)
    assert penalties == [found.alpha]
    assert found.n_parameters == 18
    errors = found.outputs(X)[:, 0] - Y
    assert errors.std() < 0.3 * Y.std()
