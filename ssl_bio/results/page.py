"""One HTML page of results that needs nothing beside itself: leaderboards and a section for each run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import ssl_bio
from ssl_bio.metrics import lower_is_better, metric_text, metrics
from ssl_bio.metrics.bootstrap import FEWEST_PEOPLE, LEVEL, N_RESAMPLES
from ssl_bio.results.leaderboard import TESTED_ON, Board, Difference, Entry
from ssl_bio.runs.audit import DataAudit

#: By what a written page is known, so that no other file is replaced by one.
GENERATOR = "ssl-bio report"
_TEMPLATES = "templates"
_BADGES = {"run": "", "lab": "older row", "published": "published", "baseline": "baseline"}
_WORDS = {"lr": "learning rate", "backbone_lr": "learning rate of the backbone", "n_parameters": "parameters"}
_MARKS = {"better": "▲", "worse": "▼", "within": "≈", "": ""}


class Picture(NamedTuple):
    """A figure as SVG, its name, and whether it is wider than a page's column."""

    name: str
    svg: str
    wide: bool


class RecipeChange(NamedTuple):
    """A recipe's value where it departs from another recipe's."""

    key: str
    value: str
    other: str


@dataclass(frozen=True, kw_only=True)
class RunSection:
    """What the page says of a run.

    `recipe`: its text, or empty where it is told by its differences (`changes`) from that of the section `like`.
    `audits`: of its data, by part of a cross-validation (a single run: ""). `files`: further figures in its folder.
    """

    anchor: str
    title: str
    kind: str
    facts: Mapping[str, str]
    metrics: Mapping[str, float]
    recipe: str = ""
    changes: Sequence[RecipeChange] = ()
    like: "RunSection | None" = None
    audits: Mapping[str, DataAudit] = field(default_factory=dict)
    pictures: Sequence[Picture] = ()
    files: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Page:
    """All that the page shows. `sections`: of runs, by their id in the sheet. `notes`: what is left out, and why."""

    sheet: str
    n_rows: int
    boards: Sequence[Board]
    charts: Mapping[int, Picture]  # few-label curves, by the index of their board
    runs: Sequence[RunSection]
    anchors: Mapping[str, str]  # of the sections, by the id of their run
    problems: Sequence[str]
    notes: Sequence[str]


class Cell(NamedTuple):
    """A cell: its text, the number it is sorted by (else its text), what it means, and links behind it."""

    text: str
    sort: float | None = None
    style: str = ""
    links: Sequence[tuple[str, str]] = ()


class Line(NamedTuple):
    """A line of a leaderboard. `badge`: what a reader should know of it before all else."""

    kind: str
    badge: str
    cells: Sequence[Cell]


class Column(NamedTuple):
    """A column of a leaderboard: its title, what it means, whether it holds numbers, and how it is sorted at first."""

    title: str
    meaning: str = ""
    numeric: bool = False
    sorted: str = ""


class BoardView(NamedTuple):
    """A leaderboard as the page shows it."""

    anchor: str
    title: str
    said: Sequence[str]
    columns: Sequence[Column]
    lines: Sequence[Line]
    chart: Picture | None


