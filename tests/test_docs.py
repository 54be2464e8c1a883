"""The examples of docs/ run as they stand, one after the other in one folder."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from tests.command_line import succeed
from tests.conftest import REPOSITORY

PAGES = sorted((REPOSITORY / "docs").glob("*.md"))
WALKS = [page for page in PAGES if page.stem in ("own-recordings", "few-labels", "heart-rate")]
_BLOCK = re.compile(r"```(sh|python)\n(.*?)```", re.DOTALL)


def steps(page: Path) -> list[tuple[str, str]]:
    """Return a page's blocks that are to be run, and their languages."""
    return _BLOCK.findall(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", WALKS, ids=lambda page: page.stem)
def test_examples_run(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for language, block in steps(page):
        if language == "python":
            name = block.splitlines()[0].removeprefix("# ")
            assert name.endswith(".py"), "each begins with the file it goes to"
            monkeypatch.setattr(sys, "argv", [name])
            exec(compile(block, name, "exec"), {"__name__": "__main__"})
            continue
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            assert words[0] == "ssl-bio", line
            succeed(*words[1:])


def test_every_page_is_named_in_the_readme() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES if f"docs/{page.name}" not in readme] == []
