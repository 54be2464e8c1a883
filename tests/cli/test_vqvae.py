"""The VQ-VAE end to end through the real command line, on embedded data."""

import builtins
import csv
import shutil
from pathlib import Path

import pytest
import torch

from ssl_bio.runs.checkpoint import load_checkpoint
from tests.command_line import TINY, TINY_VQVAE, only_run, refused, run, succeed

PRETRAINED = Path("checkpoints/tiny-vqvae/pretrain-seed0")


@pytest.fixture
def recipe_file() -> str:
    Path("tiny-vqvae.toml").write_text(TINY_VQVAE)
    return "tiny-vqvae.toml"


@pytest.fixture
def pretrained(recipe_file: str) -> str:
    return succeed("pretrain", "--recipe", recipe_file)


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_three_commands(pretrained: str) -> None:
    logged = history(PRETRAINED)
    assert len(logged) == 3
    for name in ("loss", "mse", "commitment", "batch_perplexity", "perplexity", "codes_used"):
        assert name in logged[0]
    for name in ("val_mse", "val_perplexity", "val_codes_used", "low_use_epochs", "lr_pretext_state_space"):
        assert name in logged[0]
    assert "val_commitment" not in logged[0]
    assert sorted(path.name for path in (PRETRAINED / "figures").iterdir()) == [
        "codes.png",
        "curves.png",
        "reconstruction.png",
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in (PRETRAINED / "figures").iterdir())
    said = succeed("finetune")
    assert "Accuracy" in said
    said = succeed("finetune", "--mode", "full", "--set", "finetune.selected_on=last")
    assert "lr_backbone_state_space" in history(only_run("tiny-vqvae/finetune-full-*"))[0]
    assert "one row in" in succeed("evaluate")


def test_resume_equals_an_uninterrupted_run(pretrained: str, recipe_file: str) -> None:
    whole = load_checkpoint(PRETRAINED).tensors
    succeed("pretrain", "--recipe", recipe_file, "--set", "pretrain.epochs=1", "--out", "other")
    # One epoch of a constant rate is the first of three: put its state back as if the plug had been pulled.
    shutil.rmtree("other")
    stopped = _stop_after_first_epoch(recipe_file)
    assert stopped == 130
    succeed("pretrain", "--recipe", recipe_file, "--out", "other", "--resume")
    for name, tensor in load_checkpoint(Path("other")).tensors.items():
        assert torch.equal(tensor, whole[name]), name


def _stop_after_first_epoch(recipe_file: str) -> int:
    from ssl_bio.training import fit

    real, saved = fit._save, []

    def save(*arguments: object) -> None:
        real(*arguments)  # type: ignore[arg-type]  # passed on as they came
        saved.append(1)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "_save", save)
        return run("pretrain", "--recipe", recipe_file, "--out", "other").code


def test_collapse_is_said_while_it_happens(recipe_file: str) -> None:
    said = succeed(
        "pretrain",
        "--recipe",
        recipe_file,
        "--set",
        "pretrain.collapse_share=0.99",
        "--set",
        "pretrain.collapse_epochs=2",
        "--set",
        "pretrain.quantizer.codebook_size=400",
        "--set",
        "pretrain.quantizer.dead_code_threshold=0",
    )
    assert "k-means starts some codes as copies" not in said.split("pretrain tiny-vqvae")[0]
    assert "the codebook collapses" in said
    assert "epoch 2: validation uses" in said
    assert [float(row["low_use_epochs"]) for row in history(only_run("tiny-vqvae/pretrain-*"))] == [1, 2, 3]


def test_codebook_larger_than_a_batch_is_said(recipe_file: str) -> None:
    said = succeed("pretrain", "--recipe", recipe_file, "--set", "pretrain.quantizer.codebook_size=500")
    assert "the first batch holds 400 tokens for 500 codes: k-means starts some codes as copies" in said


