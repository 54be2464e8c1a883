"""What all plots share. Drawing needs the extra `figures`."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ssl_bio.console import note
from ssl_bio.runs.folder import FIGURES_FOLDER, RunFolder

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def can_draw() -> bool:
    """Return whether matplotlib is there, and say so when it is not."""
    try:
        from matplotlib.figure import Figure  # noqa: F401  # only whether it is there
    except ImportError:
        note("no figures: they need matplotlib (pip install 'ssl-bio[figures]')")
        return False
    return True


def stacked_axes(n: int, *, height: float) -> "tuple[Figure, list[Axes]]":
    """Return a figure of `n` axes above one another with one time axis, each `height` inches high."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, height * n), layout="constrained")
    return figure, list(np.atleast_1d(figure.subplots(n, sharex=True)))


def axes_grid(n_rows: int, n_columns: int, *, height: float) -> "tuple[Figure, list[list[Axes]]]":
    """Return a figure of rows of axes with one time axis a column, each `height` inches high."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, height * n_rows), layout="constrained")
    return figure, figure.subplots(n_rows, n_columns, sharex="col", squeeze=False).tolist()


def single_axes(*, width: float = 9, height: float = 3) -> "tuple[Figure, Axes]":
    """Return a figure with one pair of axes; sizes in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def save_figures(run: RunFolder, figures: "Mapping[str, Figure]") -> None:
    """Write figures into the run's folder of figures."""
    for name, figure in figures.items():
        run.write_figure(name, partial(figure.savefig, dpi=120, format="png"))
    note(f"figures in {run.path / FIGURES_FOLDER}")
