"""`ssl-bio tune`: trials that finetune with other values and are scored on validation, then the winner on test."""

import math
import multiprocessing
import shlex
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import torch
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from ssl_bio.commands import search
from ssl_bio.commands.finetune import Reporting, finetune, prepare, run_seed
from ssl_bio.commands.plan import RunOptions, SeedPlan, parts_of, plan_seeds
from ssl_bio.config import COMMAND_LINE, ConfigLayer, Recipe, TuneConfig, flatten, to_toml
from ssl_bio.config.load import put
from ssl_bio.config.recipe import keys_of
from ssl_bio.config.resolve import mine_kinds, search_axes
from ssl_bio.config.tune import Axis, Choices, Range
from ssl_bio.console import Ticker, error_console, note, progress, silenced, warn
from ssl_bio.errors import RecipeError, SslBioError
from ssl_bio.metrics import lower_is_better, metric_text
from ssl_bio.results import plots, sheet, tables
from ssl_bio.results import search as results
from ssl_bio.results.search import SearchRecord, TrialRecord
from ssl_bio.runs.folder import RUNS
from ssl_bio.runs.study import BEST_FOLDER, BEST_RECIPE_FILE, STORAGE_FILE, TRIALS_FILE, StudyFolder
from ssl_bio.tasks.base import AnyTask
from ssl_bio.training import runtime

TUNE_FOLDER = "tune"
_POLL_SECONDS = 0.5
_FEWEST_FOR_IMPORTANCE = 6
_STATES = {
    TrialState.COMPLETE: results.COMPLETE,
    TrialState.PRUNED: results.PRUNED,
    TrialState.FAIL: results.FAILED,
}
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


class TrialPlan(NamedTuple):
    """All that one process needs to take part in a search."""

    options: RunOptions
    checkpoint: str | None
    folder: Path
    storage: str
    study: str
    seed: int
    tune: TuneConfig
    axes: Mapping[str, Axis]
    metric: str

    @property
    def n_trials(self) -> int:
        """Return how many trials the search has."""
        return search.n_trials(self.tune, self.axes)

    def open(self) -> search.Search:
        """Return this process's part in the search."""
        storage = search.open_storage(self.storage)
        study = optuna.load_study(study_name=self.study, storage=storage, pruner=search.pruner_of(self.tune))
        return search.Search(
            study, storage, folder=StudyFolder(self.folder), axes=self.axes, tune=self.tune, seed=self.seed
        )


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
        with _threads(workers):
            _run_trials(plan, study, workers)
        record = _search_record(plan, study.ended())
        _report(plan, study, record)
        if record.best is None:
            reasons = [one.reason for one in record.trials if one.reason]
            why = f"the first with: {reasons[0]}" if reasons else "none ran to its end"
            raise SslBioError(f"none of {len(record.trials)} trials has a score, {why}")
        _train_winner(plan, study, base, record=record, best=record.best, seeds=seeds)
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


