"""What a run answered along a recording, drawn."""

from pathlib import Path

import numpy as np

from ssl_bio.data.dataset import PreparedDataset
from ssl_bio.results.output_table import Columns
from ssl_bio.results.plots import can_draw, stacked_axes

_MOST = 4000  # samples of a signal that are drawn


def draw_answers(path: Path, windows: PreparedDataset, columns: Columns) -> None:
    """Draw a recording's first channel, and below it each number that was answered, over time in s, into a PNG file.

    Where several runs were averaged, a band shows their standard deviation.
    """
    if not can_draw():
        return
    numbers = [name for name, values in columns.items() if values.dtype.kind == "f" and not name.startswith("std ")]
    figure, axes = stacked_axes(2, height=2.2)
    duration = float(windows.info.options["window"])
    middle = windows.starts + duration / 2
    signal, lower = axes
    step = max(1, len(windows.signals) * windows.info.length // _MOST)
    for start, window in zip(windows.starts, windows.signals[:, 0], strict=True):
        shown = window[::step]
        signal.plot(start + np.arange(len(shown)) * step / windows.info.sampling_rate, shown, "k-", lw=0.5)
    signal.set_ylabel(f"{windows.info.channels[0]} ({windows.info.unit})")
    for name in numbers:
        values = columns[name]
        (line,) = lower.plot(middle, values, ".-", ms=3, lw=1, label=name)
        if f"std {name}" in columns:
            spread = columns[f"std {name}"]
            lower.fill_between(middle, values - spread, values + spread, alpha=0.25, color=line.get_color(), lw=0)
    lower.set_xlabel("time (s)")
    lower.set_ylabel(numbers[0] if len(numbers) == 1 else "probability")
    if len(numbers) > 1:
        lower.legend(ncols=min(4, len(numbers)), fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.25))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, format="png")
