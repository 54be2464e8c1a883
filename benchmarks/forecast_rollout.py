"""A rollout of 10,000 samples with kept state, beside one that reads its whole window again for every sample.

The latter runs over fewer samples, for each costs the same, and its time is multiplied.

Run: make bench.
"""

import time
from typing import Any

import torch
from torch import Tensor

from ssl_bio.console import note, table
from ssl_bio.models.attention import AttentionBackbone
from ssl_bio.models.base import StreamingBackbone
from ssl_bio.models.forecaster import StreamingForecaster
from ssl_bio.models.lstm import LSTMBackbone

HORIZON, N_READ_AGAIN, TIME_STEPS, BATCH = 10_000, 200, 320, 4


def main() -> None:
    """Measure and print."""
    torch.manual_seed(0)
    backbones: dict[str, StreamingBackbone[Any]] = {
        "attention": AttentionBackbone(length=TIME_STEPS),
        "attention, 2 layers": AttentionBackbone(length=TIME_STEPS, n_layers=2),
        "lstm": LSTMBackbone(),
    }
    rows = [[name, *_row(backbone)] for name, backbone in backbones.items()]
    note(
        f"{BATCH} series, {TIME_STEPS} samples looked back on, width 64, {torch.get_num_threads()} threads, torch "
        f"{torch.__version__}"
    )
    columns = ["", "s with kept state", "s reading again", "times as fast"]
    table(f"{HORIZON} samples, free-running", columns, rows)


@torch.no_grad()
def _row(backbone: StreamingBackbone[Any]) -> list[str]:
    model = StreamingForecaster(backbone=backbone, time_steps=TIME_STEPS).eval()
    history = torch.randn(BATCH, TIME_STEPS)
    _read_again(model, history, N_READ_AGAIN // 10)  # warms up
    started = time.perf_counter()
    model.rollout(history, HORIZON)
    kept = time.perf_counter() - started
    started = time.perf_counter()
    _read_again(model, history, N_READ_AGAIN)
    again = (time.perf_counter() - started) * HORIZON / N_READ_AGAIN
    return [f"{kept:.1f}", f"{again:.1f}", f"{again / kept:.1f}"]


def _read_again(model: StreamingForecaster, window: Tensor, horizon: int) -> None:
    for _ in range(horizon):
        window = torch.cat([window[:, 1:], model(window)[:, -1:]], dim=1)


if __name__ == "__main__":
    main()