@contextmanager
def _threads(workers: int) -> Iterator[None]:
    """Leave each of several worker processes its share of the cores while the block runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(_share(before, workers))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _share(threads: int, workers: int) -> int:
    return max(1, threads // workers)


class _Progress:
    """Tells of every trial that ended, whoever ran it."""

    def __init__(self, plan: TrialPlan, study: search.Search, tick: Ticker) -> None:
        self.plan, self.study, self.tick = plan, study, tick
        self.told = {one.number for one in study.ended()}

    def tell(self) -> None:
        """Print a line for each trial that ended since."""
        ended = self.study.ended()
        for count, trial in enumerate(ended, start=1):
            if trial.number in self.told:
                continue
            self.told.add(trial.number)
            record = _search_record(self.plan, ended[:count])
            metric, best = self.plan.metric, record.best
            so_far = f" (best {metric_text(metric, best.score or 0.0)}, trial {best.number})" if best else ""
            line = results.trial_line(_trial_record(trial), metric)
            with silenced(False):
                note(f"[{count}/{self.study.n_trials}] {line}{so_far}")
                self.tick(count, {f"best {metric}": best.score or 0.0} if best else None)


def _run_trials(plan: TrialPlan, study: search.Search, workers: int) -> None:
    """Run trials, with as many processes, until all have ended, also those of other machines."""
    processes = _start_workers(plan, workers)
    try:
        with progress(f"tune {plan.study}", study.n_trials) as tick:
            telling = _Progress(plan, study, tick)
            tick(len(telling.told))
            while True:
                with study.next_trial() as asked:
                    if asked:
                        trial, values = asked
                        study.run(trial, values, partial(_finetune_trial, plan, telling.tell))
                telling.tell()
                if not asked:
                    if all(one.state.is_finished() for one in study.trials()):
                        break
                    time.sleep(_POLL_SECONDS)
    except BaseException:
        for process in processes:
            process.terminate()
        raise
    finally:
        for process in processes:
            process.join()
    lost = [process.exitcode for process in processes if process.exitcode]
    if lost:
        warn(
            f"{len(lost)} of {len(processes)} further workers ended early (exit code {lost[0]}); their trials were run"
        )


def _start_workers(plan: TrialPlan, workers: int) -> list[BaseProcess]:
    """Start all workers but the first, which is this process."""
    context = multiprocessing.get_context("spawn")
    threads = torch.get_num_threads()
    processes: list[BaseProcess] = [
        context.Process(target=work, args=(plan, threads), name=f"tune-{index}", daemon=True)
        for index in range(1, workers)
    ]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # which they inherit: Ctrl-C is for the first process
    try:
        for process in processes:
            process.start()
    finally:
        signal.signal(signal.SIGINT, before)
    return processes


def work(plan: TrialPlan, threads: int) -> None:
    """Run trials of a search in a further process until there is none left to begin, or the first process is gone."""
    torch.set_num_threads(threads)
    try:
        with silenced():
            study = plan.open()
            while True:
                with study.next_trial() as asked:
                    if not asked:
                        return
                    trial, values = asked
                    study.run(trial, values, partial(_finetune_trial, plan, _stop_with_the_first))
    except KeyboardInterrupt:
        return
    except SslBioError as error:
        error_console.print(f"a worker ended: {error}", markup=False)


def _stop_with_the_first() -> None:
    """Raise KeyboardInterrupt in a further process whose first one is gone: its trial waits for `--resume`."""
    parent = multiprocessing.parent_process()
    if parent and not parent.is_alive():
        raise KeyboardInterrupt


def _finetune_trial(
    plan: TrialPlan, each_epoch: Callable[[], None], trial: optuna.Trial, values: Mapping[str, Any]
) -> float:
    """Return the score of a finetuning with these values, on validation.

    Raises TrialPruned when its epochs are worse than those of other trials.
    """
    folder, chosen = StudyFolder(plan.folder), _nested(values)
    chosen.setdefault("finetune", {})["fit_on"] = "train"
    chosen.setdefault("evaluate", {})["split"] = "val"
    options = plan.options._replace(
        out=folder.trial(trial.number),
        chosen=ConfigLayer(chosen, f"trial {trial.number}"),
        resume="begun" in trial.user_attrs,
        grid=plan.n_trials,
    )
    trial.set_user_attr("begun", True)
    with silenced():
        (seed_plan,) = plan_seeds(options, plan.checkpoint, None)
        epochs = seed_plan.runs[0].resolved.recipe.finetune.epochs
        axis = plan.axes.get("finetune.epochs")
        if axis:  # a step is the same part and epoch in every trial
            epochs = int(max(axis.options if isinstance(axis, Choices) else (axis.high,)))
        follow = _Pruning(plan, trial, epochs=epochs, parts=len(seed_plan.runs), each_epoch=each_epoch)
        device = runtime.pick_device(options.device)
        result = run_seed(options, seed_plan, device, Reporting(row=False, figures=False, after_epoch=follow))
    score = result.evaluation.history_row.get(plan.metric, math.nan)
    if not math.isfinite(score):
        raise SslBioError(f"it has no {plan.metric} on val: {score}")
    return score


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for path, value in values.items():
        put(nested, path, value)
    return nested


class _Pruning:
    """Reports a trial's epochs to the study, and stops it when they are worse than those of others."""

    def __init__(
        self, plan: TrialPlan, trial: optuna.Trial, *, epochs: int, parts: int, each_epoch: Callable[[], None]
    ) -> None:
        self.plan, self.trial, self.epochs, self.parts, self.each_epoch = plan, trial, epochs, parts, each_epoch
        self.reported = set(search.trial_of(trial.study, trial.number).intermediate_values)

    def __call__(self, part: int, row: Mapping[str, float]) -> None:
        """Report an epoch of a part of a cross-validation. Raises TrialPruned."""
        self.each_epoch()
        value = row.get(f"val_{self.plan.metric}", math.nan)
        step = part * self.epochs + int(row["epoch"])
        if not math.isfinite(value):
            return
        if step not in self.reported:
            self.trial.report(value, step)
            self.reported.add(step)
        # After the last epoch only the evaluation is left, which a sampler learns more from.
        if step < self.parts * self.epochs and self.trial.should_prune():
            raise optuna.TrialPruned


def _trial_record(trial: FrozenTrial) -> TrialRecord:
    seconds, reason = trial.duration.total_seconds() if trial.duration else 0.0, search.reason_of(trial)
    return TrialRecord(
        number=trial.number,
        values=search.values_of(trial),
        state=results.DIVERGED if trial.state == TrialState.PRUNED and reason else _STATES[trial.state],
        score=trial.value,
        epochs=len(trial.intermediate_values),
        seconds=seconds,
        reason=reason,
        host=str(trial.user_attrs.get("host", "")),
    )


