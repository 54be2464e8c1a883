"""Imports point one way: a file imports only lower layers, and `data/` and `models/` never meet."""

import ast
from pathlib import Path

import ssl_bio

LAYERS = [
    {"errors"},
    {"schema", "sheet", "terminal"},
    {"recipe"},
    {"data", "models", "metrics", "runtime", "optim"},
    {"outcome", "beats"},
    {"checkpoint"},
    {"tasks", "resolve", "probe"},
    {"pretexts", "train", "weights", "sources", "samples", "forecasts", "denoising"},
    {"build", "mixtures"},
    {"judging", "checks"},
    {"results", "report"},
    {"learn", "studies"},
    {"commands", "catalogue", "cleaning", "shelf"},
    {"tune"},
    {"cli"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
ROOT = Path(ssl_bio.__file__).parent
FILES = sorted(path for path in ROOT.rglob("*.py") if path.name != "__init__.py")


def imported(path: Path) -> set[tuple[str, ...]]:
    """Modules of the package that a file imports, as paths of names below the package."""
    found: set[tuple[str, ...]] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ssl_bio":
            below = tuple((node.module or "").split(".")[1:])
            found |= {below} if below else {(alias.name,) for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {tuple(a.name.split(".")[1:]) for a in node.names if a.name.startswith("ssl_bio.")}
    return {names for names in found if names and not names[0].startswith("__")}


def test_imports_point_down() -> None:
    assert len(FILES) > 20
    wrong = []
    for path in FILES:
        room = path.relative_to(ROOT).with_suffix("").parts
        for target in imported(path):
            same_folder = len(room) > 1 and target[0] == room[0]
            if not same_folder and LEVEL[target[0]] >= LEVEL[room[0]]:
                wrong.append(f"{'.'.join(room)} imports {'.'.join(target)}")
    assert wrong == []


def test_rooms_stay_small() -> None:
    long = {path.name: n for path in FILES if (n := len(path.read_text(encoding="utf-8").splitlines())) > 410}
    assert long == {}
