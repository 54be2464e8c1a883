"""Recipes: strict, every error at once, nearest name; `--set`; writing back."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_bio import recipe
from ssl_bio.errors import RecipeError
from ssl_bio.schema import Recipe

PACKAGED = sorted(recipe.packaged_folder().glob("*.toml"))


def test_packaged_recipes_exist() -> None:
    names = {path.name for path in PACKAGED}
    assert {"demo.toml", "har.toml", "har-256.toml", "har-bert.toml", "har-strong.toml", "har-supervised.toml"} <= names


@pytest.mark.parametrize("path", PACKAGED, ids=lambda path: path.name)
def test_packaged_recipe_is_valid_and_has_a_header(path: Path) -> None:
    written = recipe.load(str(path))
    assert written.values["name"] == path.stem
    header = " ".join(recipe.header(path))
    assert "ssl-bio" in header, "the command"
    assert "2 cores" in header, "the time"


def test_unknown_key_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r"unknown key pretrain\.epoch \(did you mean pretrain\.epochs\?\)"):
        recipe.check({"pretrain": {"epoch": 3}}, "x.toml")


def test_key_of_another_section_is_found() -> None:
    with pytest.raises(RecipeError, match=r"unknown key pretrain\.d_model \(did you mean model\.d_model\?\)"):
        recipe.check({"pretrain": {"d_model": 3}}, "x.toml")


def test_all_errors_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        recipe.check({"pretrain": {"epochs": "many", "lr": -1.0}, "modle": {}, "seed": 1.5}, "x.toml")
    message = str(caught.value)
    for part in ("x.toml", "pretrain.epochs", "'many'", "pretrain.lr", "modle", "model", "seed"):
        assert part in message
    assert "\n" not in message


def test_whole_number_serves_as_float_but_not_the_other_way() -> None:
    assert recipe.complete({"pretrain": {"lr": 1}}, "x").pretrain.lr == 1.0
    with pytest.raises(RecipeError, match=r"pretrain\.epochs"):
        recipe.complete({"pretrain": {"epochs": 2.0}}, "x")


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("pretrain.epochs=20", {"pretrain": {"epochs": 20}}),
        ("pretrain.lr = 1e-3", {"pretrain": {"lr": 0.001}}),
        ("data.dataset=har", {"data": {"dataset": "har"}}),
        ('finetune.pooling=["mean","max"]', {"finetune": {"pooling": ["mean", "max"]}}),
        ("pretrain.mask_per_sample=true", {"pretrain": {"mask_per_sample": True}}),
    ],
)
def test_overrides(assignment: str, expected: dict[str, object]) -> None:
    assert recipe.parse_overrides([assignment]).values == expected


@pytest.mark.parametrize("assignment", ["pretrain.epochs", "=3", "pretrain=3", "name.x=3"])
def test_bad_override_is_refused(assignment: str) -> None:
    with pytest.raises(RecipeError):
        recipe.parse_overrides([assignment, "name=x"])


def test_find_prefers_path_then_local_then_packaged(tmp_path: Path) -> None:
    assert recipe.find("har.toml").parent == recipe.packaged_folder()
    Path("recipes").mkdir()
    Path("recipes/har.toml").write_text('name = "mine"\n')
    assert recipe.load("har.toml").values == {"name": "mine"}
    Path("har.toml").write_text('name = "here"\n')
    assert recipe.load("har.toml").values == {"name": "here"}
    with pytest.raises(RecipeError, match=r"har-strong\.toml"):
        recipe.find("nowhere.toml")


def test_broken_toml_names_the_line() -> None:
    Path("x.toml").write_text("name = 'a'\n[data\n")
    with pytest.raises(RecipeError, match=r"x\.toml: not TOML: .*line 2"):
        recipe.load("x.toml")


@given(
    seed=st.integers(0, 2**32 - 1),
    lr=st.floats(1e-8, 10, allow_nan=False),
    pooling=st.lists(st.sampled_from(["mean", "max", "std"]), min_size=1, max_size=3),
    root=st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20),
)
def test_written_recipe_reads_back(seed: int, lr: float, pooling: list[str], root: str) -> None:
    values = {"seed": seed, "data": {"root": root}, "finetune": {"lr": lr, "pooling": pooling}}
    complete = recipe.complete(values, "x")
    text = recipe.to_toml(complete, {"seed": "command line"})
    assert recipe.complete(tomllib.loads(text), "y") == complete
    assert "# from command line" in text


def test_recipe_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Recipe().data.dataset = "har"  # type: ignore[misc]  # what the test is about


@pytest.mark.parametrize("arguments", [["--help"], ["pretrain", "--help"], ["recipes", "list"]])
def test_help_and_recipes_import_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom ssl_bio.cli import app\n"
        f"try:\n    app({arguments!r})\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('torch', 'pandas', 'sklearn', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]"), done.stdout
