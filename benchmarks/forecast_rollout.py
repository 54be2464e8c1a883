"""A rollout of 10,000 samples with kept state, beside one that reads its whole window again for every sample.

The latter is run over fewer samples, for every one of them costs the same, and multiplied.

Run: make bench.
"""

import time

import torch
from torch import Tensor, nn

from ssl_bio.models.forecaster import StepForecaster
from ssl_bio.models.readers import AttentionReader, LSTMReader
from ssl_bio.terminal import note, table

HORIZON, N_READ_AGAIN, TIME_STEPS, BATCH = 10_000, 200, 320, 4


def main() -> None:
    """Measure and print."""
    torch.manual_seed(0)
    readers: dict[str, nn.Module] = {
        "attention": AttentionReader(64, 1, 4, TIME_STEPS),
        "attention, 2 layers": AttentionReader(64, 2, 4, TIME_STEPS),
        "lstm": LSTMReader(64),
    }
    rows = [[name, *_row(StepForecaster(reader, TIME_STEPS).eval())] for name, reader in readers.items()]
    note(
        f"{BATCH} series, {TIME_STEPS} samples looked back on, width 64, {torch.get_num_threads()} threads, torch "
        f"{torch.__version__}"
    )
    columns = ["", "s with kept state", "s reading again", "times as fast"]
    table(f"{HORIZON} samples, free-running", columns, rows)


@torch.no_grad()
def _row(model: StepForecaster) -> list[str]:
    history = torch.randn(BATCH, TIME_STEPS)
    _read_again(model, history, N_READ_AGAIN // 10)  # warms up
    started = time.perf_counter()
    model.rollout(history, HORIZON)
    kept = time.perf_counter() - started
    started = time.perf_counter()
    _read_again(model, history, N_READ_AGAIN)
    again = (time.perf_counter() - started) * HORIZON / N_READ_AGAIN
    return [f"{kept:.1f}", f"{again:.1f}", f"{again / kept:.1f}"]


def _read_again(model: StepForecaster, window: Tensor, horizon: int) -> None:
    for _ in range(horizon):
        window = torch.cat([window[:, 1:], model(window)[:, -1:]], dim=1)


if __name__ == "__main__":
    main()
