"""`ssl-bio tune`: a search that scores trials on validation, then the winner on test."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances

from ssl_bio.commands import search
from ssl_bio.commands.finetune import prepare
from ssl_bio.commands.plan import RunOptions, SeedPlan, parts_of, plan_seeds
from ssl_bio.commands.trials import TrialPlan, run_trials, search_record, shared_threads
from ssl_bio.commands.winner import train_winner
from ssl_bio.config import COMMAND_LINE, Recipe, flatten
from ssl_bio.config.recipe import keys_of
from ssl_bio.config.resolve import mine_kinds, search_axes
from ssl_bio.config.tune import Axis, Choices, Range
from ssl_bio.console import note
from ssl_bio.errors import RecipeError, SslBioError
from ssl_bio.metrics import lower_is_better
from ssl_bio.results import plots, sheet, tables
from ssl_bio.results import search as results
from ssl_bio.results.search import SearchRecord
from ssl_bio.runs.folder import RUNS
from ssl_bio.runs.study import STORAGE_FILE, TRIALS_FILE, StudyFolder
from ssl_bio.tasks.base import AnyTask
from ssl_bio.training import runtime

TUNE_FOLDER = "tune"
_FEWEST_FOR_IMPORTANCE = 6
#: What two machines of one search may have otherwise: it changes no trial.
_FREE = (
    "tune.trials",
    "model_name",
    "task_name",
    "reference.",
    "data.root",
    "finetune.noise.root",
    "pretrain.",
    "evaluate.split",
    "evaluate.batch_size",
)
_CHANGES_LOSS = ("finetune.loss", "finetune.label_smoothing", "finetune.mixup")


def tune(
    options: RunOptions,
    checkpoint: str | None,
    *,
    seeds: Sequence[int] | None = None,
    storage: str = "",
    workers: int = 1,
) -> Path:
    """Search the space of a recipe's `[tune]` section; return the folder of the search.

    Every trial finetunes with other values and is scored on validation; the best one's values are trained as the recipe
    says and evaluated once on the split that it names, which makes one row a seed in the sheet.

    Raises RecipeError or CheckpointError before anything runs; SslBioError when no trial has a score.
    """
    sheet.check(options.sheet)
    runtime.pick_device(options.device)
    base = plan_seeds(options._replace(resume=False, overwrite=False), checkpoint, None)[0]
    task, identity = _check(base, seeds)
    recipe = base.resolved.recipe
    folder = StudyFolder(options.out or RUNS / recipe.name / TUNE_FOLDER)
    plan = TrialPlan(
        options=options._replace(out=None, resume=False, overwrite=False),
        checkpoint=checkpoint or _starts_of(base),
        folder=folder.path,
        storage=storage or folder.default_storage,
        study=recipe.name,
        seed=recipe.seed,
        tune=recipe.tune,
        axes=search_axes(recipe),
        metric=recipe.tune.metric or task.leading_metrics[0],
    )
    try:
        study = _begin(plan, options, description=_description(base, plan, identity), shared=bool(storage))
        _announce(plan, study, base)
        with shared_threads(workers):
            run_trials(plan, study, workers)
        record = search_record(plan, study.ended())
        _report(plan, study, record)
        if record.best is None:
            reasons = [one.reason for one in record.trials if one.reason]
            why = f"the first with: {reasons[0]}" if reasons else "none ran to its end"
            raise SslBioError(f"none of {len(record.trials)} trials has a score, {why}")
        train_winner(plan, study, base, record=record, best=record.best, seeds=seeds)
    except search.STORAGE_ERRORS as error:
        why = str(error).splitlines()[0]
        raise SslBioError(
            f"the study in {search.shown_url(plan.storage)} cannot be reached: {why}; --resume goes on with it"
        ) from error
    return folder.path


def _check(base: SeedPlan, seeds: Sequence[int] | None) -> tuple[AnyTask, str]:
    """Return the task and what trials learn from. Raises RecipeError for a search that cannot be."""
    resolved = base.resolved
    recipe = resolved.recipe
    axes = search_axes(recipe)
    asked = {*(path for path, origin in resolved.origins.items() if origin == COMMAND_LINE)}
    twice = [path for path in axes if path in asked]
    if twice:
        raise RecipeError(f"tune.space.{twice[0]}: the command line also gives it one value; leave one of the two out")
    if recipe.finetune.selected_on == "test":
        raise RecipeError(
            'finetune.selected_on "test" would choose every epoch on test, which a search leaves to its winner: '
            'set it to "val" or "last"'
        )
    start = base.runs[0].start
    infos = keys_of(mine_kinds(recipe))
    fixed = [path for path in axes if path in infos and infos[path].architecture]
    if start and fixed:
        raise RecipeError(f"tune.space.{fixed[0]}: the checkpoint {start.path} has fixed it; leave it out")
    modes = [recipe.finetune.model_copy(update={"mode": mode}) for mode in _options(axes.get("finetune.mode"))]
    if len({mode.pretrained for mode in [recipe.finetune, *modes]}) > 1:
        raise RecipeError(
            "tune.space.finetune.mode: some of these, or the recipe's own, start from a pretraining run and others do "
            "not: search them apart"
        )
    changes_loss = [path for path in axes if path in _CHANGES_LOSS]
    if recipe.tune.metric == "loss" and changes_loss:
        raise RecipeError(f'tune.metric "loss": {changes_loss[0]} changes what a loss means: choose another metric')
    _check_used(recipe, axes)
    if recipe.tune.sampler == "grid":
        search.combinations_of(axes)
    for part in base.runs:
        prepared = prepare(part.resolved)
    task, metric = prepared.task, recipe.tune.metric
    if metric and metric not in ("loss", *task.metrics):
        raise RecipeError(
            f"tune.metric {metric!r} is no metric of task {recipe.finetune.task!r}: choose loss, "
            f"{', '.join(task.metrics)}"
        )
    task.labelled_rows(prepared.dataset, "val")
    weights = f", weights {start.metadata.run_id or start.metadata.finished_at}" if start else ""
    return task, f"{prepared.dataset.info.name} ({prepared.dataset.info.fingerprint}){weights}"


def _options(axis: Axis | None) -> tuple[Any, ...]:
    return axis.options if isinstance(axis, Choices) else ()


def _check_used(recipe: Recipe, axes: Mapping[str, Axis]) -> None:
    """Raise RecipeError for a `[finetune]` key that would change nothing, whatever the search chooses for others."""
    unused: dict[str, str] = recipe.finetune.unused_keys()
    for path, axis in axes.items():
        section, _, name = path.partition(".")
        values = axis.options if isinstance(axis, Choices) else (axis.low, axis.high)
        if section == "finetune" and "." not in name:
            for value in values:
                still = recipe.finetune.model_copy(update={name: value}).unused_keys()
                unused = {key: why for key, why in unused.items() if key in still}
    for name, why in unused.items():
        if f"finetune.{name}" in axes:
            raise RecipeError(f"tune.space.finetune.{name} would change nothing: {why}")


def _starts_of(base: SeedPlan) -> str | None:
    """Return where all trials start, so that a pretraining run that ends meanwhile changes nothing."""
    places = [run.start.path for run in base.runs if run.start]
    if not places:
        return None
    folds = [f"fold{run.resolved.recipe.data.fold}" for run in base.runs]
    if len(set(places)) == 1:
        return str(places[0])
    if [place.name for place in places] == folds and len({place.parent for place in places}) == 1:
        return str(places[0].parent / "fold{fold}")
    return None


def _description(base: SeedPlan, plan: TrialPlan, identity: str) -> dict[str, Any]:
    """Return what a search asks, by which a study is known."""
    flat = flatten(base.resolved.recipe.model_dump(mode="json"))
    asked = {path: value for path, value in flat.items() if not path.startswith(_FREE)}
    return {**asked, "tune.metric": plan.metric, "dataset": identity}


def _begin(plan: TrialPlan, options: RunOptions, *, description: Mapping[str, Any], shared: bool) -> search.Search:
    """Return this process's part in the search, whose folder and study are there then."""
    folder = StudyFolder(plan.folder)
    place = search.shown_url(plan.storage) if shared else STORAGE_FILE
    joins = shared and folder.belongs_to(plan.study, place)
    folder.check(resume=options.resume or joins, overwrite=options.overwrite)
    if options.resume and folder.has_study and not folder.belongs_to(plan.study, place):
        raise RecipeError(f"{folder.path} is of another study, or of one stored elsewhere: choose another with --out")
    if shared:
        storage = search.open_storage(plan.storage)
        if options.overwrite and plan.study in optuna.get_all_study_names(storage):
            raise RecipeError(
                f"--overwrite leaves study {plan.study!r} in {place} alone, others may share it: delete it there "
                "first, or choose another --storage"
            )
        folder.begin(study=plan.study, storage=place, overwrite=options.overwrite)
    else:
        folder.begin(study=plan.study, storage=place, overwrite=options.overwrite)
        storage = search.open_storage(plan.storage)
    opened = search.open_study(
        storage,
        plan.study,
        description=description,
        direction="minimize" if lower_is_better(plan.metric) else "maximize",
        pruner=search.pruner_of(plan.tune),
    )
    study = search.Search(opened, storage, folder=folder, axes=plan.axes, tune=plan.tune, seed=plan.seed)
    n_failed = study.repeat_failed() if options.resume else 0
    if n_failed:
        note(f"{_count(n_failed, 'trial')} failed before and {'is' if n_failed == 1 else 'are'} run again")
    return study


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _announce(plan: TrialPlan, study: search.Search, base: SeedPlan) -> None:
    recipe = base.resolved.recipe
    start = base.runs[0].start
    source = plan.options.recipe or (str(start.path) if start else "")
    note(f"tune {recipe.name} (seed {plan.seed}) from {source or 'defaults'} into {plan.folder}")
    if start:
        note(f"every trial starts from {plan.checkpoint or start.path}")
    note(f"study {plan.study!r} in {search.shown_url(plan.storage)}")
    for path, axis in plan.axes.items():
        note(f"  {path}: {_axis_text(axis)}")
    parts = len(parts_of(base.resolved))
    how = f", pooled over {parts} folds" if parts > 1 else ""
    note(f"{_count(study.n_trials, 'trial')} ({recipe.tune.sampler}), compared by {plan.metric} on val{how}")
    if "val" in recipe.finetune.fit_on:
        note(f'trials learn from "train", for val compares them; the winner then from "{recipe.finetune.fit_on}"')
    there = len(study.ended())
    if there:
        note(f"{_count(there, 'trial')} ended before")


