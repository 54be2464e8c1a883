"""What networks of signals refuse, and diffusion."""

import pytest
import torch

from ssl_bio.models.diffusion import Diffusion
from ssl_bio.models.wave_unet import WaveUNet


def test_heads_must_divide_the_deepest_level() -> None:
    with pytest.raises(ValueError, match="a width of 6 is not a multiple of n_heads 4"):
        WaveUNet(n_channels=1, width=3, n_layers=1, bottleneck_layers=1, n_heads=4)


def test_diffusion_learns_from_any_noise_level() -> None:
    torch.manual_seed(0)
    model = Diffusion(n_channels=1, width=4, n_layers=1, stride=1, sampling_steps=3).eval()
    noisy, clean = torch.randn(2, 1, 64), torch.randn(2, 1, 64)
    with torch.no_grad():
        first, second = model.predict_x0(noisy, clean), model.predict_x0(noisy, clean)
    assert not torch.allclose(first, second), "the level is drawn at random"
