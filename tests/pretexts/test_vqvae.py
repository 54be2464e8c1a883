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
    notes = load_pretext(recipe).notes(backbone_of(recipe, spec), spec)
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