def _search_record(plan: TrialPlan, trials: Sequence[FrozenTrial]) -> SearchRecord:
    logs = frozenset(path for path, axis in plan.axes.items() if isinstance(axis, Range) and axis.log)
    ordered = sorted(trials, key=lambda one: one.number)
    return SearchRecord([_trial_record(one) for one in ordered], plan.metric, list(plan.axes), logs)


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
    if record.complete and plots.can_draw():
        plots.save_figures(files, results.figures(record))


def _train_winner(
    plan: TrialPlan,
    study: search.Search,
    base: SeedPlan,
    *,
    record: SearchRecord,
    best: TrialRecord,
    seeds: Sequence[int] | None,
) -> None:
    """Train the best trial's values as the recipe says, and evaluate them on the split that it names."""
    folder = StudyFolder(plan.folder)
    with folder.owned_winner() as mine:
        if not mine:
            note(f"another process is training the winner, trial {best.number}, in {folder.path / BEST_FOLDER}")
            return
        score, n = metric_text(plan.metric, best.score or 0.0), len(record.trials)
        chosen = ConfigLayer(_nested(best.values), f"trial {best.number}")
        options = plan.options._replace(out=folder.path / BEST_FOLDER, chosen=chosen, trials=n)
        _write_best_recipe(plan, options, best=best, score=score, n_trials=n, seeds=seeds)
        note(f"the winner's recipe: {folder.path / BEST_RECIPE_FILE}")
        claim, elsewhere = study.claim_winner()
        if elsewhere:
            note(f"the winner, trial {best.number}, {elsewhere}")
            return
        before = _Asked.of(claim)
        now = _Asked(best.number, n, list(seeds or []))
        if before and before.seeds != now.seeds:
            warn(
                f"the winner was trained for {before.seeds_text}: for others run "
                f"ssl-bio finetune --recipe {folder.path / BEST_RECIPE_FILE}"
            )
            return
        with search.beating(claim):
            _say_what_is_asked(plan, base, best=best, before=before, now=now)
            if before not in (None, now):
                folder.clear_winner()
            claim.set_user_attr("done", False)
            claim.set_user_attr("asked", now._asdict())  # only now: what stood for another trial is gone
            replaces = folder.winner_is_cleared
            resume = bool(folder.winners()) and not replaces
            finetune(options._replace(resume=resume, overwrite=replaces), plan.checkpoint, seeds)
            claim.set_user_attr("done", True)


class _Asked(NamedTuple):
    """For what the test split was asked: a trial, the best of how many, and for which seeds (none: the recipe's)."""

    trial: int
    trials: int
    seeds: list[int]

    @classmethod
    def of(cls, claim: optuna.Study) -> "_Asked | None":
        """Return what a claim on the winner says; None where test has not been asked."""
        stored = claim.user_attrs.get("asked")
        return cls(**stored) if stored else None

    @property
    def seeds_text(self) -> str:
        """Return the seeds as a sentence has them."""
        return f"--seeds {','.join(map(str, self.seeds))}" if self.seeds else "the recipe's seed alone"


def _say_what_is_asked(
    plan: TrialPlan, base: SeedPlan, *, best: TrialRecord, before: _Asked | None, now: _Asked
) -> None:
    split, score = base.resolved.recipe.evaluate.split, metric_text(plan.metric, best.score or 0.0)
    text = f"the winner is trial {best.number}: {plan.metric} {score} on val, flattered as the best of {now.trials}"
    if split == "val":
        note(f'{text}; evaluate.split is "val" as well')
        return
    if before and before.trial != now.trial:
        note(text)
        warn(f"{split} has been asked before, by trial {before.trial}, which won among {before.trials} trials")
    else:
        note(f"{text}; {split} is asked for it alone")
    if base.is_cross_validation:
        warn(
            "people who validate in one part are tested in another, so that the values were chosen with their labels: "
            "to keep test people out, search within one part (--set data.fold=0)"
        )


def _write_best_recipe(
    plan: TrialPlan, options: RunOptions, *, best: TrialRecord, score: str, n_trials: int, seeds: Sequence[int] | None
) -> None:
    folder = StudyFolder(plan.folder)
    seed_plan = plan_seeds(options, plan.checkpoint, seeds)[0]
    resolved = seed_plan.resolved.without_search()
    words = ["ssl-bio finetune --recipe", shlex.quote(str(folder.path / BEST_RECIPE_FILE))]
    if seed_plan.runs[0].start and plan.checkpoint:
        words += ["--checkpoint", shlex.quote(plan.checkpoint)]
    if seeds:
        words += ["--seeds", ",".join(map(str, seeds))]
    header = (
        f"# Trial {best.number}, the best of {n_trials} in study {plan.study!r}: {plan.metric} {score} on val.\n"
        f"# A row of the sheet that this file makes does not say so itself.\n#\n#   {' '.join(words)}\n\n"
    )
    folder.files.write_text(BEST_RECIPE_FILE, header + to_toml(resolved.recipe, resolved.origins))
