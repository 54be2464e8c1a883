"""The page of results in a headless browser: it sorts and filters, and can be read by everybody, small and on paper."""

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ssl_bio.results import plots
from ssl_bio.results.leaderboard import boards_of, entries_of
from ssl_bio.results.page import Page, Picture, RecipeChange, render
from ssl_bio.results.svg import figure_svg
from ssl_bio.tasks.class_plots import class_figures
from tests.results.test_leaderboard import PAPER, row
from tests.results.test_page import page, section

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ViewportSize
    from playwright.sync_api import Page as Tab

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OFFLINE = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
PHONE: "ViewportSize" = {"width": 360, "height": 740}
DESK: "ViewportSize" = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """A headless browser, of those that are installed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next(filter(None, (os.environ.get("SSL_BIO_TEST_BROWSER"), *map(shutil.which, BROWSERS))), None)
    if not found:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=list(OFFLINE))
        yield browser
        browser.close()


def lab_page() -> Page:
    """Return a page with everything on it: long names, pictures, problems."""
    rows = [
        row(
            f"{index}a-{index}",
            f"runs/width={index}",
            Accuracy=f"0.{index}5",
            AUROC=f"0.{9 - index}1",
            lr=str(index),
        )
        for index in range(1, 9)
    ]
    rows += [row("x-1", Accuracy="0.99", selected_on="test", model_name="心电图 شبكة 🫀 " + "long" * 30)]
    rows += [
        row("y-1", MAE="3", MAE_constant="9", task_name="heart_rate"),
        {"model_name": "old", "task_name": "rhythm"},
    ]
    entries, _ = entries_of(rows)
    targets = np.arange(60) % 3
    with plots.style():
        drawn = class_figures(["rest", "walk", "<b>"], targets, np.eye(3)[targets] * 0.5 + 0.1)
        pictures = [
            Picture(name, figure_svg(figure, name=f"p{index}", text=name), wide=False)
            for index, (name, figure) in enumerate(drawn.items())
        ]
    first = section(pictures=pictures, recipe="\n".join(f"key_{index} = {'1' * 90}" for index in range(30)))
    change = RecipeChange("finetune.lr", "0.1", "0.2")
    runs = [first, *(section(anchor=f"run-{n}", title=f"run {n}", like=first, changes=[change]) for n in range(2, 6))]
    boards = boards_of([*entries, PAPER])
    return page(boards=boards, runs=runs, anchors={"1a": "run-2"}, charts={1: pictures[1]}, notes=["A note."])


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where the page lies."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(lab_page()), encoding="utf-8")
    return path.as_uri()


class Open:
    """An open page, and everything that it complained of."""

    def __init__(self, tab: "Tab", address: str) -> None:
        self.tab, self.complaints = tab, list[str]()
        tab.on("console", lambda message: self.complaints.append(message.text))
        tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        tab.on("request", lambda request: self.complaints.append(request.url) if request.url != address else None)
        tab.goto(address)

    def column(self, title: str, table: int = 0) -> list[str]:
        """Return the texts of a column as they are shown."""
        texts: list[str] = self.tab.evaluate(
            """([title, index]) => {
                const table = document.querySelectorAll("table.sortable")[index];
                const heads = Array.from(table.tHead.rows[0].cells, (cell) => cell.textContent.trim());
                const rows = Array.from(table.tBodies[0].rows).filter((row) => !row.hidden);
                return rows.map((row) => row.cells[heads.indexOf(title)].textContent.trim());
            }""",
            [title, table],
        )
        return texts

    def sort_by(self, title: str) -> str:
        """Click a column's head in the last table; return in which direction that sorts."""
        head = self.tab.locator("table.sortable").last.locator("th", has_text=title).first
        head.get_by_role("button").click()
        return head.get_attribute("aria-sort") or ""


@pytest.fixture
def opened(browser: "Browser", address: str) -> Iterator[Open]:
    tab = browser.new_page(viewport=DESK)
    yield Open(tab, address)
    tab.close()


def test_it_says_nothing_to_the_console_and_asks_for_nothing(opened: Open) -> None:
    opened.tab.get_by_role("button", name="Open all").click()
    assert opened.complaints == []
    assert opened.tab.evaluate("document.querySelectorAll('details.run[open]').length") == 5


def test_columns_sort_both_ways_with_empty_cells_last(opened: Open) -> None:
    before = opened.column("Accuracy", 1)
    assert opened.sort_by("AUROC") == "descending"
    falling = opened.column("AUROC", 1)
    numbers = [float(text) for text in falling if text]
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) == 8
    assert falling[8:] == [""] * (len(before) - 8)
    assert opened.sort_by("AUROC") == "ascending"
    assert opened.column("AUROC", 1)[:8] == falling[:8][::-1]
    assert opened.sort_by("what") == "ascending"
    names = [text.split(" ")[0].lower() for text in opened.column("what", 1)]
    assert names[:3] == ["old", "ours", "ours"]
    assert opened.tab.locator("th[aria-sort]").count() == 2  # one a table


