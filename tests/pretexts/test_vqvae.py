"""The VQ-VAE's pretext task: its loss by hand, the codes it uses, warnings before and while it trains."""

from typing import Any

import pytest
import torch

from ssl_bio.errors import RecipeError
from ssl_bio.models.vqvae import VQVAE, VQVAEBackbone
from ssl_bio.pretexts.base import load_pretext
from ssl_bio.pretexts.vqvae import VQVAEObjective
from ssl_bio.runs.inputs import input_spec
from ssl_bio.training.objective import TensorBatch
from tests.tasks.small_recipes import backbone_of, prepared, pretext_recipe


def objective(coarse: int = 1, **changes: Any) -> VQVAEObjective:
    torch.manual_seed(0)
    backbone = VQVAEBackbone(
        n_channels=2, length=64, d_model=16, width=8, n_layers=1, wave_length=8, s4d={"d_state": 8}, normalize="none"
    )
    model = VQVAE(backbone=backbone, quantizer={"codebook_size": 8}, coarse=coarse)
    values: dict[str, Any] = {"reconstruction": "mse", "input_noise": 0.0, "input_mask": 0.0}
    return VQVAEObjective(model, lr=1e-3, **{**values, **changes})


@pytest.mark.parametrize("reconstruction", ["mse", "l1"])
def test_the_loss_is_reconstruction_and_commitment(reconstruction: str) -> None:
    learner, batch = objective(reconstruction=reconstruction), TensorBatch(torch.randn(12, 2, 64))
    learner.step(batch)
    output = learner.step(batch)
    found = learner.metrics(output.sums)
    assert found["commitment"] > 0
    assert found["loss"] == pytest.approx(found[reconstruction] + found["commitment"], rel=1e-5)
    assert ("l1" in found) == (reconstruction == "l1")
    learner.module.eval()
    evaluated = learner.metrics(learner.step(batch).sums)
    assert "commitment" not in evaluated
    assert evaluated["loss"] == pytest.approx(evaluated[reconstruction])


@pytest.mark.parametrize("weights", [{"ecg": 2.0, "ppg": 0.5}, {"ppg": 0.0}, {"ecg": 3.0, "ppg": 3.0}])
def test_the_error_is_the_weighted_mean_over_channels(weights: dict[str, float]) -> None:
    learner = objective(reconstruction="l1", channels=("ecg", "ppg"), channel_weights=weights)
    batch = TensorBatch(torch.randn(12, 2, 64) * torch.tensor([[[1.0], [3.0]]]))
    learner.step(batch)
    learner.module.eval()
    with torch.no_grad():
        found = learner.module(batch.inputs)
        output = learner.step(batch)
    by_channel = (found.signals - found.target).abs().mean(dim=(0, 2))
    ecg, ppg = weights.get("ecg", 1.0), weights["ppg"]
    expected = (ecg * by_channel[0] + ppg * by_channel[1]) / (ecg + ppg)
    torch.testing.assert_close(output.loss, expected)
    metrics = learner.metrics(output.sums)
    assert [metrics["l1_ecg"], metrics["l1_ppg"]] == pytest.approx(by_channel.tolist())
    assert metrics["l1"] == pytest.approx(float(by_channel.mean()))
    assert metrics["mse"] == pytest.approx((metrics["mse_ecg"] + metrics["mse_ppg"]) / 2)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"egc": 2.0}, "pretrain.channel_weights: no channel egc among ecg, ppg"),
        ({"ecg": 0.0, "ppg": 0.0}, "pretrain.channel_weights: every channel's weight is 0"),
    ],
)
def test_weights_that_cannot_be(weights: dict[str, float], message: str) -> None:
    recipe = pretext_recipe("vqvae", "timemae", channel_weights=weights)
    assert load_pretext(recipe).check(prepared(recipe)) == [message]


