"""Masked window contrast: a masked window should be closer to another view of itself than to any other window.

Momentum contrast (He et al. 2020) with a masked student (Assran et al. 2022): a window loses most of its
tokens, another view of it (augmented on its own, and possibly of a neighbouring window of the same person)
goes unmasked through a momentum copy, and the two should agree more than any other pair of the batch.
"""

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_bio.models.heads import Pooling
from ssl_bio.models.masking import ema_update
from ssl_bio.models.timemae import TimeMAEBackbone

_HIDDEN, _SIZE = 256, 128


class Projector(nn.Module):
    """Tokens `(batch, n_tokens, d_model)` -> unit vectors `(batch, 128)`: mean and max pooling, then an MLP."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.pooling = Pooling(["mean", "max"])
        self.net = nn.Sequential(nn.Linear(2 * d_model, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, _SIZE))

    def forward(self, tokens: Tensor) -> Tensor:
        return F.normalize(self.net(self.pooling(tokens)), dim=-1)


class Views(NamedTuple):
    """Unit vectors `(batch, 128)` of masked windows and, without gradient, of their partners."""

    masked: Tensor
    partner: Tensor


class MaskedContrast(nn.Module):
    """The pretext model around a `TimeMAEBackbone`."""

    def __init__(self, backbone: TimeMAEBackbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.projector = Projector(backbone.d_model)
        self.target = copy.deepcopy(backbone).requires_grad_(False)
        self.target_projector = copy.deepcopy(self.projector).requires_grad_(False)

    def forward(self, signals: Tensor, *, masked: Tensor, partner: Tensor) -> Views:
        """Return both views of signals and partners `(batch, n_channels, length)`; `masked`: positions `(batch, n)`."""
        # No masked token is to be predicted here, so the whole window may set the scale.
        student = self.projector(self.backbone.encode_visible(self.backbone.scale(signals), masked=masked))
        with torch.no_grad():
            teacher = self.target_projector(self.target(partner))
        return Views(student, teacher)

    def update_target(self, momentum: float) -> None:
        """Move the momentum copies towards the backbone and the projector."""
        ema_update(target=self.target, online=self.backbone, momentum=momentum)
        ema_update(target=self.target_projector, online=self.projector, momentum=momentum)
