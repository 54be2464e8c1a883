"""Figures as SVG for a page."""

from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np

from ssl_bio.results import plots
from ssl_bio.results.svg import figure_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def drawing(title: str = "") -> "Figure":
    """Return a figure of lines, dots, clipped bars and text."""
    figure, axes = plots.single_axes()
    rng = np.random.default_rng(0)
    plots.draw_dots(axes, rng.normal(size=50), rng.normal(size=50))
    axes.plot([0, 1], [0, 1], label="<line> & 'more'")
    axes.bar([0, 1], [2, 1])
    axes.set_title(title)
    axes.legend()
    return figure


def svg_of(figure: "Figure", name: str = "a") -> str:
    return figure_svg(figure, name=name, text='of "it"')


def test_equal_figures_give_equal_bytes() -> None:
    with plots.style():
        assert svg_of(drawing()) == svg_of(drawing())
        assert svg_of(drawing()) != svg_of(drawing("x"))


def test_ids_are_its_own_and_lead_somewhere() -> None:
    with plots.style():
        first, second = (ElementTree.fromstring(svg_of(drawing(), name)) for name in ("a", "b"))
    for name, root in (("a", first), ("b", second)):
        ids = {one.attrib["id"] for one in root.iter() if "id" in one.attrib}
        assert ids
        assert all(own.startswith(f"{name}-") for own in ids)
        text = ElementTree.tostring(root, encoding="unicode")
        used = {part.split(")")[0].split('"')[0] for part in text.split("#") if part.startswith(f"{name}-")}
        assert used == ids


def test_text_stays_text_and_is_escaped() -> None:
    with plots.style():
        root = ElementTree.fromstring(svg_of(drawing("心电图 <b>")))
    texts = [one.text for one in root.iter("text")]
    assert "心电图 <b>" in texts
    assert "<line> & 'more'" in texts
    assert (root.attrib["role"], root.attrib["aria-label"]) == ("img", 'of "it"')


def test_it_is_small() -> None:
    with plots.style():
        found = svg_of(drawing())
    assert len(found) < 6000
    assert "h0M" in found  # dots are one path
    assert "metadata" not in found
    assert plots.INK not in found  # the page's own ink