def render(page: Page) -> str:
    """Return the page. Equal input gives equal bytes; all text is escaped."""
    environment = Environment(
        loader=PackageLoader("ssl_bio.results", _TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["metric"] = lambda value, name: metric_text(name, value) if math.isfinite(value) else "-"
    environment.filters["svg"] = Markup
    folder = files("ssl_bio.results") / _TEMPLATES
    return environment.get_template("report.html").render(
        page=page,
        boards=[_view(index, board, page) for index, board in enumerate(page.boards)],
        style=Markup((folder / "report.css").read_text(encoding="utf-8")),
        script=Markup((folder / "report.js").read_text(encoding="utf-8")),
        generator=GENERATOR,
        version=ssl_bio.__version__,
        level=f"{LEVEL:.0%}",
        n_resamples=N_RESAMPLES,
        fewest_people=FEWEST_PEOPLE,
    )


def _view(index: int, board: Board, page: Page) -> BoardView:
    other = {"val": "validation", "train": "training"}.get(board.split)
    return BoardView(
        anchor=f"task-{index + 1}",
        title=(board.task or "(no task name)") + (f", on {other} data" if other else ""),
        said=_said(board),
        columns=_columns(board),
        lines=[_line(entry, board, page.anchors) for entry in board.entries],
        chart=page.charts.get(index),
    )


def _said(board: Board) -> list[str]:
    """Return what holds for the whole board."""
    if not board.metrics:
        return ["No row of this task has a metric."]
    metric = metrics()[board.ranking]
    better = "lower" if lower_is_better(board.ranking) else "higher"
    said = [f"Ranked by {board.ranking}, {metric.description}; {better} is better."]
    if board.compared:
        what = {"published": "the published figure", "lab": "the lab's older row", "baseline": "the baseline"}
        kind = what.get(board.compared.kind, "the best run that was not chosen on test,")
        text = metric_text(board.ranking, board.compared.mean(board.ranking))
        mode = "what was published for the same mode, else from " if board.published_by_mode else ""
        said.append(f"Differences are from {mode}{kind} {_name(board.compared)}, {text}.")
    elif board.published_by_mode:
        said.append("Differences are from what was published for the same mode.")
    shared = [
        f"{_WORDS.get(name, name.replace('_', ' '))} {text}"
        for name, text in board.shared.items()
        if (name, text) != ("label_fraction", "1")
    ]
    if shared:
        said.append(f"All runs: {', '.join(shared)}.")
    return said


def _columns(board: Board) -> list[Column]:
    columns = [
        Column("what", "the run's model, with the folder's own name, or where a figure comes from"),
        Column("seeds", "each leads to its run", numeric=True),
    ]
    direction = "ascending" if lower_is_better(board.ranking) else "descending"
    for name in board.metrics:
        described = metrics()[name].description
        columns.append(Column(name, described, numeric=True, sorted=direction if name == board.ranking else ""))
        if name == board.ranking:
            columns.append(Column(f"{LEVEL:.0%} of draws of people", "bootstrap interval", numeric=True))
            if board.compared or board.published_by_mode:
                columns.append(Column("difference", "from the figure named above", numeric=True))
    settings = [Column(_WORDS.get(name, name.replace("_", " "))) for name in board.varied]
    return [*columns, *settings, Column("chosen", "which data chose the epoch or the setting"), Column("tested on")]


def _line(entry: Entry, board: Board, anchors: Mapping[str, str]) -> Line:
    cells = [Cell(_name(entry)), _seeds(entry, anchors)]
    for name in board.metrics:
        cells.append(_metric(entry, name))
        if name == board.ranking:
            cells.append(_interval(entry, name))
            if board.compared or board.published_by_mode:
                cells.append(_difference(board.difference(entry), name))
    settings = [Cell(entry.settings.get(name, "")) for name in board.varied]
    badge = "chosen on test" if entry.chosen_on_test else _BADGES[entry.kind]
    return Line(entry.kind, badge, [*cells, *settings, _chosen(entry), _tested(entry, board)])


def _name(entry: Entry) -> str:
    folder = entry.folder.replace("\\", "/").rpartition("/")[2].removeprefix("finetune-")
    mode = entry.settings.get("mode", "")
    if entry.kind == "published":
        return f"{entry.name}, {mode}" if mode else entry.name
    return f"{entry.name} {folder}" if folder and folder != mode else f"{entry.name} {mode}".strip()


def _seeds(entry: Entry, anchors: Mapping[str, str]) -> Cell:
    if entry.kind != "run":
        return Cell("")
    links = []
    for row in entry.rows:
        anchor = anchors.get(row.get("run_id", "").rpartition("-")[0], "")
        links.append((row.get("seed", "") or "?", anchor))
    return Cell("", float(len(links)), "", links)


def _metric(entry: Entry, name: str) -> Cell:
    mean, std = entry.mean(name), entry.std(name)
    if not math.isfinite(mean):
        return Cell("")
    spread = f" ± {metric_text(name, std)}" if math.isfinite(std) else ""
    return Cell(f"{metric_text(name, mean)}{spread}", mean)


def _interval(entry: Entry, name: str) -> Cell:
    found = entry.intervals.get(name)
    if found is None:
        return Cell("")
    text = f"{metric_text(name, found.low)} to {metric_text(name, found.high)} ({found.n_people} people)"
    return Cell(text, found.high - found.low)


def _difference(found: Difference | None, name: str) -> Cell:
    if found is None:
        return Cell("")
    words = {"better": "better", "worse": "worse", "within": "within the spread", "": "spread not known"}
    text = f"{'+' if found.value >= 0 else '−'}{metric_text(name, abs(found.value))}"
    return Cell(f"{_MARKS[found.verdict]} {text} {words[found.verdict]}".strip(), found.value, found.verdict)


def _chosen(entry: Entry) -> Cell:
    settings = entry.settings
    if entry.kind == "lab":
        return Cell("not said")
    if entry.kind != "run":
        return Cell("")
    selected = {"last": "last epoch", "": "not said"}.get(
        settings["selected_on"], f"epoch on {settings['selected_on']}"
    )
    tried = settings["grid"]
    parts = [selected] + ([f"one of {tried} tried"] if tried not in ("", "0", "1") else [])
    if entry.chosen_on_test:
        return Cell(f"⚠ {', '.join(parts)}: chosen on test", None, "test")
    return Cell(", ".join(parts))


def _tested(entry: Entry, board: Board) -> Cell:
    """Return what an entry was tested on, without what all runs of the board share."""
    settings = entry.settings
    if entry.kind == "published":
        return Cell(entry.source or "their own split")
    if entry.kind == "lab":
        return Cell("not said")
    parts = [settings[name] for name in TESTED_ON if settings.get(name) and name not in board.shared]
    windows = sorted({row.get("n_test", "") for row in entry.rows} - {""})
    parts += [f"{' / '.join(windows)} windows"] if windows else []
    return Cell(", ".join(parts))
