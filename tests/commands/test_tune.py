"""`ssl-bio tune` from end to end: what a search leaves, what it never touches, how it goes on."""

import csv
import os
import re
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ssl_bio.commands import trials as commands_trials
from ssl_bio.commands.finetune import run_seed
from ssl_bio.data.dataset import PreparedDataset, Rows
from ssl_bio.errors import SslBioError
from ssl_bio.results import sheet
from ssl_bio.runs.files import read_json
from ssl_bio.tasks.base import Task
from tests.command_line import TINY, refused, run, succeed
from tests.conftest import REPOSITORY

HOME = Path("checkpoints/tiny/tune")
SHEET = Path("results.csv")
SPACE = """
[tune]
trials = 4
startup_trials = 2
pruner_startup_trials = 2
[tune.space]
finetune.lr = { low = 1e-4, high = 3e-2, log = true }
finetune.dropout = [0.0, 0.5]
"""
#: A grid whose last value learns nothing, by a metric that shows it.
RATES = (
    *("--set", "tune.space.finetune.lr=[3e-3,1e-2,1e-9]", "--set", "tune.space.finetune.dropout=[0.0]"),
    *("--set", "tune.sampler=grid", "--set", "tune.metric=loss"),
)
FAST = TINY.replace('mode = "linear-probe"', 'mode = "scratch"').replace("epochs = 2", "epochs = 1")


@pytest.fixture(autouse=True)
def recipe() -> None:
    Path("tiny.toml").write_text(FAST + SPACE)


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ssl_bio.results.plots.can_draw", lambda: False)


