"""All finetuned runs of a recipe in one table: pooled are seeds of the same settings, and nothing else."""

from pathlib import Path

import pytest

from tests.command_line import TINY, succeed

TITLE = "tiny: every finetuned run so far, test"


@pytest.fixture(autouse=True)
def _recipe() -> None:
    Path("tiny.toml").write_text(TINY)


def table(said: str) -> dict[str, str]:
    """Return what each row of the table counts, by what its runs were finetuned by."""
    lines = said.split(TITLE)[1].splitlines()[2:]
    rows = [line.split("  ") for line in lines]
    return {cells[0]: next(cell for cell in cells[1:] if cell).strip() for cells in rows}


def scratch(*options: str) -> str:
    """Finetune from random weights in a folder that is named by nothing that the recipe says."""
    return succeed("finetune", "--recipe", "tiny.toml", "--mode", "scratch", *options)


def test_runs_of_other_epochs_and_rates_are_not_pooled() -> None:
    scratch("--seeds", "0,1")
    Path("tiny.toml").write_text(TINY.replace("epochs = 2", "epochs = 1"))
    said = scratch("--out", "checkpoints/tiny/finetune-scratch-seed2", "--seed", "2")
    assert table(said) == {"scratch, epochs=2": "2", "scratch, epochs=1": "1"}
    said = scratch("--lr", "0.01", "--set", "finetune.epochs=1")
    assert table(said) == {
        "scratch, epochs=2, lr=0.001": "2",
        "scratch, epochs=1, lr=0.001": "1",
        "scratch, epochs=1, lr=0.01": "1",
    }


def test_the_same_settings_and_seed_count_once() -> None:
    scratch()
    scratch("--set", "finetune.epochs=2")
    assert table(succeed("finetune", "--recipe", "tiny.toml", "--mode", "random-frozen")) == {
        "scratch": "1",
        "random-frozen": "1",
    }


def test_shares_of_the_labels_and_starts_tell_runs_apart() -> None:
    for seed in ("0", "1"):
        succeed(
            "pretrain",
            "--recipe",
            "tiny.toml",
            "--set",
            "pretrain.epochs=1",
            "--seed",
            seed,
            "--out",
            f"pre-seed{seed}",
        )
    succeed("finetune", "--checkpoint", "pre-seed{seed}", "--seeds", "0,1")
    said = succeed("finetune", "--checkpoint", "pre-seed0", "--label-fraction", "0.5", "--seeds", "0,1")
    assert table(said) == {
        "linear-probe, label_fraction=1, checkpoint=pre-seed{seed}": "2",
        "linear-probe, label_fraction=0.5, checkpoint=pre-seed0": "2",
    }


def test_a_recipe_that_cannot_be_read_any_more_is_left_out_and_counted() -> None:
    scratch()
    Path("checkpoints/tiny/finetune-scratch-seed0/recipe.toml").write_text("[finetune]\nmood = 1\n")
    said = succeed("finetune", "--recipe", "tiny.toml", "--mode", "random-frozen")
    assert "1 finetuned run whose recipe this version of ssl-bio cannot read" in said