def _axis_text(axis: Axis) -> str:
    if isinstance(axis, Range):
        how = ", log" if axis.log else f" by {axis.step:g}" if axis.step else ""
        return f"{axis.low:g} to {axis.high:g}{how}"
    return ", ".join(results.value_cell(option) for option in axis.options)


def _report(plan: TrialPlan, study: search.Search, record: SearchRecord) -> None:
    """Show the best trials and what mattered; write `trials.csv` and the figures."""
    files = StudyFolder(plan.folder).files
    tables.show([results.trials_table(record)])
    files.write_text(TRIALS_FILE, results.trials_csv(record))
    n_complete, scores = len(record.complete), {one.score for one in record.complete}
    varied = [path for path, axis in plan.axes.items() if isinstance(axis, Range) or len(axis.options) > 1]
    if len(varied) > 1 and n_complete >= _FEWEST_FOR_IMPORTANCE and len(scores) > 1:
        evaluator = FanovaImportanceEvaluator(seed=plan.seed)
        importances = get_param_importances(study.study, evaluator=evaluator, params=varied)
        tables.show([results.importance_table(importances, n_complete)])
    elif len(varied) > 1:
        note(
            f"no importance of keys: it takes {_FEWEST_FOR_IMPORTANCE} complete trials that differ, and there are "
            f"{n_complete}"
        )
    if record.complete:
        plots.draw(files, lambda: results.figures(record))
