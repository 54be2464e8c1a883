"""`ssl-bio report`: one page of a sheet and its run folders, and a line for each task in the terminal."""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ssl_bio.commands.rows import published, task_figures
from ssl_bio.commands.run_sections import sections_of, title_of
from ssl_bio.config.resolve import recipe_of
from ssl_bio.console import note, progress
from ssl_bio.errors import CheckpointError, RecipeError, SheetError, SslBioError
from ssl_bio.metrics import metric_text, metrics
from ssl_bio.metrics.bootstrap import Interval, Sample, interval_over_people
from ssl_bio.pretexts.base import pretext_class
from ssl_bio.results import plots, sheet, tables
from ssl_bio.results.curves import label_curves, learning_curves
from ssl_bio.results.evaluation import Predictions, Table
from ssl_bio.results.leaderboard import Board, Entry, boards_of, entries_of
from ssl_bio.results.page import GENERATOR, Page, Picture, render
from ssl_bio.results.svg import figure_svg
from ssl_bio.runs.files import write_text
from ssl_bio.runs.finished import FinishedRun, FoundRuns, finished_runs, read_predictions
from ssl_bio.runs.folder import RUNS
from ssl_bio.tasks.base import AnyTask, load_task

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEFAULT_SHEET, DEFAULT_OUT = Path("results.csv"), Path("report.html")
#: Bytes of pictures, beyond which no further run is drawn: 500 runs stay below 5 MB.
MOST_PICTURES = 3_000_000
LARGEST_PICTURE = 150_000  # bytes; of larger ones, such as minutes of a signal, the page names the file
_BEST_COLUMNS = ("task", "lines", "ranked by", "best", "of", "compared with")
_TOLERANCE = 1e-3  # between a row's metric and that of the predictions, which are stored in single precision
_HEAD = 2000  # bytes of a page that say what wrote it
#: What files that others wrote may raise when a task reads them as its own.
_UNFIT = (SslBioError, KeyError, ValueError, IndexError, TypeError, AttributeError)


def report(sheet_path: Path | None, runs_root: Path | None, *, out: Path, by: str = "") -> None:
    """Write the page of a sheet and of the runs below a folder; of the default ones those that are there.

    `by`: the metric that ranks the leaderboards of those which have it.

    Raises RecipeError for an unknown metric, SheetError or CheckpointError when what was asked for is not there, and
    for an `out` that is another file than an earlier page.
    """
    if by and by not in metrics():
        raise RecipeError(f"--by {by}: no metric; choose one of {', '.join(metrics())}")
    _check_out(out)
    rows = sheet.read(sheet_path or DEFAULT_SHEET) if sheet_path or DEFAULT_SHEET.exists() else []
    root = runs_root or RUNS
    if runs_root and not runs_root.is_dir():
        raise CheckpointError(f"{runs_root}: no such folder of runs")
    found = finished_runs(root) if root.is_dir() else FoundRuns([], [])
    if not rows and not found.runs:
        raise SheetError(
            f"nothing to report: no row in {sheet_path or DEFAULT_SHEET} and no run below {root}; "
            "--sheet and --runs say where they are"
        )
    name = (sheet_path or DEFAULT_SHEET).name if rows else ""
    page = _Report(rows, found, root=root, by=by).page(name)
    text = render(page)
    write_text(out, text)
    if page.boards:
        tables.show([_best_table(page.boards)])
    for line in page.problems:
        note(f"not read: {line}")
    for line in page.notes:
        note(line)
    size = len(text.encode()) / 1000
    note(f"{out}: {_count(len(page.boards), 'leaderboard')}, {_count(len(page.runs), 'run')}, {size:.0f} kB")


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _check_out(out: Path) -> None:
    """Raise CheckpointError unless a page can be written there, and nothing else is replaced by it."""
    if out.is_dir():
        raise CheckpointError(f"{out}: a folder; give --out a file name such as {out / DEFAULT_OUT}")
    try:
        if out.exists() and GENERATOR.encode() not in out.read_bytes()[:_HEAD]:
            raise CheckpointError(f"{out}: another file than an earlier report; give another name to --out")
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"{out}: cannot be written: {error.strerror or error}") from error


