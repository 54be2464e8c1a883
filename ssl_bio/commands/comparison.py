"""The finetuned runs of a recipe and its baselines beside one another, told apart by the values in which they
differ."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ssl_bio.commands.plan import value_text
from ssl_bio.commands.result import RunResult
from ssl_bio.config import Recipe, flatten, load_recipe, resolve
from ssl_bio.console import note
from ssl_bio.errors import RecipeError
from ssl_bio.results import tables
from ssl_bio.results.search import short_keys
from ssl_bio.results.tables import Ranked
from ssl_bio.runs.checkpoint import CheckpointMetadata
from ssl_bio.runs.files import read_json
from ssl_bio.runs.folder import METRICS_FILE, RECIPE_FILE, RUNS

#: What tells no two runs of a question apart: names, places, and what finetuning does not read.
_SAME_ANYWAY = (
    "seed",
    "name",
    "model_name",
    "task_name",
    "data.root",
    "data.fold",
    "pretrain",
    "finetune.noise.root",
    "evaluate.batch_size",
    "reference",
    "tune",
)
_MODE = "finetune.mode"
#: What a baseline reads of a recipe.
_OF_BASELINES = (
    "data",
    "finetune.task",
    "finetune.label_fraction",
    "finetune.label_draw",
    "finetune.fit_on",
    "evaluate.split",
    "evaluate.per_subject",
)
_FOLDERS = ("finetune-*-seed*", "baseline-*-seed*")

Settings = Mapping[str, Any]


class _Run(NamedTuple):
    """A complete run: the values that made it, by key; its seed, and the pretraining run it started from; when it ended
    and what it reached."""

    settings: Settings
    seed: int
    origin: str
    finished_at: str
    metrics: Mapping[str, float]

    @property
    def origin_by_seed(self) -> str:
        """Return where it started, with `{seed}` where its own seed stands."""
        return re.sub(rf"seed{self.seed}\b", "seed{seed}", self.origin)


def show_runs(done: RunResult) -> None:
    """Show all finetuned runs of a recipe, and its baselines, that answered the same question on the same data and
    split as this one: mean ± std over the seeds of equal settings; nothing where there is but one setting."""
    runs, n_unreadable = [], 0
    for folder, result in _comparable(RUNS / done.recipe.name, done.metadata):
        try:
            recipe = resolve([load_recipe(str(folder / RECIPE_FILE))]).recipe
        except RecipeError:
            n_unreadable += 1
            continue
        origin = str(result.get("origin", ""))
        settings = _settings(recipe)
        if baseline := result.get("baseline"):
            settings = {**_only(settings, _OF_BASELINES), _MODE: baseline}
        runs.append(_Run(settings, recipe.seed, origin, str(result.get("finished_at", "")), result["metrics"]))
    groups = _groups(runs)
    names = [name for name in done.task.leading_metrics if all(name in run.metrics for run in runs)]
    if len(groups) > 1 and names:
        entries = [
            Ranked([label, str(len(group))], [run.metrics for run in group])
            for label, group in zip(_labels(groups), groups, strict=True)
        ]
        title = f"{done.recipe.name}: every finetuned run so far, {done.metadata.split}"
        tables.show([tables.ranked_table(entries, title=title, names=names, head=["finetuned by", "runs"])])
    if n_unreadable:
        many = "1 finetuned run" if n_unreadable == 1 else f"{n_unreadable} finetuned runs"
        note(f"left out of every finetuned run so far: {many} whose recipe this version of ssl-bio cannot read")


def _comparable(home: Path, like: CheckpointMetadata) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Yield the folders and results of complete runs on the same data, question and split as another."""
    for path in [path for pattern in _FOLDERS for path in sorted(home.glob(f"{pattern}/{METRICS_FILE}"))]:
        result = read_json(path)
        same = all(result.get(key) == getattr(like, key) for key in ("fingerprint", "split", "folds"))
        is_single_part = bool(re.search(r"-fold\d+$", path.parent.name))  # which has a test split of its own
        if same and not is_single_part and _question(result.get("target")) == _question(like.target):
            yield path.parent, result


def _question(target: object) -> object:
    """Return what a stored target asks, without what was measured on training windows."""
    if not isinstance(target, Mapping):
        return None
    return target.get("task"), list(target.get("names", []))


def _settings(recipe: Recipe) -> Settings:
    """Return the values that change what finetuning gives, by key."""
    same_anyway = tuple(f"{path}." for path in _SAME_ANYWAY)
    unused = {f"finetune.{name}" for name in recipe.finetune.unused_keys()}
    return {
        path: value
        for path, value in flatten(recipe.model_dump(mode="json")).items()
        if path not in unused and not f"{path}.".startswith(same_anyway)
    }


def _only(settings: Settings, paths: Sequence[str]) -> dict[str, Any]:
    """Return the settings below some paths."""
    below = tuple(f"{path}." for path in paths)
    return {path: value for path, value in settings.items() if f"{path}.".startswith(below)}


def _groups(runs: Sequence[_Run]) -> list[list[_Run]]:
    """Return the runs of equal settings together, of each seed the last one.

    Together are also those that each started from the pretraining run of their own seed; otherwise runs from different
    ones stand apart.
    """
    alike: dict[str, list[_Run]] = {}
    for run in runs:
        key = json.dumps([run.settings, re.sub(r"seed\d+", "seed", run.origin)], sort_keys=True)
        alike.setdefault(key, []).append(run)
    groups: list[list[_Run]] = []
    for group in alike.values():
        by_own_seed = len({run.origin_by_seed for run in group}) == 1
        apart: dict[str, dict[int, _Run]] = {}
        for run in sorted(group, key=lambda run: run.finished_at):
            apart.setdefault("" if by_own_seed else run.origin, {})[run.seed] = run
        groups += [list(one.values()) for one in apart.values()]
    return groups


def _labels(groups: Sequence[Sequence[_Run]]) -> list[str]:
    """Return for each group its mode and the values in which groups differ that have them."""
    settings = [{**group[0].settings, **_start(group)} for group in groups]
    texts: dict[str, set[str]] = {}
    for one in settings:
        for path, value in one.items():
            texts.setdefault(path, set()).add(json.dumps(value, sort_keys=True))
    different = [path for path, found in texts.items() if len(found) > 1 and path != _MODE]
    names = dict(zip(different, short_keys(different), strict=True))
    return [
        ", ".join([one[_MODE], *(f"{name}={value_text(one[path])}" for path, name in names.items() if path in one)])
        for one in settings
    ]


def _start(group: Sequence[_Run]) -> Settings:
    """Return where the runs of a group started, if they did not start from random weights."""
    origins = {run.origin for run in group}
    start = group[0].origin if len(origins) == 1 else group[0].origin_by_seed
    return {"checkpoint": start} if start else {}
