"""Runs that others learn from: where they are found, and whom of the test people they have seen."""

from pathlib import Path
from typing import Any

import pytest

from ssl_bio.config import Recipe
from ssl_bio.data.ingest import archive
from ssl_bio.errors import CheckpointError
from ssl_bio.pretexts.sources import find_source, seen_test_people
from ssl_bio.runs.checkpoint import CheckpointMetadata
from tests.runs.checkpoints import finished_run, metadata
from tests.tasks.small_recipes import prepared, small_recipe

KEY = "pretrain.tokenizer"


def recipe_of(seed: int = 0, **data: Any) -> Recipe:
    return small_recipe({"seed": seed, "data": data})


@pytest.mark.parametrize(
    ("value", "recipe", "expected"),
    [
        ("codes", {}, "checkpoints/codes/pretrain-seed0"),
        ("codes.toml", {}, "checkpoints/codes/pretrain-seed0"),
        ("codes", {"seed": 2, "folds": 5, "fold": 3}, "checkpoints/codes/pretrain-folds5-seed2/fold3"),
        ("runs/a", {"seed": 2}, "runs/a"),
        ("here", {"seed": 2}, "here"),
        ("runs/{seed}/fold{fold}", {"seed": 2, "folds": 5, "fold": 3}, "runs/2/fold3"),
        ("runs/{seed}/fold{fold}", {"seed": 2}, "runs/2/fold0"),
        ("whole", {"folds": 5, "fold": 3}, "whole/fold3"),
    ],
)
def test_a_recipes_name_or_a_folder_finds_it(value: str, recipe: dict[str, Any], expected: str) -> None:
    finished_run(Path(expected))
    assert find_source(value, key=KEY, recipe=recipe_of(**recipe)).path == Path(expected)


@pytest.mark.parametrize(
    ("recipe", "command"),
    [
        ({}, "`ssl-bio pretrain --recipe codes.toml` makes it"),
        ({"seed": 1, "folds": 5, "fold": 0}, "`ssl-bio pretrain --recipe codes.toml --folds 5 --seed 1` makes it"),
        ({"split_scheme": "time"}, "`ssl-bio pretrain --recipe codes.toml --set data.split_scheme=time` makes it"),
    ],
)
def test_one_that_is_not_there_comes_with_the_command_that_makes_it(recipe: dict[str, Any], command: str) -> None:
    Path("recipes").mkdir()
    Path("recipes/codes.toml").write_text('name = "codes"')
    finished_run(Path("checkpoints/codes/pretrain-seed9"))
    with pytest.raises(CheckpointError) as caught:
        find_source("codes", key=KEY, recipe=recipe_of(**recipe))
    said = str(caught.value)
    assert said.startswith("pretrain.tokenizer: checkpoints/codes/pretrain")
    assert command in said
    assert "there is checkpoints/codes/pretrain-seed9: a key may name such a folder" in said


def test_one_that_was_stopped_half_way_is_to_be_resumed() -> None:
    Path("recipes").mkdir()
    Path("recipes/codes.toml").write_text('name = "codes"')
    Path("checkpoints/codes/pretrain-seed0").mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"--recipe codes\.toml --resume` makes it"):
        find_source("codes", key=KEY, recipe=recipe_of())


def test_what_no_recipe_can_make() -> None:
    with pytest.raises(CheckpointError, match="there is no recipe 'nonsense' that could make it"):
        find_source("nonsense", key=KEY, recipe=recipe_of())
    finished_run(Path("whole/fold0"))
    with pytest.raises(CheckpointError, match="holds the parts of a cross-validation: name one, whole/fold0"):
        find_source("whole", key=KEY, recipe=recipe_of())


def test_a_broken_one_is_not_made_again() -> None:
    run = finished_run(Path("checkpoints/codes/pretrain-seed0"))
    (run.path / "model.safetensors").write_bytes(b"1234")
    with pytest.raises(CheckpointError, match="pretrain-seed0") as caught:
        find_source("codes", key=KEY, recipe=recipe_of())
    assert "makes it" not in str(caught.value)


def source_of(recipe: Recipe) -> CheckpointMetadata:
    fingerprint = prepared(recipe).info.fingerprint if recipe.data.dataset == "synthetic" else "0"
    return metadata(recipe=recipe.model_dump(mode="json"), fingerprint=fingerprint)


def test_other_splits_of_the_same_people_are_said() -> None:
    recipe = recipe_of(folds=5, fold=1)
    dataset = prepared(recipe)
    assert seen_test_people("it", source_of(recipe), recipe=recipe, dataset=dataset) == []
    for data in ({"folds": 5, "fold": 2}, {}):
        (line,) = seen_test_people("it", source_of(recipe_of(**data)), recipe=recipe, dataset=dataset)
        assert "may have seen signals (no labels) of the test people" in line
        assert "evaluated under 'subject', part 1 of 5" in line
    elsewhere = source_of(recipe_of(dataset="har"))
    assert seen_test_people("it", elsewhere, recipe=recipe, dataset=dataset) == []


def test_test_people_in_other_windows_are_counted() -> None:
    recipe = recipe_of()
    dataset = prepared(recipe)
    theirs = recipe_of(synthetic={"n_subjects": 12, "windows_per_subject": 8})
    own = prepared(theirs)
    learnt = {own.subjects[row] for split in ("train", "val") for row in own.rows("subject", split)}
    people = {dataset.subjects[row] for row in dataset.rows("subject", "test")}
    (line,) = seen_test_people("it", source_of(theirs), recipe=recipe, dataset=dataset)
    assert line.startswith(f"it learnt from signals (no labels) of {len(learnt & people)} of {len(people)} test people")


def test_windows_that_are_not_at_hand_are_not_fetched_for_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "download", lambda *arguments: pytest.fail("fetched"))
    recipe = recipe_of(dataset="bidmc")
    (line,) = seen_test_people("it", source_of(recipe), recipe=recipe, dataset=prepared(recipe_of()))
    assert line == "it learnt from other windows of bidmc: which test people it has seen cannot be told"


def test_the_tokenizer_of_a_pretrained_backbone_is_asked_too() -> None:
    recipe = recipe_of(folds=5, fold=1)
    tokenizer = finished_run(
        Path("codes"), recipe=recipe_of().model_dump(mode="json"), fingerprint=prepared(recipe).info.fingerprint
    )
    pretrain = {"pretext": "joint_tokens", "tokenizer": str(tokenizer.path)}
    backbone = small_recipe({"data": {"folds": 5, "fold": 1}, "pretrain": pretrain})
    (line,) = seen_test_people("the backbone", source_of(backbone), recipe=recipe, dataset=prepared(recipe))
    assert line.startswith("the backbone's tokenizer learnt under split scheme 'subject', this run")
