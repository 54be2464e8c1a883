"""A conditional diffusion denoiser."""

import math
from itertools import pairwise

import torch
from torch import Tensor

from ssl_bio.models.base import SignalNetwork, check_unnormalized
from ssl_bio.models.wave_unet import WaveUNet

_PERIOD = 1024  # samples after which the white noise that sampling starts from repeats


class Diffusion(SignalNetwork):
    """Denoising diffusion (Ho, Jain and Abbeel 2020) given the noisy signal.

    A Wave-U-Net of the given architecture predicts the clean signal at a cosine noise level (Salimans and Ho 2022) and
    is sampled in `sampling_steps` steps without randomness (Song, Meng and Ermon 2021). Signals
    `(batch, n_channels, length)` -> the same. The white noise that sampling starts from is always the same, so that
    results can be repeated and segments of a record fit together. `length` is not looked at.

    Raises ValueError for a `normalize` other than "none", and for heads that do not divide the deepest level.
    """

    input_layers = ("network.enter.", "network.leave.", "start")
    start: Tensor

    def __init__(
        self,
        *,
        n_channels: int,
        length: int = 0,
        normalize: str = "none",
        width: int = 24,
        n_layers: int = 6,
        stride: int = 2,
        bottleneck_layers: int = 0,
        n_heads: int = 4,
        dropout: float = 0.0,
        sampling_steps: int = 8,
    ) -> None:
        super().__init__()
        check_unnormalized(normalize, "a diffusion denoiser")
        self.n_channels = n_channels
        self.network = WaveUNet(
            n_channels=n_channels,
            width=width,
            n_layers=n_layers,
            stride=stride,
            bottleneck_layers=bottleneck_layers,
            n_heads=n_heads,
            dropout=dropout,
            n_extra_inputs=n_channels + 1,  # the noisy signal, and the noise level
        )
        self.sampling_steps = sampling_steps
        self.length_multiple = math.lcm(self.network.length_multiple, _PERIOD)
        self.receptive_field = self.network.receptive_field * sampling_steps
        fixed = torch.Generator().manual_seed(0)
        self.register_buffer("start", torch.randn(n_channels, _PERIOD, generator=fixed))

    def predict_x0(self, noisy: Tensor, clean: Tensor) -> Tensor:
        """Return the prediction of the clean signal from that signal in white noise at a level drawn at random."""
        level = torch.rand(len(clean), 1, 1, device=clean.device)
        diffused = torch.cos(level * math.pi / 2) * clean
        diffused = diffused + torch.sin(level * math.pi / 2) * torch.randn_like(clean)
        return self._predict(diffused, noisy=noisy, level=level)

    def forward(self, noisy: Tensor) -> Tensor:
        x = self.start.repeat(1, noisy.shape[-1] // _PERIOD + 1)[:, : noisy.shape[-1]].expand_as(noisy)
        levels = torch.linspace(1, 0, self.sampling_steps + 1, device=noisy.device)
        clean = x
        for level, next_level in pairwise(levels):
            clean = self._predict(x, noisy=noisy, level=level.expand(len(x), 1, 1))
            noise = (x - torch.cos(level * math.pi / 2) * clean) / torch.sin(level * math.pi / 2)
            x = torch.cos(next_level * math.pi / 2) * clean + torch.sin(next_level * math.pi / 2) * noise
        return clean

    def _predict(self, diffused: Tensor, *, noisy: Tensor, level: Tensor) -> Tensor:
        inputs = torch.cat([diffused, noisy, level.expand(-1, 1, noisy.shape[-1])], dim=1)
        prediction: Tensor = self.network(inputs)
        return prediction
