"""From noisy signals to clean ones, by a network of signals or by a token backbone with a decoder."""

from typing import cast

import torch
from torch import Tensor, nn

from ssl_bio.models.diffusion import Diffusion


class TokenDecoder(nn.Module):
    """Tokens `(batch, n_tokens, d_model)` and the noisy signal `(batch, n_channels, length)` -> the clean signal.

    Each token gives its patch; two convolutions see the patches beside the noisy signal and close the seams.
    """

    def __init__(self, d_model: int, n_channels: int, patch: int, width: int = 32) -> None:
        super().__init__()
        self.n_channels = n_channels
        self.project = nn.Linear(d_model, n_channels * patch)
        self.refine = nn.Sequential(
            nn.Conv1d(2 * n_channels, width, 15, padding=7), nn.GELU(), nn.Conv1d(width, n_channels, 15, padding=7)
        )

    def forward(self, tokens: Tensor, noisy: Tensor) -> Tensor:
        patches = self.project(tokens).unflatten(-1, (self.n_channels, -1))
        coarse = patches.permute(0, 2, 1, 3).flatten(2)[..., : noisy.shape[-1]]
        return cast(Tensor, coarse + self.refine(torch.cat([coarse, noisy], dim=1)))


class Denoiser(nn.Module):
    """Noisy signals `(batch, n_channels, length)`, each channel without offset and with a deviation of about 1, ->
    clean ones at the same scale.

    `window`: the one length that the network takes; 0: any. What it answers at a sample depends on samples up to
    `reach` away; of a fixed window that is taken to be a quarter, for nothing further is near enough to either end.
    """

    def __init__(self, backbone: nn.Module, decoder: TokenDecoder | None = None, window: int = 0) -> None:
        super().__init__()
        self.backbone, self.decoder, self.window = backbone, decoder, window
        self.multiple = 1 if window else int(cast(int, backbone.multiple))
        self.reach = window // 4 if window else int(cast(int, backbone.reach))

    def forward(self, noisy: Tensor) -> Tensor:
        found: Tensor = self.backbone(noisy)
        return cast(Tensor, self.decoder(found, noisy)) if self.decoder else found

    def guess(self, noisy: Tensor, clean: Tensor) -> Tensor:
        """What it takes for clean while it learns: `forward`'s answer, but for diffusion one step of it."""
        return self.backbone.guess(noisy, clean) if isinstance(self.backbone, Diffusion) else self(noisy)
