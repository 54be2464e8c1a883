"""Masked window contrast: what is left of a window should tell which other window shows the same moment.

Momentum contrast (He et al. 2020) with a masked student (Assran et al. 2022): a window loses most of its
tokens, another view of it (augmented on its own, and possibly of a neighbouring window of the same person)
goes whole through a momentum copy, and the two should agree more than any other pair of the batch.
"""

import copy
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_bio.models.heads import Pooling
from ssl_bio.models.timemae import TimeMAEBackbone, follow

_HIDDEN, _SIZE = 256, 128


class Projector(nn.Module):
    """Tokens `(batch, n_tokens, d_model)` -> unit vectors `(batch, 128)`: mean and max pooling, then an MLP."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.pooling = Pooling(["mean", "max"])
        self.net = nn.Sequential(nn.Linear(2 * d_model, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, _SIZE))

    def forward(self, tokens: Tensor) -> Tensor:
        return F.normalize(cast(Tensor, self.net(self.pooling(tokens))), dim=-1)


class Views(NamedTuple):
    """Unit vectors `(batch, 128)` of masked windows and, without gradient, of their partners."""

    masked: Tensor
    partner: Tensor


class MaskedContrast(nn.Module):
    """The pretext model around a `TimeMAEBackbone`."""

    def __init__(self, backbone: TimeMAEBackbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.projector = Projector(backbone.position.shape[1])
        self.target = copy.deepcopy(backbone).requires_grad_(False)
        self.target_projector = copy.deepcopy(self.projector).requires_grad_(False)

    def forward(self, signals: Tensor, hidden: Tensor, partner: Tensor) -> Views:
        """Signals and partners `(batch, n_channels, length)`, positions to hide `(batch, n)`."""
        # Nothing hidden is to be guessed here, so the whole window may set the scale.
        masked = self.projector(self.backbone.encode_visible(self.backbone.scale(signals), hidden))
        with torch.no_grad():
            other = self.target_projector(self.target(partner))
        return Views(masked, other)

    def update_target(self, momentum: float) -> None:
        """Let the momentum copies follow."""
        follow(self.target, self.backbone, momentum)
        follow(self.target_projector, self.projector, momentum)
