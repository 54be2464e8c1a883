"""Recipe files: found by name, read, `--set`, written back; the ones that ship are valid."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_bio.config import ConfigLayer, load, load_recipe, parse_overrides, to_toml, with_value
from ssl_bio.config.load import parse_values
from ssl_bio.config.recipe import compose
from ssl_bio.errors import RecipeError

PACKAGED = sorted(load.packaged_folder().glob("*.toml"))


def test_packaged_recipes_exist() -> None:
    names = {path.name for path in PACKAGED}
    assert {"demo.toml", "har.toml", "har-256.toml", "har-bert.toml", "har-strong.toml", "har-supervised.toml"} <= names
    assert names <= set(load.available())


@pytest.mark.parametrize("path", PACKAGED, ids=lambda path: path.name)
def test_packaged_recipe_is_valid_and_has_a_header(path: Path) -> None:
    layer = load_recipe(str(path))
    assert layer.values["name"] == path.stem
    assert layer.source == str(path)
    header = " ".join(load.header(path))
    assert "ssl-bio" in header, "the command"
    assert "2 cores" in header, "the time"


@pytest.mark.parametrize("path", PACKAGED, ids=lambda path: path.name)
def test_packaged_recipe_reads_back_from_what_a_run_stores(path: Path) -> None:
    recipe = compose(load_recipe(str(path)).values, source=path.name)
    stored = to_toml(recipe, {"seed": "command line"})
    assert compose(tomllib.loads(stored), source="stored") == recipe


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("pretrain.epochs=20", {"pretrain": {"epochs": 20}}),
        ("pretrain.lr = 1e-3", {"pretrain": {"lr": 0.001}}),
        ("data.dataset=har", {"data": {"dataset": "har"}}),
        ('finetune.pooling=["mean","max"]', {"finetune": {"pooling": ["mean", "max"]}}),
        ("pretrain.mask_per_sample=true", {"pretrain": {"mask_per_sample": True}}),
        ("finetune.noise.level=gain", {"finetune": {"noise": {"level": "gain"}}}),
    ],
)
def test_overrides(assignment: str, expected: dict[str, object]) -> None:
    assert parse_overrides([assignment]) == ConfigLayer(expected, "command line")


@pytest.mark.parametrize("assignments", [["pretrain.epochs"], ["=3"], ["pretrain.lr=3", "pretrain=3"]])
def test_an_override_without_a_key_or_in_place_of_a_section_is_refused(assignments: list[str]) -> None:
    with pytest.raises(RecipeError, match="--set"):
        parse_overrides(assignments)


def test_an_override_inside_a_value_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"--set name\.x=3: name is a value, not a section"):
        parse_overrides(["name=x", "name.x=3"])


def test_a_changed_layer_leaves_the_first_alone() -> None:
    before = parse_overrides(["finetune.lr=0.1"])
    after = with_value(before, "finetune.mode", "full")
    assert before.values == {"finetune": {"lr": 0.1}}
    assert after == ConfigLayer({"finetune": {"lr": 0.1, "mode": "full"}}, "command line")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1e-3,3e-4", [1e-3, 3e-4]),
        ("lstm,attention", ["lstm", "attention"]),
        ("['mean'],['max']", [["mean"], ["max"]]),
        ("0,none", [0, "none"]),
    ],
)
def test_several_values_of_one_key(text: str, values: list[object]) -> None:
    assert parse_values(text) == values


def test_find_prefers_path_then_local_then_packaged() -> None:
    assert load.find("har.toml").parent == load.find("har").parent == load.packaged_folder()
    Path("recipes").mkdir()
    Path("recipes/har.toml").write_text('name = "mine"\n')
    assert load_recipe("har.toml").values == {"name": "mine"}
    Path("har.toml").write_text('name = "here"\n')
    assert load_recipe("har.toml").values == {"name": "here"}
    with pytest.raises(RecipeError, match=r"har-strong\.toml"):
        load.find("nowhere.toml")


def test_broken_toml_names_the_line() -> None:
    Path("x.toml").write_text("name = 'a'\n[data\n")
    with pytest.raises(RecipeError, match=r"x\.toml: not TOML: .*line 2"):
        load_recipe("x.toml")


def test_a_file_that_is_no_text_is_refused() -> None:
    Path("x.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match=r"x\.toml: cannot be read"):
        load_recipe("x.toml")


@given(
    seed=st.integers(0, 2**32 - 1),
    lr=st.floats(1e-8, 10, allow_nan=False),
    pooling=st.lists(st.sampled_from(["mean", "max", "std"]), min_size=1, max_size=3),
    root=st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20),
)
def test_written_recipe_reads_back(seed: int, lr: float, pooling: list[str], root: str) -> None:
    values = {"seed": seed, "data": {"root": root}, "finetune": {"lr": lr, "pooling": pooling}}
    complete = compose(values, source="x")
    text = to_toml(complete, {"seed": "command line"})
    assert compose(tomllib.loads(text), source="y") == complete
    assert text.count("# from command line") == 1
