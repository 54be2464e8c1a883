"""Studies: values by seed and number, states by error, and trials whose process is gone."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from ssl_bio.commands import search
from ssl_bio.config import TuneConfig
from ssl_bio.config.tune import Axis, Choices, Range
from ssl_bio.errors import CheckpointError, DataError, RecipeError, TrainingError
from ssl_bio.runs.study import StudyFolder

AXES: dict[str, Axis] = {
    "finetune.lr": Range(1e-4, 1e-1, log=True),
    "finetune.dropout": Range(0.0, 0.5, step=0.1),
    "finetune.batch_size": Range(16, 64, log=True, integer=True),
    "finetune.pooling": Choices((["mean"], ["max"])),
}


def part(
    home: str = "search",
    *,
    url: str = "",
    tune: TuneConfig | None = None,
    axes: Mapping[str, Axis] = AXES,
    seed: int = 0,
) -> search.Search:
    """Return a process's part in a study, which is made if it is not there."""
    folder = StudyFolder(Path(home))
    folder.path.mkdir(exist_ok=True)
    storage = search.open_storage(url or f"journal:{home}/.journal.lock")
    tune = tune or TuneConfig(trials=4, startup_trials=2)
    study = search.open_study(storage, "s", description={}, direction="minimize", pruner=search.pruner_of(tune))
    return search.Search(study, storage, folder=folder, axes=axes, tune=tune, seed=seed)


def drawn(seed: int, *, sampler: str = "tpe", n: int = 6, home: str = "") -> list[dict[str, Any]]:
    """Return the values of the trials of a search whose score is its learning rate."""
    tune = TuneConfig.model_validate({"trials": n, "startup_trials": 3, "sampler": sampler})
    one = part(home or f"{sampler}{seed}", tune=tune, seed=seed)
    while run_next(one, lambda trial, values: float(values["finetune.lr"])):
        pass
    return [search.values_of(trial) for trial in one.trials()]


def run_next(one: search.Search, objective: search.Objective = lambda trial, values: 1.0) -> bool:
    with one.next_trial() as asked:
        if asked:
            one.run(*asked, objective)
        return asked is not None


class TestSamplers:
    """Which values come next."""

    @pytest.mark.parametrize("sampler", ["tpe", "random"])
    def test_values_are_rounded_and_follow_from_the_seed(self, sampler: str) -> None:
        first = drawn(0, sampler=sampler)
        assert first == drawn(0, sampler=sampler, home="again")
        assert first != drawn(1, sampler=sampler)
        assert len({str(values) for values in first}) == 6
        for values in first:
            assert values["finetune.lr"] == float(f"{values['finetune.lr']:.3g}")
            assert values["finetune.dropout"] in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
            assert isinstance(values["finetune.batch_size"], int)
            assert values["finetune.pooling"] in (["mean"], ["max"])

    def test_tpe_learns(self) -> None:
        rates = [values["finetune.lr"] for values in drawn(0, n=25)]
        assert sorted(rates[15:])[5] < sorted(rates[:3])[1]

    def test_a_grid_runs_every_combination_once(self) -> None:
        axes: dict[str, Axis] = {"a": Choices((1, 2)), "b": Range(0.0, 0.2, step=0.1), "c": Choices((["x"],))}
        one = part(axes=axes, tune=TuneConfig(sampler="grid"))
        assert one.n_trials == 6
        while run_next(one):
            pass
        assert [search.values_of(trial) for trial in one.trials()] == search.combinations_of(axes)
        assert search.combinations_of(axes)[1] == {"a": 1, "b": 0.1, "c": ["x"]}

    def test_a_grid_of_a_range_without_steps_has_no_end(self) -> None:
        with pytest.raises(RecipeError, match=r"finetune\.lr.*needs a list of values"):
            search.combinations_of(AXES)

    def test_pruners(self) -> None:
        assert isinstance(search.pruner_of(TuneConfig(pruner="none")), optuna.pruners.NopPruner)
        assert isinstance(search.pruner_of(TuneConfig()), optuna.pruners.MedianPruner)


def raising(error: BaseException) -> search.Objective:
    def objective(trial: optuna.Trial, values: Mapping[str, Any]) -> float:
        raise error

    return objective


