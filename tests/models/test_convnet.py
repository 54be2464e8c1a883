"""The convolutional stem and backbone."""

import pytest
import torch

from ssl_bio.models.convnet import ConvBackbone, ConvStem


@pytest.mark.parametrize("wave_length", [2, 4, 8, 16])
def test_a_token_stands_for_wave_length_samples(wave_length: int) -> None:
    stem = ConvStem(n_channels=3, d_model=64, wave_length=wave_length)
    outputs = stem.hidden_states(torch.randn(2, 3, 128))
    assert outputs[-1].shape == (2, 128 // wave_length, 64)
    assert tuple(tokens.shape[-1] for tokens in outputs) == stem.layer_widths


def test_other_wave_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="2, 4, 8"):
        ConvStem(n_channels=3, d_model=64, wave_length=10)


def test_backbone_scales_its_input() -> None:
    backbone = ConvBackbone(n_channels=2, length=64, d_model=32, wave_length=8, normalize="window").eval()
    x = torch.randn(2, 2, 64)
    torch.testing.assert_close(backbone(x), backbone(5 * x + 3), atol=1e-2, rtol=1e-2)
