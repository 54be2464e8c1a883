"""predict and embed on an hour and on a day of nine channels at 50 Hz with the network of har.toml: windows a second,
and memory.

Run: make bench.
"""

import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

import ssl_bio
from ssl_bio.commands.embed import EmbedOptions, embed
from ssl_bio.commands.predict import PredictOptions, predict
from ssl_bio.config.load import load_recipe
from ssl_bio.console import note, silenced, table

RATE, N_CHANNELS, WINDOW = 50, 9, 2.56  # Hz, as in har; s
HOURS = (1, 24)


def main() -> None:
    """Measure and print."""
    rng = np.random.default_rng(0)
    with TemporaryDirectory() as name:
        folder = Path(name)
        run = trained(folder, rng)
        rows = []
        for hours in HOURS:
            recording = folder / f"{hours}h.npz"
            signals = rng.normal(size=(N_CHANNELS, hours * 3600 * RATE)).astype(np.float32)
            np.savez(recording, signals=signals, sampling_rate=float(RATE))
            del signals
            asked = PredictOptions(checkpoints=[run], source=recording, output=folder / f"{hours}h.csv")
            embedded = EmbedOptions(checkpoint=run, source=recording, output=folder / f"{hours}h-embedded.npz")
            for verb, work in (("predict", partial(predict, asked)), ("embed", partial(embed, embedded))):
                seconds = timed(work)
                n = int(hours * 3600 / WINDOW)
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                peak //= 1024**2 if sys.platform == "darwin" else 1024
                rows.append([f"{verb}, {hours} h", f"{n}", f"{seconds:.1f}", f"{n / seconds:.0f}", f"{peak}"])
    note(f"har.toml, {torch.get_num_threads()} threads, torch {torch.__version__}")
    table("new recordings", ["", "windows", "s", "windows a second", "peak memory of the process in MB"], rows)


def trained(folder: Path, rng: np.random.Generator) -> Path:
    """Return a run with the network of har.toml, hardly trained, on noise of a dozen people."""
    signals = [rng.normal(size=(N_CHANNELS, 60 * RATE)) for _ in range(12)]
    data = ssl_bio.prepare(
        signals, {"activity": ["walking", "sitting"] * 6}, sampling_rate=RATE, name="noise", root=folder / "data"
    )
    recipe = {"model": load_recipe("har.toml").values["model"], "data": {"window": WINDOW, "target": "activity"}}
    once = {"finetune.epochs": 1}
    return ssl_bio.finetune(recipe, data, overrides=once, out=folder / "run", sheet=folder / "sheet.csv")


def timed(work: Callable[[], None]) -> float:
    """Return how many seconds something takes that is told to be silent."""
    started = time.perf_counter()
    with silenced():
        work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
