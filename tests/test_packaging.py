"""The built wheel, installed alone in an empty environment, works from any folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY


@pytest.mark.timeout(600)
def test_wheel_alone_in_an_empty_environment(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def call(*command: str | Path) -> str:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    call(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path / "dist", REPOSITORY)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    call(sys.executable, "-m", "venv", tmp_path / "venv")
    call(tmp_path / "venv/bin/pip", "install", "--quiet", wheel)
    ssl_bio = tmp_path / "venv/bin/ssl-bio"
    assert "har-strong.toml" in call(ssl_bio, "recipes", "list")
    small = ["--set", "data.synthetic.n_subjects=6", "--set", "data.synthetic.windows_per_subject=4"]
    call(ssl_bio, "pretrain", *small, "--set", "pretrain.epochs=1")
    assert "Accuracy" in call(ssl_bio, "finetune")
    assert "one row in results.csv" in call(ssl_bio, "evaluate")
    assert Path("results.csv").is_file()
    assert "1 leaderboard, 2 runs" in call(ssl_bio, "report")
    assert "<h1>Results</h1>" in Path("report.html").read_text(encoding="utf-8")
