"""From noisy signals to clean ones, by a network of signals or by a token backbone with a decoder."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor, nn

from ssl_bio.models.base import Backbone, SignalNetwork


class TokenDecoder(nn.Module):
    """Tokens `(batch, n_tokens, d_model)` and the noisy signals `(batch, n_channels, length)` -> the clean signals.

    Each token gives its patch; two convolutions see the patches beside the noisy signal and smooth the transitions.
    """

    def __init__(self, *, d_model: int, n_channels: int, patch_length: int, width: int = 32) -> None:
        super().__init__()
        self.n_channels = n_channels
        self.project = nn.Linear(d_model, n_channels * patch_length)
        self.refine = nn.Sequential(
            nn.Conv1d(2 * n_channels, width, 15, padding=7), nn.GELU(), nn.Conv1d(width, n_channels, 15, padding=7)
        )

    def forward(self, tokens: Tensor, noisy: Tensor) -> Tensor:
        patches = self.project(tokens).unflatten(-1, (self.n_channels, -1))
        coarse: Tensor = patches.permute(0, 2, 1, 3).flatten(2)[..., : noisy.shape[-1]]
        clean: Tensor = coarse + self.refine(torch.cat([coarse, noisy], dim=1))
        return clean


class Denoiser(nn.Module, ABC):
    """Noisy signals `(batch, n_channels, length)` -> clean ones at the same scale.

    Each channel comes without offset and with a standard deviation of about 1. `window`: the one length in samples that
    it takes; 0: any. Its output at a sample depends on samples up to `receptive_field` away.
    """

    backbone: Backbone | SignalNetwork
    decoder: TokenDecoder | None
    window: int
    length_multiple: int
    receptive_field: int

    @abstractmethod
    def forward(self, noisy: Tensor) -> Tensor:
        """Return the clean signals."""

    @abstractmethod
    def predict_x0(self, noisy: Tensor, clean: Tensor) -> Tensor:
        """Return the prediction of the clean signals that training compares with the true ones, `clean`."""


class SignalDenoiser(Denoiser):
    """A network of signals, which denoises as it is."""

    backbone: SignalNetwork

    def __init__(self, *, backbone: SignalNetwork) -> None:
        super().__init__()
        self.backbone = backbone
        self.decoder, self.window = None, 0
        self.length_multiple, self.receptive_field = backbone.length_multiple, backbone.receptive_field

    def forward(self, noisy: Tensor) -> Tensor:
        """Return the clean signals."""
        clean: Tensor = self.backbone(noisy)
        return clean

    def predict_x0(self, noisy: Tensor, clean: Tensor) -> Tensor:
        """Return what the network predicts in training: for diffusion, one step of it."""
        return self.backbone.predict_x0(noisy, clean)


class TokenDenoiser(Denoiser):
    """A token backbone and a decoder of its tokens, for windows of `window` samples.

    The backbone's input scaling is reset, for its signals are scaled already. Samples further away than a quarter of
    the window are taken to have no influence: nothing further is near enough to either end.
    """

    backbone: Backbone
    decoder: TokenDecoder

    def __init__(self, *, backbone: Backbone, window: int) -> None:
        super().__init__()
        self.backbone, self.window = backbone, window
        self.length_multiple, self.receptive_field = 1, window // 4
        n_channels = backbone.n_channels
        if backbone.input_norm is not None:
            backbone.input_norm.set_statistics(mean=np.zeros(n_channels), std=np.ones(n_channels))
        self.decoder = TokenDecoder(
            d_model=backbone.d_model, n_channels=n_channels, patch_length=-(-window // backbone.count_tokens(window))
        )

    def forward(self, noisy: Tensor) -> Tensor:
        """Return the clean signals."""
        clean: Tensor = self.decoder(self.backbone(noisy), noisy)
        return clean

    def predict_x0(self, noisy: Tensor, clean: Tensor) -> Tensor:
        """Return what `forward` does."""
        prediction: Tensor = self(noisy)
        return prediction
