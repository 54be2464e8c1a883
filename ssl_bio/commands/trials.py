"""Trials of a search in one process or several: each finetunes with other values, tells its epochs, and is pruned."""

import math
import multiprocessing
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
from optuna.trial import FrozenTrial, TrialState

from ssl_bio.commands import search
from ssl_bio.commands.finetune import Reporting, run_seed
from ssl_bio.commands.plan import RunOptions, plan_seeds
from ssl_bio.config import ConfigLayer, TuneConfig
from ssl_bio.config.load import put
from ssl_bio.config.tune import Axis, Choices, Range
from ssl_bio.console import Ticker, error_console, note, progress, silenced, warn
from ssl_bio.errors import SslBioError
from ssl_bio.metrics import metric_text
from ssl_bio.results import search as results
from ssl_bio.results.search import SearchRecord, TrialRecord
from ssl_bio.runs.study import StudyFolder
from ssl_bio.training import runtime

_POLL_SECONDS = 0.5
_STATES = {
    TrialState.COMPLETE: results.COMPLETE,
    TrialState.PRUNED: results.PRUNED,
    TrialState.FAIL: results.FAILED,
}


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


@contextmanager
def shared_threads(workers: int) -> Iterator[None]:
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
            record = search_record(self.plan, ended[:count])
            metric, best = self.plan.metric, record.best
            so_far = f" (best {metric_text(metric, best.score or 0.0)}, trial {best.number})" if best else ""
            line = results.trial_line(_trial_record(trial), metric)
            with silenced(False):
                note(f"[{count}/{self.study.n_trials}] {line}{so_far}")
                self.tick(count, {f"best {metric}": best.score or 0.0} if best else None)


def run_trials(plan: TrialPlan, study: search.Search, workers: int) -> None:
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
    folder, chosen = StudyFolder(plan.folder), nested(values)
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


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
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


def search_record(plan: TrialPlan, trials: Sequence[FrozenTrial]) -> SearchRecord:
    logs = frozenset(path for path, axis in plan.axes.items() if isinstance(axis, Range) and axis.log)
    ordered = sorted(trials, key=lambda one: one.number)
    return SearchRecord([_trial_record(one) for one in ordered], plan.metric, list(plan.axes), logs)
