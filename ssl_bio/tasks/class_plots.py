"""Pictures of predicted classes and labels: confusion, receiver operating characteristic, precision against recall."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from ssl_bio.results.plots import GREY, HEIGHT, WIDTH, printable, single_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_CURVES = 7  # that can be told apart; of more classes or labels the commonest
_MOST_POINTS = 120  # of a curve
_MOST_CELLS_WITH_TEXT = 12  # classes
_LONGEST_NAME = 18  # characters
_ON_PALE = "#101010"  # and not the ink, which a page turns pale where it is dark


def class_figures(names: Sequence[str], targets: NDArray[np.int64], scores: NDArray[Any]) -> "dict[str, Figure]":
    """Return the figures of classes, codes `(n,)`, against their probabilities `(n, n_classes)`."""
    from ssl_bio.metrics.classification import confusion

    one_hot = np.eye(len(names), dtype=np.int64)[targets]
    return {"confusion": confusion_matrix(names, confusion(targets, scores)), **label_figures(names, one_hot, scores)}


def label_figures(names: Sequence[str], targets: NDArray[Any], scores: NDArray[Any]) -> "dict[str, Figure]":
    """Return the figures of labels, 0 or 1 `(n, n_labels)`, against their probabilities `(n, n_labels)`.

    A curve each of those that some windows have and some have not; none where there is no such label.
    """
    counts = targets.sum(axis=0)
    shown = [index for index in np.argsort(-counts, kind="stable") if 0 < counts[index] < len(targets)]
    if not shown:
        return {}
    chosen = shown[:_MOST_CURVES]
    title = "" if len(shown) == len(chosen) else f"the {len(chosen)} commonest of {len(names)}"
    labels = {index: short_name(names[index]) for index in chosen}
    return {
        "roc": _roc(labels, targets, scores, title=title),
        "precision_recall": _precision_recall(labels, targets, scores, title=title),
    }


def confusion_matrix(names: Sequence[str], counts: NDArray[np.int64]) -> "Figure":
    """Return counts `(n_classes, n_classes)`, a row a true class, shaded by their share of the row."""
    n = len(names)
    size = max(HEIGHT, min(8.0, 0.32 * n + 1.4))
    figure, axes = single_axes(width=max(WIDTH, size + 0.4), height=size)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.pcolormesh(share, cmap="Blues", vmin=0, vmax=1, edgecolors="white", linewidth=0.5)
    if n <= _MOST_CELLS_WITH_TEXT:
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if share[row, column] > 0.55 else _ON_PALE
            axes.text(column + 0.5, row + 0.5, str(count), ha="center", va="center", fontsize=8, color=colour)
    ticks, texts = np.arange(n) + 0.5, [short_name(name) for name in names]
    axes.set_xticks(ticks, texts, rotation=30 if max(map(len, texts)) * n > 32 else 0, ha="center")
    axes.set_yticks(ticks, texts)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.invert_yaxis()
    axes.set(xlabel="predicted class", ylabel="true class", title="windows, shaded by their share of the true class")
    return figure


def _roc(labels: dict[int, str], targets: NDArray[Any], scores: NDArray[Any], *, title: str) -> "Figure":
    figure, axes = single_axes(height=WIDTH * 0.86)
    for index, name in labels.items():
        false_rate, true_rate, _ = roc_curve(targets[:, index], scores[:, index])
        area = float(np.trapezoid(true_rate, false_rate))
        kept = _evenly(len(false_rate))
        axes.plot(false_rate[kept], true_rate[kept], label=f"{name} {area:.2f}")
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":", label="guessing 0.50")
    axes.set(xlabel="false positive rate", ylabel="true positive rate", title=title, aspect="equal")
    axes.legend(title="area under the curve", loc="lower right")
    return figure


def _precision_recall(labels: dict[int, str], targets: NDArray[Any], scores: NDArray[Any], *, title: str) -> "Figure":
    figure, axes = single_axes(height=WIDTH * 0.86)
    for index, name in labels.items():
        precision, recall, _ = precision_recall_curve(targets[:, index], scores[:, index])
        kept = _evenly(len(recall))
        axes.plot(recall[kept], precision[kept], label=f"{name} ({targets[:, index].mean():.0%} have it)")
    axes.set(xlabel="recall", ylabel="precision", title=title, aspect="equal", ylim=(0, 1.02))
    axes.legend(loc="lower left")
    return figure


def _evenly(n: int) -> NDArray[np.int64]:
    """Return which points of a curve are drawn, both ends among them."""
    return np.unique(np.linspace(0, n - 1, min(n, _MOST_POINTS)).round().astype(np.int64))


def short_name(name: str) -> str:
    """Return a name that leaves room for the others, without characters that cannot be drawn."""
    shown = printable(name)
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[: _LONGEST_NAME - 1]}…"
