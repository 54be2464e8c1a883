"""Values, labels, cross-validation and crops through the real command line, on embedded data."""

import csv
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ssl_bio.results import sheet
from ssl_bio.runs.checkpoint import load_checkpoint
from ssl_bio.runs.files import read_json
from tests.command_line import TINY, only_run, refused, run, succeed

SHEET = Path("results.csv")
HEART_RATE = ("--set", "finetune.task=regression", "--set", "data.target=heart_rate")


@pytest.fixture(autouse=True)
def tiny() -> str:
    Path("tiny.toml").write_text(TINY.replace("epochs = 3", "epochs = 1"))
    return "tiny.toml"


@pytest.fixture
def pretrained(tiny: str) -> str:
    return succeed("pretrain", "--recipe", tiny)


def predictions(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "predictions.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.mark.parametrize("options", [["--mode", "full", "--loss", "l1"], ["--mode", "linear-probe"]])
def test_heart_rate(pretrained: str, options: list[str]) -> None:
    said = succeed("finetune", *options, "--set", "finetune.task=regression", "--set", "data.target=heart_rate")
    for part in (
        "windows without a known heart_rate are left out",
        "MAE",
        "always the median",
        "baselines and references",
    ):
        assert part in said
    (row,) = sheet.read(SHEET)
    assert row["task_name"] == "synthetic_heart_rate"
    assert row["Accuracy"] == row["AUROC"] == ""
    found = predictions(only_run(f"tiny/finetune-{options[1]}-*"))
    assert np.abs(found["value"] - found["target"]).mean() == pytest.approx(float(row["MAE"]), abs=1e-3)
    assert float(row["MAE_constant"]) > 0
    assert row["loss"] == ("l1" if "l1" in options else "mse")
    assert "always the mean" in succeed("evaluate")


def test_two_values_are_two_rows(pretrained: str) -> None:
    target = [
        "--set",
        "finetune.task=regression",
        "--set",
        "data.target=heart_rate+respiration_rate",
        "--set",
        "task_name=rates",
    ]
    succeed("finetune", "--mode", "full", "--loss", "bins", *target)
    assert [row["task_name"] for row in sheet.read(SHEET)] == ["rates_heart_rate", "rates_respiration_rate"]
    said = succeed("evaluate")
    assert "value by value" in said
    assert "respiration_rate (breaths/min)" in said
    first, second = (float(row["MAE"]) for row in sheet.read(SHEET)[-2:])
    whole = read_json(only_run("tiny/finetune-full-*") / "metrics.json")["metrics"]["MAE"]
    assert whole == pytest.approx((first + second) / 2, abs=1e-3)


@pytest.mark.parametrize("probe", ["logistic", "gradient"])
def test_labels(pretrained: str, probe: str) -> None:
    succeed(
        "finetune",
        "--set",
        "finetune.task=multilabel",
        "--set",
        "data.target=findings",
        "--set",
        f"finetune.probe={probe}",
    )
    (row,) = sheet.read(SHEET)
    assert row["BalancedAccuracy"] == row["CohenKappa"] == row["MAE"] == ""
    found = predictions(only_run("tiny/finetune-linear-probe-*"))
    assert ((found["probability"] >= 0.5) == found["target"]).mean() == pytest.approx(float(row["Accuracy"]), abs=1e-4)
    said = succeed("evaluate")
    assert "label by label" in said
    assert "fast breath" in said


def test_the_labs_own_sheet_receives_our_rows(pretrained: str) -> None:
    lab = "model_name,task_name,AUC_PR,AUROC,Accuracy,BalancedAccuracy,CohenKappa,F1_weighted,MAE,R2,RMSE"
    SHEET.write_text(f"{lab}\nencoder,bidmc_hr,,,,,,,1.8753,0.9628,2.5090\n")
    succeed("finetune", "--set", "finetune.task=regression", "--set", "data.target=heart_rate")
    table = pd.read_csv(SHEET)
    assert list(table.columns[:11]) == lab.split(",")
    assert table["MAE"].iloc[0] == 1.8753
    assert table["MAE"].notna().tolist() == [True, True]


def test_cross_validation_tests_everybody_once(tiny: str) -> None:
    succeed("pretrain", "--recipe", tiny, "--folds", "3")
    home = Path("checkpoints/tiny/finetune-linear-probe-task=regression,target=heart_rate-folds3-seed0")
    command = ["finetune", "--folds", "3", "--set", "finetune.task=regression", "--set", "data.target=heart_rate"]
    said = succeed(*command)
    assert "may have seen" not in said, "each part starts from the pretraining of its own part"
    assert "test of 3 folds" in said
    (row,) = sheet.read(SHEET)
    assert (row["split"], row["split_scheme"], row["n_test"]) == ("test of 3 folds", "subject, 3 folds", "60")
    parts = [predictions(home / f"fold{fold}") for fold in range(3)]
    rows = np.concatenate([part["row"] for part in parts])
    assert len(set(rows.tolist())) == 60
    errors = np.concatenate([np.abs(part["value"] - part["target"]) for part in parts])
    assert errors.mean() == pytest.approx(float(row["MAE"]), abs=1e-3)
    for fold in range(3):
        start = load_checkpoint(home / f"fold{fold}").metadata.origin
        assert start == f"checkpoints/tiny/pretrain-folds3-seed0/fold{fold}"
    assert "not empty" in refused(*command)
    succeed(*command, "--resume")
    assert len(sheet.read(SHEET)) == 1, "a complete cross-validation adds no second row"
    succeed(*command, "--overwrite")
    (row_again,) = sheet.read(SHEET)
    assert row_again["MAE"] == row["MAE"]
    (home / "fold2" / "model.safetensors").unlink()
    assert "its cross-validation is not complete: finetune again with --resume" in refused(
        "evaluate", "--checkpoint", str(home)
    )
    succeed(*command, "--resume")
    (again,) = sheet.read(SHEET)
    assert (again["MAE"], again["n_test"]) == (row["MAE"], "60")
    assert "evaluating" in succeed("evaluate")


def test_one_part_alone_and_a_pretraining_that_saw_its_people(pretrained: str) -> None:
    said = succeed("finetune", "--folds", "3", "--set", "data.fold=1")
    assert "it may have seen signals (no labels) of the test people" in said
    assert (
        load_checkpoint(Path("checkpoints/tiny/finetune-linear-probe-folds3-seed0-fold1")).metadata.recipe["data"][
            "fold"
        ]
        == 1
    )
    assert "not from 0 to 2" in refused("finetune", "--folds", "3", "--set", "data.fold=3")
    assert "do not make 10 parts" in refused("finetune", "--folds", "10")


def test_crops_in_training_and_their_mean_in_evaluation(tiny: str) -> None:
    crop = ["--set", "model.window=4", "--set", "finetune.augment=['stretch:0.5', 'jitter']"]
    said = succeed(
        "finetune",
        "--recipe",
        tiny,
        "--mode",
        "scratch",
        "--set",
        "finetune.task=regression",
        "--set",
        "data.target=heart_rate",
        *crop,
    )
    assert "the network sees 200 of 500 samples at once" in said
    row = sheet.read(SHEET)[0]
    succeed("evaluate")
    assert sheet.read(SHEET)[0]["MAE"] == row["MAE"]


def test_a_backbone_of_short_windows_goes_on_to_long_ones(tiny: str) -> None:
    succeed("pretrain", "--recipe", tiny, "--set", "model.window=4")
    assert load_checkpoint(only_run("tiny/pretrain-*")).metadata.window == 200
    said = succeed("finetune", "--mode", "full", "--set", "finetune.layer_decay=0.5")
    assert "the network sees 200 of 500 samples at once" in said
    with (only_run("tiny/finetune-full-*") / "history.csv").open(newline="") as file:
        rates = next(csv.DictReader(file))
    assert float(rates["lr_backbone_0"]) == pytest.approx(2 * float(rates["lr_backbone_1"]))


def test_stages_join_one_after_the_other(pretrained: str) -> None:
    succeed("finetune", "--mode", "full", "--set", "finetune.unfreeze_epochs=1", "--set", "finetune.epochs=3")
    with (only_run("tiny/finetune-full-*") / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["lr_backbone_0"]) > 0 for row in rows] == [False, True, True]
    assert [float(row["lr_backbone_1"]) > 0 for row in rows] == [False, False, True]
    assert not any(float(row["lr_backbone_2"]) for row in rows)
    theirs = load_checkpoint(Path("checkpoints/tiny/pretrain-seed0")).tensors
    mine = load_checkpoint(only_run("tiny/finetune-full-*")).tensors
    assert (mine["backbone.stem.project.weight"] == theirs["backbone.stem.project.weight"]).all()
    assert (mine["backbone.encoder.blocks.1.up.weight"] != theirs["backbone.encoder.blocks.1.up.weight"]).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--mode", "full", "--loss", "mse"], "finetune.loss must be 'cross-entropy'"),
        (["--mode", "full", "--set", "finetune.monitor=MAE"], "is no metric of task 'classification'"),
        (["--mode", "full", *HEART_RATE, "--set", "finetune.monitor=Accuracy"], "choose loss, MAE, R2, RMSE"),
        (["--set", "finetune.pooling=['attention']"], "has weights to learn"),
        (["--set", "finetune.head=mlp"], "cannot be solved for"),
        ([*HEART_RATE, "--loss", "bins"], "cannot be solved for"),
        (
            ["--set", "evaluate.tta_rates=[0.9, 1.1]"],
            "unknown key evaluate.tta_rates (a key of finetune.task regression, not of classification)",
        ),
        (["--set", "finetune.augment=['tempo']"], "finetune.augment"),
        (["--mode", "full", "--set", "finetune.class_balance=1", *HEART_RATE], "set finetune.balance_by"),
        (["--mode", "full", "--set", "finetune.dense=true", *HEART_RATE], "leave out layers, pool_segments and mixup"),
        (
            ["--set", "finetune.augment=['stretch']", "--set", "finetune.dense=true"],
            "a key of finetune.task regression",
        ),
    ],
)
def test_what_does_not_go_together(pretrained: str, options: list[str], message: str) -> None:
    assert message in refused("finetune", *options)
    assert not SHEET.exists()
    assert not list(Path("checkpoints/tiny").glob("finetune*"))


