"""Evaluation on other data: whose people and windows were seen, which channels and units fit, and all parts pooled."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from ssl_bio.commands import evaluate
from ssl_bio.results import sheet
from tests.command_line import TINY, refused, succeed
from tests.runs.checkpoints import finished_run, metadata

SHEET = Path("results.csv")
RECIPE = """
name = "walks"
[data]
dataset = "arrays"
target = "kind"
channels = ["x", "y"]
window = 2.0
[model]
kind = "convnet"
d_model = 16
wave_length = 4
[finetune]
mode = "scratch"
epochs = 2
batch_size = 8
lr = 1e-2
selected_on = "last"
"""


def write_walks(folder: Path, people: list[str], *, names: str = "x,y", seed: int = 0) -> Path:
    """Write two-channel recordings of two kinds, 10 s at 20 Hz each, and their table."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    time = np.arange(200) / 20
    lines = ["file,subject,sampling_rate,kind"]
    for person in people:
        for kind, rate in (("slow", 1.0), ("fast", 3.0)):
            both = np.stack([np.sin(2 * np.pi * rate * time), rng.normal(size=200)], axis=1)
            name = f"{person}-{kind}.csv"
            text = "\n".join(",".join(f"{value:.4f}" for value in row) for row in both)
            (folder / name).write_text(f"{names}\n{text}\n")
            lines.append(f"{name},{person},20,{kind}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    Path("walks.toml").write_text(RECIPE)
    people = [f"p{number}" for number in range(10)]
    own = write_walks(tmp_path / "own", people)
    succeed("data", "prepare", "arrays", "--from", str(own), "--recipe", "walks.toml")
    succeed("finetune", "--recipe", "walks.toml")
    return own


def test_all_windows_then_those_of_people_who_were_not_seen(trained: Path, tmp_path: Path) -> None:
    people = [f"p{number}" for number in range(10)]  # of whom one, the test person, was not learnt from
    other = write_walks(tmp_path / "other", [*people, "q1", "q2"], seed=1)
    said = succeed("evaluate", "--data", str(other))
    assert "seen in training or validation: 9 of 12 people, 0 identical windows" in said
    whole, unseen = sheet.read(SHEET)[1:]
    assert (whole["split"], whole["n_test"]) == ("all", "120")
    assert (unseen["split"], unseen["n_test"]) == ("all, unseen", "30")


def test_the_very_same_windows_are_no_external_validation(trained: Path) -> None:
    said = succeed("evaluate", "--data", str(trained))
    assert "identical windows" in said
    whole, unseen = sheet.read(SHEET)[1:]
    assert int(unseen["n_test"]) < int(whole["n_test"])


def test_what_pretraining_has_seen_counts_too(trained: Path) -> None:
    Path("walks.toml").write_text(RECIPE.replace("convnet", "timemae") + '[pretrain]\npretext = "contrast"\nepochs = 1')
    part = ["--recipe", "walks.toml", "--folds", "3", "--set", "data.fold=1"]
    succeed("pretrain", "--recipe", "walks.toml")
    succeed("finetune", *part)
    assert "seen in training or validation: 7 of 10 people" in succeed("evaluate", "--data", str(trained))
    succeed("finetune", *part, "--mode", "full", "--lr", "1e-3")
    assert "seen in training or validation: 10 of 10 people" in succeed("evaluate", "--data", str(trained))


def test_one_split_of_other_data(trained: Path, tmp_path: Path) -> None:
    other = write_walks(tmp_path / "other", ["q0", "q1", "q2", "q3"], seed=1)
    succeed("evaluate", "--data", str(other), "--split", "test")
    row = sheet.read(SHEET)[1]
    assert (row["split"], row["n_test"]) == ("test", "10")


def test_channels_are_put_in_order_and_missing_ones_named(trained: Path, tmp_path: Path) -> None:
    people = ["q0", "q1", "q2"]
    straight = write_walks(tmp_path / "straight", people, seed=2)
    swapped = tmp_path / "swapped"
    swapped.mkdir()
    for path in straight.iterdir():
        lines = path.read_text().splitlines()
        if path.name != "table.csv":
            lines = [",".join(reversed(line.split(","))) for line in lines]
        (swapped / path.name).write_text("\n".join(lines) + "\n")
    succeed("evaluate", "--data", str(straight))
    succeed("evaluate", "--data", str(swapped))
    first, second = sheet.read(SHEET)[1:]
    assert (first["AUROC"], first["F1_macro"]) == (second["AUROC"], second["F1_macro"])
    other = write_walks(tmp_path / "other", people, names="x,z")
    assert "no channel y, which the run takes; it has x, z" in refused("evaluate", "--data", str(other))


def test_another_unit_is_refused(trained: Path, tmp_path: Path) -> None:
    other = write_walks(tmp_path / "other", ["q0", "q1", "q2"], seed=1)
    succeed("evaluate", "--data", str(other))
    (folder,) = Path(os.environ["SSL_BIO_DATA"]).glob("arrays*external*")
    (described,) = folder.glob("windows/*/windows.json")
    facts = json.loads(described.read_text())
    described.write_text(json.dumps({**facts, "unit": "deviations of the record"}))
    said = refused("evaluate", "--data", str(folder))
    assert "its signals are in 'deviations of the record', the run's in 'as recorded'" in said


def test_after_a_cross_validation_all_parts_are_evaluated_and_pooled() -> None:
    Path("tiny.toml").write_text(TINY.replace("epochs = 3", "epochs = 1"))
    succeed("finetune", "--recipe", "tiny.toml", "--mode", "scratch", "--folds", "3")
    (before,) = sheet.read(SHEET)
    said = succeed("evaluate")
    assert "evaluating checkpoints/tiny/finetune-scratch-folds3-seed0" in said
    (after,) = sheet.read(SHEET)
    assert after["split"] == "test of 3 folds"
    assert (after["Accuracy"], after["n_test"]) == (before["Accuracy"], before["n_test"])
    other = refused("evaluate", "--data", "synthetic")
    assert "holds 3 networks: give --checkpoint one of its parts" in other


def test_what_finetuning_checks_evaluation_checks() -> None:
    Path("tiny.toml").write_text(TINY.replace("epochs = 3", "epochs = 1"))
    succeed("finetune", "--recipe", "tiny.toml", "--mode", "scratch")
    said = refused("evaluate", "--set", "evaluate.tta_rates=[0.9, 1.1]")
    assert "unknown key evaluate.tta_rates" in said
    assert "evaluate does not train" in refused("evaluate", "--set", "finetune.lr=0.1")


def test_what_a_run_learnt_from_includes_the_tokenizer_of_its_pretraining() -> None:
    tokenizer = finished_run(Path("codes"), recipe={"name": "codes"})
    pretrain = {"pretext": "joint_tokens", "tokenizer": str(tokenizer.path)}
    start = finished_run(Path("start"), recipe={"name": "start", "pretrain": pretrain})
    run = metadata(kind="finetune", recipe={"name": "run"}, origin=str(start.path))
    assert [values["name"] for values in evaluate._learnt_from(run)] == ["run", "start", "codes"]


@pytest.mark.usefixtures("trained")
def test_figures_come_back_with_the_evaluation_that_they_are_of() -> None:
    single, whole = (Path(f"checkpoints/walks/finetune-scratch{parts}-seed0") for parts in ("", "-folds2"))
    succeed("finetune", "--recipe", "walks.toml", "--folds", "2")
    for run in (single, whole):
        names = {path.name for path in (run / "figures").iterdir()}
        assert "confusion.png" in names
        shutil.rmtree(run / "figures")
        succeed("evaluate", "--checkpoint", str(run), "--split", "val")
        assert not (run / "figures").exists()
        succeed("evaluate", "--checkpoint", str(run))
        assert {path.name for path in (run / "figures").iterdir()} == names