def test_the_keyboard_sorts_too(opened: Open) -> None:
    head = opened.tab.locator("table.sortable").last.get_by_role("button", name="AUROC")
    head.focus()
    opened.tab.keyboard.press("Enter")
    assert opened.tab.locator("table.sortable").last.locator("th", has_text="AUROC").get_attribute("aria-sort")


def test_the_filter_shows_what_has_all_words(opened: Open) -> None:
    box = opened.tab.get_by_label("Show what contains")
    box.fill("rhythm WIDTH=3")
    assert opened.column("what", 1) == ["ours width=3"]
    assert not opened.tab.locator("section.board").first.is_visible()
    assert opened.tab.locator("#shown").text_content() == "1 of 13 rows, 0 of 5 runs"
    box.fill("run 4")
    assert opened.tab.locator("details.run:visible").count() == 1
    box.fill("")
    assert opened.tab.locator("section.board:visible").count() == 2
    assert opened.tab.locator("#shown").text_content() == ""


def test_a_seed_leads_to_its_run_even_behind_a_filter(opened: Open) -> None:
    opened.tab.get_by_label("Show what contains").fill("width=1")
    opened.tab.locator("table.sortable").last.get_by_role("link").first.click()
    assert opened.tab.locator("#run-2").is_visible()
    assert opened.tab.evaluate("document.getElementById('run-2').open")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_wide_tables_scroll_inside(browser: "Browser", address: str, scheme: Any) -> None:
    tab = browser.new_page(viewport=PHONE, color_scheme=scheme)
    opened = Open(tab, address)
    tab.get_by_role("button", name="Open all").click()
    width, table = tab.evaluate("[document.documentElement.scrollWidth, document.querySelector('.scroll').scrollWidth]")
    assert width == PHONE["width"]
    assert table > width
    sizes = tab.evaluate(
        "Array.from(document.querySelectorAll('svg text'), (one) => one.getBoundingClientRect().height).filter(Boolean)"
    )
    assert min(sizes) > 7  # pixels
    assert opened.complaints == []
    tab.close()


def test_on_paper_tables_are_whole_and_controls_are_gone(opened: Open) -> None:
    tab = opened.tab
    tab.set_viewport_size({"width": 1000, "height": 1400})  # pixels of a sheet across
    tab.emulate_media(media="print", color_scheme="dark")
    assert not tab.locator("form").is_visible()
    assert not tab.locator("nav").is_visible()
    assert not tab.get_by_role("button", name="Open all").is_visible()
    widths = tab.evaluate(
        "Array.from(document.querySelectorAll('.scroll'), (one) => [one.scrollWidth, one.clientWidth])"
    )
    assert all(inside <= outside for inside, outside in widths)
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert len(tab.pdf(format="A4", landscape=True)) > 10_000


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The accessibility checks of axe-core, fetched by npm."""
    npm, folder = shutil.which("npm"), tmp_path_factory.mktemp("axe")
    if not npm:
        pytest.skip("no npm to fetch axe-core with")
    done = subprocess.run(
        [npm, "pack", "axe-core@4", "--silent"], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    archives = list(folder.glob("*.tgz"))
    if done.returncode or not archives:
        pytest.skip("axe-core cannot be fetched here")
    with tarfile.open(archives[0]) as file:
        member = file.extractfile("package/axe.min.js")
        assert member
        return member.read().decode("utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_axe_finds_nothing_serious(browser: "Browser", address: str, axe: str, *, scheme: Any, viewport: Any) -> None:
    tab = browser.new_page(viewport=viewport, color_scheme=scheme)
    tab.goto(address)
    tab.get_by_role("button", name="Open all").click()
    tab.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    tab.add_script_tag(content=axe)
    found = tab.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    tab.close()
    told = [{"rule": one["id"], "where": [node["html"][:200] for node in one["nodes"][:3]]} for one in found]
    assert told == [], json.dumps(told, indent=2)


def test_headings_labels_and_contrast_hold_without_axe(opened: Open) -> None:
    levels = opened.tab.evaluate(
        "Array.from(document.querySelectorAll('h1, h2, h3, h4'), (one) => Number(one.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    for name in ("better", "worse", "within", "test", "badge", "count"):
        colours = opened.tab.evaluate(
            """(name) => {
                const probe = document.createElement("span");
                probe.className = name;
                document.body.append(probe);
                return [getComputedStyle(probe).color, getComputedStyle(document.body).backgroundColor];
            }""",
            name,
        )
        assert _contrast(*colours) >= 4.5, name


def _contrast(one: str, other: str) -> float:
    """Return the contrast of two colours "rgb(r, g, b)", as WCAG 2 has it."""
    levels = []
    for colour in (one, other):
        parts = [int(part) / 255 for part in colour[4:-1].split(",")]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        levels.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(levels) + 0.05) / (min(levels) + 0.05)


def test_its_file_can_be_moved_anywhere(browser: "Browser", address: str, tmp_path: Path) -> None:
    copy = tmp_path / "shared with a colleague.html"
    copy.write_bytes(Path(address.removeprefix("file://")).read_bytes())
    tab = browser.new_page()
    opened = Open(tab, copy.as_uri())
    assert tab.title() == "Results"
    assert opened.complaints == []
    tab.close()
