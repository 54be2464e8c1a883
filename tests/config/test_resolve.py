"""Who wins: command line over recipe over checkpoint over defaults; the resume policy."""

from pathlib import Path

import pytest

from ssl_bio import recipe, resolve
from ssl_bio.errors import DataError, RecipeError
from ssl_bio.recipe import Written
from ssl_bio.schema import Recipe
from tests.test_checkpoint import facts


def written(source: str, **values: object) -> Written:
    return recipe.check(values, source)


def test_precedence_and_origins() -> None:
    checkpoint = Written({"model": {"d_model": 32}, "finetune": {"lr": 0.1, "epochs": 7}}, "checkpoint")
    mine = written("mine.toml", finetune={"lr": 0.2, "patience": 3})
    line = written("command line", finetune={"lr": 0.3})
    resolved = resolve.resolve([checkpoint, mine, line])
    assert resolved.recipe.finetune.lr == 0.3
    assert resolved.recipe.finetune.epochs == 7
    assert resolved.origins == {
        "model.d_model": "checkpoint",
        "finetune.epochs": "checkpoint",
        "finetune.patience": "mine.toml",
        "finetune.lr": "command line",
    }


@pytest.mark.parametrize(
    ("source", "values", "message"),
    [
        ("big.toml", {"model": {"d_model": 128}}, r"model\.d_model is 128 from big\.toml but 64 in the checkpoint"),
        ("command line", {"model": {"n_heads": 8}}, r"model\.n_heads is 8 from command line but 4"),
        (
            "command line",
            {"data": {"normalize": "window"}},
            r"data\.normalize is 'window' from command line but 'none'",
        ),
    ],
)
def test_another_network_than_the_checkpoint_holds_is_refused(
    source: str, values: dict[str, object], message: str
) -> None:
    theirs = facts(recipe=Recipe().model_dump(mode="json"))
    layers = [resolve.from_checkpoint(theirs), written(source, **values)]
    with pytest.raises(RecipeError, match=message):
        resolve.check_architecture(theirs, resolve.resolve(layers))
    resolve.check_architecture(theirs, resolve.resolve(layers[:1]))


def test_value_that_equals_a_default_is_still_somebodys_choice() -> None:
    stored = written("run", pretrain={"epochs": 4, "batch_size": 16})
    wanted = resolve.resolve([written("command line", pretrain={"epochs": 100, "batch_size": 128})])
    assert wanted.origins == {"pretrain.epochs": "command line", "pretrain.batch_size": "command line"}
    kept, refused = resolve.on_resume(stored, wanted)
    assert kept.recipe.pretrain.epochs == 100
    assert len(refused) == 1
    assert "pretrain.batch_size = 16, not 128" in refused[0]


def test_resume_takes_more_epochs_and_keeps_the_rest() -> None:
    stored = written("run", pretrain={"epochs": 10, "lr": 0.5}, seed=3)
    wanted = resolve.resolve([written("x.toml", pretrain={"epochs": 20, "lr": 0.25}, seed=4)])
    kept, refused = resolve.on_resume(stored, wanted)
    assert (kept.recipe.pretrain.epochs, kept.recipe.pretrain.lr, kept.recipe.seed) == (20, 0.5, 3)
    assert any("pretrain.lr" in line and "0.5" in line and "x.toml" in line for line in refused)
    assert any("seed" in line for line in refused)
    assert len(refused) == 2


def test_dataset_fills_in_the_target_and_refuses_what_it_lacks() -> None:
    from ssl_bio.data import convert
    from ssl_bio.data.synthetic import generate

    info = convert.write(Path("data/s"), generate(6, 4, 0)).info
    assert resolve.with_dataset(resolve.resolve([]), info).recipe.data.target == "rhythm"
    with pytest.raises(DataError, match="it has rhythm, heart_rate"):
        resolve.with_dataset(resolve.resolve([written("x", data={"target": "mood"})]), info)
    with pytest.raises(DataError, match="it has subject"):
        resolve.with_dataset(resolve.resolve([written("x", data={"validation": "overlapping"})]), info)


def test_another_dataset_leaves_the_checkpoints_own_behind() -> None:
    written = recipe.check({"data": {"dataset": "mitdb", "channels": ["lead_1"], "normalize": "channel"}}, "theirs")
    theirs = facts(recipe=resolve.resolve([written]).recipe.model_dump(mode="json"))
    mine = Written({"data": {"dataset": "cinc2017"}}, "mine")
    data = resolve.resolve([resolve.from_checkpoint(theirs, [mine]), mine]).recipe.data
    assert (data.dataset, data.channels, data.normalize) == ("cinc2017", [], "channel")
    data = resolve.resolve([resolve.from_checkpoint(theirs, [Written({}, "mine")])]).recipe.data
    assert (data.dataset, data.channels) == ("mitdb", ["lead_1"])


def test_a_recipe_that_says_how_to_finetune_is_not_mixed_with_the_checkpoints() -> None:
    written = recipe.check({"finetune": {"layers": "all", "epochs": 7}, "model": {"d_model": 16}}, "theirs")
    theirs = facts(recipe=resolve.resolve([written]).recipe.model_dump(mode="json"))
    mine = Written({"finetune": {"lr": 0.01}}, "mine.toml")
    plan = resolve.resolve([resolve.from_checkpoint(theirs, [mine]), mine]).recipe
    assert (plan.finetune.layers, plan.finetune.epochs, plan.model.d_model) == ("last", 100, 16)
    typed = Written({"finetune": {"lr": 0.01}}, "command line")
    plan = resolve.resolve([resolve.from_checkpoint(theirs, [typed]), typed]).recipe
    assert (plan.finetune.layers, plan.finetune.epochs, plan.finetune.lr) == ("all", 7, 0.01)
