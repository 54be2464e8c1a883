"""What a person sees: notes, tables, and on a terminal bars with ETA and live losses, in a log a line an epoch."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, ProgressColumn, Task, TaskID
from rich.table import Table
from rich.text import Text

console = Console(highlight=False, soft_wrap=True)
error_console = Console(stderr=True, highlight=False, soft_wrap=True)


class Ticker(Protocol):
    """Told of every finished unit of work, with figures to show beside the bar."""

    def __call__(self, done: int, figures: Mapping[str, float] | None = None) -> None: ...


class TrainingWatch:
    """Told of every step and epoch of a training; this one shows nothing."""

    def step(self, done: int, losses: Mapping[str, float] | None = None) -> None:
        """Take note of so many steps in all, and of the losses of the epoch so far."""

    def epoch(self, number: int, figures: Mapping[str, float]) -> None:
        """Take note of the end of an epoch, counted from 1, and of its losses and metrics."""


_showing = False
_silenced = False
_stages: list[tuple[str, int, int]] = []

_BAR_WIDTH, _SHORTEST_BAR, _GAP = 24, 8, 2  # characters
_LINE_SECONDS = 2.0  # the least time between two lines of a training in a log


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
def stage(name: str, number: int, total: int) -> Iterator[None]:
    """Have bars and lines say "seed 2 of 3" of all that is done inside the block; nothing where there is but one."""
    if total > 1:
        _stages.append((name, number, total))
    try:
        yield
    finally:
        if total > 1:
            _stages.pop()


@contextmanager
def progress(title: str, total: int) -> Iterator[Ticker]:
    """Show a bar with ETA and live metrics, on a terminal only; inside another bar, nothing."""
    if _showing or _silenced or not console.is_terminal:
        yield _silent
        return
    with _bar(title, total=total, done=0) as (bar, task):

        def tick(done: int, figures: Mapping[str, float] | None = None) -> None:
            bar.update(task, completed=done)
            if figures:
                bar.update(task, figures=figures)

        yield tick


@contextmanager
def training_progress(*, epochs: int, steps: int, done: int) -> Iterator[TrainingWatch]:
    """Show a training of so many epochs of so many steps, of which `done` epochs are done.

    On a terminal as a bar; elsewhere, such as in a cluster's log, as a line an epoch, of short epochs one every few
    seconds, and of the last one always. Inside another bar, nothing.
    """
    if _showing or _silenced:
        yield TrainingWatch()
    elif console.is_terminal:
        with _bar(_epoch_title(min(done + 1, epochs), epochs), total=epochs * steps, done=done * steps) as (bar, task):
            yield _TrainingBar(bar, task, epochs)
    else:
        lines = _TrainingLines(epochs, done)
        try:
            yield lines
        finally:
            lines.close()


class _TrainingBar(TrainingWatch):
    """A bar with live losses and what validation said last."""

    def __init__(self, bar: Progress, task: TaskID, epochs: int) -> None:
        self.bar, self.task, self.epochs = bar, task, epochs
        self.validated: Mapping[str, float] = {}

    def step(self, done: int, losses: Mapping[str, float] | None = None) -> None:
        self.bar.update(self.task, completed=done)
        if losses:
            shown = {**self.validated, **losses}
            self.bar.update(self.task, figures={name: shown[name] for name in ("loss", *shown) if name in shown})

    def epoch(self, number: int, figures: Mapping[str, float]) -> None:
        self.validated = {name: value for name, value in figures.items() if name != "loss"}
        following = _epoch_title(min(number + 1, self.epochs), self.epochs)
        self.bar.update(self.task, figures=figures, description=_staged(following))


class _TrainingLines(TrainingWatch):
    """Lines for a log."""

    def __init__(self, epochs: int, done: int) -> None:
        self.epochs, self.before = epochs, done
        self.started = time.monotonic()
        self.said = -math.inf
        self.waiting: tuple[int, Mapping[str, float]] | None = None

    def epoch(self, number: int, figures: Mapping[str, float]) -> None:
        self.waiting = (number, figures)
        if number < self.epochs and time.monotonic() - max(self.said, self.started) >= _LINE_SECONDS:
            self._say(ended=False)

    def close(self) -> None:
        """Print the last epoch, if it was not printed."""
        if self.waiting:
            self._say(ended=True)

    def _say(self, *, ended: bool) -> None:
        number, figures = self.waiting or (0, {})
        self.waiting, self.said = None, time.monotonic()
        taken = self.said - self.started
        left = taken / (number - self.before) * (self.epochs - number)
        when = f"after {duration(taken)}" if ended else f"eta {duration(left)}"
        shown = [f"{name} {value:.4g}" for name, value in figures.items()]
        note("  ".join([_staged(f"epoch {number}/{self.epochs}", between="/"), *shown, when]))


@contextmanager
def _bar(title: str, *, total: int, done: int) -> Iterator[tuple[Progress, TaskID]]:
    global _showing
    with Progress(_BarLine(), console=console, transient=True) as bar:
        task = bar.add_task(_staged(title), total=total, completed=done, figures={})
        _showing = True
        try:
            yield bar, task
        finally:
            _showing = False


class _BarLine(ProgressColumn):
    """The whole line of a bar: what does not fit gives way, the title and the ETA last."""

    def render(self, task: Task) -> Text:
        """Return the line as wide as the terminal is now."""
        share = task.completed / task.total if task.total else 0.0
        return bar_line(
            task.description,
            share=share,
            count=f"{task.completed:g}/{task.total or 0:g}",
            eta=f"eta {_clock(task.time_remaining)}",
            figures=[f"{name} {value:.4g}" for name, value in task.fields["figures"].items()],
            width=console.width,
            ascii_only=console.options.ascii_only,
        )


def bar_line(
    title: str, *, share: float, count: str, eta: str, figures: Sequence[str], width: int, ascii_only: bool = False
) -> Text:
    """Return a line of at most `width` characters: title, bar, count, ETA and figures.

    Figures after the first one give way first, then the count, the bar, the first figure, the end of the title.
    """
    room = width - len(eta) - _GAP
    title = title if len(title) <= room else f"{title[: max(room - 3, 0)]}..."
    room -= len(title)
    first, rest = figures[:1], figures[1:]
    shown: list[str] = []

    def takes(text_width: int) -> bool:
        nonlocal room
        fits = text_width + _GAP <= room
        room -= text_width + _GAP if fits else 0
        return fits

    if first and takes(len(first[0])):
        shown += first
    bar_width = min(_BAR_WIDTH, room - _GAP)
    has_bar = bar_width >= _SHORTEST_BAR and takes(bar_width)
    has_count = has_bar and takes(len(count))
    for figure in rest:
        if not (shown and takes(len(figure))):
            break
        shown.append(figure)
    line = Text(title, no_wrap=True, overflow="crop")
    if has_bar:
        filled = round(bar_width * min(share, 1.0))
        done, left = ("#", "-") if ascii_only else ("━", "─")
        line.append(" " * _GAP).append(done * filled, "bar.complete").append(left * (bar_width - filled), "bar.back")
    for text in [*([count] if has_count else []), eta, *shown]:
        line.append(" " * _GAP).append(text)
    return line


def _epoch_title(epoch: int, epochs: int) -> str:
    return f"epoch {epoch} of {epochs}"


def _staged(title: str, between: str = " of ") -> str:
    """Return a title after the stages that it stands in: "seed 2 of 3, epoch 8 of 15"."""
    return ", ".join([*(f"{name} {number}{between}{total}" for name, number, total in _stages), title])


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "-:--:--"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


def duration(seconds: float) -> str:
    """Return a time as people say it: "0.4 s", "45 s", "12 min", "3 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


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
