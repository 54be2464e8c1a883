"""Losses of a tiny run through the real CLI, pinned.

Made with `ssl-bio pretrain --recipe tiny.toml` (the recipe of tests/command_line.py) on an x86-64 CPU with
torch 2.13, float32. Another machine may round differently, hence the tolerance; a change beyond it means
that results of the same recipe have changed, which needs a line in the CHANGELOG.
"""

import csv
from pathlib import Path

import pytest

from tests.command_line import TINY, succeed

LOSSES: dict[str, list[float]] = {
    "loss": [6.40215, 6.45075, 6.15914],
    "mse": [0.761027, 0.771172, 0.716513],
    "ce": [2.59701, 2.59489, 2.57657],
}
TOLERANCE = 1e-3


def test_losses_are_what_they_were() -> None:
    Path("tiny.toml").write_text(TINY)
    succeed("pretrain", "--recipe", "tiny.toml")
    with Path("checkpoints/tiny/pretrain-seed0/history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for name, expected in LOSSES.items():
        assert [float(row[name]) for row in rows] == pytest.approx(expected, rel=TOLERANCE)
