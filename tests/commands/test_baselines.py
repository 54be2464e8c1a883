"""Baselines are rows and runs like any other."""

import json
from pathlib import Path

import numpy as np
import pytest

from ssl_bio.config.load import load_recipe
from ssl_bio.config.resolve import resolve
from ssl_bio.results import sheet
from ssl_bio.runs.folder import RunFolder
from ssl_bio.tasks.datasets import open_recipe_dataset
from tests.command_line import TINY, refused, succeed
from tests.commands.test_comparison import table

SHEET = Path("results.csv")
HOME = Path("checkpoints/tiny")
ALL = ["constant", "hand-features", "minirocket"]


@pytest.fixture(autouse=True)
def _recipe() -> None:
    Path("tiny.toml").write_text(TINY)


def baselines(*options: str) -> str:
    """Ask baselines what the small recipe asks."""
    return succeed("baselines", "--recipe", "tiny.toml", *options)


def test_each_has_a_row_and_a_folder() -> None:
    said = baselines()
    assert "spectral-peak is left out: it is for rates" in said
    rows = sheet.read(SHEET)
    assert [row["model_name"] for row in rows] == ALL
    for row in rows:
        assert (row["mode"], row["split"], row["lr"], row["loss"]) == ("baseline", "test", "", "")
        assert int(row["n_parameters"]) > 0
        home = HOME / f"baseline-{row['model_name']}-seed0"
        assert row["checkpoint"] == str(home)
        result = json.loads((home / "metrics.json").read_text())
        assert (result["kind"], result["baseline"]) == ("baseline", row["model_name"])
        assert f"{result['metrics']['Accuracy']:.4f}" == row["Accuracy"]
        arrays = RunFolder(home).read_arrays("predictions.npz")
        assert f"{(arrays['probability'].argmax(1) == arrays['target']).mean():.4f}" == row["Accuracy"]
        assert len(arrays["subject"]) == int(row["n_test"])
    accuracy = {row["model_name"]: float(row["Accuracy"]) for row in rows}
    assert accuracy["hand-features"] > accuracy["constant"]


def test_asked_again_they_replace_their_rows() -> None:
    baselines("--only", "hand-features")
    (before,) = sheet.read(SHEET)
    (kept,) = _kept_features("HandFeatures")
    written = kept.stat().st_mtime_ns
    baselines("--only", "hand-features")
    (after,) = sheet.read(SHEET)
    assert after["run_id"] != before["run_id"]
    assert after["Accuracy"] == before["Accuracy"]
    assert kept.stat().st_mtime_ns == written, "its features were kept"


def _kept_features(name: str) -> list[Path]:
    dataset = open_recipe_dataset(resolve([load_recipe("tiny.toml")]).recipe.data)
    return list((dataset.folder / "features").glob(f"{name}-*.npy"))


def test_a_share_of_the_labels_is_drawn_by_the_seed_as_finetuning_draws_it() -> None:
    baselines("--only", "hand-features", "--label-fraction", "0.3", "--seeds", "0,1")
    succeed("finetune", "--recipe", "tiny.toml", "--mode", "random-frozen", "--label-fraction", "0.3")
    first, second, ours = sheet.read(SHEET)
    assert [first["seed"], second["seed"]] == ["0", "1"]
    assert first["label_fraction"] == ours["label_fraction"] == "0.3"
    assert first["n_train"] == ours["n_train"]
    assert (HOME / "baseline-hand-features-labels0.3-seed1/predictions.npz").is_file()


def test_of_a_cross_validation_there_is_one_row_over_all_people() -> None:
    baselines("--only", "hand-features", "--folds", "3")
    (row,) = sheet.read(SHEET)
    assert row["split"] == "test of 3 folds"
    arrays = RunFolder(HOME / "baseline-hand-features-folds3-seed0").read_arrays("predictions.npz")
    assert set(arrays["fold"].tolist()) == {0, 1, 2}
    assert len(set(arrays["row"].tolist())) == int(row["n_test"]) == 80


def test_finetuning_shows_them_beside_its_runs() -> None:
    baselines("--only", "constant", "--only", "hand-features")
    said = succeed("finetune", "--recipe", "tiny.toml", "--mode", "random-frozen")
    assert table(said) == {"hand-features": "1", "random-frozen": "1", "constant": "1"}
    assert "random-frozen" in succeed("evaluate"), "they are no networks to evaluate"


def test_rates_have_a_spectral_peak() -> None:
    values = ["finetune.task=regression", "data.target=heart_rate", "data.channels=['ppg']"]
    said = baselines("--only", "spectral-peak", *(word for value in values for word in ("--set", value)))
    (row,) = sheet.read(SHEET)
    assert row["model_name"] == "spectral-peak"
    assert row["n_parameters"] == "0"
    assert float(row["MAE"]) < float(row["MAE_constant"])
    assert np.isfinite(float(row["RMSE"]))
    assert "MAE" in said


def test_a_task_that_asks_nothing_of_windows_is_refused() -> None:
    assert "asks nothing of windows" in refused("baselines", "--recipe", "two-peaks.toml")
    assert not Path("checkpoints").exists()
    assert not SHEET.exists()
