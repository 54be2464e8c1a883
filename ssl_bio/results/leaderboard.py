"""A leaderboard for each task, from the rows of a sheet: what the same settings gave over seeds, baselines, the lab's
older rows and published figures, each beside the figure to compare with."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from ssl_bio.metrics import lower_is_better, metrics
from ssl_bio.metrics.bootstrap import Interval
from ssl_bio.results.curves import LabelCurve

#: What a board is ranked by: the first of these that its rows have, else their first metric.
RANKING = ("Accuracy", "MAE", "snr_gain", "mse_regressive")
#: The columns that tell runs apart. Rows that agree in all of them are one entry: its seeds.
SETTINGS = (
    *("mode", "lr", "backbone_lr", "loss", "label_fraction", "fit_on", "selected_on", "grid"),
    *("split_scheme", "split", "dataset", "fingerprint", "n_parameters", "version"),
)
_HOW_CHOSEN = ("selected_on", "grid")
#: The columns that say what data a row is of.
TESTED_ON = ("dataset", "split_scheme", "split", "fingerprint")
_NOT_SHOWN = (*_HOW_CHOSEN, *TESTED_ON, "n_parameters", "version")
_SHARE = re.compile(r"-labels[\d.e-]+(?=-|$)|(?<![\w.])label_fraction=[^,]*,?")
_SEED = re.compile(r"-seed\d+(?=$|[/\\])")

Row = Mapping[str, str]
Kind = Literal["run", "lab", "published", "baseline"]
Verdict = Literal["better", "worse", "within", ""]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of a board: the rows of the sheet that differ in their seed alone, or figures from elsewhere.

    `kind`: "run" is ours, "lab" an older row that says nothing but its metrics, "published" a recipe's reference,
    "baseline" what needs no learning. `metrics`: a value for each row. `intervals`: of metrics, over people.
    """

    kind: Kind
    name: str
    task: str
    metrics: Mapping[str, Sequence[float]]
    folder: str = ""  # of the runs, without their seed
    source: str = ""  # of published figures
    settings: Mapping[str, str] = field(default_factory=dict)
    rows: Sequence[Row] = ()
    intervals: Mapping[str, Interval] = field(default_factory=dict)

    def mean(self, metric: str) -> float:
        """Return a metric's mean over rows; NaN where there is none."""
        values = self.metrics.get(metric, ())
        return float(np.mean(values)) if len(values) else math.nan

    def std(self, metric: str) -> float:
        """Return a metric's standard deviation over rows; NaN for fewer than two."""
        values = self.metrics.get(metric, ())
        return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan

    def spread(self, metric: str) -> tuple[float, float] | None:
        """Return the range of a metric that chance explains: mean ± std over seeds together with the interval over
        people. None where neither is known."""
        mean, std = self.mean(metric), self.std(metric)
        ranges = [(mean - std, mean + std)] if math.isfinite(std) else []
        if metric in self.intervals:
            ranges.append((self.intervals[metric].low, self.intervals[metric].high))
        return (min(low for low, _ in ranges), max(high for _, high in ranges)) if ranges else None

    @property
    def way(self) -> str:
        """Return how the runs learnt, as their folder has it, whatever the share of the labels."""
        return _SHARE.sub("", self.folder.replace("\\", "/").rpartition("/")[2]).strip(",-").removeprefix("finetune-")

    @property
    def label_share(self) -> float:
        """Return the share of the labels that was learnt from; NaN where the sheet does not say it."""
        try:
            return number(self.settings.get("label_fraction", ""))
        except ValueError:
            return math.nan

    @property
    def tested_on(self) -> tuple[str, ...]:
        """Return what data and split the metrics are of."""
        return tuple(self.settings.get(name, "") for name in TESTED_ON)

    @property
    def chosen_on_test(self) -> bool:
        """Return whether test data had a say in which of several figures this is."""
        split = self.settings.get("split", "")
        return self.settings.get("selected_on") == "test" or (split.startswith("test") and self._is_one_of_a_grid)

    @property
    def _is_one_of_a_grid(self) -> bool:
        # A search's winner was chosen on validation. Its folder says so; the sheet's column is the same.
        is_winner = re.search(r"[/\\]best$", self.folder) is not None
        return self.settings.get("grid", "") not in ("", "0", "1") and not is_winner


