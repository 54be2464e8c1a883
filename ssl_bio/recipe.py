"""Recipes: reading TOML and `--set` against the schema, and writing a recipe back.

A recipe as written may omit anything; `Written` holds just what somebody wrote and where. `Recipe` is
complete and frozen; `ssl_bio.resolve` makes it out of several `Written` layers. Nothing here needs torch.
"""

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import tomlkit
from pydantic import ValidationError

from ssl_bio.errors import RecipeError
from ssl_bio.schema import Recipe, Section

COMMAND_LINE = "command line"


class Written(NamedTuple):
    """Values that somebody wrote, as nested tables, and where."""

    values: Mapping[str, Any]
    source: str


def packaged_folder() -> Path:
    """The folder of the recipes that ship with the package (in a checkout: `recipes/` at the top)."""
    inside = Path(__file__).parent / "recipes"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "recipes"


def available() -> dict[str, Path]:
    """File name -> path of every recipe found by name: `./recipes/` first, then the packaged ones."""
    found: dict[str, Path] = {}
    for folder in (Path("recipes"), packaged_folder()):
        for path in sorted(folder.glob("*.toml")):
            found.setdefault(path.name, path)
    return dict(sorted(found.items()))


def find(name: str) -> Path:
    """A recipe's path: as a path, then in `./recipes/`, then among the packaged recipes.

    Raises RecipeError with the names that exist.
    """
    if Path(name).is_file():
        return Path(name)
    names = available()
    for candidate in (name, f"{name}.toml"):
        if candidate in names:
            return names[candidate]
    raise RecipeError(f"no recipe {name!r}: neither a file nor one of {', '.join(names)}")


def load(name: str) -> Written:
    """Read and check the recipe of this name or path."""
    path = find(name)
    try:
        values = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not TOML: {error}") from error
    return check(values, str(path))


def header(path: Path) -> list[str]:
    """The comment lines that open a recipe file, without their `#`."""
    lines = []
    for line in read_text(path).splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return lines


def read_text(path: Path) -> str:
    """A recipe file's text. Raises RecipeError when it cannot be read or is no UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read: {error}") from error


def parse_overrides(assignments: list[str]) -> Written:
    """`["pretrain.epochs=20", ...]` as one checked layer. Values are TOML; a bare word is a string."""
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
    return check(values, COMMAND_LINE)


def with_value(layer: Written, path: str, value: Any) -> Written:
    """A checked copy of a layer in which `section.key` has another value."""
    values = _copied(layer.values)
    put(values, path, value)
    return check(values, layer.source)


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
    """Values with commas between, as TOML or as bare words: "1e-3,3e-4", "lstm,attention", "['mean'],['max']"."""
    try:
        return list(tomllib.loads(f"values = [{text}]")["values"])
    except tomllib.TOMLDecodeError:
        return [_parse_value(part.strip()) for part in text.split(",") if part.strip()]


def check(values: Mapping[str, Any], source: str) -> Written:
    """Check written values against the schema.

    Raises RecipeError that lists every error as `section.key`, with the nearest valid name.
    """
    complete(values, source)
    return Written(values, source)


def complete(values: Mapping[str, Any], source: str) -> Recipe:
    """The complete recipe: written values, and the schema's defaults for the rest."""
    try:
        return Recipe.model_validate(_ints_to_floats(values))
    except ValidationError as error:
        problems = [_explain(dict(detail)) for detail in error.errors()]
        raise RecipeError(f"{source}: " + "; ".join(problems)) from None


def _ints_to_floats(values: Mapping[str, Any]) -> dict[str, Any]:
    """TOML's `lr = 1` is an integer; where the schema wants a float, it means 1.0."""
    floats = {key for key, annotation in keys().items() if annotation is float}

    def convert(table: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in table.items():
            path = f"{prefix}{key}"
            if isinstance(value, Mapping):
                result[key] = convert(value, f"{path}.")
            elif type(value) is int and (path in floats or path.startswith("reference.")):
                result[key] = float(value)
            else:
                result[key] = value
        return result

    return convert(values, "")


def _explain(detail: dict[str, Any]) -> str:
    location = [str(part) for part in detail["loc"]]
    path = ".".join(location)
    if detail["type"] == "extra_forbidden":
        return f"unknown key {path}{_suggest(location)}"
    message = str(detail["msg"])
    message = (
        message.replace("Value error, ", "must be ")
        .replace("Input should be ", "must be ")
        .replace("String should match", "must match")
    )
    return f"{path} {message}, not {detail['input']!r}"


def _suggest(location: list[str]) -> str:
    section, name = location[:-1], location[-1]
    all_keys = [*keys(), *(field for field, info in Recipe.model_fields.items() if _is_section(info.annotation))]
    siblings = {key.split(".")[-1]: key for key in all_keys if key.split(".")[:-1] == section}
    near = difflib.get_close_matches(name, siblings, n=1)
    if near:
        return f" (did you mean {siblings[near[0]]}?)"
    elsewhere = [key for key in all_keys if key.split(".")[-1] == name]
    return f" (did you mean {elsewhere[0]}?)" if elsewhere else f" (valid here: {', '.join(sorted(siblings))})"


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def keys() -> dict[str, Any]:
    """Every key of the schema as `section.key`, with its type."""
    return dict(_walk_schema(Recipe, ""))


def _walk_schema(section: type[Section], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, info in section.model_fields.items():
        if _is_section(info.annotation):
            yield from _walk_schema(info.annotation, f"{prefix}{name}.")  # type: ignore[arg-type]  # just checked
        else:
            yield f"{prefix}{name}", info.annotation


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as `section.key` -> value."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def to_toml(recipe: Recipe, origins: Mapping[str, str]) -> str:
    """The recipe as TOML, each value that is no default followed by a comment that says where it came from."""
    document = tomlkit.document()
    _write_table(document, recipe.model_dump(), "", origins)
    return tomlkit.dumps(document)


def _write_table(table: Any, values: Mapping[str, Any], prefix: str, origins: Mapping[str, str]) -> None:
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            child = tomlkit.table()
            _write_table(child, value, f"{path}.", origins)
            table.add(key, child)
        else:
            item = tomlkit.item(value)
            if path in origins:
                item.comment(f"from {origins[path]}")
            table.add(key, item)
