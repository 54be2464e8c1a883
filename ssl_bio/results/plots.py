"""What all plots share: one style, axes, and where they are written. Drawing needs the extra `figures`."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ssl_bio.console import note
from ssl_bio.runs.folder import FIGURES_FOLDER, RunFolder

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: What matplotlib draws with where it is missing.
INSTALL_HINT = "pip install 'ssl-bio[figures]'"
#: Inches. Two figures stand side by side on a page, and one fills the width of a phone.
WIDTH, HEIGHT, WIDE = 4.6, 3.2, 9.2
INK, GREY, PALE = "#1a1a1a", "#777777", "#bbbbbb"
#: Okabe and Ito's colours for all kinds of colour vision, in an order in which neighbours also differ in brightness.
ACCENT, SECOND = "#d55e00", "#0072b2"
PALETTE = (SECOND, "#e69f00", "#009e73", ACCENT, "#56b4e9", "#cc79a7", INK)
_DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
_DPI = 150
DOTS, DOT = "dots", 2.6  # what a group of dots is called in SVG, and their diameter in points
#: Fonts with scripts that matplotlib's own lacks, whichever are installed.
_FURTHER_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans SC", "Microsoft YaHei", "PingFang SC", "WenQuanYi Zen Hei"),
    *("Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari", "Noto Emoji", "Arial Unicode MS"),
)


def can_draw() -> bool:
    """Return whether matplotlib is there, and say so when it is not."""
    try:
        from matplotlib.figure import Figure  # noqa: F401  # only whether it is there
    except ImportError:
        note(f"no figures: they need matplotlib ({INSTALL_HINT})")
        return False
    return True


@contextmanager
def style() -> Iterator[None]:
    """Draw in the house's style while the block runs: lines differ in colour and dashes, texts are taken as they are,
    in any script."""
    import matplotlib
    from cycler import cycler
    from matplotlib.font_manager import get_font_names

    installed = set(get_font_names())
    chosen = matplotlib.rc_context(
        {
            "axes.prop_cycle": cycler(color=PALETTE, linestyle=_DASHES),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlelocation": "left",
            "axes.titlesize": 9,
            "axes.axisbelow": True,
            "font.family": ["DejaVu Sans", *(name for name in _FURTHER_FONTS if name in installed)],
            "font.size": 8.5,
            "legend.fontsize": 8,
            "legend.frameon": False,
            "lines.linewidth": 1.4,
            "path.simplify_threshold": 0.5,  # points of an inch: what no eye tells apart is one line
            "text.parse_math": False,
            "svg.fonttype": "none",
            "svg.hashsalt": "ssl-bio",
            "text.color": INK,
            "axes.edgecolor": INK,
            "axes.labelcolor": INK,
            "xtick.color": INK,
            "ytick.color": INK,
        }
    )
    with chosen, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield


def stacked_axes(n: int, *, height: float) -> "tuple[Figure, list[Axes]]":
    """Return a figure of `n` axes above one another with one time axis, each `height` inches high."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDE, height * n), layout="constrained")
    return figure, list(np.atleast_1d(figure.subplots(n, sharex=True)))


def axes_grid(n_rows: int, n_columns: int, *, width: float = WIDE, height: float) -> "tuple[Figure, list[list[Axes]]]":
    """Return a figure of rows of axes with one x axis a column, each row `height` inches high."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height * n_rows), layout="constrained")
    return figure, figure.subplots(n_rows, n_columns, sharex="col", squeeze=False).tolist()


def single_axes(*, width: float = WIDTH, height: float = HEIGHT) -> "tuple[Figure, Axes]":
    """Return a figure with one pair of axes; sizes in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def printable(text: str) -> str:
    """Return a text without control characters, which neither a font nor an SVG file can hold."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def draw_dots(axes: "Axes", x: NDArray[Any], y: NDArray[Any]) -> None:
    """Draw many small dots, `(n,)` each; a page holds them as one path."""
    dots = axes.plot(x, y, linestyle="", marker="o", markersize=DOT, markeredgewidth=0, color=SECOND, alpha=0.5)
    dots[0].set_gid(DOTS)


def draw(run: RunFolder, figures: "Callable[[], Mapping[str, Figure]]") -> None:
    """Write figures into the run's folder of figures, a PNG each of its name; without matplotlib say what is missing.

    `figures` is called in the house's style.
    """
    if not can_draw():
        return
    with style():
        drawn = figures()
        for name, figure in drawn.items():
            run.write_figure(f"{name}.png", partial(figure.savefig, dpi=_DPI, format="png"))
    if drawn:
        note(f"figures in {run.path / FIGURES_FOLDER}")
