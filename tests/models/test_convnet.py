"""The convolutional stem and backbone."""

import pytest
import torch

from ssl_bio.models.convnet import ConvBackbone, ConvStem, DilatedBackbone


@pytest.mark.parametrize("wave_length", [2, 4, 8, 16])
def test_a_token_stands_for_wave_length_samples(wave_length: int) -> None:
    stem = ConvStem(3, 64, wave_length)
    outputs = stem.layers(torch.randn(2, 3, 128))
    assert outputs[-1].shape == (2, 128 // wave_length, 64)
    assert tuple(tokens.shape[-1] for tokens in outputs) == stem.layer_widths


def test_other_wave_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="2, 4, 8"):
        ConvStem(3, 64, 10)


def test_backbone_scales_its_input() -> None:
    backbone = ConvBackbone(2, 64, d_model=32, wave_length=8, normalize="window").eval()
    x = torch.randn(2, 2, 64)
    torch.testing.assert_close(backbone(x), backbone(5 * x + 3), atol=1e-2, rtol=1e-2)


def test_a_dilated_token_sees_its_reach_and_nothing_beyond() -> None:
    backbone = DilatedBackbone(2, 160, d_model=8, n_layers=3, wave_length=2, normalize="none").eval()
    x = torch.randn(1, 2, 160, requires_grad=True)
    tokens = backbone(x)
    assert tokens.shape == (1, 80, 8)
    assert [layer.shape for layer in backbone.layers(x)] == [tokens.shape] * len(backbone.layer_widths)
    # Group normalisation looks at all of a window; with it held still only convolutions carry anything.
    for block in backbone.blocks:
        block.norm = torch.nn.Identity()
    (gradient,) = torch.autograd.grad(backbone(x)[0, 40].sum(), x)
    seen = gradient[0].abs().sum(dim=0).nonzero().flatten()
    reach = 2 * (1 + 2 + 4) + 4  # blocks in tokens of two samples, then the entering convolution
    assert (int(seen.min()), int(seen.max())) == (80 - reach, 80 + reach)
