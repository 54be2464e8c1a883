"""Grids: every combination once, failures that stop nobody, resumption, and a table that says what it chose by."""

from pathlib import Path

import pytest

from ssl_bio.commands import grid
from ssl_bio.commands.finetune import finetune
from ssl_bio.commands.plan import RunOptions, choice_name
from ssl_bio.errors import RecipeError
from ssl_bio.results import sheet
from tests.command_line import TINY, refused, run, succeed

SHEET = Path("results.csv")
GRID = Path("checkpoints/tiny/grid")


@pytest.fixture(autouse=True)
def tiny() -> None:
    Path("tiny.toml").write_text(TINY.replace("epochs = 3", "epochs = 1").replace("epochs = 2", "epochs = 1"))


def test_every_choice_once_the_last_axis_first() -> None:
    found = grid.combinations(
        ["model.kind=timemae,vqvae", "finetune.lr=3e-3,1e-3", "finetune.pooling=['mean'],['max']"]
    )
    assert len(found) == 8
    assert found[0] == {"model.kind": "timemae", "finetune.lr": 3e-3, "finetune.pooling": ["mean"]}
    assert found[1] == {**found[0], "finetune.pooling": ["max"]}
    assert [choice_name(one) for one in found[:3]] == [
        "kind=timemae,lr=0.003,pooling=mean",
        "kind=timemae,lr=0.003,pooling=max",
        "kind=timemae,lr=0.001,pooling=mean",
    ]
    assert choice_name({"pretrain.lr": 0.1, "finetune.lr": 0.2}) == "pretrain.lr=0.1,finetune.lr=0.2"


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (["finetune.lrr=1,2"], "did you mean finetune.lr"),
        (["finetune.lr"], "write section.key=value,value"),
        (["finetune.lr="], "write section.key=value,value"),
        (["finetune.lr=0.1,0.1"], "each value once"),
        (["finetune.lr=1,2", "finetune.lr=3"], "each key"),
        (["data.target=rhythm,heart_rate"], "asks another question"),
        (["model_name=a b,a-b"], "would share a folder"),
    ],
)
def test_axes_that_cannot_be(axes: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        grid.combinations(axes)


def test_shares_of_the_labels_end_in_a_picture() -> None:
    shares = ("--grid", "finetune.label_fraction=0.5,1.0", "--seeds", "0,1")
    said = succeed("finetune", "--recipe", "tiny.toml", "--mode", "scratch", *shares)
    assert f"figures in {GRID / 'figures'}" in said
    assert (GRID / "figures/labels.png").read_bytes().startswith(b"\x89PNG")
    assert "2 leaderboards" not in succeed("report")
    assert "Accuracy against the share of the labels" in Path("report.html").read_text(encoding="utf-8")


def test_a_grid_of_other_values_has_no_such_picture() -> None:
    succeed("finetune", "--recipe", "tiny.toml", "--mode", "scratch", "--grid", "finetune.lr=1e-3,1e-2")
    assert not (GRID / "figures").exists()


def test_a_grid_ends_in_one_table_and_a_row_each() -> None:
    axes = ["--grid", "finetune.lr=1e-3,1e-2", "--grid", "finetune.dropout=0.0,0.5"]
    said = succeed("finetune", "--recipe", "tiny.toml", "--mode", "scratch", *axes, "--by", "AUROC")
    assert "[3/4] finetune.lr=0.01, finetune.dropout=0" in said
    ended = said[said.index("4 combinations, the best AUROC on test first") :]
    assert "chosen on test" in ended
    rows = sheet.read(SHEET)
    assert len(rows) == 4
    assert {(row["lr"], row["grid"]) for row in rows} == {("0.001", "4"), ("0.01", "4")}
    best = max(rows, key=lambda row: float(row["AUROC"]))
    shown = [line for line in ended.splitlines() if "dropout=" in line]
    assert len(shown) == 4
    assert Path(best["checkpoint"]).name in shown[0].split()
    assert sorted(path.name for path in GRID.iterdir()) == [
        "lr=0.001,dropout=0",
        "lr=0.001,dropout=0.5",
        "lr=0.01,dropout=0",
        "lr=0.01,dropout=0.5",
    ]


def test_a_failure_stops_nobody_and_resume_runs_what_is_missing() -> None:
    command = [
        "finetune",
        "--recipe",
        "tiny.toml",
        "--mode",
        "scratch",
        "--seeds",
        "0,1",
        "--set",
        "evaluate.split=val",
    ]
    axes = ["--grid", "finetune.lr=1e30,1e-3"]
    result = run(*command, *axes)
    assert result.code == 2
    assert "1 of 2 combinations failed" in result.err
    assert "Traceback" not in result.err + result.out
    assert [row["lr"] for row in sheet.read(SHEET)] == ["0.001", "0.001"]
    assert "lr=1e+30-seed0 failed" in result.out
    assert "±" in result.out
    assert "chosen on test" not in result.out
    assert "--resume" in refused(*command, *axes)
    again = succeed(*command, "--grid", "finetune.lr=1e-3", "--resume")
    assert "complete already" in again
    assert len(sheet.read(SHEET)) == 2
    succeed(*command, "--grid", "finetune.lr=2e-3")
    assert [row["grid"] for row in sheet.read(SHEET)] == ["2", "2", "3", "3"], "with what stands there from before"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--by", "AUROC"], "there is none"),
        (["--grid", "finetune.lr=1e-3", "--by", "auroc"], "no metric"),
        (["--grid", "finetune.lr=1e-3,sideways"], "finetune.lr"),
        (["--grid", "finetune.mode=scratch,random-frozen"], "leave one of the two out"),
        (["--grid", "seed=1,2", "--seeds", "0"], "leave one of the two out"),
    ],
)
def test_grids_that_cannot_be_run_nothing(options: list[str], message: str) -> None:
    assert message in refused("finetune", "--recipe", "tiny.toml", "--mode", "scratch", *options)
    assert not SHEET.exists()
    assert not Path("checkpoints").exists()


def test_a_bug_in_one_combination_leaves_its_traceback_and_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def fail_once(options: RunOptions, checkpoint: str | None, seeds: list[int] | None) -> object:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ZeroDivisionError("a bug of ours")
        return finetune(options, checkpoint, seeds)

    monkeypatch.setattr(grid, "finetune", fail_once)
    done = run("finetune", "--recipe", "tiny.toml", "--mode", "scratch", "--grid", "finetune.lr=1e-3,1e-2")
    assert done.code == 2
    assert "Traceback" in done.err
    assert "fail_once" in done.err
    assert "ZeroDivisionError: a bug of ours" in done.err
    assert len(sheet.read(SHEET)) == 1
