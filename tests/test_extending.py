"""One more of a kind from outside: a lab's package adds a dataset, a backbone, a pretext task, a task, a metric and a
baseline, and the commands run on them; a broken package is told in one line."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from ssl_bio.results import sheet
from tests.conftest import REPOSITORY

WORKING = {
    "datasets": {"strides": "toylab:DATASET"},
    "backbones": {"toy-patches": "toylab:PatchBackbone"},
    "pretexts": {"toy-means": "toylab:MeansPretext"},
    "tasks": {"toy-logs": "toylab:LogTask"},
    "metrics": {"ToyWithin": "toylab:WITHIN"},
    "baselines": {"toy-swing": "toylab:Swing"},
}
RECIPE = """
name = "strides"
[data]
dataset = "strides"
normalize = "channel"
[model]
kind = "toy-patches"
d_model = 8
[pretrain]
epochs = 2
batch_size = 8
fit_on = "train"
select = "val_loss"
strength = 2.0
[finetune]
task = "toy-logs"
mode = "linear-probe"
epochs = 3
batch_size = 8
lr = 1e-2
monitor = "ToyWithin"
"""


class Finished(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


class Lab:
    """A folder in which a throw-away distribution is installed."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir()
        (home / "toylab.py").write_text((REPOSITORY / "tests" / "toylab.py").read_text())

    def install(self, points: Mapping[str, Mapping[str, str]]) -> None:
        """Install the distribution with these entry points."""
        info = self.home / "toylab-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toylab\nVersion: 1.0\n")
        lines = []
        for group, names in points.items():
            lines += [f"[ssl_bio.{group}]", *(f"{name} = {value}" for name, value in names.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")

    def run(self, *arguments: str) -> Finished:
        """Run `ssl-bio ARGUMENTS` in a process that sees the distribution."""
        path = os.pathsep.join([str(self.home), str(REPOSITORY)])
        command = [sys.executable, "-W", "error::UserWarning", "-c", "from ssl_bio.cli import main; main()", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path})
        return Finished(done.returncode, done.stdout, done.stderr)

    def succeed(self, *arguments: str) -> str:
        """Run a command that must succeed."""
        done = self.run(*arguments)
        assert done.code == 0, done.out + done.err
        return done.out

    def refused(self, *arguments: str) -> str:
        """Run a command that must end in one line without a traceback."""
        done = self.run(*arguments)
        assert done.code == 2, done.out + done.err
        assert done.err.startswith("error: ")
        assert done.err.count("\n") == 1, done.err
        return done.err


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    found = Lab(tmp_path / "site")
    found.install(WORKING)
    return found


def write_recordings(folder: Path) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for person in range(12):
        swing = np.repeat(rng.uniform(0.5, 3, 6), 40)
        signal = swing * np.sin(np.arange(240) / 2) + 0.05 * rng.standard_normal(240)
        (folder / f"p{person:02d}.txt").write_text(" ".join(f"{value:.5f}" for value in signal))
    return folder


def test_the_commands_run_on_kinds_from_outside(lab: Lab, tmp_path: Path) -> None:
    Path("strides.toml").write_text(RECIPE)
    assert "Strides of people" in lab.succeed("data", "list")
    assert "factor on the loss" in lab.succeed("recipes", "keys", "pretrain.toy-means")
    lab.succeed("recipes", "validate", "strides.toml")
    lab.succeed("data", "prepare", "strides", "--from", str(write_recordings(tmp_path / "recordings")))
    lab.succeed("pretrain", "--recipe", "strides.toml")
    said = lab.succeed("finetune", "--mode", "full", "--backbone-lr", "1e-2")
    assert "ToyWithin" in said
    lab.succeed("finetune", "--recipe", "strides.toml", "--mode", "random-frozen")
    lab.succeed("evaluate")
    rows = sheet.read(Path("results.csv"))
    assert [row["mode"] for row in rows] == ["full", "random-frozen"]
    for row in rows:
        assert row["task_name"] == "strides_swing"
        assert 0 <= float(row["ToyWithin"]) <= 1
        assert float(row["MAE"]) > 0
    assert rows[0]["selected_on"] == "val"
    said = lab.succeed("baselines", "--recipe", "strides.toml", "--only", "toy-swing", "--only", "hand-features")
    assert "every finetuned run so far" not in said
    baselines = {row["model_name"]: row for row in sheet.read(Path("results.csv"))[2:]}
    assert float(baselines["toy-swing"]["MAE"]) == 0
    assert 0 < float(baselines["hand-features"]["MAE"]) < 1


def test_a_key_of_a_plugin_is_checked_as_any_other(lab: Lab) -> None:
    Path("strides.toml").write_text(RECIPE.replace("strength", "strenght"))
    assert "did you mean pretrain.strength?" in lab.refused("pretrain", "--recipe", "strides.toml")


@pytest.mark.parametrize(
    ("group", "points", "arguments", "message"),
    [
        ("backbones", {"toy-patches": "nowhere:Thing"}, ["recipes", "validate", "x.toml"], "nowhere:Thing cannot be"),
        ("backbones", {"toy-patches": "toylab:NOT_A_PLUGIN"}, ["recipes", "validate", "x.toml"], "it has no Config"),
        ("pretexts", {"toy-means": "toylab:LogTask"}, ["recipes", "validate", "x.toml"], "derives from PretextConfig"),
        ("tasks", {"timemae": "toylab:PatchBackbone"}, ["recipes", "validate", "x.toml"], "no task 'toy-logs'"),
        ("backbones", {"timemae": "toylab:PatchBackbone"}, ["pretrain"], "has the name of one of ssl-bio itself"),
        ("baselines", {"toy-swing": "toylab:WITHIN"}, ["baselines", "--recipe", "x.toml"], "it does not derive from"),
        ("metrics", {"ToyWithin": "toylab:gone"}, ["recipes", "validate", "x.toml"], "its metric 'ToyWithin'"),
        ("datasets", {"strides": "toylab:NOT_A_PLUGIN"}, ["pretrain", "--recipe", "x.toml"], "strides"),
    ],
)
def test_a_broken_plugin_is_one_clear_line(
    lab: Lab, group: str, points: dict[str, str], arguments: list[str], message: str
) -> None:
    Path("x.toml").write_text(RECIPE)
    lab.install({**WORKING, group: points})
    if group == "metrics":
        Path("x.toml").write_text(RECIPE)
        arguments = ["finetune", "--recipe", "x.toml", "--mode", "scratch", "--set", "data.dataset=synthetic"]
    said = lab.refused(*arguments)
    assert message in said
    assert "toylab" in said or "no task" in said


def test_an_unknown_kind_names_the_nearest(lab: Lab) -> None:
    Path("x.toml").write_text(RECIPE.replace("toy-patches", "toy-patchs"))
    said = lab.refused("pretrain", "--recipe", "x.toml")
    assert "model.kind: no backbone 'toy-patchs' (did you mean 'toy-patches'?" in said
