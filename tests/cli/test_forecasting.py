"""Forecasting through the real command line, on embedded series."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from ssl_bio.data.readers import series
from ssl_bio.results import sheet
from tests.command_line import only_run, refused, succeed
from tests.data.reading import ingest_ready

SHEET = Path("results.csv")
TINY = """
name = "tiny-forecast"
[data]
dataset = "two-peaks"
[model]
kind = "attention"
d_model = 16
n_layers = 1
n_heads = 2
[model.quantizer]
codebook_size = 8
kmeans_init = false
[finetune]
task = "forecasting"
mode = "scratch"
time_steps = 60
dense = true
epochs = 2
batch_size = 16
lr = 1e-2
selected_on = "last"
[evaluate]
horizon = 80
"""
RUN = "tiny-forecast/finetune-*"
BACKBONE = ("--set", "model.kind=timemae", "--set", "finetune.dense=false")


@pytest.fixture(autouse=True)
def tiny() -> None:
    Path("tiny.toml").write_text(TINY)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--set", "model.kind=lstm"],
        ["--set", "model.values=vq", "--set", "model.positions=sinusoidal"],
        ["--set", "finetune.dense=false", "--set", "finetune.input_noise=0.1", "--loss", "l1"],
        ["--set", "finetune.scale_by=history", "--set", "finetune.scheduled_sampling=0.5"],
        ["--set", "model.causal=false", "--set", "finetune.dense=false", "--set", "model.values=vq"],
    ],
)
def test_a_forecast_and_what_needs_no_learning_beside_it(options: list[str]) -> None:
    said = succeed("finetune", "--recipe", "tiny.toml", *options)
    assert "last value" in said
    assert "seasonal naive" in said
    row = sheet.read(SHEET)[0]
    assert float(row["mse_batch"]) > 0
    assert float(row["mse_regressive"]) > 0
    assert (row["MAE"], row["Accuracy"], row["n_test"]) == ("", "", "4")
    with np.load(only_run(RUN) / "predictions.npz") as file:
        found = dict(file)
    assert found["target"].shape == found["free_running"].shape == found["one_step"].shape == (4, 80)
    squared = np.square(found["free_running"] - found["target"]).mean()
    assert float(row["mse_regressive"]) == pytest.approx(squared, rel=1e-3)
    figure = only_run(RUN) / "figures" / "forecast.png"
    assert figure.read_bytes().startswith(b"\x89PNG")
    succeed("evaluate")
    assert sheet.read(SHEET)[0]["mse_regressive"] == row["mse_regressive"]


def test_validation_chooses_by_what_free_running_costs() -> None:
    chosen = ["--set", "finetune.selected_on=val", "--set", "finetune.monitor=mse_regressive"]
    succeed("finetune", "--recipe", "tiny.toml", *chosen, "--set", "finetune.epochs=4")
    with (only_run(RUN) / "history.csv").open(newline="") as file:
        history = list(csv.DictReader(file))
    best = min(history, key=lambda row: float(row["val_mse_regressive"]))
    row = sheet.read(SHEET)[0]
    assert (row["best_epoch"], row["selected_on"]) == (best["epoch"], "val")


def test_the_longest_history_there_is_and_a_horizon_beyond_the_end() -> None:
    succeed("finetune", "--recipe", "tiny.toml", "--set", "finetune.time_steps=2399", "--set", "evaluate.horizon=0")
    assert "fewer than finetune.time_steps 2399 and evaluate.horizon 5000" in refused(
        "evaluate", "--set", "evaluate.horizon=5000"
    )


def prepare_sines(folder: Path, sampling_rate: int) -> list[str]:
    """Prepare six sines; returns the options that name them."""
    folder.mkdir()
    lines = ["file,subject,sampling_rate"]
    for number in range(6):
        np.save(folder / f"{number}.npy", np.sin(np.arange(600) / 5 + number).astype(np.float32))
        lines.append(f"{number}.npy,p{number},{sampling_rate}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    options = ["--set", "data.dataset=arrays", "--set", f"data.window={600 / sampling_rate:g}"]
    succeed("data", "prepare", "arrays", "--from", str(folder), "--recipe", "tiny.toml", *options)
    return options


def test_series_need_no_target(tmp_path: Path) -> None:
    options = ["--recipe", "tiny.toml", *prepare_sines(tmp_path / "mine", 50)]
    succeed("finetune", *options)
    assert "has no target for task" in refused(
        "finetune", *options, "--set", "finetune.task=classification", "--set", "model.kind=timemae", "--out", "other"
    )


@pytest.mark.parametrize("kind", ["timemae", "vqvae"])
def test_a_pretrained_backbone_forecasts(kind: str) -> None:
    options = ["--recipe", "tiny.toml", *BACKBONE, "--set", f"model.kind={kind}", "--set", "model.window=2"]
    options += ["--set", "data.normalize=channel"]
    learning = ["--set", "pretrain.epochs=1", *(["--set", "model.width=8"] if kind == "vqvae" else [])]
    succeed("pretrain", *options, *learning)
    said = succeed("finetune", *options, "--set", "finetune.mode=full", *learning[2:])
    assert "the network sees" in said
    row = sheet.read(SHEET)[0]
    assert (row["mode"], row["n_test"]) == ("full", "4")
    run = only_run("tiny-forecast/finetune-full-*")
    with np.load(run / "predictions.npz") as file:
        assert file["free_running"].shape == (4, 80)
    with (run / "history.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["lr_backbone"] == "1e-05"
    succeed("evaluate")
    assert sheet.read(SHEET)[0]["mse_regressive"] == row["mse_regressive"]
    if kind == "timemae":
        longer = ["--set", "finetune.time_steps=120", "--set", "finetune.mode=full", "--out", "other"]
        assert "has positions for 100 samples" in refused("finetune", *options, *longer)
        assert not Path("other").exists()
    assert "finetune.mode must be" in refused("finetune", *options, "--mode", "linear-probe")


def test_a_backbone_forecasts_at_the_rate_that_it_knows(tmp_path: Path) -> None:
    options = ["--recipe", "tiny.toml", *BACKBONE]
    succeed("pretrain", *options, "--set", "pretrain.epochs=1", "--set", "model.window=2")
    other = [*prepare_sines(tmp_path / "mine", 40), "--set", "finetune.mode=full"]
    assert "set data.sampling_rate" in refused("finetune", *options, *other)


def test_gaps_in_a_series_are_refused_or_filled() -> None:
    gappy = series.generate("two-peaks")
    gappy.signals[:, 0, 700:710] = np.nan
    folder = Path(os.environ["SSL_BIO_DATA"]) / f"two-peaks-v{series.TWO_PEAKS.version}"
    ingest_ready(gappy, folder, reader="two-peaks")
    assert "240 NaN or infinite samples" in refused("finetune", "--recipe", "tiny.toml")
    assert not Path("checkpoints").exists()
    succeed("finetune", "--recipe", "tiny.toml", "--set", "data.missing=interpolate")
    assert float(sheet.read(SHEET)[0]["mse_regressive"]) > 0


def test_a_grid_of_models_is_sorted_by_the_free_running_error() -> None:
    said = succeed("finetune", "--recipe", "tiny.toml", "--grid", "model.kind=lstm,attention")
    assert "2 combinations, the best mse_regressive on test first" in said
    assert len(sheet.read(SHEET)) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "evaluate.horizon=3000"], "its series have 2400 samples, fewer than finetune.time_steps 60"),
        (["--set", "finetune.time_steps=2400"], "fewer than finetune.time_steps 2400"),
        (["--set", "model.kind=wave_unet"], "choose timemae, convnet, dilated, vqvae, lstm, attention"),
        (
            ["--set", "finetune.task=classification"],
            "'attention' gives sequence and finetune.task 'classification' does not go",
        ),
        (["--set", "model.kind=timemae"], "timemae sees all of a window: set finetune.dense to false"),
        (["--set", "model.causal=false"], "attention with model.causal = false sees all of a window"),
        (["--set", "model.causal=false", "--set", "model.kind=lstm"], "a key of model.kind attention, not of lstm"),
        (["--set", "finetune.scheduled_sampling=0.5", "--set", "finetune.dense=false"], "set finetune.dense to true"),
        ([*BACKBONE, "--set", "finetune.time_steps=2396", "--set", "evaluate.horizon=0"], "series of 2400 samples are"),
        (["--mode", "random-frozen"], "finetune.mode must be 'full' or 'scratch'"),
        (
            ["--set", "finetune.head=mlp"],
            "a key of finetune.task classification and multilabel and regression, not of forecasting",
        ),
        (["--set", "data.normalize=window"], "series as they are"),
        (["--set", "finetune.augment=['stretch']"], "series as they are"),
        (
            ["--set", "finetune.selected_on=val", "--set", "finetune.monitor=MAE"],
            "choose loss, mse_regressive, mse_batch",
        ),
        (["--loss", "huber"], "finetune.loss must be 'mse' or 'l1'"),
        (["--set", "data.dataset=synthetic"], "set data.channels to one of ecg, ppg"),
        (["--set", "model.n_heads=3"], "not a multiple"),
    ],
)
def test_forecasts_that_cannot_be(options: list[str], message: str) -> None:
    assert message in refused("finetune", "--recipe", "tiny.toml", *options)
    assert not SHEET.exists()
    assert not Path("checkpoints").exists()
