"""The one style of all plots, and what is said where they cannot be drawn."""

import builtins
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from matplotlib.colors import to_rgb

from ssl_bio.results import plots
from ssl_bio.runs.folder import RunFolder


def brightness(colour: str) -> float:
    """Return the relative luminance of a colour, as WCAG has it."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_neighbours_differ_without_colour() -> None:
    with plots.style():
        drawn = [tuple(one.items()) for one in matplotlib.rcParams["axes.prop_cycle"]]
    assert len({str(dict(one)["linestyle"]) for one in drawn}) == len(drawn)
    levels = [brightness(colour) for colour in plots.PALETTE]
    assert all(abs(one - other) > 0.02 for one, other in pairwise(levels))


def test_the_style_ends_with_its_block() -> None:
    before = matplotlib.rcParams["font.size"]
    with plots.style():
        assert matplotlib.rcParams["font.size"] != before
    assert matplotlib.rcParams["font.size"] == before


def test_figures_are_written_whole_under_their_names() -> None:
    run = RunFolder(Path("run"))
    run.path.mkdir()
    plots.draw(run, lambda: {"one": plots.single_axes()[0], "two": plots.stacked_axes(2, height=1)[0]})
    found = sorted((run.path / "figures").iterdir())
    assert [path.name for path in found] == ["one.png", "two.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in found)


def test_texts_in_any_script_are_drawn_as_they_are() -> None:
    run = RunFolder(Path("run"))
    run.path.mkdir()

    def figures() -> dict[str, Any]:
        figure, axes = plots.single_axes()
        axes.set_title("心电图 تخطيط القلب 🫀 $x^{")
        return {"one": figure}

    plots.draw(run, figures)
    assert (run.path / "figures/one.png").stat().st_size > 1000


def test_without_matplotlib_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any, **others: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest, **others)

    monkeypatch.setattr(builtins, "__import__", refuse)
    plots.draw(RunFolder(Path("run")), lambda: pytest.fail("nothing is to be drawn"))
    assert "pip install 'ssl-bio[figures]'" in capsys.readouterr().out
    assert not Path("run").exists()
