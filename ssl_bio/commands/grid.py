"""All combinations of some recipe keys, each a finetuning with its own folder, ended by one table.

They are the trials of a study that is kept in memory, one combination after the other.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import optuna

from ssl_bio.commands import search
from ssl_bio.commands.finetune import finetune
from ssl_bio.commands.plan import RunOptions, choice_name, plan_seeds, value_text
from ssl_bio.config import flatten, with_value
from ssl_bio.config.load import parse_values
from ssl_bio.config.recipe import known_keys
from ssl_bio.config.tune import OTHER_QUESTIONS, Choices
from ssl_bio.console import note, warn
from ssl_bio.errors import CheckpointError, RecipeError, SslBioError
from ssl_bio.metrics import lower_is_better, metrics
from ssl_bio.results import plots, tables
from ssl_bio.results.curves import LabelCurve, label_curves
from ssl_bio.runs.files import read_json
from ssl_bio.runs.folder import GRID_FOLDER, METRICS_FILE, RUNS, RunFolder
from ssl_bio.tasks.base import load_task

_MOST_METRICS = 3
_SHARE = "finetune.label_fraction"


class Combination(NamedTuple):
    """One choice of a value for every key, its run folders, one a seed, and the metrics that its task leads with."""

    choice: Mapping[str, Any]  # section.key -> value
    options: RunOptions
    runs: Sequence[RunFolder]
    leading_metrics: Sequence[str]


def grid(
    options: RunOptions, checkpoint: str | None, *, seeds: Sequence[int] | None, axes: Sequence[str], by: str
) -> list[Combination]:
    """Finetune every combination of the axes ("section.key=value,value"); one that fails does not stop the others.

    Ends with a table, the best `by` a metric first (empty: the task's own). Rows in the sheet say how many combinations
    stood to choose from.

    Raises RecipeError or CheckpointError before anything runs when a combination cannot be or its folder is taken;
    SslBioError at the end when some failed.
    """
    if by and by not in metrics():
        raise RecipeError(f"--by {by}: no metric; choose one of {', '.join(metrics())}")
    choices = combinations(axes)
    asked = {*flatten(options.overrides.values), *(["seed"] if seeds else [])}
    twice = [path for path in choices[0] if path in asked]
    if twice:
        raise RecipeError(f"--grid {twice[0]}: the command line also gives it one value; leave one of the two out")
    everything = [_combination(options, checkpoint, seeds=seeds, choice=one, choices=choices) for one in choices]
    for one in everything:
        for run in one.runs:
            run.check(kind="finetune", resume=options.resume, overwrite=options.overwrite)
    failed = _run(everything, checkpoint, seeds=seeds, by=by)
    _show(everything, failed, by)
    if failed:
        raise SslBioError(
            f"{len(failed)} of {len(everything)} combinations failed, the first with: {next(iter(failed.values()))}; "
            "mended, the same command with --resume runs what is missing"
        )
    return everything


def _run(
    everything: Sequence[Combination], checkpoint: str | None, *, seeds: Sequence[int] | None, by: str
) -> dict[int, str]:
    """Finetune all combinations; return why some failed, by their index."""
    metric = by or everything[0].leading_metrics[0]
    study = optuna.create_study(direction="minimize" if lower_is_better(metric) else "maximize")
    study.sampler = search.CombinationSampler([one.choice for one in everything])
    axes = {path: _options(everything, path) for path in everything[0].choice}

    def objective(trial: optuna.Trial, values: Mapping[str, Any]) -> float:
        one = everything[trial.number]
        chosen = ", ".join(f"{path}={value_text(value)}" for path, value in values.items())
        note(f"[{trial.number + 1}/{len(everything)}] {chosen}")
        finetune(one.options, checkpoint, seeds)
        found = [values[metric] for run in _metrics(one.runs) if metric in (values := run["metrics"])]
        if not found:
            raise optuna.TrialPruned  # it ran, but nothing of it can be told to the study
        return float(np.mean(found))

    failed = {}
    for index in range(len(everything)):
        trial = study.ask()
        search.attempt(study, trial, search.suggest(trial, axes), objective)
        why = search.reason_of(search.trial_of(study, index))
        if why:
            failed[index] = why
            warn(f"failed: {why}")
    return failed


def _options(everything: Sequence[Combination], path: str) -> Choices:
    return Choices(tuple({value_text(one.choice[path]): one.choice[path] for one in everything}.values()))


def combinations(axes: Sequence[str]) -> list[dict[str, Any]]:
    """Return every choice of one value for each axis, the last axis changing first.

    Raises RecipeError for an axis that is no "section.key=value,value", or that stands twice.
    """
    values: dict[str, list[Any]] = {}
    known = known_keys()
    for axis in axes:
        path, _, text = axis.partition("=")
        path = path.strip()
        found = parse_values(text)
        if not found or not path:
            raise RecipeError(f"--grid {axis}: write section.key=value,value")
        if path not in known:
            near = difflib.get_close_matches(path, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "`ssl-bio recipes keys` lists all"
            raise RecipeError(f"--grid {axis}: unknown key {path} ({hint})")
        if path.startswith(OTHER_QUESTIONS):
            raise RecipeError(f"--grid {axis}: another {path} asks another question, and metrics do not compare")
        if path in values or len({value_text(value) for value in found}) < len(found):
            raise RecipeError(f"--grid {axis}: each key and each value once")
        values[path] = found
    choices = search.combinations_of({path: Choices(tuple(found)) for path, found in values.items()})
    if len({choice_name(choice) for choice in choices}) < len(choices):
        raise RecipeError(f"--grid {' '.join(axes)}: two combinations would share a folder: name the values apart")
    return choices


def _combination(
    options: RunOptions,
    checkpoint: str | None,
    *,
    seeds: Sequence[int] | None,
    choice: Mapping[str, Any],
    choices: Sequence[Mapping[str, Any]],
) -> Combination:
    overrides = options.overrides
    for path, value in choice.items():
        overrides = with_value(overrides, path, value)
    own = options._replace(overrides=overrides)
    recipe = plan_seeds(own, checkpoint, seeds)[0].runs[0].resolved.recipe
    home = options.out or RUNS / recipe.name / GRID_FOLDER
    # What an earlier grid left beside these was tried as well.
    earlier = {re.sub(r"-seed\d+$", "", path.name) for path in home.glob("*=*") if path.is_dir()}
    tried = {choice_name(one) for one in choices} | earlier
    own = own._replace(out=home / choice_name(choice), grid=len(tried))
    runs = [plan.run for plan in plan_seeds(own, checkpoint, seeds)]
    return Combination(choice, own, runs, load_task(recipe).leading_metrics)


def _show(everything: Sequence[Combination], failed: Mapping[int, str], by: str) -> None:
    results = {index: _metrics(one.runs) for index, one in enumerate(everything) if index not in failed}
    if results:
        found = [one["metrics"] for runs in results.values() for one in runs]
        names = tables.shared_metrics(found)
        column = by or next((name for name in everything[0].leading_metrics if name in names), names[0])
        if column not in names:
            warn(f"not all of these runs have {column}: sorted by {names[0]}")
            column = names[0]
        names = [column, *(name for name in names if name != column)][:_MOST_METRICS]
        split = str(next(iter(results.values()))[0].get("split", ""))
        title = f"{len(everything)} combinations, the best {column} on {split} first"
        entries = [
            tables.Ranked([choice_name(everything[index].choice)], [run["metrics"] for run in runs])
            for index, runs in results.items()
        ]
        tables.show([tables.ranked_table(entries, title=title, names=names, head=["run"])])
        home = everything[0].runs[0].path.parent
        note(f"runs in {home}")
        curves = _label_curves([(everything[index].choice, runs) for index, runs in results.items()], column)
        if curves:
            plots.draw(RunFolder(home), lambda: label_curves(curves, metric=f"{column} on {split}"))
        if split.startswith("test"):
            warn(
                f"the best of {len(everything)} by test metrics is chosen on test (the sheet's column grid says so); "
                "--set evaluate.split=val ranks them by validation"
            )
    for index, why in failed.items():
        warn(f"{everything[index].runs[0].path} failed: {why}")


def _label_curves(
    results: Sequence[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]], metric: str
) -> list[LabelCurve]:
    """Return the metric against the share of the labels, a curve for each choice of the other values; none where the
    grid has but one share."""
    values: dict[str, dict[float, list[float]]] = {}
    for choice, runs in results:
        if _SHARE in choice:
            others = choice_name({path: value for path, value in choice.items() if path != _SHARE})
            found = values.setdefault(others, {}).setdefault(float(choice[_SHARE]), [])
            found += [float(run["metrics"][metric]) for run in runs]
    several = len({share for shares in values.values() for share in shares}) > 1
    return [LabelCurve(name, shares) for name, shares in values.items()] if several else []


def _metrics(runs: Sequence[RunFolder]) -> list[dict[str, Any]]:
    found = [read_json(run.path / METRICS_FILE) for run in runs]
    if not all(one.get("metrics") for one in found):
        raise CheckpointError(f"{runs[0].path}: its {METRICS_FILE} holds no metrics")
    return found
