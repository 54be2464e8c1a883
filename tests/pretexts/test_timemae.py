"""TimeMAE's loss: the weighted sum of its terms, what learns from it, and where codewords come from."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from ssl_bio.errors import RecipeError
from ssl_bio.models.masking import random_mask
from ssl_bio.models.timemae import TimeMAE, TimeMAEBackbone
from ssl_bio.pretexts.base import load_pretext
from ssl_bio.pretexts.timemae import TimeMAEObjective
from ssl_bio.runs.inputs import input_spec
from ssl_bio.training.objective import TensorBatch
from tests.tasks.small_recipes import backbone_of, prepared, pretext_recipe, tokenizer_run
from tests.training.steps import first_batch

CPU = torch.device("cpu")


def objective(**changes: Any) -> TimeMAEObjective:
    torch.manual_seed(0)
    backbone = TimeMAEBackbone(n_channels=3, length=64, d_model=16, n_layers=2, dropout=0.0)
    model = TimeMAE(backbone=backbone, decoder_layers=1, vocab_size=8)
    values: dict[str, Any] = {"mask_ratio": 0.6, "momentum": 0.99, "alpha": 5.0, "beta": 1.0, "label_smoothing": 0.2}
    return TimeMAEObjective(model, lr=1e-3, **{**values, **changes})


def signals(n: int) -> TensorBatch:
    return TensorBatch(torch.randn(n, 3, 64))


def test_the_loss_is_the_weighted_sum_of_its_terms() -> None:
    found = {}
    for name, changes in {"both": {}, "regression": {"beta": 0.0}, "classification": {"alpha": 0.0}}.items():
        learner = objective(**changes)
        torch.manual_seed(1)
        found[name] = learner.metrics(learner.step(signals(10)).sums)
    both = found["both"]
    assert found["regression"]["loss"] == pytest.approx(5 * both["mse"], rel=1e-5)
    assert found["classification"]["loss"] == pytest.approx(both["ce"], rel=1e-5)
    assert both["loss"] == pytest.approx(5 * both["mse"] + both["ce"], rel=1e-5)
    assert both["hit_rate"] == both["hits"] / 40
    assert 1 <= both["perplexity"] <= 8
    assert 0 < both["ndcg10"] <= 1


def test_label_smoothing_of_codewords_is_torchs() -> None:
    scores, codewords = torch.randn(6, 8), torch.randint(8, (6,))
    smooth = F.cross_entropy(scores, F.one_hot(codewords, 8).float(), label_smoothing=0.2)
    torch.testing.assert_close(smooth, F.cross_entropy(scores, codewords, label_smoothing=0.2))


@pytest.mark.parametrize("straight_through", [False, True])
def test_the_codebook_learns_from_its_targets_only_straight_through(straight_through: bool) -> None:
    learner = objective(straight_through=straight_through, alpha=0.0)
    other = objective(straight_through=not straight_through, alpha=0.0)
    gradients, losses = [], []
    for one in (learner, other):
        torch.manual_seed(0)
        output = one.step(TensorBatch(torch.ones(4, 3, 64)))
        losses.append(output.loss.item())
        codebook = one.module.get_parameter("tokenizer.codebook.weight")
        gradients.append(torch.autograd.grad(output.loss, codebook)[0])
    assert losses[0] == pytest.approx(losses[1]), "the value is the same, the gradient is not"
    assert not torch.allclose(gradients[0], gradients[1])


def test_the_target_encoder_does_not_train_and_follows() -> None:
    learner = objective(momentum=0.5)
    (group,) = learner.parameter_groups()
    ids = {id(parameter) for parameter in group.parameters}
    target, backbone = learner.module.get_submodule("target"), learner.module.backbone
    assert not ids & {id(parameter) for parameter in target.parameters()}
    assert ids >= {id(parameter) for parameter in backbone.parameters()}
    before = [parameter.clone() for parameter in target.parameters()]
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(1.0)
    learner.after_step()
    moved = [(after - old).abs().max().item() for after, old in zip(target.parameters(), before, strict=True)]
    assert max(moved) == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize("per_sample", [False, True])
def test_a_mask_is_one_for_the_batch_or_one_for_each_window(per_sample: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    learner, seen = objective(mask_per_sample=per_sample), []
    forward = learner.module.forward

    def watch(inputs: torch.Tensor, mask: torch.Tensor, codes: torch.Tensor | None) -> Any:
        seen.append(mask)
        return forward(inputs, mask, codes)

    monkeypatch.setattr(learner.module, "forward", watch)
    learner.step(signals(6))
    masks = {tuple(sorted(row)) for row in seen[0].expand(6, -1).tolist()}
    assert (len(masks) > 1) == per_sample
    assert {len(mask) for mask in masks} == {4}


def test_windows_of_a_single_token_leave_nothing_to_mask() -> None:
    recipe = pretext_recipe("timemae", "timemae")
    recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"wave_length": 500})})
    spec = input_spec(prepared(recipe).info, window=0)
    with pytest.raises(RecipeError, match=r"model\.wave_length 500 leaves 1 token: nothing to mask"):
        load_pretext(recipe).build(backbone_of(recipe, spec), spec)


@pytest.mark.parametrize("per_sample", [False, True])
def test_given_codes_are_the_codewords_of_masked_tokens(per_sample: bool) -> None:
    learner = objective(mask_per_sample=per_sample)
    inputs, codes = signals(6).inputs, torch.randint(8, (6, 8))
    mask = random_mask(n_tokens=8, mask_ratio=0.6, batch_size=6, per_sample=per_sample)
    codewords = learner.module(inputs, mask, codes).codewords
    assert torch.equal(codewords.argmax(dim=-1), codes.gather(1, mask))
    assert torch.equal(codewords.sum(dim=-1), torch.ones(6, mask.shape[1]))


def test_hits_stand_beside_chance() -> None:
    learner = objective()
    metrics = learner.metrics(learner.step(signals(6)).sums)
    assert metrics["hit_rate_chance"] == 1 / 8
    assert 1 / 8 <= metrics["hit_rate_constant"] <= 1


def test_codes_of_a_tokenizer_replace_the_codebook() -> None:
    recipe = pretext_recipe("timemae", "timemae", vocab_size=192, codewords=tokenizer_run())
    dataset = prepared(recipe)
    spec, pretext = input_spec(dataset.info, window=0), load_pretext(recipe)
    assert pretext.check(dataset) == []
    learner = pretext.build(backbone_of(recipe, spec), spec)
    batch = first_batch(pretext.training_loader(dataset, spec, CPU))
    assert batch.targets is not None
    assert batch.targets.shape == (len(batch.inputs), 32)
    found = learner.metrics(learner.step(batch).sums)
    assert found["perplexity"] <= 8
    assert found["hit_rate_chance"] == 1 / 8


@pytest.mark.parametrize("changes", [{"vocab_size": 64}, {"straight_through": True}])
def test_keys_of_its_own_codebook_are_refused_beside_a_tokenizer(changes: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=f"pretrain.{next(iter(changes))} would change nothing"):
        pretext_recipe("timemae", "timemae", **{"vocab_size": 192, "codewords": "x", **changes})


def test_masked_tokens_need_a_code_each() -> None:
    recipe = pretext_recipe("timemae", "timemae", vocab_size=192, codewords=tokenizer_run())
    recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"wave_length": 8})})
    spec = input_spec(prepared(recipe).info, window=0)
    with pytest.raises(RecipeError, match="its codes stand for 16 samples, this model's tokens for 8"):
        load_pretext(recipe).build(backbone_of(recipe, spec), spec)
