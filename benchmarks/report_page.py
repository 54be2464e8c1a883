"""The page of a lab with 500 runs, of classes and of values, three seeds each: seconds, and its size.

Two runs are trained for a few epochs on simulated people; the others are copies under names and ids of their own.

Run: make bench.
"""

import csv
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

from ssl_bio import cli
from ssl_bio.console import note, silenced, table
from ssl_bio.runs.files import read_json
from ssl_bio.runs.folder import METRICS_FILE, RUN_FILE, RunFolder

N_RUNS, N_SEEDS = 500, 3
RECIPE = """
name = "lab-{task}"
[data]
dataset = "synthetic"
[model]
stem = "conv"
encoder = "pre-norm"
n_layers = 1
d_model = 32
n_heads = 4
[finetune]
task = "{task}"
mode = "scratch"
epochs = 8
"""


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["SSL_BIO_DATA"] = str(Path(folder) / "data")
        _make_lab()
        started = time.perf_counter()
        _run("report")
        seconds = time.perf_counter() - started
        size = Path("report.html").stat().st_size / 1e6
        os.chdir("/")
    note(f"{N_RUNS} runs of 480 test windows, one process")
    table("ssl-bio report", ["", "value"], [["seconds", f"{seconds:.0f}"], ["MB", f"{size:.2f}"]])


def _make_lab() -> None:
    """Write run folders and their sheet."""
    originals = []
    for task in ("classification", "regression"):
        Path(f"{task}.toml").write_text(RECIPE.format(task=task), encoding="utf-8")
        with silenced():
            _run("finetune", "--recipe", f"{task}.toml")
        originals.append(Path(f"checkpoints/lab-{task}/finetune-scratch-seed0"))
    with Path("results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    copies = []
    for index in range(N_RUNS - len(originals)):
        number, seed = divmod(index, N_SEEDS)
        original, row = originals[number % 2], rows[number % 2]
        target = original.parent / f"grid/width={number}-seed{seed}"
        shutil.copytree(original, target)
        own = f"{index:012x}"
        run = RunFolder(target)
        run.write_json(RUN_FILE, {"run_id": own, "replaces": []})
        run.write_json(METRICS_FILE, {**read_json(target / METRICS_FILE), "run_id": own})
        how = row["run_id"].rpartition("-")[2]
        copies.append({**row, "seed": str(seed), "checkpoint": str(target), "run_id": f"{own}-{how}"})
    with Path("results.csv").open("a", encoding="utf-8", newline="") as file:
        csv.DictWriter(file, rows[0]).writerows(copies)


def _run(*arguments: str) -> None:
    """Run the command line in this process."""
    with patch.object(sys, "argv", ["ssl-bio", *arguments]):
        try:
            cli.main()
        except SystemExit as stop:
            if stop.code:
                raise


if __name__ == "__main__":
    main()
