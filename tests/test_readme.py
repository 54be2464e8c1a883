"""The README's commands are real: each parses, and each recipe and make target that it names exists."""

import re
import shlex

import pytest

from ssl_bio.config.load import available
from tests.command_line import run
from tests.conftest import REPOSITORY

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(?:sh|console)\n(.*?)```", README, flags=re.DOTALL)
LINES = [line.removeprefix("$ ").strip() for block in BLOCKS for line in block.splitlines()]
COMMANDS = sorted(
    {part.split(" #")[0].strip() for line in LINES for part in line.split("&&") if "ssl-bio " in part.split("#")[0]}
)


def test_readme_shows_the_mission() -> None:
    for command in (
        "ssl-bio pretrain",
        "ssl-bio finetune",
        "ssl-bio evaluate",
        "ssl-bio data prepare",
        "make demo",
        "make test",
    ):
        assert command in README


@pytest.mark.parametrize("command", COMMANDS)
def test_command_parses(command: str) -> None:
    """Every option is asked for beside `--help`, which parses the line and runs nothing."""
    words = shlex.split(command)
    assert words[0] == "ssl-bio"
    options = [word for word in words[1:] if word.startswith("--")]
    verbs = [word for word in words[1:3] if re.fullmatch(r"[a-z]+", word)]
    if verbs[0] in ("pretrain", "finetune", "evaluate"):
        verbs = verbs[:1]
    done = run(*verbs, "--help")
    assert done.code == 0
    for option in options:
        assert option in done.out, command


def test_no_placeholder_is_left() -> None:
    texts = {"README.md": README, **{path.name: path.read_text() for path in available().values()}}
    assert [
        name for name, text in texts.items() if re.search(r"\b(TIME|FIGURES?|[A-Z]+_(OUTPUT|FIGURE))\b", text)
    ] == []


def test_recipes_named_exist() -> None:
    named = set(re.findall(r"[a-z0-9-]+\.toml", README)) - {"pyproject.toml", "recipe.toml", "mine.toml"}
    assert named
    assert named <= set(available())


def test_make_targets_named_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"make ([a-z]+)", README)) <= targets
