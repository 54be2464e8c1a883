"""All combinations of some recipe keys, each a finetuning with its own folder, ended by one table."""

import re
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from ssl_bio import commands, recipe, results, sheet
from ssl_bio.checkpoint import METRICS_FILE, RunFolder, read_metrics
from ssl_bio.errors import CheckpointError, RecipeError, SslBioError
from ssl_bio.metrics import LOWER_IS_BETTER
from ssl_bio.studies import RUNS, Wishes, studies_of
from ssl_bio.terminal import note, table, warn


class Combination(NamedTuple):
    """One choice of a value for every key, and its run folders, one a seed."""

    choice: Mapping[str, Any]  # section.key -> value
    wishes: Wishes
    runs: Sequence[RunFolder]


def grid(
    wishes: Wishes, checkpoint: str | None, seeds: Sequence[int] | None, axes: Sequence[str], by: str
) -> list[Combination]:
    """Finetune every combination of the axes ("section.key=value,value"); one that fails does not stop the others.

    Ends with a table, the best `by` a metric first (empty: the task's own). Rows in the sheet say how many combinations
    stood to choose from.

    Raises RecipeError or CheckpointError before anything runs when a combination cannot be or its folder is taken;
    SslBioError at the end when some failed.
    """
    if by and by not in sheet.METRIC_COLUMNS:
        raise RecipeError(f"--by {by}: no metric; choose one of {', '.join(sheet.METRIC_COLUMNS)}")
    choices = combinations(axes)
    asked = {*recipe.flatten(wishes.overrides.values), *(["seed"] if seeds else [])}
    twice = [key for key in choices[0] if key in asked]
    if twice:
        raise RecipeError(f"--grid {twice[0]}: the command line also gives it one value; leave one of the two out")
    everything = [_combination(wishes, checkpoint, seeds, choice, choices) for choice in choices]
    for one in everything:
        for run in one.runs:
            run.check("finetune", wishes.resume, wishes.overwrite)
    failed: dict[int, str] = {}
    for index, one in enumerate(everything):
        note(f"[{index + 1}/{len(everything)}] " + ", ".join(f"{key}={_text(v)}" for key, v in one.choice.items()))
        try:
            commands.finetune(one.wishes, checkpoint, seeds)
        except Exception as error:  # whatever befalls one combination, the others are still wanted
            failed[index] = str(error).splitlines()[0] if str(error) else type(error).__name__
            warn(f"failed: {failed[index]}")
    _show(everything, failed, by)
    if failed:
        raise SslBioError(
            f"{len(failed)} of {len(everything)} combinations failed, the first with: {next(iter(failed.values()))}; "
            "mended, the same command with --resume runs what is missing"
        )
    return everything


def combinations(axes: Sequence[str]) -> list[dict[str, Any]]:
    """Every choice of one value for each axis, the last axis changing first.

    Raises RecipeError for an axis that is no "section.key=value,value", or that stands twice.
    """
    values: dict[str, list[Any]] = {}
    known = recipe.keys()
    for axis in axes:
        key, _, text = axis.partition("=")
        key = key.strip()
        found = recipe.parse_values(text)
        if key not in known or not found:
            if key and found:
                recipe.parse_overrides([f"{key}={text}"])  # it says best what is wrong with a key
            raise RecipeError(f"--grid {axis}: write section.key=value,value")
        if key.startswith(_OTHER_QUESTIONS):
            raise RecipeError(f"--grid {axis}: another {key} asks another question, and figures do not compare")
        if key in values or len({_text(value) for value in found}) < len(found):
            raise RecipeError(f"--grid {axis}: each key and each value once")
        values[key] = found
    choices = [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]
    if len({folder_name(choice) for choice in choices}) < len(choices):
        raise RecipeError(f"--grid {' '.join(axes)}: two combinations would share a folder: name the values apart")
    return choices


def _combination(
    wishes: Wishes,
    checkpoint: str | None,
    seeds: Sequence[int] | None,
    choice: Mapping[str, Any],
    choices: Sequence[Mapping[str, Any]],
) -> Combination:
    overrides = wishes.overrides
    for key, value in choice.items():
        overrides = recipe.with_value(overrides, key, value)
    own = wishes._replace(overrides=overrides)
    plan = studies_of(own, checkpoint, seeds)[0].jobs[0].resolved.recipe
    home = wishes.out or RUNS / plan.name / "grid"
    # What an earlier grid left beside these was tried as well.
    tried = {folder_name(one) for one in choices} | {re.sub(r"-seed\d+$", "", path.name) for path in home.glob("*=*")}
    own = own._replace(out=home / folder_name(choice), grid=len(tried))
    return Combination(choice, own, [study.run for study in studies_of(own, checkpoint, seeds)])


def folder_name(choice: Mapping[str, Any]) -> str:
    """A folder's name from a choice: keys without their section where that is enough to tell them apart."""
    last = [key.rpartition(".")[2] for key in choice]
    names = [name if last.count(name) == 1 else key for key, name in zip(choice, last, strict=True)]
    text = ",".join(f"{name}={_text(value)}" for name, value in zip(names, choice.values(), strict=True))
    return re.sub(r"[^A-Za-z0-9.,=+_-]+", "-", text)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return "+".join(_text(part) for part in value) if isinstance(value, list) else str(value)


def _show(everything: Sequence[Combination], failed: Mapping[int, str], by: str) -> None:
    figures = {index: _metrics(one.runs) for index, one in enumerate(everything) if index not in failed}
    first = next(iter(figures.values()), None)
    if first:
        every = [one["metrics"] for found in figures.values() for one in found]
        names = [name for name in sheet.METRIC_COLUMNS if all(name in one for one in every)]
        column = by or results.FIRST_COLUMNS[first[0]["outcome"]["kind"]][0]
        if column not in names:
            warn(f"not all of these runs have {column}: sorted by {names[0]}")
            column = names[0]
        sign = 1 if column.endswith(LOWER_IS_BETTER) else -1
        names = [column, *(name for name in names if name != column)][:_MOST_METRICS]
        means = {index: float(np.mean([one["metrics"][column] for one in found])) for index, found in figures.items()}
        order = sorted(means, key=lambda index: sign * means[index])
        rows = [
            [folder_name(everything[index].choice)]
            + [results.mean_std(name, np.array([one["metrics"][name] for one in figures[index]])) for name in names]
            for index in order
        ]
        split = str(first[0].get("split", ""))
        home = everything[0].wishes.out
        assert home is not None
        table(f"{len(everything)} combinations, the best {column} on {split} first", ["run", *names], rows)
        note(f"runs in {home.parent}")
        if split.startswith("test"):
            warn(
                f"the best of {len(everything)} by test figures is chosen on test (the sheet's column grid says so); "
                "--set evaluate.split=val ranks them by validation"
            )
    for index, why in failed.items():
        warn(f"{everything[index].wishes.out} failed: {why}")


def _metrics(runs: Sequence[RunFolder]) -> list[dict[str, Any]]:
    found = [read_metrics(run.path / METRICS_FILE) for run in runs]
    if not all(one.get("metrics") for one in found):
        raise CheckpointError(f"{runs[0].path}: its {METRICS_FILE} holds no figures")
    return found


_MOST_METRICS = 3
_OTHER_QUESTIONS = ("name", "task_name", "data.dataset", "data.target", "data.root", "finetune.task", "evaluate.split")