class Difference(NamedTuple):
    """An entry's metric less that of the figure to compare with, and what it means."""

    value: float
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Board:
    """The entries of a task, best first by the metric `ranking`; `split`: "val" or "train" where they are of that.

    `compared`: the entry that differences are taken from where nothing was published for a run's mode. `shared`:
    settings that all runs have, `varied`: those in which they differ.
    """

    task: str
    split: str
    ranking: str
    metrics: Sequence[str]
    entries: Sequence[Entry]
    compared: Entry | None
    shared: Mapping[str, str]
    varied: Sequence[str]

    @property
    def best(self) -> Entry | None:
        """Return the best run that was not chosen on test; None where there is none with the ranking metric."""
        runs = (entry for entry in self.entries if entry.kind == "run" and not entry.chosen_on_test)
        return next((entry for entry in runs if math.isfinite(entry.mean(self.ranking))), None)

    @property
    def published_by_mode(self) -> dict[str, Entry]:
        """Return the best figure that was published for a mode of finetuning, by the mode."""
        found: dict[str, Entry] = {}
        for entry in self.entries:
            mode = entry.settings.get("mode", "")
            if entry.kind == "published" and mode and math.isfinite(entry.mean(self.ranking)):
                found.setdefault(mode, entry)
        return found

    def compared_with(self, entry: Entry) -> Entry | None:
        """Return what a run is compared with. None for all else, for itself, for figures on other data, and for runs
        with few labels beside figures from elsewhere, which had all of them."""
        theirs = self.published_by_mode.get(entry.settings.get("mode", ""), self.compared)
        if theirs is None or entry is theirs or entry.kind != "run":
            return None
        if theirs.kind in ("published", "lab"):
            return None if entry.label_share < 1 else theirs
        return theirs if entry.tested_on == theirs.tested_on else None

    def difference(self, entry: Entry) -> Difference | None:
        """Return how an entry stands to the one it is compared with; None where there is none.

        It is better or worse only where the spreads of both do not touch; "" where no spread is known.
        """
        theirs = self.compared_with(entry)
        if theirs is None:
            return None
        value = entry.mean(self.ranking) - theirs.mean(self.ranking)
        if not math.isfinite(value):
            return None
        spreads = [one.spread(self.ranking) for one in (entry, theirs)]
        if not any(spreads):
            return Difference(value, "")
        ends = [spread or 2 * (one.mean(self.ranking),) for spread, one in zip(spreads, (entry, theirs), strict=True)]
        (low, high), (other_low, other_high) = ends
        if low <= other_high and other_low <= high:
            return Difference(value, "within")
        return Difference(value, "better" if (value < 0) == lower_is_better(self.ranking) else "worse")

    def label_curves(self) -> list[LabelCurve]:
        """Return the ranking metric against the share of the labels, a curve for each way to learn that was tried with
        several shares and once with each."""
        found: dict[str, dict[float, Sequence[float]]] = {}
        ambiguous: set[str] = set()
        for entry in self.entries:
            share = entry.label_share
            if entry.kind != "run" or not 0 < share <= 1 or not entry.metrics.get(self.ranking):
                continue
            name = " ".join(text for text in (entry.name, entry.way) if text)
            if share in found.setdefault(name, {}):
                ambiguous.add(name)
            found[name][share] = entry.metrics[self.ranking]
        return [
            LabelCurve(name, shares)
            for name, shares in sorted(found.items())
            if len(shares) > 1 and name not in ambiguous
        ]


def number(text: str) -> float:
    """Return a cell as a number, also with a decimal comma; NaN for an empty one. Raises ValueError for others."""
    stripped = text.strip()
    return float(stripped.replace(",", ".")) if stripped else math.nan


