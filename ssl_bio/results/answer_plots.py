"""What a run answered along a recording, drawn."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ssl_bio.data.dataset import PreparedDataset
from ssl_bio.results.output_table import Columns
from ssl_bio.results.plots import INK, can_draw, printable, stacked_axes, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_WINDOWS = 120  # of more of them, what each one spans is drawn instead of its samples
_CHUNK = 256  # windows read at a time
_PROBABILITY, _SPREAD = "probability ", "std "


def draw_answers(path: Path, windows: PreparedDataset, columns: Columns) -> None:
    """Draw a recording's first channel, and below it each number that was answered, over time in s, into a PNG file.

    Where several runs were averaged, a band shows their standard deviation.
    """
    if not can_draw():
        return
    with style():
        figure, (upper, lower) = stacked_axes(2, height=2.2)
        _draw_signal(upper, windows)
        _draw_numbers(lower, windows, columns)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120, format="png")


def _draw_signal(axes: "Axes", windows: PreparedDataset) -> None:
    info = windows.info
    axes.set_title(printable(f"{info.name}: {info.channels[0]} ({info.unit})"))
    starts = windows.starts - float(max(windows.options.context, 0))  # a window shows its context, too
    n = len(windows.signals)
    if n <= _MOST_WINDOWS:
        for start, window in zip(starts, windows.signals[:, 0], strict=True):
            axes.plot(start + np.arange(len(window)) / info.sampling_rate, window, "-", color=INK, lw=0.5)
        return
    spans = []
    for first in range(0, n, _CHUNK):
        part = windows.signals[first : first + _CHUNK][:, 0]
        spans.append(np.stack([part.min(axis=1), part.max(axis=1)]))
    low, high = np.concatenate(spans, axis=1)
    axes.fill_between(starts, low, high, step="post", color=INK, lw=0)


def _draw_numbers(axes: "Axes", windows: PreparedDataset, columns: Columns) -> None:
    numbers = [name for name, values in columns.items() if values.dtype.kind == "f" and not name.startswith(_SPREAD)]
    middle = windows.starts + float(windows.info.options["window"]) / 2
    marker = "." if len(middle) <= _MOST_WINDOWS else ""
    for name in numbers:
        values = columns[name]
        label = printable(name.removeprefix(_PROBABILITY))
        (line,) = axes.plot(middle, values, marker=marker, ms=3, lw=1, label=label)
        if f"{_SPREAD}{name}" in columns:
            spread = columns[f"{_SPREAD}{name}"]
            axes.fill_between(middle, values - spread, values + spread, alpha=0.25, color=line.get_color(), lw=0)
    axes.set_xlabel("time (s)")
    are_probabilities = all(name.startswith(_PROBABILITY) for name in numbers)
    axes.set_ylabel("probability" if are_probabilities else printable(numbers[0]) if len(numbers) == 1 else "value")
    if are_probabilities:
        axes.set_ylim(-0.02, 1.02)
    if len(numbers) > 1:
        axes.legend(ncols=min(6, len(numbers)), loc="upper left", bbox_to_anchor=(0, -0.25))
