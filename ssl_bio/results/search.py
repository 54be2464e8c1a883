"""What people read of a search: tables, `trials.csv` and figures of its trials."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ssl_bio.metrics import lower_is_better, metric_text
from ssl_bio.results import plots
from ssl_bio.results.evaluation import Table
from ssl_bio.results.tables import Ranked, ranked_table

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COMPLETE, PRUNED, DIVERGED, FAILED = "complete", "pruned", "diverged", "failed"
_MOST_ROWS = 10
_MOST_SPREAD = 3  # interquartile ranges above the median, beyond which a point is drawn at the edge


class TrialRecord(NamedTuple):
    """A trial that ended. `values`: as texts, by key; `score`: on validation, of a pruned trial its last epoch's."""

    number: int
    values: Mapping[str, Any]
    state: str
    score: float | None
    epochs: int
    seconds: float
    reason: str = ""
    host: str = ""


class SearchRecord(NamedTuple):
    """A search's trials by number, the metric that they are compared by, and which keys are even in the logarithm."""

    trials: Sequence[TrialRecord]
    metric: str
    keys: Sequence[str]
    log_keys: frozenset[str] = frozenset()

    @property
    def complete(self) -> list[TrialRecord]:
        """Return the trials that have a score to be compared by."""
        return [one for one in self.trials if one.state == COMPLETE and one.score is not None]

    @property
    def best(self) -> TrialRecord | None:
        """Return the best complete trial, of several the first; None where there is none."""
        sign = 1 if lower_is_better(self.metric) else -1
        return min(self.complete, key=lambda one: (sign * (one.score or 0.0), one.number), default=None)


def short_keys(keys: Sequence[str]) -> list[str]:
    """Return keys without their section where that tells them apart."""
    last = [path.rpartition(".")[2] for path in keys]
    return [name if last.count(name) == 1 else path for path, name in zip(keys, last, strict=True)]


def value_cell(value: Any) -> str:
    """Return a chosen value as tables show it."""
    if isinstance(value, float):
        return f"{value:g}"
    return "+".join(value_cell(part) for part in value) if isinstance(value, list) else str(value)


def trials_table(record: SearchRecord) -> Table:
    """Return the best trials, complete ones first."""
    order = {COMPLETE: 0, PRUNED: 1, DIVERGED: 2, FAILED: 3}
    entries = [
        Ranked(
            [str(one.number), *(value_cell(one.values.get(key, "")) for key in record.keys)],
            [{record.metric: one.score}] if one.state == COMPLETE and one.score is not None else [],
            [str(one.epochs), one.state],
        )
        for one in sorted(record.trials, key=lambda one: (order[one.state], one.number))
    ]
    shown = min(len(entries), _MOST_ROWS)
    return ranked_table(
        entries,
        title=f"{len(entries)} trials, the best {record.metric} on val first"
        if shown == len(entries)
        else f"the best {shown} of {len(entries)} trials by {record.metric} on val",
        names=[record.metric],
        head=["trial", *short_keys(record.keys)],
        remarks=["epochs", "state"],
        most=_MOST_ROWS,
    )


def importance_table(importances: Mapping[str, float], n_trials: int) -> Table:
    """Return how much of the variance between trials each key explains, the most important one first."""
    rows = [[key, f"{share:.2f}"] for key, share in sorted(importances.items(), key=lambda item: -item[1])]
    return Table(f"importance of each key (fANOVA of {n_trials} trials)", ["key", "share of the variance"], rows)


def trials_csv(record: SearchRecord) -> str:
    """Return all trials as CSV, a row each."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["trial", *record.keys, f"val_{record.metric}", "state", "epochs", "seconds", "host", "reason"])
    for one in record.trials:
        score = "" if one.score is None else f"{one.score:.6g}"
        values = [value_cell(one.values.get(key, "")) for key in record.keys]
        writer.writerow([one.number, *values, score, one.state, one.epochs, f"{one.seconds:.1f}", one.host, one.reason])
    return buffer.getvalue()


def trial_line(one: TrialRecord, metric: str) -> str:
    """Return a trial that ended as one line: its values and its score."""
    keys = short_keys(list(one.values))
    values = ", ".join(f"{name}={value_cell(value)}" for name, value in zip(keys, one.values.values(), strict=True))
    score = "" if one.score is None else f"{metric} {metric_text(metric, one.score)}"
    if one.state == COMPLETE:
        return f"{values}: {score}"
    ended = f"after {one.epochs} {'epoch' if one.epochs == 1 else 'epochs'}"
    if one.reason:
        return f"{values}: {one.state} {ended}: {one.reason}" if one.epochs else f"{values}: {one.state}: {one.reason}"
    return f"{values}: {score} {ended}, {one.state}"


def figures(record: SearchRecord) -> "dict[str, Figure]":
    """Return the search's figures: the scores in order of trials, and against each key."""
    return {"history": _history(record), "space": _space(record)}


