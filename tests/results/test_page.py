"""The page of results: what it says, and that all of it is text."""

import re
from html.parser import HTMLParser

import pytest

from ssl_bio.results.leaderboard import boards_of, entries_of
from ssl_bio.results.page import GENERATOR, Page, Picture, RecipeChange, RunSection, render
from ssl_bio.runs.audit import DataAudit, SplitSize
from tests.results.test_leaderboard import row

EVIL = "<script>alert(1)</script>"
VOID = {"meta", "input", "br", "img"}


class Reader(HTMLParser):
    """Reads a page strictly: elements in order, their ids, and its text; every element is closed where it should be."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.text.append(data)

    def values(self, attribute: str) -> list[str]:
        """Return all values of an attribute, in order."""
        return [value for _, attributes in self.elements if (value := attributes.get(attribute)) is not None]


def audit() -> DataAudit:
    return DataAudit.model_validate(
        {
            "dataset": "d",
            "title": f"Data {EVIL}",
            "fingerprint": "f00",
            "channels": ["ecg"],
            "unit": "mV",
            "sampling_rate": 125.0,
            "length": 500,
            "scheme": "subject",
            "scheme_text": "by person",
            "splits": {"train": SplitSize(people=7, windows=70), "test": SplitSize(people=2, windows=20)},
            "overlap": {"train/test": {"subjects": 1, "windows": 3}},
            "notes": ["the backbone has seen p1"],
        }
    )


def section(**changes: object) -> RunSection:
    values = {
        "anchor": "run-1",
        "title": f"رحلة/心电图 🫀 {EVIL}",
        "kind": "finetuning",
        "facts": {"metrics on": "test"},
        "metrics": {"Accuracy": 0.8125},
        "recipe": f'name = "{EVIL}"',
        "audits": {"": audit()},
    }
    return RunSection(**(values | changes))  # type: ignore[arg-type]  # a test says what it changes


def page(**changes: object) -> Page:
    rows = [
        row("aa-1", model_name=EVIL, task_name=f"task {EVIL}", Accuracy="0.8", seed="0", n_test="20"),
        row("bb-1", "runs/full-seed1", model_name=EVIL, task_name=f"task {EVIL}", Accuracy="0.9", seed="1"),
        row("cc-1", task_name="hr", MAE="3.5", selected_on="test"),
    ]
    entries, _ = entries_of(rows)
    values = {
        "sheet": "results.csv",
        "n_rows": 3,
        "boards": boards_of(entries),
        "charts": {},
        "runs": [section()],
        "anchors": {"aa": "run-1"},
        "problems": [f"broken: {EVIL}"],
        "notes": [],
    }
    return Page(**(values | changes))  # type: ignore[arg-type]


def test_everything_is_text() -> None:
    found = Reader(render(page()))
    assert [tag for tag, _ in found.elements].count("script") == 1
    text = "".join(found.text)
    assert f"task {EVIL}" in text
    assert f"心电图 🫀 {EVIL}" in text
    assert f"broken: {EVIL}" in text
    assert f'name = "{EVIL}"' in text


def test_equal_input_gives_equal_bytes() -> None:
    assert render(page()) == render(page())


def test_it_needs_nothing_beside_itself() -> None:
    found = Reader(render(page()))
    for attribute in ("src", "href"):
        assert all(value.startswith("#") for value in found.values(attribute)), found.values(attribute)
    assert "url(" not in re.sub(r"url\(#", "", render(page()))


def test_ids_are_there_once_and_links_lead_to_them() -> None:
    found = Reader(render(page()))
    ids = found.values("id")
    assert len(set(ids)) == len(ids)
    named = [value for attribute in ("aria-labelledby", "for") for value in found.values(attribute)]
    assert {value[1:] for value in found.values("href")} | set(named) <= set(ids)


def test_tables_have_captions_and_heads() -> None:
    found = Reader(render(page()))
    regions = [attributes for tag, attributes in found.elements if attributes.get("role") == "region"]
    assert len(regions) == 2
    assert all(attributes["tabindex"] == "0" and attributes["aria-label"] for attributes in regions)
    heads = [attributes.get("scope") for tag, attributes in found.elements if tag == "th"]
    assert set(heads) == {"col", "row"}


def test_what_a_line_says() -> None:
    text = " ".join("".join(Reader(render(page())).text).split())
    assert "0.8500 ± 0.0707" in text
    assert "⚠ epoch on test: chosen on test" in text
    assert "Ranked by MAE, mean absolute error in the target's unit; lower is better." in text


def test_what_a_run_says() -> None:
    text = " ".join("".join(Reader(render(page())).text).split())
    assert "train/test share 1 people and 3 identical windows" in text
    assert "the backbone has seen p1" in text
    assert "0.8125" in text


def test_a_recipe_is_told_by_its_differences_from_another() -> None:
    first = section()
    second = section(anchor="run-2", recipe="", like=first, changes=[RecipeChange("finetune.lr", "0.1", "0.2")])
    text = " ".join("".join(Reader(render(page(runs=[first, second]))).text).split())
    assert "finetune.lr = 0.1 (there 0.2)" in text


def test_pictures_are_drawings_with_a_name() -> None:
    picture = Picture("curves", '<svg role="img" aria-label="curves"></svg>', wide=True)
    found = Reader(render(page(runs=[section(pictures=[picture])], charts={0: picture})))
    assert [tag for tag, _ in found.elements].count("svg") == 2
    without = Reader(render(page(runs=[section(files=["roc.png"])])))
    assert "Pictures in its folder: roc.png." in "".join(without.text)


@pytest.mark.parametrize("empty", [{"runs": [], "problems": []}, {"boards": [], "sheet": "", "n_rows": 0}])
def test_a_page_of_rows_alone_and_of_runs_alone(empty: dict[str, object]) -> None:
    found = Reader(render(page(**empty)))
    assert ("runs" in found.values("id")) == bool(empty.get("boards") == [])


def test_it_says_what_wrote_it() -> None:
    assert GENERATOR in render(page())[:2000]
