"""A conditional diffusion denoiser: it starts from white noise and asks again and again what is clean in it."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from ssl_bio.models.wave_unet import Shape, WaveUNet

_PERIOD = 1024  # samples after which the white noise that sampling starts from comes again


class Diffusion(nn.Module):
    """Denoising diffusion (Ho, Jain and Abbeel 2020) given the noisy signal, with a network that predicts the clean one
    at a cosine noise level (Salimans and Ho 2022), sampled without randomness (Song, Meng and Ermon 2021).

    Signals `(batch, n_channels, length)` -> the same. The white noise that sampling starts from is always the same, so
    that answers can be repeated and pieces of a record fit together.
    """

    entrance = ("network.enter.", "network.leave.", "start")
    start: Tensor

    def __init__(self, n_channels: int, shape: Shape, sampling_steps: int = 8) -> None:
        super().__init__()
        self.network = WaveUNet(2 * n_channels + 1, n_channels, shape)
        self.sampling_steps = sampling_steps
        self.multiple = math.lcm(self.network.multiple, _PERIOD)
        self.reach = self.network.reach * sampling_steps
        fixed = torch.Generator().manual_seed(0)
        self.register_buffer("start", torch.randn(n_channels, _PERIOD, generator=fixed))

    def guess(self, noisy: Tensor, clean: Tensor) -> Tensor:
        """What the network takes for clean, when the clean signal is drowned at a level drawn at random."""
        level = torch.rand(len(clean), 1, 1, device=clean.device)
        drowned = torch.cos(level * math.pi / 2) * clean
        drowned = drowned + torch.sin(level * math.pi / 2) * torch.randn_like(clean)
        return self._clean(drowned, noisy, level)

    def forward(self, noisy: Tensor) -> Tensor:
        x = self.start.repeat(1, noisy.shape[-1] // _PERIOD + 1)[:, : noisy.shape[-1]].expand_as(noisy)
        levels = torch.linspace(1, 0, self.sampling_steps + 1, device=noisy.device)
        clean = x
        for now, then in pairwise(levels):
            clean = self._clean(x, noisy, now.expand(len(x), 1, 1))
            rest = (x - torch.cos(now * math.pi / 2) * clean) / torch.sin(now * math.pi / 2)
            x = torch.cos(then * math.pi / 2) * clean + torch.sin(then * math.pi / 2) * rest
        return clean

    def _clean(self, drowned: Tensor, noisy: Tensor, level: Tensor) -> Tensor:
        shown = torch.cat([drowned, noisy, level.expand(-1, 1, noisy.shape[-1])], dim=1)
        found: Tensor = self.network(shown)
        return found