class TestEnds:
    """How a trial ends."""

    @pytest.mark.parametrize(
        ("error", "state", "reason"),
        [
            (optuna.TrialPruned(), TrialState.PRUNED, ""),
            (TrainingError("the loss is lost"), TrialState.PRUNED, "the loss is lost"),
            (DataError("no such window"), TrialState.FAIL, "no such window"),
        ],
    )
    def test_errors_end_one_trial(self, error: Exception, state: TrialState, reason: str) -> None:
        one = part()
        assert run_next(one, raising(error))
        (trial,) = one.trials()
        assert (trial.state, search.reason_of(trial)) == (state, reason)
        assert run_next(one)
        assert one.ended()[1].value == 1.0

    def test_a_bug_leaves_its_traceback(self, capsys: pytest.CaptureFixture[str]) -> None:
        one = part()
        run_next(one, raising(ZeroDivisionError("ours")))
        assert search.reason_of(one.trials()[0]) == "ZeroDivisionError: ours"
        assert "Traceback" in capsys.readouterr().err

    def test_an_interrupted_trial_has_not_ended(self) -> None:
        one = part()
        with pytest.raises(KeyboardInterrupt):
            run_next(one, raising(KeyboardInterrupt()))
        assert one.trials()[0].state == TrialState.RUNNING

    def test_as_many_as_asked_for(self) -> None:
        one = part()
        assert [run_next(one) for _ in range(6)] == [True] * 4 + [False] * 2


def leave(one: search.Search) -> dict[str, Any]:
    """Begin a trial and lose the process, after it reported an epoch; return its values."""
    with one.next_trial() as asked:
        assert asked
        asked[0].report(3.0, 1)
        return asked[1]