def entries_of(rows: Iterable[Row]) -> tuple[list[Entry], list[str]]:
    """Return the entries of a sheet's rows in order of appearance, and a line for each cell that is no number."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    values: dict[tuple[str, ...], dict[str, list[float]]] = {}
    problems = []
    for index, row in enumerate(rows):
        if not any(row.values()):  # a blank line of a spreadsheet
            continue
        key = _key(row, index)
        groups.setdefault(key, []).append(row)
        for name in metrics():
            try:
                value = number(row.get(name) or "")
            except ValueError:
                problems.append(f"row {index + 2}: {name} is no number: {row[name]!r}")
                continue
            if math.isfinite(value):
                values.setdefault(key, {}).setdefault(name, []).append(value)
    return [_entry(members, values.get(key, {})) for key, members in groups.items()], problems


def _key(row: Row, index: int) -> tuple[str, ...]:
    """Return what rows of one entry have in common."""
    run_id = row.get("run_id", "")
    if not run_id:
        return (str(index),)
    settings = (row.get(name, "") for name in SETTINGS)
    # The id ends in a hash of all of the recipe's [finetune] and [evaluate].
    return run_id.rpartition("-")[2], row.get("model_name", ""), row.get("task_name", ""), _folder(row), *settings


def _folder(row: Row) -> str:
    return _SEED.sub("", row.get("checkpoint", ""))


def _entry(rows: Sequence[Row], values: Mapping[str, Sequence[float]]) -> Entry:
    first = rows[0]
    return Entry(
        kind="run" if first.get("run_id") or first.get("fingerprint") else "lab",
        name=first.get("model_name", ""),
        task=first.get("task_name", ""),
        metrics=values,
        folder=_folder(first),
        settings={name: first.get(name, "") or "" for name in SETTINGS},
        rows=rows,
    )


def boards_of(entries: Sequence[Entry], *, by: str = "") -> list[Board]:
    """Return a board for each task, in order of names, and one each for what was measured on other splits than test.

    `by`: the metric that ranks those which have it.
    """
    found: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        split = entry.settings.get("split", "")
        beside = next((part for part in ("val", "train") if split.startswith(part)), "")
        found.setdefault((entry.task, beside), []).append(entry)
    return [_board(members, task=task, split=split, by=by) for (task, split), members in sorted(found.items())]


def _board(entries: Sequence[Entry], *, task: str, split: str, by: str) -> Board:
    shown = [
        name
        for name, metric in metrics().items()
        if metric.baseline_of is None and any(entry.metrics.get(name) for entry in entries)
    ]
    ranking = by if by in shown else next((name for name in RANKING if name in shown), shown[0] if shown else "")
    everything = [*entries, *_baselines(entries)]
    ordered = sorted(everything, key=lambda entry: _rank(entry, ranking))
    runs = [entry for entry in ordered if entry.kind == "run"]
    options = {name: {entry.settings.get(name, "") for entry in runs} for name in SETTINGS}
    return Board(
        task=task,
        split=split,
        ranking=ranking,
        metrics=[ranking, *(name for name in shown if name != ranking)] if shown else [],
        entries=ordered,
        compared=_compared(ordered, ranking),
        shared={name: texts.pop() for name, texts in options.items() if len(texts) == 1 and texts != {""}},
        varied=[name for name in SETTINGS if name not in _NOT_SHOWN and len(options[name]) > 1],
    )


def _rank(entry: Entry, ranking: str) -> tuple[float, str, str]:
    mean = entry.mean(ranking)
    sign = 1 if lower_is_better(ranking) else -1
    return (sign * mean if math.isfinite(mean) else math.inf), entry.name, entry.folder


def _baselines(entries: Sequence[Entry]) -> list[Entry]:
    """Return what rows say of baselines, an entry for each baseline and what it was tested on."""
    found: dict[tuple[str, tuple[str, ...]], dict[str, list[float]]] = {}
    like: dict[tuple[str, tuple[str, ...]], Entry] = {}
    for name, metric in metrics().items():
        if metric.baseline_of is None:
            continue
        theirs, baseline = metric.baseline_of
        for entry in entries:
            if entry.metrics.get(name):
                key = (baseline, entry.tested_on)
                like.setdefault(key, entry)
                found.setdefault(key, {}).setdefault(theirs, []).append(entry.mean(name))
    return [
        Entry(
            kind="baseline",
            name=baseline,
            task=like[baseline, where].task,
            metrics={metric: [float(np.mean(values))] for metric, values in measured.items()},
            settings={name: like[baseline, where].settings.get(name, "") for name in TESTED_ON},
        )
        for (baseline, where), measured in found.items()
    ]


def _compared(ordered: Sequence[Entry], ranking: str) -> Entry | None:
    """Return what runs are compared with: the best figure that was published whatever the mode or that the lab had
    before, else the best baseline, else the best run of several that was not chosen on test."""
    known = [entry for entry in ordered if math.isfinite(entry.mean(ranking))]
    runs = [entry for entry in known if entry.kind == "run"]
    honest = [entry for entry in runs if not entry.chosen_on_test] or runs
    for kinds in (("published", "lab"), ("baseline",)):
        candidates = [entry for entry in known if entry.kind in kinds and not entry.settings.get("mode")]
        if candidates and runs:
            return candidates[0]
    return honest[0] if len(runs) > 1 else None
