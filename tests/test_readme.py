"""What README and the headers of recipes show is real: commands parse, keys and names exist, examples work."""

import re
import shlex
import tomllib
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pytest

from ssl_bio.config.load import available, header, load_recipe, parse_overrides
from ssl_bio.config.recipe import compose, known_keys
from ssl_bio.config.resolve import resolve
from ssl_bio.data.options import WindowOptions
from ssl_bio.data.registry import Dataset
from ssl_bio.errors import DataError
from tests.command_line import run
from tests.conftest import REPOSITORY
from tests.data.reading import read_with

#: What people read: the README and the pages it points to.
MANUAL = {
    path.relative_to(REPOSITORY).as_posix(): path.read_text(encoding="utf-8")
    for path in (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")))
}
README, WHOLE = MANUAL["README.md"], "\n".join(MANUAL.values())
PAGES = {**MANUAL, "CONTRIBUTING.md": (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")}
#: Recipes that a reader of the manual makes.
OF_READERS = {"pyproject.toml", "recipe.toml", "mine.toml", "best.toml", "recordings.toml"}
RECIPES = {name: "\n".join(header(path)) for name, path in available().items()}


def blocks(language: str, text: str = WHOLE) -> list[str]:
    """Return the blocks of code in a language, of the whole manual or of a text."""
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands(text: str) -> list[str]:
    """Return the commands in a text, without what is said beside them."""
    lines = [line.strip() for line in text.replace("\\\n", " ").splitlines()]
    parts = [part.strip() for line in lines if line.startswith("ssl-bio ") for part in line.split(" && ")]
    return [re.split(r"\s+[#(]", part)[0] for part in parts]


class Command(NamedTuple):
    """A command and the file that shows it."""

    shown_in: str
    text: str

    def values_of(self, *options: str) -> list[str]:
        """Return what follows any of these options."""
        words = shlex.split(self.text)
        return [value for option, value in pairwise(words) if option in options]


COMMANDS = sorted(
    {
        *(
            Command(name, text)
            for name, page in MANUAL.items()
            for block in blocks("sh", page)
            for text in commands(block)
        ),
        *(Command(name, text) for name, lines in RECIPES.items() for text in commands(lines)),
    }
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


def test_headers_show_commands() -> None:
    assert {command.shown_in for command in COMMANDS} == {*MANUAL, *RECIPES}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{command.shown_in}: {command.text}")
def test_command_parses(command: Command) -> None:
    """Every option is asked for beside `--help`, which parses the line and runs nothing."""
    words = shlex.split(command.text)
    options = [word for word in words[1:] if word.startswith("--")]
    verbs = [word for word in words[1:3] if re.fullmatch(r"[a-z]+", word)]
    if verbs[0] not in ("data", "recipes"):
        verbs = verbs[:1]
    done = run(*verbs, "--help")
    assert done.code == 0
    for option in options:
        assert option in done.out


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{command.shown_in}: {command.text}")
def test_what_a_command_sets_goes_with_its_recipe(command: Command) -> None:
    for name in command.values_of("--recipe"):
        if name in RECIPES:
            resolve([load_recipe(name), parse_overrides(command.values_of("--set"))])


@pytest.mark.parametrize("name", [*MANUAL, *RECIPES])
def test_keys_that_are_set_exist(name: str) -> None:
    text = {**MANUAL, **RECIPES}[name]
    assert set(re.findall(r"--(?:set|grid) \"?([\w.]+)=", text)) <= known_keys()


def test_keys_that_prose_names_exist() -> None:
    sections = r"data|model|pretrain|finetune|evaluate|reference"
    named = set(re.findall(rf"`((?:{sections})(?:\.[a-z_]+)+)(?: = [^`]+)?`", WHOLE))
    assert len(named) > 10
    tables = {path.rpartition(".")[0] for path in known_keys()}
    assert named - {"data.json", "model.safetensors", "model.onnx"} <= known_keys() | tables


@pytest.mark.parametrize("block", blocks("toml"), ids=lambda block: block.splitlines()[0])
def test_recipes_of_the_readme_compose(block: str) -> None:
    compose(tomllib.loads(block), source="README.md")


def readme_module() -> ModuleType:
    """Return the example of a dataset as a module."""
    (code,) = blocks("python", MANUAL["docs/plugin.md"])
    module = ModuleType("example")
    exec(compile(code, "README.md", "exec"), module.__dict__)
    return module


def test_the_dataset_of_the_readme_is_read(tmp_path: Path) -> None:
    dataset = readme_module().DATASET
    assert isinstance(dataset, Dataset)
    folder = tmp_path / "recordings"
    folder.mkdir()
    for person in range(5):
        np.savetxt(folder / f"p{person}.txt", (person + 1) * np.sin(np.arange(2000) / 15))
    found = read_with(dataset, folder)
    assert found.signals.shape == (25, 1, 200)
    assert set(found.splits["subject"]) == {"train", "val", "test"}
    by_person = [float(found.targets["swing"][found.subjects == f"p{person}.txt"].mean()) for person in range(5)]
    assert by_person == pytest.approx([0.71 * (person + 1) for person in range(5)], rel=0.05)
    other = read_with(dataset, folder, WindowOptions(sampling_rate=25.0, window=10.0))
    assert other.signals.shape == (15, 1, 250)


def test_the_dataset_of_the_readme_refuses_other_files(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no \.txt inside"):
        read_with(readme_module().DATASET, tmp_path / "empty")


def test_no_placeholder_is_left() -> None:
    texts = {**PAGES, **{path.name: path.read_text(encoding="utf-8") for path in available().values()}}
    assert [
        name for name, text in texts.items() if re.search(r"\b(TIME|FIGURES?|[A-Z]+_(OUTPUT|FIGURE))\b", text)
    ] == []


def test_recipes_named_exist() -> None:
    named = set(re.findall(r"[a-z0-9-]+\.toml", WHOLE)) - OF_READERS
    assert named
    assert named <= set(available())


def test_files_named_exist() -> None:
    named = re.findall(r"`((?:ssl_bio|tests)/[\w./]+)`", "\n".join(PAGES.values()))
    assert named
    assert [name for name in named if "NAME" not in name and not (REPOSITORY / name).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_named_exist(page: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert set(re.findall(r"make ([a-z]+)", PAGES[page])) <= targets


def test_lines_have_a_sensible_width() -> None:
    prose = [line for text in (*PAGES.values(), *RECIPES.values()) for line in text.splitlines() if line[:1] != "|"]
    assert [line for line in prose if len(line) > 118] == []
