"""What every key means: for people, and as a JSON schema for editors."""

import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import tomlkit

from ssl_bio.config.load import ConfigLayer
from ssl_bio.config.recipe import (
    UNIONS,
    KeyInfo,
    RecipeHead,
    fields_of,
    flatten,
    keys_of,
    section_classes,
)
from ssl_bio.config.resolve import resolve
from ssl_bio.config.section import Section
from ssl_bio.errors import RecipeError

_WIDTH = 34  # of "key = value" before the comment


def explained_recipe(layer: ConfigLayer, *, all_keys: bool = False) -> str:
    """Return a recipe as TOML in which every value says what it means and where it comes from.

    Without `all_keys` the defaults are left out.
    """
    resolved = resolve([layer])
    flat = flatten(resolved.recipe.model_dump())
    infos = keys_of(layer.values)
    by_section: dict[str, list[str]] = {}
    for path, value in flat.items():
        origin = resolved.origins.get(path)
        if origin is None and not all_keys:
            continue
        parent, _, name = path.rpartition(".")
        text = f"{name} = {tomlkit.item(value).as_string()}"
        info = _info_of(path, infos)
        meaning = f"{text.ljust(_WIDTH)} # {_meaning(info) if info else ''} ({origin or 'default'})"
        by_section.setdefault(parent, []).append(meaning)
    sections = ["\n".join([f"[{name}]", *lines] if name else lines) for name, lines in by_section.items()]
    return "\n\n".join(sections)


def _info_of(path: str, infos: Mapping[str, KeyInfo]) -> KeyInfo | None:
    """Return what is declared of a key; of an entry of a table, what is declared of the table."""
    while path and path not in infos:
        path = path.rpartition(".")[0]
    return infos.get(path)


def _meaning(info: KeyInfo) -> str:
    return f"{info.description} [{info.unit}]" if info.unit else info.description


def schema_rows(section: str = "") -> dict[str, list[list[str]]]:
    """Return for each section and kind rows of key, type, default and meaning.

    Raises RecipeError for a section that there is not.
    """
    found: dict[str, list[list[str]]] = {}
    for name, kind, config in _sections():
        if section and section not in (name, kind, f"{name}.{kind}"):
            continue
        title = f"[{name}]" if name else "above all sections"
        if kind:
            key = UNIONS["finetune" if name == "evaluate" else name].discriminator
            of = "finetune.task" if name == "evaluate" else key
            title += f' with {of} = "{kind}"'
        found[title] = [
            [info.path, type_text(info.annotation), _default_text(info.default), _meaning(info)]
            for info in fields_of(config)
        ]
    if not found:
        raise RecipeError(
            f"no section {section!r}; there are {', '.join(dict.fromkeys(name for name, *_ in _sections() if name))}"
        )
    return found


def _sections() -> Iterator[tuple[str, str, type[Section]]]:
    """Yield every section with its kinds."""
    yield "", "", RecipeHead
    for name, section in section_classes({}).items():
        if name not in UNIONS and name != "evaluate":
            yield name, "", section
    for name, registry in UNIONS.items():
        for kind in registry.names():
            yield name, kind, registry.config(kind)
    tasks = UNIONS["finetune"]
    for kind in tasks.names():
        yield "evaluate", kind, tasks.config(kind).Evaluate


def type_text(annotation: Any) -> str:
    """Return a type as a person would write it."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return type_text(get_args(annotation)[0])
    if origin is Literal:
        return " | ".join(f'"{value}"' for value in get_args(annotation))
    if origin in (Union, types.UnionType):
        return " | ".join(type_text(part) for part in get_args(annotation))
    if origin is not None:
        inner = ", ".join(type_text(part) for part in get_args(annotation))
        return f"{origin.__name__} of {inner}"
    names = {"str": "text", "int": "whole number", "float": "number", "bool": "true | false", "Any": "anything"}
    return names.get(getattr(annotation, "__name__", ""), str(annotation))


def _default_text(default: Any) -> str:
    try:
        return str(tomlkit.item(default).as_string())
    except (TypeError, ValueError):
        return ""


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of recipes: a section with kinds is one of several objects, told apart by its kind."""
    definitions: dict[str, Any] = {}

    def reference(name: str, config: type[Section]) -> dict[str, str]:
        schema = config.model_json_schema(ref_template="#/$defs/{model}")
        definitions.update(schema.pop("$defs", {}))
        definitions[name] = schema
        return {"$ref": f"#/$defs/{name}"}

    properties: dict[str, Any] = dict(RecipeHead.model_json_schema()["properties"])
    by_section: dict[str, list[dict[str, str]]] = {}
    for section, kind, config in _sections():
        if section:
            by_section.setdefault(section, []).append(reference(f"{section}-{kind}" if kind else section, config))
    for section, references in by_section.items():
        properties[section] = references[0] if len(references) == 1 else {"anyOf": references}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ssl-bio recipe",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "$defs": definitions,
    }
