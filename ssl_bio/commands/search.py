"""Studies and their trials: which values come next, who runs them, and what becomes of a trial whose process is gone.

Optuna keeps the study. Grids, random draws and TPE are samplers of the same machinery.
"""

import json
import socket
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError

from ssl_bio.config.tune import Axis, Choices, Range, TuneConfig
from ssl_bio.console import error_console, note
from ssl_bio.errors import CheckpointError, RecipeError, SslBioError, TrainingError
from ssl_bio.runs.study import StudyFolder
from ssl_bio.training import runtime

JOURNAL = "journal:"
STORAGE_ERRORS = (SQLAlchemyError, StorageInternalError)
BEAT_SECONDS = 15.0
GRACE_SECONDS = 90.0  # a trial of another machine that has not been heard of for so long is taken over
_CLAIM_SECONDS = 5.0
_DATABASE_WAIT_SECONDS = 60  # for SQLite's other writers
_OPENINGS = 3  # of a database
_ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)

optuna.logging.set_verbosity(optuna.logging.ERROR)

#: (trial, its values by `section.key`) -> its score.
Objective = Callable[[optuna.Trial, Mapping[str, Any]], float]


def shown_url(url: str) -> str:
    """Return a storage's URL without its password."""
    if url.startswith(JOURNAL):
        return url
    try:
        return make_url(url).render_as_string(hide_password=True)
    except SQLAlchemyError as error:
        raise RecipeError(
            f"--storage {url}: no URL; write one such as sqlite:///study.db or mysql://user@host/database, or "
            "journal:PATH"
        ) from error


def open_storage(url: str) -> BaseStorage:
    """Return the storage of an Optuna URL, or of "journal:PATH". Raises RecipeError when it cannot be opened."""
    place = url
    try:
        if url.startswith(JOURNAL):
            path = Path(url.removeprefix(JOURNAL))
            path.parent.mkdir(parents=True, exist_ok=True)
            return JournalStorage(JournalFileBackend(str(path)))
        place = shown_url(url)
        waits = {"connect_args": {"timeout": _DATABASE_WAIT_SECONDS}} if url.startswith("sqlite") else None
        for _ in range(_OPENINGS - 1):
            with suppress(IntegrityError, OperationalError):  # another process makes the tables at the same moment
                return RDBStorage(url, engine_kwargs=waits)
            time.sleep(_CLAIM_SECONDS / 50)
        return RDBStorage(url, engine_kwargs=waits)
    except (SQLAlchemyError, ImportError, OSError, RuntimeError, ValueError) as error:
        why = str(error.orig if hasattr(error, "orig") else error).splitlines() or [type(error).__name__]
        raise RecipeError(f"--storage {place}: cannot be opened: {why[0]}") from error


def open_study(
    storage: BaseStorage,
    name: str,
    *,
    description: Mapping[str, Any],
    direction: Literal["minimize", "maximize"],
    pruner: optuna.pruners.BasePruner,
) -> optuna.Study:
    """Return the study of this name, made if it is not there.

    Raises CheckpointError when the one that is there asks something else.
    """
    study = optuna.create_study(
        study_name=name, storage=storage, direction=direction, pruner=pruner, load_if_exists=True
    )
    if "description" not in study.user_attrs:
        study.set_user_attr("description", dict(description))
    theirs = study.user_attrs["description"]  # read again: another machine may have begun it at the same moment
    for path in dict.fromkeys([*theirs, *description]):
        if theirs.get(path) != description.get(path):
            raise CheckpointError(
                f"study {name!r} is another search: its {path} is {_told(theirs, path)}, now it is "
                f"{_told(description, path)}; bring that back, begin anew with --overwrite, or choose another --out; "
                "in a shared --storage a study is known by the recipe's name"
            )
    return study


def _told(values: Mapping[str, Any], path: str) -> str:
    return json.dumps(values[path]) if path in values else "not set"


def pruner_of(tune: TuneConfig) -> optuna.pruners.BasePruner:
    """Return what stops trials, as a recipe asks for it."""
    if tune.pruner == "none":
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(
        n_startup_trials=tune.pruner_startup_trials, n_warmup_steps=tune.pruner_warmup_epochs + 1
    )


def combinations_of(axes: Mapping[str, Axis]) -> list[dict[str, Any]]:
    """Return every choice of one value for each axis, the last axis changing first.

    Raises RecipeError for a range without steps.
    """
    values: dict[str, list[Any]] = {}
    for path, axis in axes.items():
        found = axis.values()
        if found is None:
            raise RecipeError(f'tune.space.{path}: tune.sampler "grid" needs a list of values, or a range with step')
        values[path] = found
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]


def n_trials(tune: TuneConfig, axes: Mapping[str, Axis]) -> int:
    """Return how many trials a search has: of a grid at most all combinations."""
    return min(tune.trials, len(combinations_of(axes))) if tune.sampler == "grid" else tune.trials