@pytest.mark.parametrize("url", ["", "sqlite:///study.db"])
class TestAbandonedTrials:
    """Trials whose process is gone."""

    def test_they_go_on_under_their_number_and_values(self, url: str) -> None:
        values = leave(part(url=url))
        other = part(url=url)
        with other.next_trial() as asked:
            assert asked
            trial, found = asked
            assert (trial.number, found) == (0, values)
            assert search.trial_of(other.study, 0).intermediate_values == {1: 3.0}
            other.run(trial, found, lambda trial, values: 2.0)
        assert [one.value for one in other.ended()] == [2.0]

    def test_those_at_work_are_left_alone(self, url: str) -> None:
        with part(url=url).next_trial() as asked, part(url=url).next_trial() as other:
            assert asked
            assert other
            assert (asked[0].number, other[0].number) == (0, 1)

    def test_another_machines_once_it_is_silent_for_long(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        here, there = part(url=url or "journal:shared.log"), part("elsewhere", url=url or "journal:shared.log")
        values = leave(there)
        clock = 0.0
        monkeypatch.setattr("ssl_bio.commands.search.time.monotonic", lambda: clock)
        with here.next_trial() as asked:
            assert asked
            assert asked[0].number == 1, "it was heard of just now"
            here.run(*asked, lambda trial, values: 1.0)
        clock = search.GRACE_SECONDS + 1
        with here.next_trial() as asked:
            assert asked
            assert (asked[0].number, asked[1]) == (0, values)

    def test_signs_of_life(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(search, "BEAT_SECONDS", 0.01)
        one = part(url=url)
        with one.next_trial() as asked:
            assert asked
            _wait_for(lambda: "beat" in search.trial_of(one.study, 0).user_attrs)


def _wait_for(condition: Callable[[], bool]) -> None:
    import time

    end = time.perf_counter() + 20
    while not condition():
        assert time.perf_counter() < end
        time.sleep(0.01)


class TestSharing:
    """Several machines, one study."""

    def test_only_one_trains_the_winner(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(search, "BEAT_SECONDS", 0.01)
        here, there = part(url="journal:shared.log"), part("elsewhere", url="journal:shared.log")
        claim, elsewhere = here.claim_winner()
        assert elsewhere == ""
        place = str(Path("search").absolute())
        with search.beating(claim):
            assert there.claim_winner()[1].startswith(f"is being trained in {place}")
        claim.set_user_attr("done", True)
        assert there.claim_winner()[1].startswith(f"has been trained in {place}")
        assert here.claim_winner()[1] == "", "it goes on where it began"

    def test_the_claim_of_a_machine_that_is_gone_is_taken_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(search, "GRACE_SECONDS", 0.05)
        here, there = part(url="journal:shared.log"), part("elsewhere", url="journal:shared.log")
        here.claim_winner()
        assert there.claim_winner()[1] == ""
        assert here.claim_winner()[0].user_attrs["owner"] == here.owner, "and back, when that one is gone as well"

    def test_a_trial_that_failed_is_repeated_and_counts_once(self) -> None:
        tune = TuneConfig(trials=3, sampler="grid")
        ours = part(tune=tune, axes={"finetune.lr": Choices((1.0, 2.0, 3.0))})
        broken = True

        def objective(trial: optuna.Trial, values: Mapping[str, Any]) -> float:
            if broken and values["finetune.lr"] == 1.0:
                raise RecipeError("no run to start from")
            return float(values["finetune.lr"])

        def run_all() -> list[float]:
            while True:
                with ours.next_trial() as asked:
                    if not asked:
                        return sorted(search.values_of(one)["finetune.lr"] for one in ours.trials() if one.value)
                    ours.run(*asked, objective)

        assert run_all() == [2.0, 3.0]
        broken = False
        assert ours.repeat_failed() == 1
        assert run_all() == [1.0, 2.0, 3.0]
        assert len(ours.trials()) == 3
        assert ours.repeat_failed() == 0

    def test_a_grid_leaves_no_combination_out_after_a_trial_too_many(self) -> None:
        axes: dict[str, Axis] = {"finetune.lr": Choices((1.0, 2.0, 3.0))}
        ours = part(tune=TuneConfig(trials=1, sampler="grid"), axes=axes)
        assert run_next(ours)
        trial = ours.study.ask()
        trial.set_user_attr("surplus", True)
        ours.study.tell(trial, state=optuna.trial.TrialState.FAIL)
        more = part(tune=TuneConfig(trials=3, sampler="grid"), axes=axes)
        while run_next(more):
            pass
        assert sorted(search.values_of(one)["finetune.lr"] for one in more.trials()) == [1.0, 2.0, 3.0]

    def test_a_claim_that_nobody_signed_is_free(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(search, "_CLAIM_SECONDS", 0.05)
        here = part()
        optuna.create_study(study_name="s, winner", storage=here.storage)
        assert here.claim_winner()[1] == ""

    def test_a_trial_too_many_is_not_counted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tune = TuneConfig(trials=1)
        here, there = part(url="journal:shared.log", tune=tune), part("there", url="journal:shared.log", tune=tune)
        with ExitStack() as stack:
            real = here.study.ask

            def ask_late() -> optuna.Trial:
                stack.enter_context(there.next_trial())
                return real()

            monkeypatch.setattr(here.study, "ask", ask_late)
            assert not run_next(here)
            assert [one.number for one in here.trials()] == [0]

    def test_a_study_that_asks_something_else_is_refused_by_name(self) -> None:
        storage = search.open_storage("journal:s.log")
        pruner = optuna.pruners.NopPruner()

        def join(description: Mapping[str, Any]) -> optuna.Study:
            return search.open_study(storage, "s", description=description, direction="minimize", pruner=pruner)

        join({"finetune.epochs": 4, "dataset": "d (1)"})
        join({"finetune.epochs": 4, "dataset": "d (1)"})
        with pytest.raises(CheckpointError, match=r"its finetune\.epochs is 4, now it is 5"):
            join({"finetune.epochs": 5, "dataset": "d (1)"})
        with pytest.raises(CheckpointError, match=r"its tune\.space\.finetune\.lr is not set, now it is"):
            join({"finetune.epochs": 4, "dataset": "d (1)", "tune.space.finetune.lr": [1]})


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "no URL; write one such as"),
        ("oracel://me@server/x", "cannot be opened"),
        ("sqlite:////proc/nothing/study.db", "unable to open database file"),
        ("journal:/proc/nothing/log", "cannot be opened"),
    ],
)
def test_a_storage_that_cannot_be_opened_is_one_line(url: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as error:
        search.open_storage(url)
    assert "\n" not in str(error.value)


def test_passwords_are_not_shown() -> None:
    assert search.shown_url("mysql://me:secret@server/x") == "mysql://me:***@server/x"
    assert search.shown_url("journal:a/b.log") == "journal:a/b.log"
