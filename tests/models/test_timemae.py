"""The parts of TimeMAE against what the paper and the official code say."""

from typing import Any

import pytest
import torch
from torch import nn

from ssl_bio.models.masking import random_mask
from ssl_bio.models.timemae import LearntCodebook, TimeMAE, TimeMAEBackbone
from tests.models.repeatability import assert_backward_repeats


def small(**changes: object) -> TimeMAE:
    arguments: dict[str, Any] = {"n_channels": 3, "length": 64, "d_model": 16, "n_layers": 2, "dropout": 0.1}
    torch.manual_seed(0)
    return TimeMAE(backbone=TimeMAEBackbone(**{**arguments, **changes}), decoder_layers=2, vocab_size=12)


def some_masked(batch_size: int, per_sample: bool) -> torch.Tensor:
    return random_mask(n_tokens=8, mask_ratio=0.6, batch_size=batch_size, per_sample=per_sample)


def test_shapes_of_the_paper() -> None:
    backbone = TimeMAEBackbone(n_channels=9, length=128)
    assert backbone.n_tokens == 16
    assert backbone(torch.zeros(2, 9, 128)).shape == (2, 16, 64)
    scales = [p for name, p in backbone.named_parameters() if "scale_" in name]
    assert len(scales) == 16
    assert all(scale.item() == pytest.approx(1e-8) for scale in scales)


def test_no_gradient_reaches_the_target_encoder() -> None:
    model = small()
    prediction = model(torch.randn(4, 3, 64), some_masked(4, per_sample=True))
    assert not prediction.target.requires_grad
    (prediction.representation.sum() + prediction.scores.sum() + prediction.codewords.sum()).backward()
    assert all(p.grad is None and not p.requires_grad for p in model.target.parameters())
    assert all(p.grad is not None for p in model.backbone.encoder.parameters())


def test_momentum_update_is_exact() -> None:
    model = small()
    with torch.no_grad():
        for parameter in model.backbone.encoder.parameters():
            parameter.add_(1.0)
    before = [p.clone() for p in model.target.parameters()]
    model.update_target(0.99)
    for old, new, online in zip(before, model.target.parameters(), model.backbone.encoder.parameters(), strict=True):
        torch.testing.assert_close(new, 0.99 * old + 0.01 * online)
    model.update_target(0.0)
    for new, online in zip(model.target.parameters(), model.backbone.encoder.parameters(), strict=True):
        torch.testing.assert_close(new, online)


def test_codewords_are_one_hot_with_the_gradient_of_the_softmax() -> None:
    torch.manual_seed(0)
    tokenizer = LearntCodebook(16, 12)
    embeddings = torch.randn(5, 16, requires_grad=True)
    weight = torch.randn(5, 12)
    torch.manual_seed(1)
    codewords = tokenizer(embeddings)
    assert torch.allclose(codewords.sum(-1), torch.ones(5))
    assert torch.equal(codewords.detach().max(-1).values.round(), torch.ones(5))
    (got,) = torch.autograd.grad((codewords * weight).sum(), embeddings)
    from ssl_bio.models.timemae import _gumbel

    torch.manual_seed(1)
    logits = tokenizer.codebook(embeddings)
    soft = (logits + _gumbel(logits)).softmax(-1)
    (expected,) = torch.autograd.grad((soft * weight).sum(), embeddings)
    torch.testing.assert_close(got, expected)
    assert torch.equal(codewords.argmax(-1), soft.argmax(-1))


def test_gumbel_argmax_samples_the_softmax() -> None:
    tokenizer = LearntCodebook(4, 3)
    with torch.no_grad():
        tokenizer.codebook.weight.zero_()
        tokenizer.codebook.bias.copy_(torch.tensor([0.5, 0.3, 0.2]).log())
    torch.manual_seed(0)
    share = tokenizer(torch.zeros(20000, 4)).mean(0)
    torch.testing.assert_close(share, torch.tensor([0.5, 0.3, 0.2]), atol=0.015, rtol=0)


def awake(model: TimeMAE) -> TimeMAE:
    """The model with its residual branches switched on, so that context matters, in evaluation mode."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "scale_" in name:
                parameter.fill_(1.0)
    return model.eval()


@pytest.mark.parametrize("normalize", ["none", "window", "channel+window"])
@pytest.mark.parametrize("encoder", ["timemae", "pre-norm"])
@pytest.mark.parametrize("stem", ["patch", "conv"])
def test_decoder_cannot_see_masked_content(stem: str, encoder: str, normalize: str) -> None:
    model = awake(small(stem=stem, encoder=encoder, normalize=normalize))
    signals = torch.randn(4, 3, 64)
    masked = some_masked(4, per_sample=True)
    changed = signals.clone()
    for row, positions in enumerate(masked):
        for position in positions:
            changed[row, :, position * 8 : (position + 1) * 8] += 10.0
    first, second = model(signals, masked), model(changed, masked)
    torch.testing.assert_close(first.representation, second.representation)
    torch.testing.assert_close(first.scores, second.scores)
    assert not torch.allclose(first.target, second.target, atol=1e-2), "the targets do see it"


def test_decoder_does_see_visible_content() -> None:
    model = awake(small())
    masked = torch.tensor([[0, 1, 2, 3]])
    signals = torch.randn(1, 3, 64)
    changed = signals.clone()
    changed[..., 60:] += 1.0
    first, second = model(signals, masked), model(changed, masked)
    assert not torch.allclose(first.representation, second.representation)


def test_length_that_is_no_multiple_is_padded_with_the_last_sample() -> None:
    backbone = TimeMAEBackbone(n_channels=2, length=61, d_model=8, n_layers=1).eval()
    assert (backbone.n_tokens, backbone.padding) == (8, 3)
    signals = torch.randn(1, 2, 61)
    longer = TimeMAEBackbone(n_channels=2, length=64, d_model=8, n_layers=1).eval()
    longer.load_state_dict(backbone.state_dict())
    padded = torch.cat([signals, signals[..., -1:].expand(-1, -1, 3)], dim=-1)
    torch.testing.assert_close(backbone(signals), longer(padded))


def test_a_step_lowers_the_loss_of_its_own_batch() -> None:
    model = small()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    signals = torch.randn(32, 3, 64)
    losses = []
    for step in range(30):
        torch.manual_seed(step)
        prediction = model(signals, some_masked(32, per_sample=False))
        loss = nn.functional.mse_loss(prediction.representation, prediction.target)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_unknown_parts_are_refused() -> None:
    with pytest.raises(ValueError, match="stem must be 'patch' or 'conv'"):
        small(stem="flower")
    with pytest.raises(ValueError, match="encoder must be 'timemae'"):
        small(encoder="gpt")


def test_backward_repeats_with_two_threads() -> None:
    """A position is masked in many windows of a batch: its gradients have to be added up in a fixed order."""
    model, signals = small(d_model=64), torch.randn(128, 3, 64)

    def loss() -> torch.Tensor:
        prediction = model(signals, some_masked(128, per_sample=True))
        total: torch.Tensor = prediction.representation.square().mean() + prediction.scores.square().mean()
        return total

    assert_backward_repeats(model, loss)