class CombinationSampler(optuna.samplers.BaseSampler):
    """The n-th trial that counts is combination n."""

    def __init__(self, choices: Sequence[Mapping[str, Any]]) -> None:
        self.choices = choices

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return that no key is drawn together with others."""
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return no values."""
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return the value that the trial's combination has for a key."""
        before = [one for one in counted_trials(study) if one.number < trial.number]
        return _label(self.choices[len(before)][param_name])


def counted_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return all trials, without those that one machine began as another began the last, and without the failed ones
    that another trial repeats."""
    trials = study.get_trials(deepcopy=False)
    repeated = {one.user_attrs.get("repeats") for one in trials}
    return [one for one in trials if not one.user_attrs.get("surplus") and one.number not in repeated]


def sampler_of(tune: TuneConfig, axes: Mapping[str, Axis], *, seed: int, number: int) -> optuna.samplers.BaseSampler:
    """Return what draws the values of one trial.

    The draw is a function of the seed, the trial's number and the trials before it, so that a search that goes on draws
    what an uninterrupted one would have drawn.
    """
    if tune.sampler == "grid":
        return CombinationSampler(combinations_of(axes))
    own_seed = int(runtime.stream(seed, "tune", number).integers(2**32))
    if tune.sampler == "random":
        return optuna.samplers.RandomSampler(seed=own_seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return optuna.samplers.TPESampler(
            n_startup_trials=tune.startup_trials, multivariate=True, constant_liar=True, seed=own_seed
        )


def suggest(trial: optuna.Trial, axes: Mapping[str, Axis]) -> dict[str, Any]:
    """Return the values of a trial by `section.key`, rounded as its recipe shows them."""
    return {path: _suggest(trial, path, axis) for path, axis in axes.items()}


def _suggest(trial: optuna.Trial, path: str, axis: Axis) -> Any:
    if isinstance(axis, Choices):
        by_label = {_label(option): option for option in axis.options}
        return by_label[trial.suggest_categorical(path, list(by_label))]
    return axis.rounded(_suggest_number(trial, path, axis))


def _suggest_number(trial: optuna.Trial, path: str, axis: Range) -> float:
    high = (axis.values() or [axis.high])[-1]  # of a range with steps the last one, which may end before its limit
    if axis.integer:
        return trial.suggest_int(path, int(axis.low), int(high), step=int(axis.step) or 1, log=axis.log)
    return trial.suggest_float(path, axis.low, high, step=axis.step or None, log=axis.log)


def _label(option: Any) -> Any:
    """Return a choice as Optuna stores it, which knows no lists."""
    return json.dumps(option) if isinstance(option, list | dict) else option


def attempt(study: optuna.Study, trial: optuna.Trial, values: Mapping[str, Any], objective: Objective) -> None:
    """Run a trial and tell the study how it ended; `reason_of` says why where it failed."""
    value, state, reason = None, TrialState.COMPLETE, ""
    try:
        value = objective(trial, values)
    except optuna.TrialPruned:
        state = TrialState.PRUNED
    except TrainingError as error:  # its values are worse than any, which a sampler should learn
        state, reason = TrialState.PRUNED, str(error).split(":", maxsplit=1)[0]
    except SslBioError as error:
        state, reason = TrialState.FAIL, str(error)
    except STORAGE_ERRORS:
        raise
    except Exception as error:  # a bug in one trial does not take the others' results away
        error_console.print(traceback.format_exc(), markup=False)
        state, reason = TrialState.FAIL, f"{type(error).__name__}: {error}"
    try:
        if reason:
            trial.set_user_attr("reason", reason)
        study.tell(trial, value, state=state)
    except (UpdateFinishedTrialError, ValueError):
        if trial_of(study, trial.number).state not in _ENDED:
            raise  # otherwise another machine took it for lost, and was quicker


def trial_of(study: optuna.Study, number: int) -> FrozenTrial:
    """Return a trial as the study has it now."""
    return next(one for one in study.get_trials(deepcopy=False) if one.number == number)


def reason_of(trial: FrozenTrial) -> str:
    """Return why a trial failed; empty where it did not."""
    return str(trial.user_attrs.get("reason", ""))


def values_of(trial: FrozenTrial) -> dict[str, Any]:
    """Return the values of a trial by `section.key`; empty before it has any."""
    return dict(trial.user_attrs.get("values", {}))


class Search:
    """One process's part in a study that others may work on: it asks for trials, runs them, and takes over those whose
    process is gone."""

    def __init__(
        self,
        study: optuna.Study,
        storage: BaseStorage,
        *,
        folder: StudyFolder,
        axes: Mapping[str, Axis],
        tune: TuneConfig,
        seed: int,
    ) -> None:
        self.study, self.storage, self.folder = study, storage, folder
        self.axes, self.tune, self.seed = axes, tune, seed
        self.n_trials = n_trials(tune, axes)
        self.owner = {"host": socket.gethostname(), "folder": str(folder.path.absolute())}
        self._heard: dict[int, tuple[object, float]] = {}  # number -> last sign of life, and when it was first seen

    def trials(self) -> list[FrozenTrial]:
        """Return the trials that count."""
        return counted_trials(self.study)

    def repeat_failed(self) -> int:
        """Let every trial that failed be run again, as a new one with its values; return how many there are."""
        failed = [one for one in self.trials() if one.state == TrialState.FAIL]
        for trial in failed:
            self.study.enqueue_trial(trial.params, user_attrs={"repeats": trial.number})
        return len(failed)

    def ended(self) -> list[FrozenTrial]:
        """Return the trials that ended, in the order in which they did."""
        found = [one for one in self.trials() if one.state in _ENDED]
        return sorted(found, key=lambda one: (one.datetime_complete or datetime.max, one.number))

    @contextmanager
    def next_trial(self) -> Iterator[tuple[optuna.Trial, dict[str, Any]] | None]:
        """Yield a trial that this process owns while the block runs, and its values; None when there is none to run."""
        with ExitStack() as stack:
            with self.folder.asking():
                trial = self._ask()
                if trial and not stack.enter_context(self.folder.owned_trial(trial.number)):
                    trial = None  # its process was only silent for long
                if trial:
                    for name, value in self.owner.items():
                        trial.set_user_attr(name, value)
                    self.study.sampler = sampler_of(self.tune, self.axes, seed=self.seed, number=trial.number)
                    values = suggest(trial, self.axes)
                    trial.set_user_attr("values", values)
            if not trial:
                yield None
                return
            stack.enter_context(beating(trial))
            yield trial, values

    def run(self, trial: optuna.Trial, values: Mapping[str, Any], objective: Objective) -> None:
        """Run a trial that this process owns."""
        attempt(self.study, trial, values, objective)

    def _ask(self) -> optuna.Trial | None:
        self._free_abandoned()
        trials = self.trials()
        waiting = any(one.state == TrialState.WAITING for one in trials)
        if not waiting and len(trials) >= self.n_trials:
            return None
        trial = self.study.ask()
        earlier = [one for one in self.trials() if one.number < trial.number]
        if len(earlier) >= self.n_trials:  # a machine elsewhere asked for the last one at the same moment
            trial.set_user_attr("surplus", True)
            self.study.tell(trial, state=TrialState.FAIL)
            return None
        return trial

    def _free_abandoned(self) -> None:
        """Let a trial whose process is gone wait for another, with its values and what it reported."""
        study_id = self.storage.get_study_id_from_name(self.study.study_name)
        for trial in self.trials():
            if trial.state == TrialState.RUNNING and self._is_abandoned(trial):
                trial_id = self.storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
                try:
                    self.storage.set_trial_state_values(trial_id, TrialState.WAITING)
                except UpdateFinishedTrialError:
                    continue
                note(f"trial {trial.number} was left unfinished: it goes on")

    def _is_abandoned(self, trial: FrozenTrial) -> bool:
        attributes = trial.user_attrs
        if all(attributes.get(name) == value for name, value in self.owner.items()):
            with self.folder.owned_trial(trial.number) as nobody_else:
                return nobody_else
        sign, now = attributes.get("beat"), time.monotonic()
        before, since = self._heard.get(trial.number, (None, now))
        if trial.number not in self._heard or sign != before:
            self._heard[trial.number] = (sign, now)
            return False
        return now - since > GRACE_SECONDS

    def claim_winner(self) -> tuple[optuna.Study, str]:
        """Return the claim on the winner's training, and which machine has it; empty where it is this one.

        The first machine that asks has it, until there is no sign of life of it for long. The claim's attribute `done`
        says whether the training has ended.
        """
        name, mine = f"{self.study.study_name}, winner", False
        try:
            claim = optuna.create_study(study_name=name, storage=self.storage)
            mine = True
        except DuplicatedStudyError:
            claim = optuna.load_study(study_name=name, storage=self.storage)
            end = time.monotonic() + _CLAIM_SECONDS
            while "owner" not in claim.user_attrs and time.monotonic() < end:
                time.sleep(_CLAIM_SECONDS / 50)  # the one that made it is about to sign it, unless it ended
        owner = claim.user_attrs.get("owner")
        if not mine and owner not in (None, self.owner):
            where = f"{owner['folder']} on {owner['host']}"
            if claim.user_attrs.get("done"):
                return claim, f"has been trained in {where}"
            if _is_alive(claim, where):
                return claim, f"is being trained in {where}"
        claim.set_user_attr("owner", self.owner)
        return claim, ""


def _is_alive(claim: optuna.Study, where: str) -> bool:
    """Return whether whoever has a claim gives a sign of life before the grace period is over."""
    before, end = claim.user_attrs.get("beat"), time.monotonic() + GRACE_SECONDS
    note(f"the winner is claimed by {where}: waiting up to {GRACE_SECONDS:g} s for a sign of life")
    while time.monotonic() < end:
        time.sleep(min(1.0, GRACE_SECONDS / 50))
        if claim.user_attrs.get("beat") != before or claim.user_attrs.get("done"):
            return True
    return False


@contextmanager
def beating(what: optuna.Trial | optuna.Study) -> Iterator[None]:
    """Give signs of life, for other machines to see, while the block runs: that a trial or a claim is worked on."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(BEAT_SECONDS):
            try:
                what.set_user_attr("beat", time.time())
            except Exception:  # a storage that is gone for a while must not end the training
                continue

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