def _history(record: SearchRecord) -> "Figure":
    from matplotlib.ticker import MaxNLocator

    figure, axes = plots.single_axes(width=plots.WIDE, height=3.5)
    top = _limits(record)
    complete = record.complete
    axes.scatter(
        [one.number for one in complete], [_inside(one.score, top) for one in complete], s=18, label="complete"
    )
    pruned = [one for one in record.trials if one.state == PRUNED and one.score is not None]
    if pruned:
        places = [_inside(one.score, top) for one in pruned]
        axes.scatter([one.number for one in pruned], places, s=18, marker="x", color=plots.PALE, label="pruned")
    for one in (one for one in record.trials if one.state in (DIVERGED, FAILED) or one.score is None):
        axes.axvline(one.number, color=plots.ACCENT, linestyle="-", alpha=0.4, linewidth=1)
    best = np.minimum if lower_is_better(record.metric) else np.maximum
    if complete:
        so_far = best.accumulate([one.score or 0.0 for one in complete])
        until = [*(one.number for one in complete), record.trials[-1].number]
        axes.step(until, [*so_far, so_far[-1]], where="post", color=plots.ACCENT, linestyle="-", label="best so far")
    axes.set(xlabel="trial", ylabel=f"{record.metric} on val")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    return figure


def _space(record: SearchRecord) -> "Figure":
    from matplotlib.figure import Figure

    numeric = [key for key in record.keys if all(_is_number(one.values.get(key)) for one in record.trials)]
    has_map = len(record.keys) == 2 and len(numeric) == 2 and bool(record.complete)
    n = len(record.keys) + has_map
    n_columns = min(n, 3)
    n_rows = math.ceil(n / n_columns)
    figure = Figure(figsize=(4 * n_columns, 3.4 * n_rows), layout="constrained")
    panels = list(np.atleast_1d(figure.subplots(n_rows, n_columns)).flat)
    for axes, key, name in zip(panels, record.keys, short_keys(record.keys), strict=False):
        _panel(axes, record, key, name=name, numeric=key in numeric)
    if has_map:
        _map(figure, panels[n - 1], record)
    for axes in panels[n:]:
        axes.set_visible(False)
    by_label: dict[str, Artist] = {}
    for axes in panels:
        handles, labels = axes.get_legend_handles_labels()
        by_label |= dict(zip(labels, handles, strict=True))
    labels, handles = list(by_label), list(by_label.values())
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    return figure


def _panel(axes: "Axes", record: SearchRecord, key: str, *, name: str, numeric: bool) -> None:
    """Draw the scores against one key."""
    top, best = _limits(record), record.best
    texts = sorted({value_cell(one.values.get(key)) for one in record.trials})
    for state, marker, color in ((PRUNED, "x", plots.PALE), (COMPLETE, "o", plots.SECOND)):
        shown = [one for one in record.trials if one.state == state and one.score is not None]
        if not shown:
            continue
        places = [_place(one, key, texts, numeric=numeric) for one in shown]
        scores = [_inside(one.score, top) for one in shown]
        axes.scatter(places, scores, s=18, label=state, marker=marker, color=color)
    if best:
        place = _place(best, key, texts, numeric=numeric)
        axes.scatter([place], [best.score or 0.0], s=110, marker="*", color=plots.ACCENT, label="best", zorder=3)
    if not numeric:
        axes.set_xticks(range(len(texts)), texts)
        axes.set_xlim(-0.5, len(texts) - 0.5)
    elif key in record.log_keys:
        axes.set_xscale("log")
    axes.set(xlabel=name, ylabel=f"{record.metric} on val")


def _map(figure: "Figure", axes: "Axes", record: SearchRecord) -> None:
    """Draw two keys against one another, coloured by the score."""
    first, second = record.keys
    shown, best, top = record.complete, record.best, _limits(record)
    points = axes.scatter(
        [one.values[first] for one in shown],
        [one.values[second] for one in shown],
        c=[_inside(one.score, top) for one in shown],
        cmap="viridis_r" if lower_is_better(record.metric) else "viridis",
        s=45,
        edgecolors="0.4",
        linewidths=0.5,
    )
    pruned = [one for one in record.trials if one.state == PRUNED]
    axes.scatter(
        [one.values[first] for one in pruned],
        [one.values[second] for one in pruned],
        marker="x",
        color=plots.PALE,
        s=25,
    )
    if best:
        axes.scatter([best.values[first]], [best.values[second]], s=140, marker="*", color=plots.ACCENT, zorder=3)
    for key, scale in ((first, axes.set_xscale), (second, axes.set_yscale)):
        if key in record.log_keys:
            scale("log")
    names = short_keys(record.keys)
    axes.set(xlabel=names[0], ylabel=names[1])
    figure.colorbar(points, ax=axes, label=f"{record.metric} on val")


def _place(one: TrialRecord, key: str, texts: Sequence[str], *, numeric: bool) -> float:
    return float(one.values[key]) if numeric else float(texts.index(value_cell(one.values.get(key))))


def _limits(record: SearchRecord) -> tuple[float, float]:
    """Return between which scores points are drawn where they are: a diverged trial would flatten all others."""
    scores = np.array([one.score for one in record.trials if one.score is not None and math.isfinite(one.score)])
    if not len(scores):
        return -math.inf, math.inf
    low, middle, high = np.quantile(scores, [0.25, 0.5, 0.75])
    reach = _MOST_SPREAD * (high - low) or math.inf
    if lower_is_better(record.metric):
        return -math.inf, float(middle + reach)
    return float(middle - reach), math.inf


def _inside(score: float | None, limits: tuple[float, float]) -> float:
    low, high = limits
    return min(max(score if score is not None else math.nan, low), high)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
