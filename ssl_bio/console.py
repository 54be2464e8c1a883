"""What a person sees: notes, progress bars with ETA and live losses, tables. Quiet when not a terminal."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

console = Console(highlight=False, soft_wrap=True)
error_console = Console(stderr=True, highlight=False, soft_wrap=True)


class Ticker(Protocol):
    """Told of every finished unit of work, with figures to show beside the bar."""

    def __call__(self, done: int, figures: Mapping[str, float] | None = None) -> None: ...


_showing = False
_silenced = False


@contextmanager
def silenced(on: bool = True) -> Iterator[None]:
    """Print no notes, tables and bars while the block runs; `on` False: print them again inside such a block."""
    global _silenced
    before, _silenced = _silenced, on
    try:
        yield
    finally:
        _silenced = before


def note(text: str) -> None:
    """Print one line as it is."""
    if not _silenced:
        console.print(escape(text))


def warn(text: str) -> None:
    """Print one line that asks for attention."""
    if not _silenced:
        console.print(f"[yellow]note:[/] {escape(text)}")


@contextmanager
def progress(title: str, total: int) -> Iterator[Ticker]:
    """Show a bar with ETA and live metrics, on a terminal only; inside another bar, nothing."""
    global _showing
    if _showing or _silenced or not console.is_terminal:
        yield _silent
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("eta"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=total, figures="")

        def tick(done: int, figures: Mapping[str, float] | None = None) -> None:
            bar.update(task, completed=done)
            if figures:
                bar.update(task, figures="  ".join(f"{name} {value:.4g}" for name, value in figures.items()))

        _showing = True
        try:
            yield tick
        finally:
            _showing = False


def _silent(done: int, figures: Mapping[str, float] | None = None) -> None:
    """A ticker that shows nothing."""


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a small table, its first column left, numbers right; plain aligned text when not on a terminal."""
    if _silenced:
        return
    if title:  # a line of its own: rich would break it to the width of the table
        console.print(f"[bold]{escape(title)}[/]")
    if not console.is_terminal:
        _plain_table(columns, rows)
        return
    view = Table(header_style="bold", expand=False)
    for index, column in enumerate(columns):
        right = index > 0 and all(_is_number(row[index]) for row in rows)
        view.add_column(escape(column), justify="right" if right else "left", overflow="fold")
    for row in rows:
        view.add_row(*(escape(cell) for cell in row))
    console.print(view, soft_wrap=False)


def _plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    lines = [list(columns), *(list(row) for row in rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        console.print(escape("  ".join(cells).rstrip()))


def _is_number(text: str) -> bool:
    return not text or text[0].isdigit() or text[0] in "+-."
