"""Pictures of classes and labels: what they show, for any number of them."""

import numpy as np
import pytest

from ssl_bio.results import plots
from ssl_bio.tasks.class_plots import class_figures, confusion_matrix, label_figures, short_name


def probabilities(targets: np.ndarray, n: int, seed: int = 0) -> np.ndarray:
    scores = np.random.default_rng(seed).random((len(targets), n)) + np.eye(n)[targets]
    return np.asarray(scores / scores.sum(axis=1, keepdims=True))


def test_confusion_holds_the_counts() -> None:
    counts = np.array([[5, 1], [0, 7]])
    figure = confusion_matrix(["rest", "心电图"], counts)
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["5", "1", "0", "7"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["rest", "心电图"]
    assert axes.yaxis_inverted()


def test_of_many_classes_there_are_shades_alone() -> None:
    names = [f"class {index}" for index in range(39)]
    (axes,) = confusion_matrix(names, np.eye(39, dtype=np.int64)).axes
    assert len(axes.texts) == 0


def test_a_curve_for_each_class_that_occurs() -> None:
    targets = np.array([0, 1, 1, 2, 2, 2] * 9)
    figures = class_figures(["a", "b", "c", "never"], targets, probabilities(targets, 4))
    assert set(figures) == {"confusion", "roc", "precision_recall"}
    legend = figures["roc"].axes[0].get_legend()
    assert legend
    said = [text.get_text() for text in legend.get_texts()]
    assert [text.split()[0] for text in said] == ["c", "b", "a", "guessing"]
    assert all(0.5 < float(text.split()[1]) <= 1 for text in said[:3])


def test_of_many_labels_the_commonest() -> None:
    rng = np.random.default_rng(0)
    targets = (rng.random((200, 30)) < np.linspace(0.5, 0.05, 30)).astype(np.int64)
    with plots.style():
        axes = label_figures([f"l{index}" for index in range(30)], targets, rng.random((200, 30)))["roc"].axes[0]
    legend = axes.get_legend()
    assert legend
    assert len(legend.get_texts()) == 8
    assert axes.get_title(loc="left") == "the 7 commonest of 30"


def test_curves_are_short() -> None:
    targets = np.random.default_rng(0).integers(0, 2, 5000)
    for name, figure in label_figures(["x"], targets[:, None], probabilities(targets, 2)[:, 1:]).items():
        assert len(figure.axes[0].get_lines()[0].get_xdata()) <= 120, name  # type: ignore[arg-type]


@pytest.mark.parametrize("targets", [np.zeros((5, 2)), np.ones((5, 2))])
def test_labels_that_all_or_no_windows_have_make_no_curve(targets: np.ndarray) -> None:
    assert label_figures(["a", "b"], targets, np.full((5, 2), 0.5)) == {}


def test_names_are_short_and_printable() -> None:
    assert short_name("rest") == "rest"
    assert len(short_name("x" * 40)) == 18
    assert short_name("a\x1bb") == "a\ufffdb"
