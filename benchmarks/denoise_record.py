"""Cleaning an hour and a day of a one-lead ECG at 360 Hz with the network of ecg-denoise.toml: time and memory.

Run: make bench.
"""

import resource
import sys
import time

import numpy as np
import torch

from ssl_bio import build, recipe, resolve
from ssl_bio.models.denoiser import Denoiser
from ssl_bio.models.pieces import cleaned
from ssl_bio.terminal import note, table

RATE = 360
HOURS = (1, 6, 24)


def main() -> None:
    """Measure and print."""
    plan = resolve.resolve([recipe.load("ecg-denoise.toml")]).recipe
    torch.manual_seed(0)
    model = Denoiser(build.cleaner(plan, 1)).eval()
    hour = np.random.default_rng(0).normal(size=(1, 1, 3600 * RATE)).astype(np.float32)

    def read(first: int, last: int) -> np.ndarray:
        return np.take(hour, range(first, last), axis=-1, mode="wrap")

    rows = []
    for hours in HOURS:
        started, n = time.perf_counter(), 0
        for stretch in cleaned(model, read, hours * hour.shape[-1], torch.device("cpu")):
            n += stretch.shape[-1]
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)
        rows.append([f"{hours} h", f"{seconds:.1f}", f"{hours * 3600 / seconds:.0f}", f"{peak:.0f}"])
    note(f"ecg-denoise.toml, {torch.get_num_threads()} threads, torch {torch.__version__}")
    table("a record in overlapping pieces", ["", "s", "times real time", "peak memory of the process in MB"], rows)


if __name__ == "__main__":
    main()
