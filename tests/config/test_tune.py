"""What a search may vary: ranges and choices as recipes write them, and what is refused by name."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_bio.config import COMMAND_LINE, ConfigLayer, TuneConfig, load_recipe, parse_overrides, resolve, to_toml
from ssl_bio.config.explain import explained_recipe
from ssl_bio.config.recipe import compose, flatten
from ssl_bio.config.resolve import CHECKPOINT, Resolved, from_checkpoint, on_resume, search_axes
from ssl_bio.config.tune import Choices, Range
from ssl_bio.errors import RecipeError
from tests.config.recipe_layers import recipe

SPACE = """
[finetune]
epochs = 3
[tune]
trials = 30
[tune.space]
finetune.lr = { low = 1e-4, high = 1e-2, log = true }
finetune.dropout = { low = 0.0, high = 0.5, step = 0.1 }
finetune.batch_size = { low = 16, high = 64, log = true }
finetune.pooling = [["mean"], ["max"]]
model.dropout = [0.0, 0.1]
"""


def written(text: str = SPACE) -> ConfigLayer:
    return ConfigLayer(tomllib.loads(text), "tune.toml")


class TestSpace:
    """Dotted keys, in the order of the recipe."""

    def test_ranges_and_choices(self) -> None:
        found = search_axes(compose(written().values, source="x"))
        assert found == {
            "finetune.lr": Range(1e-4, 1e-2, log=True),
            "finetune.dropout": Range(0.0, 0.5, step=0.1),
            "finetune.batch_size": Range(16, 64, log=True, integer=True),
            "finetune.pooling": Choices((["mean"], ["max"])),
            "model.dropout": Choices((0.0, 0.1)),
        }
        assert list(found)[:2] == ["finetune.lr", "finetune.dropout"]

    def test_whole_limits_of_a_key_that_takes_any_number_are_no_whole_numbers(self) -> None:
        (axis,) = search_axes(recipe(tune={"space": {"finetune": {"weight_decay": {"low": 0, "high": 1}}}})).values()
        assert axis == Range(0, 1, integer=False)

    def test_an_empty_space_is_refused_where_it_is_searched(self) -> None:
        with pytest.raises(RecipeError, match=r"\[tune.space\] is empty"):
            search_axes(recipe())

    def test_keys_of_another_kind_where_the_kind_is_searched(self) -> None:
        space = {"model": {"kind": ["timemae", "vqvae"], "width": [8, 16]}}
        assert set(search_axes(recipe(tune={"space": space}))) == {"model.kind", "model.width"}
        with pytest.raises(RecipeError, match=r"unknown key model\.width"):
            recipe(tune={"space": {"model": {"width": [8, 16]}}})

    def test_the_command_line_changes_one_limit_or_the_whole_axis(self) -> None:
        changed = resolve([written(), parse_overrides(["tune.space.finetune.lr.high=0.1"])]).recipe
        assert changed.tune.axes()["finetune.lr"] == Range(1e-4, 0.1, log=True)
        changed = resolve([written(), parse_overrides(["tune.space.finetune.lr=[1e-3]"])]).recipe
        assert changed.tune.axes()["finetune.lr"] == Choices((1e-3,))

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("finetune.lr = { low = 1e-2, high = 1e-4 }", "low 0.01 must be below high 0.0001"),
            ("finetune.lr = { low = 1.0, high = 1.0 }", "must be below high"),
            ("finetune.dropout = { low = 0.0, high = 0.5, log = true }", "log needs low above 0"),
            ("finetune.dropout = { low = 0.0, high = 0.5, step = 0.0 }", "step must be above 0"),
            ("finetune.lr = { low = 0.1, high = 0.5, step = 0.1, log = true }", "log and step exclude each other"),
            ("finetune.lr = { low = 1e-4 }", "both low and high"),
            ("finetune.lr = { low = 1e-4, high = 1e-2, logarithmic = true }", "unknown logarithmic"),
            ("finetune.lr = { low = 1e-4, high = 1e-2, log = 1 }", "log must be true or false"),
            ("finetune.lr = { low = 'a', high = 1e-2 }", "low must be a number"),
            ("finetune.lr = { low = nan, high = 1e-2 }", "low must be a number"),
            ("finetune.lr = []", "an empty list chooses nothing"),
            ("finetune.lr = 1e-3", "or a list of values"),
            ("finetune = {}", "a range has both low and high"),
            ("finetune.lrr = [1.0]", "did you mean finetune.lr"),
            ("finetun.lr = [1.0]", "did you mean finetune.lr"),
            ("finetune.levels = [1.0]", "unknown key finetune.levels"),
            ("finetune.bins = [1, 2]", "a key of finetune.task regression, not of classification"),
            ("data.target = ['rhythm', 'heart_rate']", "asks another question"),
            ("evaluate.split = ['val', 'test']", "asks another question"),
            ("name = ['a', 'b']", "asks another question"),
            ("seed = [0, 1]", "it is chance"),
            ("pretrain.lr = [1e-3, 1e-2]", "does not pretrain"),
            ("finetune.fit_on = ['train', 'train+val']", "learns from"),
            ("tune.trials = [1, 2]", "about the search itself"),
            ("finetune.batch_size = { low = 16, high = 64.5 }", "must be whole"),
            ("finetune.batch_size = { low = 0, high = 64 }", "it cannot be 0"),
            ("finetune.dropout = { low = 0.0, high = 1.5 }", "it cannot be 1.5"),
            ("finetune.mode = { low = 1, high = 2 }", "it takes no numbers"),
            ("finetune.mode = ['scratch', 'sideways']", "it cannot be 'sideways'"),
            ("model.kind = ['timemae', 'timemea']", "it must be one of timemae, "),
            ("finetune.lr = [1e-3, 1e-3]", "stands there twice"),
        ],
    )
    def test_what_cannot_be_searched(self, line: str, message: str) -> None:
        with pytest.raises(RecipeError, match=r"^x: .*tune\.space") as error:
            compose(tomllib.loads(f"[tune.space]\n{line}"), source="x")
        assert message in str(error.value)

    def test_all_that_is_wrong_is_said_at_once(self) -> None:
        text = "[tune.space]\nfinetune.lrr = [1.0]\nfinetune.dropout = [2.0]\nseed = [1]"
        with pytest.raises(RecipeError) as error:
            compose(tomllib.loads(text), source="x")
        assert str(error.value).count("tune.space.") == 3


class TestRange:
    """Numbers as recipes show them."""

    @given(st.floats(1e-8, 1e6), st.floats(1e-8, 1e6), st.floats(0, 1))
    def test_rounded_stays_inside_and_short(self, one: float, other: float, place: float) -> None:
        low, high = sorted((one, other))
        axis = Range(low, high)
        found = axis.rounded(low + place * (high - low))
        assert low <= found <= high
        assert found in (low, high) or found == float(f"{found:.3g}")
        assert axis.rounded(found) == found

    @given(st.integers(-50, 50), st.integers(1, 40), st.sampled_from([0.1, 0.25, 1e-3, 2.0, 0.05]))
    def test_values_of_steps_are_exact(self, start: int, n: int, step: float) -> None:
        low = round(start * step, 6)
        axis = Range(low, round(low + n * step, 6), step=step)
        found = axis.values()
        assert found is not None
        assert len(found) == n + 1
        assert (found[0], found[-1]) == (axis.low, axis.high)
        assert all(axis.rounded(low + index * step) == value for index, value in enumerate(found))

    def test_a_range_without_steps_has_no_end_of_values(self) -> None:
        assert Range(0.0, 1.0).values() is None
        assert Range(1, 3, integer=True).values() == [1, 2, 3]
        assert Range(1, 3, integer=True, log=True).values() is None


class TestRecipe:
    """The section in files, checkpoints and run folders."""

    def test_it_reads_back_from_what_is_written(self) -> None:
        whole = compose(written().values, source="x")
        assert compose(tomllib.loads(to_toml(whole, {})), source="y") == whole
        assert compose(tomllib.loads(explained_recipe(written())), source="z") == whole

    def test_a_run_without_a_search_does_not_mention_one(self) -> None:
        assert "[tune" not in to_toml(recipe(), {})
        resolved = resolve([written()])
        assert "tune.trials" in resolved.origins
        alone = resolved.without_search()
        assert alone.recipe == recipe(finetune={"epochs": 3})
        assert alone.origins == {"finetune.epochs": "tune.toml"}

    def test_a_checkpoint_hands_no_search_on(self) -> None:
        stored = compose(written().values, source="x").model_dump(mode="json")
        layer = from_checkpoint(stored)
        assert "finetune.epochs" in flatten(layer.values)
        assert resolve([layer]).recipe.tune == TuneConfig()
        with_recipe = from_checkpoint(stored, [written("[finetune]\nepochs = 5")])
        assert resolve([with_recipe]).origins.get("finetune.epochs") != CHECKPOINT

    def test_the_new_search_counts_when_pretraining_goes_on(self) -> None:
        wanted = resolve([written(SPACE.replace("trials = 30", "trials = 4").replace("1e-2", "1e-3"))])
        kept, refused = on_resume(written(), Resolved(wanted.recipe, wanted.origins))
        assert refused == []
        assert kept.recipe.tune == wanted.recipe.tune

    def test_recipes_that_ship(self) -> None:
        for name in ("demo-tune.toml", "bidmc-hr-tune.toml"):
            axes = search_axes(resolve([load_recipe(name)]).recipe)
            assert "finetune.lr" in axes

    def test_a_value_of_the_command_line_keeps_its_origin(self) -> None:
        Path("x.toml").write_text(SPACE)
        resolved = resolve([load_recipe("x.toml"), parse_overrides(["tune.trials=3"])])
        assert resolved.origins["tune.trials"] == COMMAND_LINE
        assert resolved.origins["tune.space.finetune.lr.low"] == "x.toml"
