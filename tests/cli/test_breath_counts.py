"""Counts of breaths learnt around every token, on small files in the publisher's layout."""

from pathlib import Path

import numpy as np

from ssl_bio.results import sheet
from tests.command_line import refused, succeed
from tests.data.readers.test_bidmc import write_tables


def test_counts_around_every_token_are_learnt_and_evaluated(tmp_path: Path) -> None:
    folder = write_tables(tmp_path / "bidmc", n=6)
    recipe = ["--recipe", "bidmc-rr.toml", "--set", "data.context=5"]
    succeed("data", "prepare", "bidmc", "--from", str(folder), *recipe)
    said = succeed("finetune", *recipe, "--folds", "3")
    assert "test of 3 folds" in said
    rows = sheet.read(Path("results.csv"))
    assert [row["split"] for row in rows] == ["test of 3 folds"]
    with np.load("checkpoints/bidmc-rr/finetune-scratch-context=5-folds3-seed0/fold0/predictions.npz") as file:
        assert set(file["value"].ravel()) <= {12.0, 18.0}, "counts that training has seen"
    gradient = ["--mode", "random-frozen", "--set", "finetune.probe=gradient"]
    assert "no model.window" in refused("finetune", *recipe, "--set", "model.window=5", "--out", "other")
    assert "trains the whole network" in refused("finetune", *recipe, *gradient, "--out", "other")
    moved = ["--set", "finetune.augment=['shift']"]
    assert "cannot follow 'shift'" in refused("finetune", *recipe, *moved, "--out", "other")
    assert "no token stands in the middle" in refused(
        "finetune", *recipe, "--set", "model.wave_length=16", "--out", "other"
    )
    assert "asks each token alone" in refused(
        "finetune", *recipe, "--set", "finetune.pool_segments=2", "--out", "other"
    )