def _best_table(boards: Sequence[Board]) -> Table:
    """Return the best run of each board that was not chosen on test, and what it is compared with."""
    rows = []
    for board in boards:
        row = [board.task + (f" ({board.split})" if board.split else ""), str(len(board.entries)), board.ranking]
        best = board.best
        other = board.compared_with(best) if best else None
        if best:
            value = tables.mean_std(board.ranking, np.array(best.metrics[board.ranking]))
            row += [value, ", ".join(text for text in (best.name, best.settings["mode"]) if text)]
        if other:
            row.append(f"{other.name} {metric_text(board.ranking, other.mean(board.ranking))}")
        cells = [" ".join(cell.split()) for cell in row]  # names may hold line breaks
        rows.append([*cells, *[""] * (len(_BEST_COLUMNS) - len(cells))])
    return Table("the best runs that were not chosen on test", _BEST_COLUMNS, rows)


class _Loaded:
    """A finetuned run's task, and what it predicted."""

    def __init__(self, run: FinishedRun) -> None:
        self.run = run
        self.task: AnyTask = load_task(recipe_of(tomllib.loads(run.recipe_text), str(run.path)))

    @cached_property
    def predictions(self) -> Predictions | None:
        """Return what it predicted of its test split, None where that is not stored."""
        stored = read_predictions(self.run)
        return stored and Predictions(arrays=stored.arrays, constants=stored.constants)

    def figures(self) -> "dict[str, Figure]":
        """Return its curves, and what its task shows of the predictions."""
        metadata = self.run.metadata
        if self.predictions is None or metadata.target is None:
            return learning_curves(self.run.history, leading=self.task.leading_metrics[:1])
        target = self.task.stored_target(metadata.target)
        evaluation = self.task.score(target, self.predictions)
        return task_figures(self.task, target, evaluation, metadata=metadata, history=self.run.history)


