"""Run folders read without their weights."""

import json
from pathlib import Path

import numpy as np
import pytest

from ssl_bio.errors import CheckpointError
from ssl_bio.runs.finished import finished_runs, read_predictions, read_run
from ssl_bio.runs.folder import CONSTANTS, DATA_FILE, HISTORY_FILE, METRICS_FILE, RECIPE_FILE, RunFolder
from tests.runs.checkpoints import finished_run, metadata

ROOT = Path("checkpoints")


def predictions(run: RunFolder, n: int = 3, **others: object) -> None:
    arrays = {"row": np.arange(n), "probability": np.full((n, 2), n), "classes": np.array(["a", "b"])}
    run.write_arrays("predictions.npz", {**arrays, **others})  # type: ignore[dict-item]


def cross_validation(path: Path) -> RunFolder:
    run = RunFolder(path)
    with run.owned(kind="finetune", resume=False, overwrite=False):
        run.write_text(RECIPE_FILE, "")
        for part in range(2):
            finished_run(path / f"fold{part}", kind="finetune")
        run.finish_folds(metadata(kind="finetune", folds=2))
    return run


def test_runs_in_order_with_their_parts_inside() -> None:
    finished_run(ROOT / "b/finetune-full-seed0", kind="finetune", metrics={"Accuracy": 0.5})
    finished_run(ROOT / "a/pretrain-folds2-seed0/fold1")  # a part of pretraining is a run of its own
    cross_validation(ROOT / "a/finetune-folds2-seed0")
    found = finished_runs(ROOT)
    assert [run.path.relative_to(ROOT).as_posix() for run in found.runs] == [
        "a/finetune-folds2-seed0",
        "a/pretrain-folds2-seed0/fold1",
        "b/finetune-full-seed0",
    ]
    assert [len(run.folds) for run in found.runs] == [2, 0, 0]
    assert found.runs[2].metadata.metrics == {"Accuracy": 0.5}
    assert found.runs[2].run_id == RunFolder(ROOT / "b/finetune-full-seed0").run_id
    assert found.problems == []


def test_trials_of_a_search_are_left_out_and_its_winner_is_not() -> None:
    for name in ("trial0", "trial10/fold0", "best-seed0"):
        finished_run(ROOT / "x/tune" / name, kind="finetune")
    RunFolder(ROOT / "x/tune/trial10").write_text(RECIPE_FILE, "")
    RunFolder(ROOT / "x/tune").write_json("study.json", {})
    assert [run.path.name for run in finished_runs(ROOT).runs] == ["best-seed0"]


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        (METRICS_FILE, "{", "checkpoint format None"),
        (METRICS_FILE, json.dumps({"format_version": 2, "kind": "pretrain"}), "metrics.json: broken"),
        (RECIPE_FILE, "x = [", "recipe.toml: broken"),
        (HISTORY_FILE, "epoch,loss\n1,high\n", "history.csv: broken"),
        (DATA_FILE, "[]", "data.json: broken"),
    ],
)
def test_a_broken_run_is_named_in_one_line_and_the_others_are_read(name: str, text: str, why: str) -> None:
    broken, _ = finished_run(ROOT / "broken"), finished_run(ROOT / "whole")
    broken.write_text(name, text)
    found = finished_runs(ROOT)
    assert [run.path.name for run in found.runs] == ["whole"]
    (problem,) = found.problems
    assert problem.startswith("broken: ")
    assert why in problem
    assert "\n" not in problem


def test_a_run_that_has_not_ended_is_named() -> None:
    run = RunFolder(ROOT / "half")
    run.path.mkdir(parents=True)
    run.write_text(RECIPE_FILE, "")
    assert finished_runs(ROOT).problems == ["half: has not ended"]


def test_predictions_by_window_and_constants() -> None:
    run = finished_run(ROOT / "one", kind="finetune")
    assert read_predictions(read_run(run.path)) is None
    predictions(run)
    found = read_predictions(read_run(run.path))
    assert found
    assert set(found.arrays) == {"row", "probability"}
    assert set(found.constants) == {"classes"}
    predictions(run, n=2, **{CONSTANTS: np.array(["classes"])})  # as many windows as classes
    found = read_predictions(read_run(run.path))
    assert found
    assert set(found.constants) == {"classes"}


def test_predictions_of_a_cross_validation_are_those_of_all_parts() -> None:
    run = cross_validation(ROOT / "folds")
    predictions(RunFolder(run.path / "fold0"), n=3)
    assert read_predictions(read_run(run.path)) is None
    predictions(RunFolder(run.path / "fold1"), n=4)
    found = read_predictions(read_run(run.path))
    assert found
    assert found.arrays["probability"].shape == (7, 2)
    predictions(run, n=5)  # written together
    found = read_predictions(read_run(run.path))
    assert found
    assert len(found.arrays["row"]) == 5


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04"])
def test_broken_predictions_are_one_error(content: bytes) -> None:
    run = finished_run(ROOT / "one", kind="finetune")
    (run.path / "predictions.npz").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"predictions\.npz: cannot be read"):
        read_predictions(read_run(run.path))


def test_pickles_are_not_read() -> None:
    run = finished_run(ROOT / "one", kind="finetune")
    np.savez(run.path / "predictions.npz", row=np.array([{}], dtype=object))
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_predictions(read_run(run.path))