def test_an_interrupted_cross_validation_goes_on(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from ssl_bio.tasks.classification import Classification

    evaluate, calls = Classification.evaluate, 0

    def pull_the_plug(*arguments: object, **named: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return evaluate(*arguments, **named)  # type: ignore[arg-type]  # passed through

    command = ["finetune", "--recipe", tiny, "--mode", "scratch", "--folds", "3", "--out", "run"]
    with monkeypatch.context() as patched:
        patched.setattr(Classification, "evaluate", pull_the_plug)
        assert run(*command).code == 130
    assert not SHEET.exists()
    succeed(*command, "--resume")
    succeed(*[*command[:-1], "whole"])
    first, second = sheet.read(SHEET)
    assert first["Accuracy"] == second["Accuracy"]


def test_an_interrupted_conversion_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ssl_bio.data.ingest.append_log import RecordingAppender
    from ssl_bio.data.recording import Recording
    from tests.data.readers.test_cinc2017 import write_cinc

    source = write_cinc(tmp_path / "training2017")
    command = ["data", "prepare", "cinc2017", "--from", str(source)]
    add, calls = RecordingAppender.add, 0

    def pull_the_plug(self: RecordingAppender, record: str, recordings: list[Recording]) -> None:
        nonlocal calls
        calls += 1
        if calls == 25:
            raise KeyboardInterrupt
        add(self, record, recordings)

    with monkeypatch.context() as patched:
        patched.setattr(RecordingAppender, "add", pull_the_plug)
        done = run(*command)
    assert done.code == 130
    assert "the same command goes on where it stopped" in done.err
    said = succeed(*command)
    assert "going on after 24 of 40 records" in said
    assert "40 windows" in said
    (source / "A00003.mat").write_bytes(b"broken")
    assert "record A00003: cannot be read" in refused(*command, "--max-skipped", "0")
    said = succeed(*command)
    assert "1 of 40 records skipped: A00003" in said.replace("training2017/", "")
    assert "1 of 40 records could not be read" in succeed("data", "check", "cinc2017")


def test_a_resumed_cross_validation_keeps_its_recipe(tiny: str) -> None:
    command = ["finetune", "--recipe", tiny, "--mode", "scratch", "--folds", "3", "--out", "run"]
    succeed(*command)
    for name in ("metrics.json", "fold2/metrics.json", "fold2/model.safetensors"):
        (Path("run") / name).unlink()
    said = succeed(*command, "--resume", "--lr", "0.5")
    assert "--resume keeps finetune.lr = 0.001, not 0.5" in said
    assert {row["lr"] for row in sheet.read(SHEET)} == {"0.001"}
    Path("run/metrics.json").unlink()
    assert "a cross-validation of 3 parts, not 4" in refused(*[part.replace("3", "4") for part in command], "--resume")


def test_overwrite_deletes_nothing_for_a_command_that_cannot_be(tiny: str) -> None:
    command = ["finetune", "--recipe", tiny, "--mode", "scratch", "--folds", "3", "--out", "run", "--overwrite"]
    succeed(*command)
    assert "finetune.loss must be" in refused(*command, "--loss", "mse")
    assert Path("run/fold2/model.safetensors").is_file()


def test_seed_stands_in_the_checkpoints_path(tiny: str) -> None:
    succeed("pretrain", "--recipe", tiny, "--seed", "3", "--out", "pre-3")
    succeed("finetune", "--seed", "3", "--checkpoint", "pre-{seed}")
    assert sheet.read(SHEET)[0]["seed"] == "3"


def test_runs_of_another_target_stand_in_no_common_table(pretrained: str) -> None:
    succeed("finetune", "--mode", "full")
    succeed("finetune", "--set", "finetune.task=regression", "--set", "data.target=heart_rate")


def test_a_figure_that_validation_never_has(tiny: str) -> None:
    from ssl_bio.tasks import windows

    def without(*arguments: object) -> dict[str, float]:
        return {"Accuracy": 0.5}

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(windows, "compute", without)
        options = ["--mode", "scratch", "--set", "finetune.monitor=AUROC"]
        assert "no epoch has a val_AUROC" in refused("finetune", "--recipe", tiny, *options)


def test_more_parts_than_tokens(pretrained: str) -> None:
    assert "the backbone gives 20 tokens to a window: fewer segments" in refused(
        "finetune", "--set", "finetune.pool_segments=21"
    )


def test_other_data_with_another_meaning_of_the_target_is_refused(pretrained: str) -> None:
    succeed("finetune", "--set", "finetune.task=regression", "--set", "data.target=heart_rate")
    succeed("evaluate", "--data", "synthetic")
    (folder,) = Path(os.environ["SSL_BIO_DATA"]).glob("synthetic-*")
    facts = folder / "recordings.json"
    facts.write_text(facts.read_text().replace("beats/min", "Hz"))
    said = refused("evaluate", "--data", str(folder))
    assert "its 'heart_rate' is in Hz, and this run predicts beats/min" in said
