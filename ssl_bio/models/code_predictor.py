"""A backbone that tells the codes of a tokenizer."""

import torch
from torch import Tensor, nn

from ssl_bio.models.base import Backbone


class CodePredictor(nn.Module):
    """The pretext model around a backbone: one linear map from tokens to scores of all codes.

    A code stands for `code_length` samples. Where tokens stand for fewer, those that lie in a code's stretch are
    averaged, each by how much of it does.

    Raises ValueError for tokens that stand for more samples than a code.
    """

    def __init__(self, *, backbone: Backbone, vocab_size: int, code_length: int) -> None:
        super().__init__()
        if backbone.wave_length > code_length:
            raise ValueError(f"a token stands for {backbone.wave_length} samples, a code for {code_length}")
        self.backbone, self.vocab_size = backbone, vocab_size
        self.head = nn.Linear(backbone.d_model, vocab_size)
        shares = overlap_shares(length=backbone.length, coarse=code_length, fine=backbone.wave_length)
        self.register_buffer("shares", shares, persistent=False)

    shares: Tensor

    def forward(self, signals: Tensor) -> Tensor:
        """Return scores `(batch, n_codes, vocab_size)` of signals `(batch, n_channels, length)`."""
        scores: Tensor = self.head(self.shares @ self.backbone(signals))
        return scores


def overlap_shares(*, length: int, coarse: int, fine: int) -> Tensor:
    """Return how stretches of `coarse` samples are made of those of `fine` samples, both from the first of `length`
    samples on: `(n_coarse, n_fine)`, each row sums to 1."""
    coarse_ends = torch.arange(coarse, length + coarse, coarse).clamp(max=length)
    fine_ends = torch.arange(fine, length + fine, fine).clamp(max=length)
    coarse_starts, fine_starts = (torch.cat([ends.new_zeros(1), ends[:-1]]) for ends in (coarse_ends, fine_ends))
    ends = torch.minimum(coarse_ends[:, None], fine_ends)
    starts = torch.maximum(coarse_starts[:, None], fine_starts)
    overlap = (ends - starts).clamp(min=0).float()
    return overlap / overlap.sum(dim=1, keepdim=True)
