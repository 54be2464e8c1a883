"""Curves of what was measured several times: in every epoch of a run, and with every share of the labels."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ssl_bio.results.plots import ACCENT, GREY, HEIGHT, INK, PALE, SECOND, WIDTH, axes_grid, single_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BESIDE = {"chance": "guessing", "constant": "always the commonest"}
_BESIDE_DASHES = {"chance": ":", "constant": (0, (3, 1, 1, 1))}
_MOST_PANELS = 4
_TITLES = {"rankme": "RankMe of embeddings"}
_SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def learning_curves(
    history: Mapping[str, Sequence[float]], *, leading: Sequence[str] = (), best_epoch: int = 0
) -> "dict[str, Figure]":
    """Return the curves of a run: the loss, then those of the metrics `leading` that the history has, training and
    validation in one panel, each beside what guessing reaches where that was measured. None without epochs.

    `history`: columns of a row an epoch, NaN where there is none. `best_epoch`: the one whose weights were kept,
    counted from 1; 0: not to be marked.
    """
    names = [name for name in ("loss", *leading) if _series(history, name)][:_MOST_PANELS]
    if not names or not history.get("epoch"):
        return {}
    from matplotlib.ticker import MaxNLocator

    figure, rows = axes_grid(len(names), 1, width=WIDTH, height=HEIGHT if len(names) == 1 else 1.9)
    for (axes,), name in zip(rows, names, strict=True):
        if best_epoch:
            axes.axvline(best_epoch, color=PALE, linewidth=0.8, linestyle="-", label="kept" if name == "loss" else None)
        _panel(axes, history, name)
        axes.set_ylabel(_TITLES.get(name, name.replace("_", " ")))
        axes.legend()
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    rows[-1][0].set_xlabel("epoch")
    return {"curves": figure}


def _series(history: Mapping[str, Sequence[float]], name: str) -> dict[str, str]:
    """Return the columns of a metric by what they were measured on."""
    columns = {"training": name, "validation": f"val_{name}", "test": f"test_{name}"}
    return {split: column for split, column in columns.items() if np.isfinite(history.get(column, [])).any()}


def _panel(axes: "Axes", history: Mapping[str, Sequence[float]], name: str) -> None:
    epochs = np.array(history["epoch"])
    styles = {"training": (SECOND, "--"), "validation": (ACCENT, "-"), "test": (INK, "-.")}
    for split, column in _series(history, name).items():
        values = np.array(history[column])
        known = np.isfinite(values)
        colour, dashes = styles[split]
        marker = "o" if known.sum() == 1 else ""
        axes.plot(epochs[known], values[known], color=colour, linestyle=dashes, marker=marker, label=split)
    for ending, label in _BESIDE.items():
        known_columns = [f"{prefix}{name}_{ending}" for prefix in ("val_", "") if f"{prefix}{name}_{ending}" in history]
        if known_columns:
            reached = history[known_columns[0]]
            text = f"{label} {reached[-1]:.2g}"
            axes.plot(epochs, reached, color=GREY, linestyle=_BESIDE_DASHES[ending], linewidth=1, label=text)


class LabelCurve(NamedTuple):
    """One way to learn: for each share of the labels (above 0, at most 1), a metric of every run."""

    name: str
    values: Mapping[float, Sequence[float]]


def label_curves(curves: Sequence[LabelCurve], *, metric: str) -> "dict[str, Figure]":
    """Return a metric against the share of the labels that was learnt from, mean ± std over runs.

    None without two shares.
    """
    if len({share for curve in curves for share in curve.values}) < 2:
        return {}
    from matplotlib.ticker import NullFormatter, NullLocator

    figure, axes = single_axes()
    markers = "osD^vPX"
    for index, curve in enumerate(curves):
        shares = sorted(curve.values)
        means = [float(np.mean(curve.values[share])) for share in shares]
        spreads = [_spread(curve.values[share]) for share in shares]
        marker = markers[index % len(markers)]
        axes.errorbar(shares, means, yerr=spreads, marker=marker, markersize=4, capsize=2, label=curve.name or None)
    axes.set_xscale("log")
    present = {share for curve in curves for share in curve.values}
    ticks = [share for share in _SHARES if min(present) <= share <= max(present)]
    axes.set_xticks(ticks, [f"{100 * share:g} %" for share in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="labels of the training split that were learnt from", ylabel=metric)
    if any(curve.name for curve in curves):
        axes.legend()
    return {"labels": figure}


def _spread(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