def test_weights_reach_the_loss() -> None:
    recipe = pretext_recipe("vqvae", "timemae", channel_weights={"ecg": 0.0})
    spec = input_spec(prepared(recipe).info, window=0)
    learner = load_pretext(recipe).build(backbone_of(recipe, spec), spec)
    learner.module.eval()
    metrics = learner.metrics(learner.step(TensorBatch(torch.randn(4, 2, 500))).sums)
    assert metrics["loss"] == pytest.approx(metrics["mse_ppg"]) != pytest.approx(metrics["mse"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pretrain": {"coarse": 2}}, r"pretrain.coarse 2: a hierarchical decoder needs model.kind 'vqvae'"),
        ({"data": {"normalize": "channel+window"}}, r"data.normalize 'channel\+window' shows every channel twice"),
    ],
)
def test_a_transformer_that_cannot_give_signals_back(changes: dict[str, dict[str, Any]], message: str) -> None:
    recipe = pretext_recipe("vqvae", "timemae")
    for section, values in changes.items():
        recipe = recipe.model_copy(update={section: getattr(recipe, section).model_copy(update=values)})
    spec = input_spec(prepared(recipe).info, window=0)
    with pytest.raises(RecipeError, match=message):
        load_pretext(recipe).build(backbone_of(recipe, spec), spec)


def test_the_input_is_disturbed_in_training_alone() -> None:
    learner, batch = objective(input_noise=0.5, input_mask=0.5), TensorBatch(torch.randn(12, 2, 64))
    learner.step(batch)
    learner.module.eval()
    assert torch.equal(learner.step(batch).loss, learner.step(batch).loss)
    learner.module.train()
    assert not torch.equal(learner.step(batch).loss, learner.step(batch).loss)


@pytest.mark.parametrize("coarse", [1, 4])
def test_codes_are_counted_over_batches(coarse: int) -> None:
    learner = objective(coarse)
    first, second = (learner.step(TensorBatch(torch.randn(12, 2, 64))).sums for _ in range(2))
    together = {name: first[name] + second[name] for name in first}
    found = learner.metrics(together)
    counts = together["counts"]
    assert counts.sum() == 2 * 12 * 8
    assert found["codes_used"] == pytest.approx(float((counts > 0).float().mean()))
    assert 1 <= found["perplexity"] <= 8
    assert ("coarse_perplexity" in found) == (coarse > 1)


def test_a_quantizer_that_cannot_be_is_refused() -> None:
    recipe = pretext_recipe("vqvae", "vqvae", quantizer={"kind": "simvq", "groups": 2})
    spec = input_spec(prepared(recipe).info, window=0)
    with pytest.raises(RecipeError, match=r"pretrain\.quantizer: groups and levels need kind 'vq', not 'simvq'"):
        load_pretext(recipe).build(backbone_of(recipe, spec), spec)


@pytest.mark.parametrize(
    ("quantizer", "said"),
    [
        ({"codebook_size": 8}, False),
        ({"codebook_size": 512}, True),
        ({"codebook_size": 512, "kmeans_init": False}, False),
        ({"kind": "fsq"}, False),
    ],
)
def test_fewer_tokens_than_codes_are_said_before_training(quantizer: dict[str, Any], said: bool) -> None:
    recipe = pretext_recipe("vqvae", "vqvae", quantizer=quantizer)
    spec = input_spec(prepared(recipe).info, window=0)
    notes = load_pretext(recipe).notes(backbone_of(recipe, spec), prepared(recipe))
    assert [note[:33] for note in notes] == (["the first batch holds 256 tokens "] if said else [])


def test_a_codebook_that_collapses_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    pretext = load_pretext(pretext_recipe("vqvae", "vqvae", collapse_share=0.5, collapse_epochs=2))
    history: list[dict[str, float]] = []
    said = []
    for used in (0.4, 0.3, 0.2, 0.9, 0.1):
        history.append(pretext.after_validation({"val_codes_used": used}, history))
        said.append("the codebook collapses" in " ".join(capsys.readouterr().out.split()))
    assert [row["low_use_epochs"] for row in history] == [1, 2, 3, 0, 1]
    assert said == [False, True, False, False, False]
