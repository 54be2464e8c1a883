"""What every key means, for people and for editors."""

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ssl_bio.config import load, load_recipe
from ssl_bio.config.explain import explained_recipe, json_schema, schema_rows, type_text
from ssl_bio.config.kinds import TASKS
from ssl_bio.config.recipe import UNIONS, compose, known_keys
from ssl_bio.errors import RecipeError

PACKAGED = sorted(load.packaged_folder().glob("*.toml"))
SCHEMA = json_schema()
_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": Mapping,
    "array": list,
}


class TestExplainedRecipe:
    """A recipe with the meaning of its keys."""

    @pytest.mark.parametrize("all_keys", [False, True])
    @pytest.mark.parametrize("path", PACKAGED, ids=lambda path: path.name)
    def test_it_is_the_same_recipe(self, path: Path, all_keys: bool) -> None:
        layer = load_recipe(str(path))
        text = explained_recipe(layer, all_keys=all_keys)
        assert compose(tomllib.loads(text), source="explained") == compose(layer.values, source="recipe")

    def test_a_line_has_value_meaning_unit_and_origin(self) -> None:
        Path("x.toml").write_text("[model]\nwave_length = 25\n")
        text = explained_recipe(load_recipe("x.toml"))
        (line,) = [line for line in text.splitlines() if line.startswith("wave_length")]
        assert re.fullmatch(r"wave_length = 25 +# what a token stands for \[samples\] \(x\.toml\)", line)
        assert "d_model" not in text
        whole = explained_recipe(load_recipe("x.toml"), all_keys=True)
        assert re.search(r"^d_model = 64 +# width of a token \(default\)$", whole, re.MULTILINE)


class TestKeys:
    """Tables of all keys."""

    def test_every_key_stands_in_a_table(self) -> None:
        listed = set()
        for title, rows in schema_rows().items():
            section = title.partition("]")[0].removeprefix("[")
            prefix = "" if title == "above all sections" else f"{section}."
            listed |= {f"{prefix}{path}" for path, *_ in rows}
            assert all(kind and meaning for _, kind, _, meaning in rows), title
        assert listed >= known_keys()

    @pytest.mark.parametrize(
        ("wanted", "title", "keys"),
        [
            ("data", "[data]", {"dataset", "synthetic.seed"}),
            ("timemae", '[model] with kind = "timemae"', {"stem", "d_model"}),
            ("pretrain.contrast", '[pretrain] with pretext = "contrast"', {"temperature", "epochs"}),
            ("denoising", '[evaluate] with finetune.task = "denoising"', {"levels", "split"}),
        ],
    )
    def test_a_section_or_a_kind_alone(self, wanted: str, title: str, keys: set[str]) -> None:
        tables = schema_rows(wanted)
        assert keys <= {path for path, *_ in tables[title]}
        assert len(tables) < len(schema_rows())

    def test_a_section_that_there_is_not(self) -> None:
        with pytest.raises(RecipeError, match="no section 'modle'; there are data, reference, tune, model"):
            schema_rows("modle")

    def test_types_as_people_write_them(self) -> None:
        rows = {path: (kind, default) for path, kind, default, _ in schema_rows("finetune.classification").popitem()[1]}
        assert rows["mode"] == ('"full" | "linear-probe" | "scratch" | "random-frozen"', '"full"')
        assert rows["lr"] == ("number", "0.0001")
        assert rows["epochs"] == ("whole number", "100")
        assert rows["augment"] == ("list of text", "[]")
        assert type_text(dict[str, float]) == "dict of text, number"


class TestJSONSchema:
    """The schema that editors check recipes by."""

    @pytest.mark.parametrize("path", PACKAGED, ids=lambda path: path.name)
    def test_it_accepts_every_recipe_that_ships(self, path: Path) -> None:
        assert list(_violations(tomllib.loads(path.read_text(encoding="utf-8")), SCHEMA, "")) == []

    @pytest.mark.parametrize(
        ("text", "where"),
        [
            ("seed = -1", "seed"),
            ("colour = 3", "colour"),
            ("[data]\ndatasets = 'har'", "data.datasets"),
            ("[data]\npadding = 'mirror'", "data.padding"),
            ("[model]\nkind = 'lstm'\nwave_length = 8", "model"),
            ("[pretrain]\nepochs = 0", "pretrain"),
            ("[finetune]\ntask = 'classify'", "finetune"),
            ("[evaluate]\nlevles = [1.0]", "evaluate"),
        ],
    )
    def test_it_finds_what_is_wrong(self, text: str, where: str) -> None:
        assert {violation.partition(": ")[0] for violation in _violations(tomllib.loads(text), SCHEMA, "")} == {where}

    def test_it_is_json_and_describes_every_section_and_kind(self) -> None:
        assert json.loads(json.dumps(SCHEMA)) == SCHEMA
        kinds = {f"{section}-{kind}" for section, registry in UNIONS.items() for kind in registry.names()}
        kinds |= {f"evaluate-{kind}" for kind in TASKS.names()}
        assert kinds <= set(SCHEMA["$defs"])
        assert SCHEMA["properties"]["data"] == {"$ref": "#/$defs/data"}
        assert SCHEMA["$defs"]["model-timemae"]["properties"]["wave_length"]["description"]


def _violations(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    """Yield what is wrong with a value, by the keywords that pydantic's schemas have."""
    if "$ref" in schema:
        yield from _violations(value, SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], path)
    if "anyOf" in schema and all(list(_violations(value, option, path)) for option in schema["anyOf"]):
        yield f"{path}: fits none of {len(schema['anyOf'])}"
    kind = schema.get("type")
    if kind and (not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean")):
        yield f"{path}: no {kind}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: none of {schema['enum']}"
    if "const" in schema and value != schema["const"]:
        yield f"{path}: not {schema['const']}"
    for keyword, broken in _LIMITS.items():
        if keyword in schema and broken(value, schema[keyword]):
            yield f"{path}: {keyword} {schema[keyword]}"
    if kind == "array":
        for item in value:
            yield from _violations(item, schema.get("items", {}), path)
    if kind == "object":
        known = schema.get("properties", {})
        for name, inner in value.items():
            below = f"{path}.{name}".removeprefix(".")
            others = schema.get("additionalProperties", True)
            if name in known:
                yield from _violations(inner, known[name], below)
            elif others is False:
                yield f"{below}: unknown"
            elif isinstance(others, Mapping):
                yield from _violations(inner, others, below)


_LIMITS: dict[str, Callable[[Any, Any], object]] = {
    "minimum": lambda value, limit: value < limit,
    "exclusiveMinimum": lambda value, limit: value <= limit,
    "maximum": lambda value, limit: value > limit,
    "exclusiveMaximum": lambda value, limit: value >= limit,
    "minItems": lambda value, limit: len(value) < limit,
    "maxItems": lambda value, limit: len(value) > limit,
    "pattern": lambda value, limit: not re.search(limit, value),
}
