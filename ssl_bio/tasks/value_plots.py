"""Pictures of predicted values: against the true ones, their differences (Bland and Altman 1986), and each person's
error."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ssl_bio.results.plots import ACCENT, GREY, INK, SECOND, WIDTH, draw_dots, printable, single_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_POINTS = 600  # windows drawn
_MOST_PEOPLE = 40
_LIMIT = 1.96  # standard deviations, between which 95 % of normal differences lie


def value_figures(
    name: str, unit: str, *, targets: NDArray[Any], predictions: NDArray[Any], subjects: NDArray[Any]
) -> "dict[str, Figure]":
    """Return the figures of one value: true and predicted ones `(n,)`, and whose windows they are `(n,)`."""
    drawn = np.unique(np.linspace(0, len(targets) - 1, min(len(targets), _MOST_POINTS)).round().astype(int))
    title = f"{len(drawn)} of {len(targets)} windows" if len(drawn) < len(targets) else f"{len(targets)} windows"
    quantity = printable(f"{name.replace('_', ' ')} in {unit}" if unit else name.replace("_", " "))
    return {
        "scatter": _scatter(targets[drawn], predictions[drawn], quantity=quantity, title=title),
        "bland_altman": _bland_altman(targets, predictions, drawn=drawn, quantity=quantity, title=title),
        "people": _people(np.abs(predictions - targets), subjects, quantity=quantity),
    }


def _scatter(targets: NDArray[Any], predictions: NDArray[Any], *, quantity: str, title: str) -> "Figure":
    figure, axes = single_axes(height=WIDTH * 0.86)
    ends = [float(np.min([targets, predictions])), float(np.max([targets, predictions]))]
    axes.plot(ends, ends, color=GREY, linewidth=0.8, linestyle="-", label="equal")
    draw_dots(axes, targets, predictions)
    axes.set(xlabel=f"true {quantity}", ylabel="predicted", title=title)
    axes.set_aspect("equal", adjustable="datalim")
    axes.legend()
    return figure


def _bland_altman(
    targets: NDArray[Any], predictions: NDArray[Any], *, drawn: NDArray[np.int_], quantity: str, title: str
) -> "Figure":
    """Draw differences against means; bias and limits are of all windows."""
    figure, axes = single_axes()
    means, differences = (targets + predictions) / 2, predictions - targets
    draw_dots(axes, means[drawn], differences[drawn])
    bias, spread = float(differences.mean()), _LIMIT * float(differences.std(ddof=1 if len(differences) > 1 else 0))
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.axhline(bias, color=ACCENT, label=f"bias {bias:+.3g}")
    low, high = bias - spread, bias + spread
    axes.axhline(low, color=INK, linestyle="--", linewidth=1)
    label = f"bias ± {_LIMIT} standard deviations: {low:.3g} to {high:.3g}"
    axes.axhline(high, color=INK, linestyle="--", linewidth=1, label=label)
    axes.set(xlabel=f"mean of true and predicted {quantity}", ylabel="predicted - true", title=title)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2))
    return figure


def _people(errors: NDArray[Any], subjects: NDArray[Any], *, quantity: str) -> "Figure":
    """Draw each person's mean absolute error, the worst first, and the mean over all windows."""
    names, people = np.unique(subjects, return_inverse=True)
    means = np.bincount(people, weights=errors) / np.bincount(people)
    order = np.argsort(-means, kind="stable")[:_MOST_PEOPLE]
    figure, axes = single_axes()
    places = np.arange(len(order))
    axes.bar(places, means[order], color=SECOND, width=0.8)
    mean = float(errors.mean())
    axes.axhline(mean, color=ACCENT, linestyle="--", linewidth=1, label=f"all windows {mean:.3g}")
    if len(order) <= 25:
        axes.set_xticks(places, [printable(str(names[index])) for index in order], rotation=90, fontsize=7)
    else:
        axes.set_xticks([])
    worst = f"the worst {len(order)} of {len(names)} people" if len(order) < len(names) else f"{len(names)} people"
    axes.set(ylabel=f"mean absolute error, {quantity}", xlabel="people, the highest error first", title=worst)
    axes.legend()
    return figure