def trials(home: Path = HOME) -> list[dict[str, str]]:
    """Return `trials.csv` without what depends on the clock and the machine."""
    with (home / "trials.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [{name: value for name, value in row.items() if name not in ("seconds", "host")} for row in rows]


def same_weights(one: Path, other: Path) -> bool:
    first, second = (load_file(path / "model.safetensors") for path in (one, other))
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_what_a_search_leaves() -> None:
    said = succeed("tune", "--recipe", "tiny.toml", "--trials", "7", "--set", "tune.pruner=none")
    assert re.search(r"\[7/7\] lr=\S+, dropout=0(\.5)?: Accuracy 0\.\d{4} \(best 0\.\d{4}, trial \d\)", said)
    assert "7 trials, the best Accuracy on val first" in said
    assert "importance of each key (fANOVA of 7 trials)" in said
    found = trials()
    assert [row["state"] for row in found] == ["complete"] * 7
    best = max(found, key=lambda row: (float(row["val_Accuracy"]), -int(row["trial"])))
    assert f"the winner is trial {best['trial']}" in said
    (row,) = sheet.read(SHEET)
    assert (row["grid"], row["split"], row["lr"]) == ("7", "test", best["finetune.lr"])
    assert row["checkpoint"] == str(HOME / "best")
    for number in range(7):
        stored = tomllib.loads((HOME / f"trial{number}/recipe.toml").read_text())
        assert (stored["finetune"]["fit_on"], stored["evaluate"]["split"]) == ("train", "val")
        assert stored["finetune"]["lr"] == float(found[number]["finetune.lr"])
        assert "tune" not in stored
        assert not (HOME / f"trial{number}/figures").exists()
        assert read_json(HOME / f"trial{number}/metrics.json")["split"] == "val"
    assert {path.name for path in (HOME / "figures").iterdir()} == {"history.png", "space.png"}
    text = (HOME / "best.toml").read_text()
    assert f"# from trial {best['trial']}" in text
    assert text.splitlines()[0].startswith(f"# Trial {best['trial']}, the best of 7 in study 'tiny'")
    succeed("finetune", "--recipe", str(HOME / "best.toml"), "--out", "again")
    assert same_weights(HOME / "best", Path("again"))
    assert read_json(Path("again/metrics.json"))["metrics"] == read_json(HOME / "best/metrics.json")["metrics"]
    assert f"evaluating {HOME / 'best'}" in _newest_evaluated()


def _newest_evaluated() -> str:
    """Evaluate the newest finetuned run below `checkpoints/`, which no trial is."""
    return succeed("evaluate")


@pytest.mark.usefixtures("no_figures")
class TestSearch:
    """What happens in trials."""

    def test_only_the_winner_asks_test(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[tuple[str, str]] = []
        real = Task.evaluate

        def evaluate(self: Any, model: Any, target: Any, **options: Any) -> Any:
            rows = options["rows"]
            test = set(self.split_rows(options["dataset"], "test").tolist())
            asked.append((options["split"], "test" if test & set(rows.tolist()) else "no test"))
            return real(self, model, target, **options)

        monkeypatch.setattr(Task, "evaluate", evaluate)
        succeed("tune", "--recipe", "tiny.toml", "--trials", "2")
        assert asked.count(("test", "test")) == 1
        assert asked[-1] == ("test", "test")
        assert set(asked[:-1]) == {("val", "no test")}

    def test_what_test_holds_changes_no_trial(self, monkeypatch: pytest.MonkeyPatch) -> None:
        succeed("tune", "--recipe", "tiny.toml", "--out", "one", "--trials", "2")
        real = Task.evaluated_rows

        def evaluated_rows(self: Any, dataset: PreparedDataset, split: str) -> Rows:
            rows: Rows = real(self, dataset, split)
            return rows[:3] if split == "test" else rows

        monkeypatch.setattr(Task, "evaluated_rows", evaluated_rows)
        succeed("tune", "--recipe", "tiny.toml", "--out", "other", "--trials", "2")
        assert trials(Path("one")) == trials(Path("other"))
        assert [row["n_test"] for row in sheet.read(SHEET)] == ["16", "3"]

    def test_watching_validation_changes_no_bit(self) -> None:
        last = ["--set", 'finetune.selected_on="last"', "--set", "finetune.epochs=2"]
        succeed("tune", "--recipe", "tiny.toml", *last, "--set", "finetune.fit_on=train+val", "--trials", "1")
        columns = (HOME / "trial0/history.csv").read_text().splitlines()[0]
        assert "val_Accuracy" in columns
        (values,) = trials()
        chosen = ["--lr", values["finetune.lr"], "--set", f"finetune.dropout={values['finetune.dropout']}"]
        succeed("finetune", "--recipe", "tiny.toml", *last, *chosen, "--out", "by-hand")
        assert "val_Accuracy" not in Path("by-hand/history.csv").read_text()
        assert same_weights(HOME / "trial0", Path("by-hand"))
        assert tomllib.loads((HOME / "best/recipe.toml").read_text())["finetune"]["fit_on"] == "train+val"

    def test_trials_are_pruned_by_their_epochs(self) -> None:
        said = succeed("tune", "--recipe", "tiny.toml", *RATES, "--set", "finetune.epochs=4")
        assert [row["state"] for row in trials()] == ["complete", "complete", "pruned"]
        assert trials()[2]["epochs"] == "2", "one of warm-up, and one that was worse"
        assert not (HOME / "trial2/metrics.json").exists()
        assert len((HOME / "trial2/history.csv").read_text().splitlines()) == 3
        assert "after 2 epochs, pruned" in said
        (row_of_sheet,) = sheet.read(SHEET)
        assert row_of_sheet["grid"] == "3"

    def test_a_diverged_trial_counts_as_pruned(self) -> None:
        space = ["--set", "tune.space.finetune.lr=[1e-3,1e30]", "--set", "tune.sampler=grid", "--trials", "3"]
        said = succeed("tune", "--recipe", "tiny.toml", *space)
        assert "no longer finite" in said
        states = {row["finetune.lr"]: row for row in trials()}
        assert states["1e+30"]["state"] == "diverged"
        assert "no longer finite" in states["1e+30"]["reason"]
        assert states["0.001"]["state"] == "complete"

    def test_when_all_fail_it_is_one_line(self) -> None:
        text = refused("tune", "--recipe", "tiny.toml", "--set", "tune.space.finetune.lr=[1e30]", "--trials", "2")
        assert "none of 2 trials has a score, the first with: " in text
        assert not SHEET.exists()
        assert len(trials()) == 2

    def test_a_failed_trial_does_not_stop_the_others(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real, calls = run_seed, 0

        def fail_once(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise SslBioError("no such thing")
            return real(*arguments)

        monkeypatch.setattr(commands_trials, "run_seed", fail_once)
        said = succeed("tune", "--recipe", "tiny.toml", "--trials", "2")
        assert "failed: no such thing" in said
        assert [row["state"] for row in trials()] == ["failed", "complete"]

    def test_a_cross_validation_is_one_trial(self) -> None:
        said = succeed("tune", "--recipe", "tiny.toml", "--folds", "2", "--trials", "2", "--seeds", "0,1")
        assert "pooled over 2 folds" in said
        for row in trials():
            folder = HOME / f"trial{row['trial']}"
            assert row["epochs"] == "2", "one of each part"
            pooled = read_json(folder / "metrics.json")
            assert (pooled["split"], pooled["folds"]) == ("val of 2 folds", 2)
            assert float(row["val_Accuracy"]) == pytest.approx(pooled["metrics"]["Accuracy"], rel=1e-5)
        assert [row["checkpoint"] for row in sheet.read(SHEET)] == [str(HOME / f"best-seed{seed}") for seed in (0, 1)]

    def test_from_a_pretraining_run_by_loss(self) -> None:
        succeed("pretrain", "--recipe", "tiny.toml", "--set", "pretrain.epochs=1")
        rates = "tune.space.finetune.backbone_lr={low=1e-5,high=1e-3,log=true}"
        options = ["--set", "finetune.mode=full", "--set", rates, "--set", "tune.metric=loss", "--trials", "2"]
        said = succeed("tune", "--recipe", "tiny.toml", *options)
        assert "every trial starts from checkpoints/tiny/pretrain" in said
        best = min(trials(), key=lambda row: float(row["val_loss"]))
        (row_of_sheet,) = sheet.read(SHEET)
        assert float(row_of_sheet["backbone_lr"]) == float(best["finetune.backbone_lr"])
        assert "--checkpoint checkpoints/tiny/pretrain" in (HOME / "best.toml").read_text()

    def test_a_solved_probe_is_scored_without_epochs(self) -> None:
        space = ["--set", "tune.space.finetune.lr=[1e-3]", "--set", "tune.space.finetune.dropout=[0.0]"]
        probe = ["--set", "finetune.mode=random-frozen"]
        Path("probe.toml").write_text(FAST + "[tune.space]\nfinetune.probe_c = { low = 0.01, high = 10, log = true }\n")
        succeed("tune", "--recipe", "probe.toml", *probe, "--trials", "2")
        assert {(row["state"], row["epochs"]) for row in trials()} == {("complete", "0")}
        assert "would change nothing" in refused("tune", "--recipe", "tiny.toml", *probe, *space, "--out", "x")


@pytest.mark.usefixtures("no_figures")
class TestGoingOn:
    """Resuming, joining, replacing."""

    def test_more_trials(self) -> None:
        succeed("tune", "--recipe", "tiny.toml", "--out", "whole", "--trials", "3")
        succeed("tune", "--recipe", "tiny.toml", "--trials", "2")
        before = trials()
        assert "--resume goes on with that search" in refused("tune", "--recipe", "tiny.toml", "--trials", "3")
        said = succeed("tune", "--recipe", "tiny.toml", "--trials", "3", "--resume")
        assert "2 trials ended before" in said
        assert trials()[:2] == before
        assert trials() == trials(Path("whole")), "as if it had never stopped"
        assert same_weights(HOME / "best", Path("whole/best"))

    def test_the_row_counts_all_trials_also_when_the_winner_stays(self) -> None:
        rates = [*RATES, "--set", "tune.space.finetune.lr=[1e-2,1e-9]"]
        succeed("tune", "--recipe", "tiny.toml", *rates, "--trials", "1")
        before = load_file(HOME / "best" / "model.safetensors")
        said = succeed("tune", "--recipe", "tiny.toml", *rates, "--trials", "2", "--resume")
        assert "has been asked before" not in said
        (row,) = sheet.read(SHEET)
        assert (row["lr"], row["grid"]) == ("0.01", "2")
        after = load_file(HOME / "best" / "model.safetensors")
        assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())

    def test_other_seeds_of_the_winner_are_left_to_finetune(self) -> None:
        succeed("tune", "--recipe", "tiny.toml", "--trials", "1", "--seeds", "0,1")
        said = succeed("tune", "--recipe", "tiny.toml", "--trials", "1", "--resume")
        assert "the winner was trained for --seeds 0,1: for others run ssl-bio finetune --recipe" in said
        assert len(sheet.read(SHEET)) == 2

    def test_another_winner_replaces_the_one_before_and_its_row(self) -> None:
        rates = [*RATES, "--set", "tune.space.finetune.lr=[1e-9,1e-2]"]
        succeed("tune", "--recipe", "tiny.toml", *rates, "--trials", "1")
        again = succeed("tune", "--recipe", "tiny.toml", *rates, "--trials", "1", "--resume")
        assert "is complete already" in again
        assert [row["lr"] for row in sheet.read(SHEET)] == ["1e-09"]
        said = succeed("tune", "--recipe", "tiny.toml", *rates, "--trials", "2", "--resume")
        assert "test has been asked before, by trial 0" in said
        assert [(row["lr"], row["grid"]) for row in sheet.read(SHEET)] == [("0.01", "2")]

    def test_a_killed_search_goes_on_bit_for_bit(self) -> None:
        slow = ["--set", "finetune.epochs=8", "--set", "tune.pruner=none", "--trials", "2"]
        succeed("tune", "--recipe", "tiny.toml", *slow, "--out", "whole")
        with _begun("tune", "--recipe", "tiny.toml", *slow, "--out", "broken") as process:
            _wait_for_rows(Path("broken/trial1/history.csv"), 2, process)
            process.kill()
        assert not Path("broken/best").exists()
        said = succeed("tune", "--recipe", "tiny.toml", *slow, "--out", "broken", "--resume")
        assert "trial 1 was left unfinished: it goes on" in said
        assert trials(Path("broken")) == trials(Path("whole"))
        for name in ("trial1", "best"):
            assert same_weights(Path("broken", name), Path("whole", name))

    def test_a_process_that_is_killed_leaves_its_trial_to_the_others(self) -> None:
        slow = ["--set", "finetune.epochs=40", "--set", "tune.pruner=none", "--trials", "2"]
        with _begun("tune", "--recipe", "tiny.toml", *slow) as process:
            _wait_for_rows(HOME / "trial0/history.csv", 1, process)

            def kill_once_we_are_at_work() -> None:
                _wait_for_rows(HOME / "trial1/history.csv", 1, process)
                process.kill()

            killing = threading.Thread(target=kill_once_we_are_at_work)
            killing.start()
            said = succeed("tune", "--recipe", "tiny.toml", *slow, "--resume")
            killing.join()
        assert "trial 0 was left unfinished: it goes on" in said
        assert [(row["state"], row["epochs"]) for row in trials()] == [("complete", "40")] * 2

    def test_workers_run_trials_side_by_side(self) -> None:
        said = succeed("tune", "--recipe", "tiny.toml", "--workers", "2", "--trials", "3")
        assert re.findall(r"\[(\d)/3\]", said) == ["1", "2", "3"]
        assert [row["state"] for row in trials()] == ["complete"] * 3

    def test_another_process_joins_a_storage(self) -> None:
        shared = ["--storage", "journal:shared/journal.log"]
        succeed("tune", "--recipe", "tiny.toml", *shared, "--trials", "2")
        said = succeed("tune", "--recipe", "tiny.toml", *shared, "--trials", "3", "--out", "elsewhere")
        assert "2 trials ended before" in said
        assert f"has been trained in {HOME.absolute()}" in said
        assert not Path("elsewhere/best").exists()
        assert len(trials(Path("elsewhere"))) == 3
        again = succeed("tune", "--recipe", "tiny.toml", *shared, "--trials", "3")
        assert "3 trials ended before" in again
        assert "leaves study 'tiny'" in refused("tune", "--recipe", "tiny.toml", *shared, "--overwrite")

    def test_another_search_is_refused_by_name(self) -> None:
        succeed("tune", "--recipe", "tiny.toml", "--trials", "1")
        for change, name in (
            ("finetune.epochs=2", "finetune.epochs is 1, now it is 2"),
            ("tune.space.finetune.lr.high=0.02", "tune.space.finetune.lr.high is 0.03, now it is 0.02"),
            ("tune.metric=AUROC", 'tune.metric is "Accuracy", now it is "AUROC"'),
            ("data.synthetic.n_subjects=11", "data.synthetic.n_subjects is 10, now it is 11"),
        ):
            assert name in refused("tune", "--recipe", "tiny.toml", "--resume", "--set", change)
        succeed("tune", "--recipe", "tiny.toml", "--trials", "1", "--overwrite", "--set", "tune.metric=AUROC")
        assert "val_AUROC" in (HOME / "trials.csv").read_text()
        assert len(sheet.read(SHEET)) == 1

    def test_only_folders_of_searches_are_replaced(self) -> None:
        mine = Path("mine")
        mine.mkdir()
        (mine / "thesis.tex").write_text("years of work")
        command = ["tune", "--recipe", "tiny.toml", "--out", "mine", "--trials", "1"]
        assert "thesis.tex" in refused(*command, "--overwrite")
        assert "thesis.tex" in refused(*command, "--resume")
        succeed("finetune", "--recipe", "tiny.toml", "--out", "run")
        assert "no folder of a search" in refused("tune", "--recipe", "tiny.toml", "--out", "run", "--overwrite")
        assert Path("run/model.safetensors").exists()
        assert (mine / "thesis.tex").read_text() == "years of work"


def _begun(*arguments: str) -> subprocess.Popen[str]:
    """Begin a command in a process of its own, that computes as this one does."""
    Path("main.py").write_text("from ssl_bio.cli import main\n\nif __name__ == '__main__':\n    main()\n")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "main.py", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _wait_for_rows(path: Path, n_rows: int, process: subprocess.Popen[str]) -> None:
    while not (path.exists() and len(path.read_text().splitlines()) > n_rows):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "tune.space.finetune.lrr=[1]"], "did you mean finetune.lr"),
        (["--set", "tune.space.finetune.lr.low=1"], "must be below high"),
        (["--set", "finetune.lr=1e-3"], "the command line also gives it one value"),
        (["--set", "tune.metric=AUROCK"], "no metric of task 'classification': choose loss, "),
        (["--set", "finetune.selected_on=test"], "leaves to its winner"),
        (["--set", 'tune.space.finetune.selected_on=["val","test"]'], "an epoch is chosen as the recipe says"),
        (["--set", 'tune.space.finetune.mode=["scratch","full"]'], "search them apart"),
        (["--set", "tune.metric=loss", "--set", "tune.space.finetune.mixup=[0.0,0.2]"], "changes what a loss means"),
        (["--set", "tune.sampler=grid"], "needs a list of values"),
        (["--set", "tune.space.finetune.backbone_lr=[1e-3]"], "finetune.backbone_lr would change nothing"),
        (["--set", "data.split_scheme=subjects"], "split_scheme"),
        (["--storage", "nonsense"], "--storage nonsense: no URL"),
        (["--storage", "postgresql://me:secret@nowhere.invalid/x"], "me:***@nowhere.invalid"),
        (["--seed", "0", "--seeds", "1"], "exclude each other"),
        (["--resume", "--overwrite"], "exclude each other"),
        (["--device", "tpu"], "choose auto, cpu or cuda"),
    ],
)
def test_searches_that_cannot_be_run_nothing(options: list[str], message: str) -> None:
    assert message in refused("tune", "--recipe", "tiny.toml", *options)
    assert not SHEET.exists()
    assert not HOME.exists()


def test_a_recipe_without_a_space_is_refused() -> None:
    Path("tiny.toml").write_text(FAST)
    assert "[tune.space] is empty" in refused("tune", "--recipe", "tiny.toml")


def test_an_architecture_that_the_checkpoint_fixed_is_refused() -> None:
    succeed("pretrain", "--recipe", "tiny.toml", "--set", "pretrain.epochs=1")
    options = ["--set", "finetune.mode=full", "--set", "tune.space.model.d_model=[8,16]"]
    assert "has fixed it" in refused("tune", "--recipe", "tiny.toml", *options)


def test_zero_workers_are_refused() -> None:
    assert run("tune", "--recipe", "tiny.toml", "--workers", "0").code == 2
