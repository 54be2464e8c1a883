"""Tables for the terminal, and the rows that a lab shares."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import ssl_bio
from ssl_bio.console import table
from ssl_bio.metrics import lower_is_better, metric_text, metrics
from ssl_bio.results.evaluation import Baselines, Evaluation, Group, Table
from ssl_bio.runs.checkpoint import CheckpointMetadata, now


def sheet_rows(
    evaluation: Evaluation, *, metadata: CheckpointMetadata, described: Mapping[str, object], task_name: str
) -> list[dict[str, object]]:
    """Return the sheet's rows of an evaluation, one for each of its groups.

    `described`: the columns that only the recipe knows (model_name, mode, rates, ...).
    """
    return [
        {
            **described,
            "task_name": "_".join(part for part in (task_name, group.name) if part),
            **_metric_columns(group),
            "selected_on": metadata.selected_on,
            "grid": metadata.grid or metadata.trials or None,
            "epochs": metadata.epochs,
            "best_epoch": metadata.best_epoch,
            "n_train": metadata.n_train,
            "n_test": evaluation.n,
            "seconds": round(metadata.seconds, 1),
            "version": ssl_bio.__version__,
            "finished_at": now(),
        }
        for group in evaluation.groups
    ]


def _metric_columns(group: Group) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for name, metric in metrics().items():
        if metric.baseline_of:
            theirs, baseline = metric.baseline_of
            found[name] = group.baselines.get(baseline, {}).get(theirs)
        else:
            found[name] = group.metrics.get(name)
    return found


def show(tables: Sequence[Table]) -> None:
    """Print tables."""
    for one in tables:
        table(one.title, one.columns, one.rows)


def metrics_table(evaluation: Evaluation, title: str) -> Table:
    """Return a row a metric, with the baselines beside it."""
    rows = [
        [name, metric_text(name, value), *(_text(name, values.get(name)) for values in evaluation.baselines.values())]
        for name, value in evaluation.metrics.items()
    ]
    return Table(title, ["metric", "value", *evaluation.baselines], rows)


def seeds_table(evaluations: Sequence[Evaluation], seeds: Sequence[int], title: str) -> Table:
    """Return a row a metric: its value for each seed, and mean ± std."""
    names = shared_metrics([one.metrics for one in evaluations])
    values = {name: np.array([one.metrics[name] for one in evaluations]) for name in names}
    if len(evaluations) == 1:
        return Table(title, ["metric", "value"], [[name, metric_text(name, values[name][0])] for name in names])
    rows = [
        [name, *(metric_text(name, value) for value in values[name]), mean_std(name, values[name])] for name in names
    ]
    return Table(title, ["metric", *(f"seed {seed}" for seed in seeds), "mean ± std"], rows)


def comparison_table(evaluations: Sequence[Evaluation], others: Baselines) -> list[Table]:
    """Return our metrics beside baselines and published ones, with the difference; nothing where there are none."""
    names = shared_metrics([one.metrics for one in evaluations])
    values = {name: np.array([one.metrics[name] for one in evaluations]) for name in names}
    shown = [name for name in names if any(name in theirs for theirs in others.values())]
    if not shown:
        return []
    cells = [["", *shown], ["ours", *(mean_std(name, values[name]) for name in shown)]]
    for other, theirs in others.items():
        cells.append([other, *(_beside(name, theirs.get(name), values[name].mean()) for name in shown)])
    if len(shown) > len(others):  # the narrower way round
        cells = [list(column) for column in zip(*cells, strict=True)]
    return [Table("baselines and references (ours - theirs)", cells[0], cells[1:])]


def _beside(name: str, theirs: float | None, ours: float) -> str:
    if theirs is None:
        return ""
    difference = metric_text(name, ours - theirs)
    return f"{metric_text(name, theirs)} ({'' if difference.startswith('-') else '+'}{difference})"


class Ranked(NamedTuple):
    """One of several things that were tried: what tells it apart, its metrics once a seed, and what else is said."""

    cells: Sequence[str]
    metrics: Sequence[Mapping[str, float]]
    remarks: Sequence[str] = ()


def ranked_table(
    entries: Sequence[Ranked],
    *,
    title: str,
    names: Sequence[str],
    head: Sequence[str],
    remarks: Sequence[str] = (),
    most: int | None = None,
) -> Table:
    """Return a row for each entry (the `most` best ones), the best by the first of the metrics `names` first.

    `head` and `remarks`: the columns before and after those of the metrics. An entry without metrics stands last.
    """
    sign = 1 if lower_is_better(names[0]) else -1

    def rank(entry: Ranked) -> float:
        return sign * float(np.mean([one[names[0]] for one in entry.metrics])) if entry.metrics else np.inf

    rows = [
        [
            *entry.cells,
            *(
                mean_std(name, np.array([one[name] for one in entry.metrics])) if entry.metrics else ""
                for name in names
            ),
            *entry.remarks,
        ]
        for entry in sorted(entries, key=rank)[:most]
    ]
    return Table(title, [*head, *names, *remarks], rows)


def shared_metrics(results: Sequence[Mapping[str, float]]) -> list[str]:
    """Return the metrics that all results have, in the order of the sheet."""
    return [name for name in metrics() if all(name in one for one in results)]


def mean_std(name: str, values: NDArray[np.float64]) -> str:
    """Return a metric over seeds as tables show it."""
    spread = f" ± {metric_text(name, float(values.std(ddof=1)))}" if len(values) > 1 else ""
    return f"{metric_text(name, float(values.mean()))}{spread}"


def _text(name: str, value: float | None) -> str:
    return "" if value is None else metric_text(name, value)
