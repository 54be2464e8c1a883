"""Vector quantisation by the library `vector-quantize-pytorch`, behind one interface."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from vector_quantize_pytorch import FSQ, GroupedResidualVQ, ResidualVQ, SimVQ, VectorQuantize


class Quantized(NamedTuple):
    """Quantised tokens `(batch, n_tokens, d_model)`, their codes `(batch, n_tokens, n_codebooks)`, and the
    weighted auxiliary loss (commitment and, if asked for, diversity), 0 in evaluation."""

    tokens: Tensor
    codes: Tensor
    commitment: Tensor


class Quantizer(nn.Module):
    """Tokens `(batch, n_tokens, d_model)` -> their nearest codes, with a gradient that goes past them to the tokens.

    `kind`: "vq", a codebook that follows the tokens by moving averages (van den Oord et al. 2017, appendix
    A.1), split into `groups` and refined over `levels` of residuals (Zeghidour et al. 2021); "fsq", finite
    scalar quantisation with `fsq_levels` (Mentzer et al. 2023); "simvq", a learnt linear map of a frozen
    codebook (Zhu et al. 2024). `code_dim`: the width in which codes are compared (Yu et al. 2021), 0 for
    d_model. `cosine` compares directions. `dead_code_threshold`: a code whose average count a batch falls below
    it moves to a token of the batch, and its averages with it. `rotation_trick`: Fifty et al. 2024.
    `diversity`: weight of the entropy of the mean soft assignment.

    Raises ValueError for a combination that the library does not have.
    """

    def __init__(
        self,
        *,
        d_model: int,
        kind: str = "vq",
        codebook_size: int = 512,
        code_dim: int = 0,
        cosine: bool = False,
        groups: int = 1,
        levels: int = 1,
        fsq_levels: Sequence[int] = (8, 8, 8),
        decay: float = 0.99,
        commitment: float = 0.25,
        kmeans_init: bool = True,
        dead_code_threshold: float = 1.0,
        rotation_trick: bool = False,
        diversity: float = 0.0,
    ) -> None:
        super().__init__()
        if kind != "vq" and (groups > 1 or levels > 1):
            raise ValueError(f"groups and levels need kind 'vq', not {kind!r}")
        if d_model % groups:
            raise ValueError(f"d_model {d_model} is not a multiple of groups {groups}")
        self.kind = kind
        self.n_codebooks = groups * levels if kind == "vq" else 1
        self.codebook_size = codebook_size
        width = code_dim or d_model
        outer = kind == "simvq" and width != d_model
        self.enter: nn.Module = nn.Linear(d_model, width) if outer else nn.Identity()
        self.leave: nn.Module = nn.Linear(width, d_model) if outer else nn.Identity()
        if kind == "fsq":
            self.codebook_size = int(torch.tensor(list(fsq_levels)).prod())
            self.inner: nn.Module = FSQ(list(fsq_levels), dim=d_model)
        elif kind == "simvq":
            self.inner = SimVQ(
                width,
                codebook_size,
                rotation_trick=rotation_trick,
                input_to_quantize_commit_loss_weight=commitment,
            )
        else:
            options = {
                "codebook_size": codebook_size,
                "codebook_dim": code_dim or None,
                "use_cosine_sim": cosine,
                "decay": decay,
                "commitment_weight": commitment,
                "kmeans_init": kmeans_init,
                "threshold_ema_dead_code": dead_code_threshold,
                "rotation_trick": rotation_trick,
                "codebook_diversity_loss_weight": diversity,
                "codebook_diversity_temperature": 1.0,
            }
            if groups > 1:
                self.inner = GroupedResidualVQ(dim=d_model, groups=groups, num_quantizers=levels, **options)
            elif levels > 1:
                self.inner = ResidualVQ(dim=d_model, num_quantizers=levels, **options)
            else:
                self.inner = VectorQuantize(dim=d_model, **options)

    def forward(self, tokens: Tensor) -> Quantized:
        inputs = self.enter(tokens)
        found = self._simvq(inputs) if self.kind == "simvq" else self.inner(inputs)
        quantized, codes = found[0], found[1]
        commitment = found[2].sum() if len(found) > 2 else tokens.new_zeros(())
        if codes.ndim == 4:  # (groups, batch, n_tokens, levels)
            codes = codes.permute(1, 2, 0, 3).flatten(2)
        elif codes.ndim == 2:
            codes = codes[..., None]
        if not self.training:
            commitment = torch.zeros_like(commitment)
        return Quantized(self.leave(quantized), codes.long(), commitment)

    def _simvq(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the library's SimVQ does, with another gradient of its linear map: the same sum in a fixed order.

        The library looks codes up by indexing, whose backward pass adds up in parallel and does not repeat bit for bit.
        """
        map_frozen = {name: parameter.detach() for name, parameter in self.inner.named_parameters()}
        quantized, codes, loss = torch.func.functional_call(self.inner, map_frozen, (inputs,))
        codewords = self.inner.get_submodule("code_transform")(self.inner.get_buffer("frozen_codebook")[codes])
        codebook_loss = F.mse_loss(codewords, inputs.detach())
        return quantized, codes, loss + (codebook_loss - codebook_loss.detach())

    def counts(self, codes: Tensor) -> Tensor:
        """Return how often each code was used: codes `(..., n_codebooks)` -> `(n_codebooks, codebook_size)`."""
        flat = codes.flatten(0, -2).T
        return torch.stack([torch.bincount(row, minlength=self.codebook_size) for row in flat]).float()
