"""Masked window contrast."""

import torch

from ssl_bio.models.contrast import MaskedContrast
from ssl_bio.models.masking import random_mask
from ssl_bio.models.timemae import TimeMAEBackbone
from tests.models.repeatability import assert_backward_repeats


def model() -> MaskedContrast:
    torch.manual_seed(0)
    return MaskedContrast(
        TimeMAEBackbone(n_channels=3, length=64, d_model=16, n_layers=1, stem="conv", encoder="pre-norm")
    )


def some_masked(batch_size: int) -> torch.Tensor:
    return random_mask(n_tokens=8, mask_ratio=0.5, batch_size=batch_size, per_sample=True)


def test_views_are_unit_vectors_and_partners_take_no_gradient() -> None:
    views = model()(torch.randn(4, 3, 64), masked=some_masked(4), partner=torch.randn(4, 3, 64))
    torch.testing.assert_close(views.masked.norm(dim=1), torch.ones(4))
    torch.testing.assert_close(views.partner.norm(dim=1), torch.ones(4))
    assert views.masked.requires_grad
    assert not views.partner.requires_grad


def test_masked_samples_do_not_enter_the_masked_view() -> None:
    contrast = model().eval()
    signals, masked = torch.randn(1, 3, 64), torch.tensor([[0, 1, 2]])
    changed = signals.clone()
    changed[..., :24] += 5.0
    first = contrast(signals, masked=masked, partner=signals)
    second = contrast(changed, masked=masked, partner=signals)
    torch.testing.assert_close(first.masked, second.masked)


def test_both_copies_follow() -> None:
    contrast = model()
    with torch.no_grad():
        for parameter in (*contrast.backbone.parameters(), *contrast.projector.parameters()):
            parameter.add_(1.0)
    contrast.update_target(0.0)
    for copy, own in ((contrast.target, contrast.backbone), (contrast.target_projector, contrast.projector)):
        for theirs, ours in zip(copy.parameters(), own.parameters(), strict=True):
            torch.testing.assert_close(theirs, ours)


def test_backward_repeats_with_two_threads() -> None:
    contrast, signals, partner = model(), torch.randn(64, 3, 64), torch.randn(64, 3, 64)

    def loss() -> torch.Tensor:
        views = contrast(signals, masked=some_masked(64), partner=partner)
        agreement: torch.Tensor = (views.masked @ views.partner.T).square().mean()
        return agreement

    assert_backward_repeats(contrast, loss)
