"""Tokenizers: where their runs are found, whose windows they read, and what does not line up."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ssl_bio.errors import CheckpointError, SslBioError
from ssl_bio.pretexts.base import load_pretext
from ssl_bio.pretexts.tokenizer import Tokenizer
from ssl_bio.runs.checkpoint import load_metadata
from ssl_bio.runs.folder import RunFolder
from ssl_bio.runs.inputs import input_spec
from tests.runs.checkpoints import finished_run, metadata
from tests.tasks.small_recipes import backbone_of, prepared, pretext_recipe, tokenizer_run

CPU = torch.device("cpu")
KEY = "pretrain.tokenizer"


def tokenizer(backbone: str = "vqvae", **changes: Any) -> Tokenizer:
    path = Path(tokenizer_run(backbone))
    return Tokenizer(key=KEY, path=path, metadata=load_metadata(path).model_copy(update=changes))


def test_a_run_of_another_kind_is_refused() -> None:
    recipe = pretext_recipe("timemae", "timemae")
    run = finished_run(Path("other"), recipe=recipe.model_dump(mode="json"))
    found = Tokenizer(key=KEY, path=run.path, metadata=load_metadata(run.path))
    with pytest.raises(CheckpointError, match=r"pretrain\.tokenizer: .* not a VQ-VAE's pretraining run"):
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
        ("timemae", 600, "takes windows of 500 samples, dataset .* has windows of 600: set data.window to 10"),
        ("vqvae", 250, "takes windows of 500 samples, dataset .* has windows of 250: set data.window to 10"),
    ],
)
def test_what_does_not_line_up_is_named(backbone: str, changes: dict[str, Any] | int, message: str) -> None:
    dataset = prepared(pretext_recipe("joint_tokens", "timemae"))
    if isinstance(changes, int):  # the dataset's windows are of so many samples
        dataset, changes = replace(dataset, info=dataset.info.model_copy(update={"length": changes})), {}
    (problem,) = tokenizer(backbone, **changes).check(dataset, window=dataset.info.length)
    with pytest.raises(SslBioError, match=message):
        raise SslBioError(problem)


def test_of_one_channel_it_reads_the_encoders_whatever_its_name() -> None:
    dataset = prepared(pretext_recipe("joint_tokens", "timemae")).with_channels(["ppg"])
    ours = tokenizer(channels=("II",))
    assert ours.channels(dataset.info, dataset.stored_channels) == ("ppg",)
    assert f"{ours.name} learnt from II and reads ppg here" in ours.notes(dataset, ours.recipe)


@pytest.mark.parametrize(
    ("pretext", "pretrain", "message"),
    [
        ("joint_tokens", {"augment": ["scale", "shift:0.5"]}, "pretrain.augment shift:0.5: codes stay where they are"),
        ("timemae", {"draw_channels": ["ecg", "ppg"]}, "pretrain.draw_channels: pretrain.codewords gives the codes"),
        ("joint_tokens", {}, "codes are of whole windows, and model.window crops them"),
    ],
)
def test_codes_stay_with_what_the_encoder_sees(pretext: str, pretrain: dict[str, Any], message: str) -> None:
    named = {"codewords": tokenizer_run(), "vocab_size": 192} if pretext == "timemae" else {}
    recipe = pretext_recipe(pretext, "timemae", **named, **pretrain)
    if not pretrain:
        recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"window": 5.0})})
    dataset = prepared(recipe)
    if pretrain.get("draw_channels"):
        dataset = dataset.with_channels(["ecg"])
    (problem,) = load_pretext(recipe).check(dataset)
    assert message in problem


def test_signals_prepared_in_another_way_are_said() -> None:
    ours, recipe = tokenizer(), pretext_recipe("joint_tokens", "timemae")
    dataset = prepared(recipe)
    assert ours.notes(dataset, recipe) == []
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"highpass": 0.5})})
    (line,) = ours.notes(dataset, recipe)
    assert line.endswith("learnt from other signals: data.highpass -1.0, here 0.5")


@pytest.mark.parametrize(
    ("pretrain", "message"),
    [
        ({"quantizer": {"codebook_size": 8, "groups": 2}}, "of its 2 codebooks the first is learnt"),
        ({"coarse": 2}, "its fine codes are learnt, not those for 2 of them together"),
    ],
)
def test_codes_that_are_not_learnt_are_said(pretrain: dict[str, Any], message: str) -> None:
    recipe = pretext_recipe("vqvae", "vqvae", **pretrain)
    dataset = prepared(recipe)
    spec = input_spec(dataset.info, window=0)
    module = load_pretext(recipe).build(backbone_of(recipe, spec), spec).module
    run = RunFolder(Path("codes"))
    said = metadata(
        recipe=recipe.model_dump(mode="json"),
        channels=dataset.info.channels,
        length=spec.length,
        window=spec.window,
    )
    with run.owned(kind="pretrain", resume=False, overwrite=False):
        run.finish(module.state_dict(), said)
    (line,) = Tokenizer(key=KEY, path=run.path, metadata=said).notes(dataset, recipe)
    assert line == f"pretrain.tokenizer codes: {message}"