@pytest.mark.parametrize(
    "change",
    [
        ["pretrain.coarse=5"],
        ['pretrain.draw_channels=["ecg", "ppg"]'],
        ["pretrain.quantizer.levels=2"],
        ["pretrain.quantizer.kind=fsq", "pretrain.quantizer.fsq_levels=[4,4]"],
        ["pretrain.quantizer.kind=simvq", "pretrain.reconstruction=l1"],
        ["model.bridge=mlp", "model.wave_length=30"],  # 500 samples are no multiple: padded
    ],
)
def test_variants_train(recipe_file: str, change: list[str]) -> None:
    options = [word for one in [*change, "pretrain.epochs=1"] for word in ("--set", one)]
    said = succeed("pretrain", "--recipe", recipe_file, *options)
    assert ("windows are padded by 10 samples" in said) == ("mlp" in change[0])
    assert ("coarse_perplexity" in history(only_run("tiny-vqvae/pretrain-*"))[0]) == ("coarse" in change[0])


def test_lost_loss_stops_the_run_and_keeps_the_state(recipe_file: str) -> None:
    said = refused("pretrain", "--recipe", recipe_file, "--set", "pretrain.lr=1e30", "--set", "pretrain.epochs=20")
    assert "no longer finite" in said
    assert not (only_run("tiny-vqvae/pretrain-*") / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["model.wave_length=501"], "windows of 500 samples are shorter than one token"),
        (["data.normalize=window"], "cannot give back the scale"),
        (['data.channels=["eeg"]'], "no channel eeg; it has ecg, ppg"),
        (["pretrain.quantizer.kind=simvq", "pretrain.quantizer.groups=2"], "groups and levels need kind 'vq'"),
        (["model.s4d.d_state=7"], "even"),
        (["pretrain.quantizer.codebok_size=4"], "did you mean pretrain.quantizer.codebook_size?"),
        (["pretrain.select=val_loss", "pretrain.fit_on=train+val"], 'set pretrain.fit_on to "train"'),
        (['pretrain.draw_channels=["eeg"]'], "no channel eeg; it has ecg, ppg"),
        (['pretrain.draw_channels=["ecg", "ppg"]', "data.channels=[]"], "name one in data.channels"),
        (["data.window=2.0"], "windows come ready-made"),
        (["pretrain.quantizer.fsq_levels=[2, 2]"], "fsq_levels.0 must be greater than or equal to 3"),
        (["pretrain.pretext=contrast"], "do not go together"),
    ],
)
def test_refusals(recipe_file: str, changes: list[str], message: str) -> None:
    said = refused("pretrain", "--recipe", recipe_file, *(word for one in changes for word in ("--set", one)))
    assert message in said
    assert not Path("checkpoints").exists()


def test_without_matplotlib_it_says_what_to_install(recipe_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def fail(name: str, *arguments: object) -> object:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *arguments)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(builtins, "__import__", fail)
    said = succeed("pretrain", "--recipe", recipe_file, "--set", "pretrain.epochs=1")
    assert "ssl-bio[figures]" in said
    assert not (only_run("tiny-vqvae/pretrain-*") / "figures").exists()


def test_codes_serve_as_timemae_codewords(pretrained: str) -> None:
    Path("tokens.toml").write_text(
        TINY.replace("wave_length = 25", "wave_length = 20").replace("vocab_size = 12", f'codewords = "{PRETRAINED}"')
    )
    one_channel = ["--set", 'data.channels=["ecg"]', "--set", "pretrain.epochs=1"]
    succeed("pretrain", "--recipe", "tokens.toml", *one_channel)
    logged = history(only_run("tiny/pretrain-*"))[0]
    assert 1 < float(logged["perplexity"]) <= 16
    assert float(logged["hit_rate_chance"]) == 1 / 16
    assert "learnt under split scheme" not in succeed("finetune", "--checkpoint", str(only_run("tiny/pretrain-*")))

    said = refused("pretrain", "--recipe", "tokens.toml", "--overwrite", *one_channel, "--set", "model.wave_length=25")
    assert "its codes stand for 20 samples, this model's tokens for 25" in said
    said = refused("pretrain", "--recipe", "tokens.toml", "--overwrite", "--set", "pretrain.codewords=nowhere")
    assert "nowhere" in said
    codewords = f"pretrain.codewords={only_run('tiny/pretrain-*')}"
    said = refused("pretrain", "--recipe", "tokens.toml", "--out", "x", *one_channel, "--set", codewords)
    assert "not a VQ-VAE's pretraining run" in said
