"""What a run predicted, compared with what another did."""

import numpy as np
import pytest
from numpy.typing import NDArray

from ssl_bio.results.evaluation import Evaluation, Group, Predictions


def evaluation(probability: NDArray[np.float64]) -> Evaluation:
    """Return an evaluation whose one metric does not depend on the predictions."""
    metrics = {"Accuracy": 1.0}
    arrays = {"row": np.arange(len(probability)), "probability": probability}
    return Evaluation(
        n=len(probability),
        loss=0.1,
        metrics=metrics,
        groups=[Group("", metrics)],
        predictions=Predictions(arrays=arrays),
    )


@pytest.mark.parametrize(
    ("changed", "same"),
    [([[0.9, 0.1], [np.nan, 0.5]], True), ([[0.9, 0.1], [0.5, 0.5]], False), ([[0.9, 0.1]], False)],
    ids=["equal with gaps", "one value", "fewer windows"],
)
def test_predictions_are_compared_and_not_the_metrics(changed: list[list[float]], same: bool) -> None:
    ours = evaluation(np.array([[0.9, 0.1], [np.nan, 0.5]]))
    assert ours.predicts_same(evaluation(np.array(changed))) is same
