"""Denoising an hour and a day of a one-lead ECG at 360 Hz with the network of ecg-denoise.toml: time and memory.

Run: make bench.
"""

import resource
import sys
import time

import numpy as np
import torch

from ssl_bio.config.load import load_recipe
from ssl_bio.config.resolve import resolve
from ssl_bio.console import note, table
from ssl_bio.models.base import SignalNetwork
from ssl_bio.models.build import build_backbone
from ssl_bio.models.denoiser import SignalDenoiser
from ssl_bio.models.overlap_add import denoise_stream
from ssl_bio.tasks.base import expect

RATE = 360
HOURS = (1, 6, 24)


def main() -> None:
    """Measure and print."""
    recipe = resolve([load_recipe("ecg-denoise.toml")]).recipe
    torch.manual_seed(0)
    network = build_backbone(
        recipe.model.kind, n_channels=1, length=0, normalize="none", architecture=recipe.model.architecture()
    )
    model = SignalDenoiser(backbone=expect(SignalNetwork, network)).eval()
    hour = np.random.default_rng(0).normal(size=(1, 1, 3600 * RATE)).astype(np.float32)

    def read(start: int, end: int) -> np.ndarray:
        return np.take(hour, range(start, end), axis=-1, mode="wrap")

    rows = []
    for hours in HOURS:
        started, n = time.perf_counter(), 0
        for segment in denoise_stream(model, read, n_samples=hours * hour.shape[-1], device=torch.device("cpu")):
            n += segment.shape[-1]
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)
        rows.append([f"{hours} h", f"{seconds:.1f}", f"{hours * 3600 / seconds:.0f}", f"{peak:.0f}"])
    note(f"ecg-denoise.toml, {torch.get_num_threads()} threads, torch {torch.__version__}")
    table("a record in overlapping segments", ["", "s", "times real time", "peak memory of the process in MB"], rows)


if __name__ == "__main__":
    main()
