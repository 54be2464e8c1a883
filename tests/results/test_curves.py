"""Curves: what stands in which panel, and where nothing is to be drawn."""

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ssl_bio.results.curves import LabelCurve, label_curves, learning_curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HISTORY = {
    "epoch": [1.0, 2.0, 3.0],
    "loss": [3.0, 2.0, 1.0],
    "val_loss": [3.0, math.nan, 2.0],
    "hit_rate": [0.1, 0.2, 0.3],
    "hit_rate_chance": [1 / 192] * 3,
    "val_hit_rate": [0.1, 0.1, 0.2],
    "val_hit_rate_chance": [1 / 192] * 3,
    "val_hit_rate_constant": [0.02] * 3,
    "val_rankme": [4.0, 5.0, 6.0],
}


def legend(axes: "Axes") -> list[str]:
    """Return the texts of a panel's legend."""
    found = axes.get_legend()
    return [text.get_text() for text in found.get_texts()] if found else []


def test_training_and_validation_stand_beside_what_guessing_reaches() -> None:
    figure = learning_curves(HISTORY, leading=["hit_rate", "rankme", "absent"], best_epoch=2)["curves"]
    loss, hits, rank = figure.axes
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "hit rate", "RankMe of embeddings"]
    assert legend(loss) == ["kept", "training", "validation"]
    assert legend(hits) == ["training", "validation", "guessing 0.0052", "always the commonest 0.02"]
    assert legend(rank) == ["validation"]
    assert rank.get_xlabel() == "epoch"
    validation = next(line for line in loss.get_lines() if line.get_label() == "validation")
    assert np.asarray(validation.get_xdata()).tolist() == [
        1,
        3,
    ]  # one was not validated


@pytest.mark.parametrize("history", [{}, {"epoch": [], "loss": []}, {"epoch": [1.0], "loss": [math.nan]}])
def test_no_epochs_no_curves(history: dict[str, list[float]]) -> None:
    assert learning_curves(history) == {}


def test_shares_of_labels_with_their_spread() -> None:
    curves = [LabelCurve("full", {0.01: [0.4, 0.6], 1.0: [0.9]}), LabelCurve("probe", {0.1: [0.7]})]
    (axes,) = label_curves(curves, metric="Accuracy")["labels"].axes
    assert legend(axes) == ["full", "probe"]
    assert [text.get_text() for text in axes.get_xticklabels()][::2] == ["1 %", "5 %", "20 %", "100 %"]
    assert axes.get_ylabel() == "Accuracy"
    mean = axes.get_lines()[0]
    assert np.asarray(mean.get_xdata()).tolist() == [0.01, 1.0]
    assert np.asarray(mean.get_ydata()).tolist() == [0.5, 0.9]


def test_one_share_is_no_curve() -> None:
    assert label_curves([LabelCurve("full", {0.1: [0.4, 0.6]})], metric="Accuracy") == {}
    assert label_curves([], metric="Accuracy") == {}
