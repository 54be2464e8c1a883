"""Tokens of two signals for an encoder of one, end to end through the real command line."""

import csv
import shutil
from pathlib import Path

import pytest
import torch

from ssl_bio.config.resolve import recipe_of
from ssl_bio.pretexts.base import load_pretext, validation_metrics
from ssl_bio.runs.checkpoint import load_checkpoint
from ssl_bio.runs.inputs import stored_input_spec
from ssl_bio.runs.transfer import load_into
from ssl_bio.tasks.datasets import open_recipe_dataset
from ssl_bio.tasks.load import recipe_backbone
from ssl_bio.training import fit
from tests.command_line import TINY, only_run, refused, run, succeed

CPU = torch.device("cpu")
TOKENIZER = (
    TINY.replace('name = "tiny"', 'name = "tokens"')
    .replace("wave_length = 25", "wave_length = 50")
    .replace("decoder_layers = 1\nvocab_size = 12\n", 'pretext = "vqvae"\nreconstruction = "l1"\nfit_on = "train"\n')
    .replace("[finetune]", "[pretrain.quantizer]\ncodebook_size = 8\ncosine = true\n[finetune]")
)
ENCODER = TINY.replace(
    "decoder_layers = 1\nvocab_size = 12\n", 'pretext = "joint_tokens"\ntokenizer = "tokens"\nfit_on = "train"\n'
).replace("[data]", '[data]\ntarget = "heart_rate"\nchannels = ["ppg"]')
MASKED = TINY.replace("vocab_size = 12", 'codewords = "tokens"').replace("wave_length = 25", "wave_length = 50")


@pytest.fixture(autouse=True)
def recipes() -> None:
    for name, text in (("tokens", TOKENIZER), ("encoder", ENCODER), ("masked", MASKED)):
        Path(f"{name}.toml").write_text(text)


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_tokenizer_of_two_signals_and_an_encoder_of_one() -> None:
    weights = "pretrain.channel_weights.ecg=2.0"
    succeed("pretrain", "--recipe", "tokens.toml", "--set", weights, "--out", "checkpoints/tokens/pretrain-seed0")
    logged = history(only_run("tokens/pretrain-*"))[-1]
    for name in ("mse_ecg", "mse_ppg", "val_mse_ecg", "val_mse_ppg", "perplexity", "codes_used"):
        assert float(logged[name]) > 0
    assert (only_run("tokens/pretrain-*") / "figures" / "reconstruction.png").is_file()

    said = succeed("pretrain", "--recipe", "encoder.toml")
    assert "1 channels x 500 samples" in said
    logged = history(only_run("tiny/pretrain-*"))[-1]
    for name in ("accuracy", "accuracy_constant", "top10", "val_accuracy", "val_top10"):
        assert 0 < float(logged[name]) <= 1
    assert float(logged["accuracy_chance"]) == 1 / 8
    assert (only_run("tiny/pretrain-*") / "figures" / "curves.png").read_bytes().startswith(b"\x89PNG")
    checkpoint = load_checkpoint(only_run("tiny/pretrain-*"))
    assert checkpoint.metadata.channels == ("ppg",)
    assert {name.partition(".")[0] for name in checkpoint.tensors} == {"backbone", "head"}

    regression = ["--set", "finetune.task=regression"]
    assert "MAE" in succeed("finetune", "--mode", "full", "--loss", "l1", *regression)
    assert "lr_backbone" in history(only_run("tiny/finetune-full-*"))[0]
    # On data that has only such a signal.
    said = succeed(
        "finetune", "--recipe", "encoder.toml", "--set", 'data.channels=["ecg"]', "--out", "other", *regression
    )
    assert "starts anew: input scaling" in said


