"""Window contrast: two views of the same moment should look alike, and unlike other windows."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_bio.models.heads import Pooling

_HIDDEN, _SIZE = 256, 128


class Projector(nn.Module):
    """Tokens `(batch, n_tokens, d_model)` -> unit vectors `(batch, 128)`: mean and max pooling, then an MLP."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.pooling = Pooling(["mean", "max"])
        self.net = nn.Sequential(nn.Linear(2 * d_model, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, _SIZE))

    def forward(self, tokens: Tensor) -> Tensor:
        return F.normalize(cast(Tensor, self.net(self.pooling(tokens))), dim=-1)


def info_nce(views: Tensor, partners: Tensor, temperature: float) -> Tensor:
    """InfoNCE (van den Oord et al. 2018): each view against all partners of the batch, `(batch, size)` both."""
    scores = views @ partners.T / temperature
    return F.cross_entropy(scores, torch.arange(len(views), device=views.device))
