"""Tokenizers: where their runs are found, whose windows they read, and what does not line up."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ssl_bio.errors import CheckpointError, SslBioError
from ssl_bio.pretexts.base import load_pretext
from ssl_bio.pretexts.tokenizer import Tokenizer, find_tokenizer
from ssl_bio.runs.checkpoint import load_metadata
from ssl_bio.runs.inputs import input_spec
from tests.runs.checkpoints import finished_run
from tests.tasks.small_recipes import backbone_of, prepared, pretext_recipe, tokenizer_run

CPU = torch.device("cpu")
KEY = "pretrain.tokenizer"


def tokenizer(backbone: str = "vqvae", **changes: Any) -> Tokenizer:
    path = Path(tokenizer_run(backbone))
    return Tokenizer(key=KEY, path=path, metadata=load_metadata(path).model_copy(update=changes))


@pytest.mark.parametrize(
    ("value", "where", "expected"),
    [
        ("codes", {"seed": 0}, "checkpoints/codes/pretrain-seed0"),
        ("codes", {"seed": 2, "folds": 5, "fold": 3}, "checkpoints/codes/pretrain-folds5-seed2/fold3"),
        ("runs/a", {"seed": 2}, "runs/a"),
        ("here", {"seed": 2}, "here"),
        ("runs/{seed}/fold{fold}", {"seed": 2, "folds": 5, "fold": 3}, "runs/2/fold3"),
        ("runs/{seed}/fold{fold}", {"seed": 2}, "runs/2/fold0"),
    ],
)
def test_a_recipes_name_or_a_folder_finds_it(value: str, where: dict[str, int], expected: str) -> None:
    finished_run(Path(expected))
    where = {"folds": 0, "fold": -1, **where}
    assert find_tokenizer(value, key=KEY, **where).path == Path(expected)


@pytest.mark.parametrize(
    ("where", "command"),
    [
        ({"seed": 0, "folds": 0, "fold": -1}, "`ssl-bio pretrain --recipe codes.toml` makes it"),
        ({"seed": 1, "folds": 5, "fold": 0}, "`ssl-bio pretrain --recipe codes.toml --folds 5 --seed 1` makes it"),
    ],
)
def test_one_that_is_not_there_comes_with_the_command_that_makes_it(where: dict[str, int], command: str) -> None:
    finished_run(Path("checkpoints/codes/pretrain-seed9"))
    with pytest.raises(CheckpointError, match=command.replace(".", r"\.")) as caught:
        find_tokenizer("codes", key=KEY, **where)
    assert str(caught.value).startswith("pretrain.tokenizer: checkpoints/codes/pretrain")


def test_a_broken_one_is_not_made_again() -> None:
    run = finished_run(Path("checkpoints/codes/pretrain-seed0"))
    (run.path / "model.safetensors").write_bytes(b"1234")
    with pytest.raises(CheckpointError, match="pretrain-seed0") as caught:
        find_tokenizer("codes", key=KEY, seed=0, folds=0, fold=-1)
    assert "makes it" not in str(caught.value)


def test_a_run_of_another_kind_is_refused() -> None:
    recipe = pretext_recipe("timemae", "timemae")
    run = finished_run(Path("other"), recipe=recipe.model_dump(mode="json"))
    found = find_tokenizer("./other", key=KEY, seed=0, folds=0, fold=-1)
    assert found.path == run.path
    with pytest.raises(CheckpointError, match="not a VQ-VAE's pretraining run"):
        found.model  # noqa: B018  # reading it is what fails


@pytest.mark.parametrize("backbone", ["vqvae", "timemae"])
def test_it_reads_its_own_channels_whatever_the_encoder_sees(backbone: str) -> None:
    recipe = pretext_recipe("joint_tokens", "timemae")
    whole = prepared(recipe)
    found = []
    for channels in (["ecg"], ["ppg"], ["ppg", "ecg"], []):
        signals = load_pretext(recipe).signals(whole.with_channels(channels), "train")
        found.append(tokenizer(backbone).codes(signals, CPU))
    assert all(np.array_equal(codes, found[0]) for codes in found)
    rows = whole.rows("subject", "train")
    model = tokenizer(backbone).model
    expected = model.codes(torch.from_numpy(whole.read(rows[:5])))[..., 0]
    np.testing.assert_array_equal(found[0][:5], expected.numpy())
    assert found[0].shape == (len(rows), 32)
    assert len(np.unique(found[0])) > 1


def test_it_never_changes_and_draws_nothing() -> None:
    ours = tokenizer()
    torch.manual_seed(4)
    expected = torch.rand(1)
    torch.manual_seed(4)
    before = {name: tensor.clone() for name, tensor in ours.model.state_dict().items()}
    recipe = pretext_recipe("joint_tokens", "timemae")
    ours.codes(load_pretext(recipe).signals(prepared(recipe), "train"), CPU)
    assert torch.equal(torch.rand(1), expected)
    assert not any(part.training for part in ours.model.modules())
    assert not any(parameter.requires_grad for parameter in ours.model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in ours.model.state_dict().items())


@pytest.mark.parametrize(
    ("backbone", "changes", "message"),
    [
        ("vqvae", {"channels": ("ecg", "resp")}, "reads the channels ecg, resp; dataset .* has ecg, ppg"),
        ("vqvae", {"sampling_rate": 125.0}, "reads signals at 125 Hz, dataset .* has 50 Hz: set data.sampling_rate"),
        ("timemae", {}, "takes windows of 512 samples, dataset .* has windows of 600: set data.window to 10.24"),
    ],
)
def test_what_does_not_line_up_is_named(backbone: str, changes: dict[str, Any], message: str) -> None:
    dataset = prepared(pretext_recipe("joint_tokens", "timemae"))
    if backbone == "timemae":
        dataset = replace(dataset, info=dataset.info.model_copy(update={"length": 600}))
    (problem,) = tokenizer(backbone, **changes).check(dataset, window=dataset.info.length)
    with pytest.raises(SslBioError, match=message):
        raise SslBioError(problem)


def test_of_one_channel_it_reads_the_encoders_whatever_its_name() -> None:
    dataset = prepared(pretext_recipe("joint_tokens", "timemae")).with_channels(["ppg"])
    ours = tokenizer(channels=("II",))
    assert ours.channels(dataset.info, dataset.stored_channels) == ("ppg",)


@pytest.mark.parametrize(
    ("pretext", "pretrain", "message"),
    [
        ("joint_tokens", {"augment": ["scale", "shift:0.5"]}, "pretrain.augment shift:0.5: codes stay where they are"),
        ("timemae", {"draw_channels": ["ecg", "ppg"]}, "pretrain.draw_channels: pretrain.codewords gives the codes"),
        ("joint_tokens", {}, "codes are of whole windows, and model.window crops them"),
    ],
)
def test_codes_stay_with_what_the_encoder_sees(pretext: str, pretrain: dict[str, Any], message: str) -> None:
    named = {"codewords": tokenizer_run()} if pretext == "timemae" else {}
    recipe = pretext_recipe(pretext, "timemae", **named, **pretrain)
    if not pretrain:
        recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"window": 5.0})})
    dataset = prepared(recipe)
    if pretrain.get("draw_channels"):
        dataset = dataset.with_channels(["ecg"])
    (problem,) = load_pretext(recipe).check(dataset)
    assert message in problem


def test_signals_prepared_in_another_way_are_said() -> None:
    recipe = pretext_recipe("joint_tokens", "timemae")
    spec = input_spec(prepared(recipe).info, window=0)
    assert load_pretext(recipe).notes(backbone_of(recipe, spec), spec) == []
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"highpass": 0.5})})
    (line,) = load_pretext(recipe).notes(backbone_of(recipe, spec), spec)
    assert line.endswith("learnt from other signals: data.highpass -1.0, here 0.5")
