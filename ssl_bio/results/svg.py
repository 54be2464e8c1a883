"""Figures as small SVG for a page: one page holds many, so that ids do not clash and nothing is said twice."""

import io
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from ssl_bio.results.plots import DOT, DOTS, INK

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_HREF = f"{{{_XLINK}}}href"
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
_NUMERIC = ("d", "x", "y", "transform", "points", "width", "height", "cx", "cy", "r")
_FONT = re.compile(r"font: (?:\w+ )?([\d.]+)px [^;]*")
#: What the page's own style says of all figures.
_DEFAULTS = re.compile(
    r"(?:stroke-linejoin:round|stroke-linecap:butt|font-family:[^;]*)(?:;|$)|(?<=;)fill:currentColor$"
)


def figure_svg(figure: "Figure", *, name: str, text: str) -> str:
    """Return a figure as an `<svg>` element, named `text` for those who do not see it. Equal figures give equal bytes.

    Its ids begin with `name`. Text stays text, in the page's font and colour; numbers have one decimal of a point.
    To be drawn within `plots.style()`.
    """
    buffer = io.StringIO()
    figure.savefig(
        buffer,
        format="svg",
        transparent=True,
        metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")),
    )
    root = ElementTree.fromstring(buffer.getvalue())
    for parent in root.iter():
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    for group in root.iter(f"{{{_SVG}}}g"):
        if group.get("id") == DOTS:
            _join_dots(group)
    _rename_ids(root, name)
    for element in root.iter():
        _compact(element)
    _flatten(root)
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": text}
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    found = ElementTree.tostring(root, encoding="unicode")
    found = found.replace(f' xmlns="{_SVG}"', "").replace(f' xmlns:xlink="{_XLINK}"', "").replace("xlink:href", "href")
    return re.sub(r">\s+<", "><", found).strip()


def _join_dots(group: ElementTree.Element) -> None:
    """Replace a group of dots by a path of strokes without length, whose round ends are the dots."""
    dots = list(group.iter(f"{{{_SVG}}}use"))
    colour = re.search(r"fill: (#\w+)", dots[0].get("style", "")) if dots else None
    clip = next((found for found in (one.get("clip-path") for one in group.iter()) if found), "")
    group[:] = []
    if colour is None:
        return
    style = f"stroke: {colour[1]}; stroke-opacity: 0.6; stroke-width: {DOT}; stroke-linecap: round"
    path = ElementTree.SubElement(group, f"{{{_SVG}}}path", {"clip-path": clip, "style": style})
    path.set("d", "".join(f"M{float(dot.get('x', 0)):.1f} {float(dot.get('y', 0)):.1f}h0" for dot in dots))


def _rename_ids(root: ElementTree.Element, name: str) -> None:
    """Keep the ids that something refers to, numbered behind the figure's name."""
    used: dict[str, str] = {}
    for element in root.iter():
        href = element.get(_HREF, "")  # of a picture that is no drawing it holds the picture itself
        names = [href.removeprefix("#")] if href.startswith("#") else []
        names += [found for value in element.attrib.values() for found in _REFERENCE.findall(value)]
        for found in filter(None, names):
            used.setdefault(found, f"{name}-{len(used)}")
    for element in root.iter():
        own = element.attrib.pop("id", "")
        if own in used:
            element.set("id", used[own])
        for key, value in element.attrib.items():
            if key == _HREF and value.startswith("#"):
                element.set(key, f"#{used[value.removeprefix('#')]}")
            else:
                element.set(key, _REFERENCE.sub(lambda match: f"url(#{used[match[1]]})", value))


def _compact(element: ElementTree.Element) -> None:
    for key in _NUMERIC:
        if key in element.attrib:
            element.set(key, re.sub(r"\s+", " ", _NUMBER.sub(_short, element.attrib[key])).strip())
    if element.attrib.get("transform", "").startswith("rotate(-0 "):
        del element.attrib["transform"]
    if "d" in element.attrib:
        element.set("d", re.sub(r" ?([A-Za-z]) ?", r"\1", element.attrib["d"]))
    style = element.attrib.pop("style", None)
    if style is not None:
        style = _FONT.sub(r"font-size: \1px", style).replace(INK, "currentColor")
        style = _DEFAULTS.sub("", re.sub(r"([:;])\s+", r"\1", _NUMBER.sub(_short, style))).strip("; ")
        is_tick = element.tag == f"{{{_SVG}}}use" and style.startswith("fill:currentColor")  # its path says all
        if style and not is_tick:
            element.set("style", style)
    if element.text is not None and not element.text.strip():
        element.text = None
    element.tail = None


def _flatten(element: ElementTree.Element) -> None:
    """Leave out what shows nothing: groups that say nothing about their members, and paths without stroke and fill."""
    children: list[ElementTree.Element] = []
    for child in element:
        _flatten(child)
        is_bare = child.tag in (f"{{{_SVG}}}g", f"{{{_SVG}}}defs") and not (child.attrib and len(child))
        if is_bare and (child.tag.endswith("}g") or not len(child)):
            children += child
        elif child.get("style") != "fill:none" or child.get("id"):
            children.append(child)
    element[:] = children


def _short(match: re.Match[str]) -> str:
    """Return a number with one decimal, of small ones with two."""
    value = float(match[0])
    text = f"{value:.1f}" if abs(value) >= 1 else f"{value:.2f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