def test_validation_metrics_are_of_validation_people() -> None:
    succeed("pretrain", "--recipe", "tokens.toml", "--set", "pretrain.epochs=1", "--out", "w/tokens")
    succeed("pretrain", "--recipe", "encoder.toml", "--set", "pretrain.tokenizer=w/tokens", "--out", "w/encoder")
    checkpoint = load_checkpoint(Path("w/encoder"))
    recipe, spec = recipe_of(checkpoint.metadata.recipe, "w/encoder"), stored_input_spec(checkpoint.metadata)
    dataset, pretext = open_recipe_dataset(recipe.data), load_pretext(recipe)
    objective = pretext.build(recipe_backbone(recipe, spec), spec)
    load_into(objective.module, checkpoint)
    logged = history(Path("w/encoder"))[-1]
    for split, is_logged in (("val", True), ("train", False)):
        shown = pretext.validation_loader(dataset, CPU)
        loader = shown if split == "val" else pretext.training_loader(dataset, spec, CPU)
        found = validation_metrics(objective, loader, window=spec.window, device=CPU, seed=recipe.seed)
        assert (float(logged["val_loss"]) == pytest.approx(found["loss"], rel=1e-4)) == is_logged


def test_joint_codes_replace_timemaes_codewords() -> None:
    succeed("pretrain", "--recipe", "tokens.toml")
    succeed("pretrain", "--recipe", "masked.toml", "--set", 'data.channels=["ecg"]')
    logged = history(only_run("tiny/pretrain-*"))[-1]
    assert float(logged["hit_rate_chance"]) == 1 / 8
    assert float(logged["mse"]) > 0


def test_without_its_tokenizer_it_names_the_command() -> None:
    said = refused("pretrain", "--recipe", "encoder.toml", "--folds", "3", "--seed", "1")
    assert "`ssl-bio pretrain --recipe tokens.toml --folds 3 --seed 1` makes it" in said
    assert not Path("checkpoints").exists()


def test_every_part_and_seed_has_the_tokenizer_that_saw_the_same_people() -> None:
    quick = ["--folds", "2", "--seeds", "0,1", "--set", "pretrain.epochs=1"]
    said = succeed("pretrain", "--recipe", "tokens.toml", *quick, "--out", "t")
    assert "mean ± std" in said
    for seed in (0, 1):
        shutil.move(f"t-seed{seed}", Path(f"checkpoints/tokens/pretrain-folds2-seed{seed}"))
    succeed("pretrain", "--recipe", "encoder.toml", *quick, "--out", "e")
    for seed in (0, 1):
        for fold in (0, 1):
            recipe = (Path(f"e-seed{seed}/fold{fold}/recipe.toml")).read_text()
            assert f"seed = {seed}" in recipe
            assert f"fold = {fold}" in recipe
    assert "learnt under split scheme" not in said
    # The whole dataset's tokenizer has seen the people that a part tests.
    succeed("pretrain", "--recipe", "tokens.toml", "--set", "pretrain.epochs=1", "--out", "w/all")
    whole = ["--set", "pretrain.tokenizer=w/all", "--set", "pretrain.epochs=1"]
    said = succeed("pretrain", "--recipe", "encoder.toml", "--folds", "2", *whole, "--out", "leaky")
    assert "the run in pretrain.tokenizer learnt under split scheme" in said


def test_resume_is_bit_exact_and_refuses_another_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    succeed("pretrain", "--recipe", "tokens.toml")
    succeed("pretrain", "--recipe", "encoder.toml")
    whole = load_checkpoint(only_run("tiny/pretrain-*")).tensors
    save = fit._save

    def stop(loop: fit._Loop, state: fit._State) -> None:
        save(loop, state)
        if state.epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(fit, "_save", stop)
        assert run("pretrain", "--recipe", "encoder.toml", "--out", "stopped").code == 130
    shutil.copytree("stopped", "again")
    succeed("pretrain", "--recipe", "encoder.toml", "--out", "stopped", "--resume")
    resumed = load_checkpoint(Path("stopped")).tensors
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())

    succeed("pretrain", "--recipe", "tokens.toml", "--overwrite")
    said = refused("pretrain", "--recipe", "encoder.toml", "--out", "again", "--resume")
    assert "--resume: the run learnt from dataset" in said
    assert "checkpoints/tokens/pretrain-seed0 of" in said
