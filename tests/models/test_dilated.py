"""Dilated convolutions."""

import torch

from ssl_bio.models.dilated import DilatedBackbone, DilatedBlock


def test_convolutions_see_so_far_and_no_further() -> None:
    backbone = DilatedBackbone(n_channels=2, length=160, d_model=8, n_layers=3, wave_length=2, normalize="none").eval()
    x = torch.randn(1, 2, 160, requires_grad=True)
    assert [layer.shape for layer in backbone.hidden_states(x)] == [(1, 80, 8)] * 3
    # Group normalisation looks at all of a window; with it held still only convolutions carry anything.
    for block in backbone.blocks:
        assert isinstance(block, DilatedBlock)
        block.norm = torch.nn.Identity()  # type: ignore[assignment]  # in place of the norm
    (gradient,) = torch.autograd.grad(backbone(x)[0, 40].sum(), x)
    seen = gradient[0].abs().sum(dim=0).nonzero().flatten()
    span = 2 * (1 + 2 + 4) + 4  # blocks in tokens of two samples, then the first convolution
    assert (int(seen.min()), int(seen.max())) == (80 - span, 80 + span)
