"""Reading recipes and `--set`, and writing a recipe back. Nothing here needs torch."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import tomlkit

from ssl_bio.config.recipe import Recipe, compose, flatten
from ssl_bio.errors import RecipeError

COMMAND_LINE = "command line"


class ConfigLayer(NamedTuple):
    """Values that somebody wrote, as nested tables, and where."""

    values: Mapping[str, Any]
    source: str


def packaged_folder() -> Path:
    """Return the folder of the recipes that ship with the package (in a checkout: `recipes/` at the top)."""
    package = Path(__file__).parent.parent
    inside = package / "recipes"
    return inside if inside.is_dir() else package.parent / "recipes"


def available() -> dict[str, Path]:
    """Return file name -> path of every recipe found by name: `./recipes/` first, then the packaged ones."""
    found: dict[str, Path] = {}
    for folder in (Path("recipes"), packaged_folder()):
        for path in sorted(folder.glob("*.toml")):
            found.setdefault(path.name, path)
    return dict(sorted(found.items()))


def find(name: str) -> Path:
    """Return a recipe's path: as a path, then in `./recipes/`, then among the packaged recipes.

    Raises RecipeError with the names that exist.
    """
    if Path(name).is_file():
        return Path(name)
    names = available()
    for candidate in (name, f"{name}.toml"):
        if candidate in names:
            return names[candidate]
    raise RecipeError(f"no recipe {name!r}: neither a file nor one of {', '.join(names)}")


def load_recipe(name: str) -> ConfigLayer:
    """Read and check the recipe of this name or path.

    Raises RecipeError that lists all that is wrong with it.
    """
    path = find(name)
    try:
        values = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not TOML: {error}") from error
    compose(values, source=str(path))
    return ConfigLayer(values, str(path))


def header(path: Path) -> list[str]:
    """Return the comment lines that open a recipe file, without their `#`."""
    lines = []
    for line in read_text(path).splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return lines


def read_text(path: Path) -> str:
    """Return a recipe file's text. Raises RecipeError when it cannot be read or is no UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read: {error}") from error


def parse_overrides(assignments: list[str]) -> ConfigLayer:
    """Return `["pretrain.epochs=20", ...]` as one layer. Values are TOML; a bare word is a string.

    Whether the keys exist depends on the kinds that other layers choose: `resolve` tells.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        key = key.strip()
        if not equals or not key:
            raise RecipeError(f"--set {assignment}: write it as section.key=value")
        *sections, last = key.split(".")
        table = values
        for section in sections:
            table = table.setdefault(section, {})
            if not isinstance(table, dict):
                raise RecipeError(f"--set {assignment}: {section} is a value, not a section")
        if isinstance(table.get(last), dict):
            raise RecipeError(f"--set {assignment}: {key} is a section, not a value")
        table[last] = _parse_value(text.strip())
    return ConfigLayer(values, COMMAND_LINE)


def with_value(layer: ConfigLayer, path: str, value: Any) -> ConfigLayer:
    """Return a copy of a layer in which `section.key` has another value."""
    values = _copied(layer.values)
    put(values, path, value)
    return ConfigLayer(values, layer.source)


def put(values: dict[str, Any], path: str, value: Any) -> None:
    """Set `section.key` in nested tables, in place."""
    *sections, last = path.split(".")
    for section in sections:
        values = values.setdefault(section, {})
    values[last] = value


def _copied(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copied(value) if isinstance(value, Mapping) else value for key, value in values.items()}


def _parse_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def parse_values(text: str) -> list[Any]:
    """Return values with commas between, as TOML or bare words: "1e-3,3e-4", "lstm,attention", "['mean'],['max']"."""
    try:
        return list(tomllib.loads(f"values = [{text}]")["values"])
    except tomllib.TOMLDecodeError:
        return [_parse_value(part.strip()) for part in text.split(",") if part.strip()]


def to_toml(recipe: Recipe, origins: Mapping[str, str]) -> str:
    """Return the recipe as TOML, each value that is no default followed by a comment that says where it came from."""
    document = tomlkit.document()
    nothing_searched = {"tune"} if recipe.tune == Recipe().tune else None
    _write_table(document, recipe.model_dump(mode="json", exclude=nothing_searched), prefix="", origins=origins)
    return tomlkit.dumps(document)


def toml_lines(values: Mapping[str, Any]) -> list[str]:
    """Return values of one section as lines of TOML, those of sections inside it as `section.key`."""
    return [f"{path} = {tomlkit.item(value).as_string()}" for path, value in flatten(values).items()]


def _write_table(table: Any, values: Mapping[str, Any], *, prefix: str, origins: Mapping[str, str]) -> None:
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            child = tomlkit.table()
            _write_table(child, value, prefix=f"{path}.", origins=origins)
            table.add(key, child)
        else:
            item = tomlkit.item(value)
            if path in origins:
                item.comment(f"from {origins[path]}")
            table.add(key, item)