class _Report:
    """A page in the making: what is known of runs, and what could not be read."""

    def __init__(self, rows: Sequence[Mapping[str, str]], found: FoundRuns, *, root: Path, by: str) -> None:
        self.rows, self.root, self.by = rows, root, by
        self.runs = found.runs
        self.by_id = {run.run_id: run for run in found.runs if run.run_id}
        self.problems = list(found.problems)
        self.notes: list[str] = []

    def page(self, sheet_name: str) -> Page:
        """Return the page."""
        entries, unread = entries_of(self.rows)
        self.problems += unread
        with progress("report", len(entries) + len(self.runs)) as tick:
            measured: list[Entry] = []
            for board in boards_of([*entries, *self._references(entries)], by=self.by):
                for entry in board.entries:
                    if entry.kind != "baseline":  # those are made of the others
                        measured.append(replace(entry, intervals=self._intervals(entry, board.ranking)))
                        tick(len(measured))
            boards = boards_of(measured, by=self.by)
            charts, pictures = self._pictures(boards, lambda n_drawn: tick(len(entries) + n_drawn))
        sections = sections_of(self.runs, root=self.root, pictures=pictures)
        return Page(
            sheet=sheet_name,
            n_rows=len(self.rows),
            boards=boards,
            charts=charts,
            runs=sections,
            anchors={run.run_id: one.anchor for run, one in zip(self.runs, sections, strict=True) if run.run_id},
            problems=self.problems,
            notes=self.notes,
        )

    def _runs_of(self, entry: Entry) -> list[FinishedRun]:
        """Return the run folders of an entry's rows, as far as they are there."""
        ids = [row.get("run_id", "").rpartition("-")[0] for row in entry.rows]
        return [self.by_id[own] for own in ids if own in self.by_id]

    def _load(self, run: FinishedRun) -> _Loaded | None:
        try:
            return _Loaded(run)
        except SslBioError as error:
            self._problem(run, error)
            return None

    def _problem(self, run: FinishedRun, error: Exception) -> None:
        why = (str(error) or type(error).__name__).splitlines()[0]
        if not isinstance(error, SslBioError):
            why = f"its files do not fit one another ({type(error).__name__}: {why})"
        line = f"{title_of(run, self.root)}: {why.removeprefix(f'{run.path}/').removeprefix(f'{run.path}: ')}"
        if line not in self.problems:
            self.problems.append(line)

    def _intervals(self, entry: Entry, name: str) -> dict[str, Interval]:
        """Return the interval over people of the metric that ranks an entry's board. None unless all of its runs still
        hold the predictions that its rows were measured on."""
        runs = self._runs_of(entry)
        if len(runs) < len(entry.rows) or not runs or not entry.settings["split"].startswith("test"):
            return {}
        samples, function = [], None
        for run, value in zip(runs, entry.metrics.get(name, ()), strict=False):
            loaded = self._load(run)
            try:
                if loaded is None or loaded.predictions is None:
                    return {}
                scored = loaded.task.scored(loaded.predictions)
                if scored is None or scored.kind not in metrics()[name].functions:
                    return {}
                function = metrics()[name].functions[scored.kind]
                if abs(function(scored.targets, scored.predictions) - value) > _TOLERANCE * max(1.0, abs(value)):
                    return {}  # of another evaluation, or of several values
                samples.append(Sample(scored.targets, scored.predictions, loaded.predictions.arrays["subject"]))
            except _UNFIT as error:
                self._problem(run, error)
                return {}
        found = interval_over_people(function, samples) if function and len(samples) == len(runs) else None
        return {name: found} if found else {}

    def _references(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return the published figures that recipes of the runs hold, each once a task."""
        found: dict[tuple[str, str, str], Entry] = {}
        for entry in entries:
            for run in self._runs_of(entry)[:1]:
                loaded = self._load(run)
                if loaded is None:
                    continue
                recipe = loaded.task.recipe
                for name, values in published(recipe).items():
                    mode = {"mode": recipe.finetune.mode} if name == "reference" else {}
                    known = {metric: [value] for metric, value in values.items() if metric in metrics()}
                    source = recipe.reference.source
                    one = Entry(
                        kind="published", name=name, task=entry.task, metrics=known, settings=mode, source=source
                    )
                    found.setdefault((entry.task, str(mode), repr(known)), one)
        return list(found.values())

    def _pictures(
        self, boards: Sequence[Board], tick: Callable[[int], None]
    ) -> tuple[dict[int, Picture], dict[str, list[Picture]]]:
        """Return the few-label curve of each board, by its index, and the pictures of runs, by their path: as many as
        fit, the leaders of all boards first, one seed of each line before the others. `tick` is told of how many."""
        charts: dict[int, Picture] = {}
        drawn: dict[str, list[Picture]] = {}
        size = 0
        if not plots.can_draw():
            self.notes.append(f"No pictures: drawing them needs matplotlib ({plots.INSTALL_HINT}).")
            return charts, drawn
        with plots.style():
            for index, board in enumerate(boards):
                figures = label_curves(board.label_curves(), metric=board.ranking)
                for name, figure in figures.items():
                    title = f"{board.ranking} against the share of the labels"
                    charts[index] = _picture(figure, title=title, name=f"{name}{index}", of=board.task)
                    size += len(charts[index].svg)
            for run in self._in_order(boards):
                if size > MOST_PICTURES:
                    break
                pictures = self._draw(run, f"f{len(drawn)}")
                drawn[str(run.path)] = pictures
                size += sum(len(one.svg.encode()) for one in pictures)
                tick(len(drawn))
        if len(drawn) < len(self.runs):
            self.notes.append(
                f"Pictures of {len(drawn)} of {len(self.runs)} runs, the first of the leaderboards and a seed of each "
                f"line first, up to {MOST_PICTURES / 1e6:g} MB; the others have theirs in their folders."
            )
        return charts, drawn

    def _in_order(self, boards: Sequence[Board]) -> list[FinishedRun]:
        """Return all runs: those that lead come first."""
        lines = [
            (place, index, self._runs_of(entry))
            for index, board in enumerate(boards)
            for place, entry in enumerate(entry for entry in board.entries if entry.kind == "run")
        ]
        lines.sort(key=lambda line: line[:2])
        most = max((len(runs) for _, _, runs in lines), default=0)
        ordered = [runs[seed] for seed in range(most) for _, _, runs in lines if seed < len(runs)]
        unique = {str(run.path): run for run in [*ordered, *self.runs]}
        return list(unique.values())

    def _draw(self, run: FinishedRun, prefix: str) -> list[Picture]:
        try:
            pictures = [
                _picture(figure, title=title.replace("_", " "), name=f"{prefix}-{index}", of=title_of(run, self.root))
                for index, (title, figure) in enumerate(self._figures(run).items())
            ]
            return [one for one in pictures if len(one.svg) <= LARGEST_PICTURE]
        except _UNFIT as error:
            self._problem(run, error)
            return []

    def _figures(self, run: FinishedRun) -> "dict[str, Figure]":
        if run.metadata.kind == "finetune":
            loaded = self._load(run)
            return loaded.figures() if loaded else {}
        recipe = recipe_of(tomllib.loads(run.recipe_text), str(run.path))
        leading = pretext_class(recipe.pretrain.pretext).curves()
        return learning_curves(run.history, leading=leading, best_epoch=run.metadata.best_epoch)


def _picture(figure: "Figure", *, title: str, name: str, of: str) -> Picture:
    wide = figure.get_figwidth() > plots.WIDTH
    return Picture(title, figure_svg(figure, name=name, text=f"{title} of {of}"), wide)
