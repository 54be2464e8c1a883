"""Pictures of values: limits of agreement, and whose errors are largest."""

from typing import TYPE_CHECKING

import numpy as np
import pytest

from ssl_bio.results import plots
from ssl_bio.tasks.value_plots import value_figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def figures(n: int = 200, n_people: int = 5) -> "dict[str, Figure]":
    rng = np.random.default_rng(0)
    targets = rng.normal(80, 10, n)
    people = np.arange(n) % n_people
    with plots.style():
        return value_figures(
            "heart_rate",
            "beats/min",
            targets=targets,
            predictions=targets + 2 + people,
            subjects=np.array([f"p{index}" for index in people]),
        )


def legend(axes: "Axes") -> list[str]:
    found = axes.get_legend()
    return [text.get_text() for text in found.get_texts()] if found else []


def test_axes_have_names_and_units() -> None:
    found = figures()
    assert found["scatter"].axes[0].get_xlabel() == "true heart rate in beats/min"
    assert "beats/min" in found["bland_altman"].axes[0].get_xlabel()
    assert found["people"].axes[0].get_ylabel() == "mean absolute error, heart rate in beats/min"


def test_bias_and_limits_of_agreement() -> None:
    axes = figures()["bland_altman"].axes[0]
    # Differences of 2 to 6 in equal numbers: mean 4, standard deviation 1.418 (n - 1).
    assert legend(axes) == ["bias +4", "bias ± 1.96 standard deviations: 1.22 to 6.78"]


def test_people_by_their_error() -> None:
    axes = figures()["people"].axes[0]
    heights = [patch.get_height() for patch in axes.patches]  # type: ignore[attr-defined]
    assert heights == pytest.approx([6, 5, 4, 3, 2])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["p4", "p3", "p2", "p1", "p0"]
    assert legend(axes) == ["all windows 4"]


def test_of_many_windows_and_people_a_part_is_drawn_and_said() -> None:
    found = figures(n=5000, n_people=100)
    assert found["scatter"].axes[0].get_title(loc="left") == "600 of 5000 windows"
    people = found["people"].axes[0]
    assert people.get_title(loc="left") == "the worst 40 of 100 people"
    assert len(people.patches) == 40


@pytest.mark.parametrize("n", [1, 2])
def test_one_window_is_enough(n: int) -> None:
    assert set(figures(n=n)) == {"scatter", "bland_altman", "people"}
