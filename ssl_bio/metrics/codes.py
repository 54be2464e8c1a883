"""Metrics of codes: ranking of the true one, and how evenly a codebook is used."""

import torch
from torch import Tensor


def ndcg(scores: Tensor, targets: Tensor, k: int = 10) -> Tensor:
    """Return NDCG@k with one relevant item: scores `(n, n_items)`, targets `(n,)` -> a scalar.

    One relevant item of rank r (from 0) makes the ideal gain 1 and the gain 1 / log2(r + 2), or 0 from
    rank k on (Järvelin and Kekäläinen 2002). Ties count against the target.
    """
    target_scores = scores.gather(1, targets[:, None])
    rank = (scores >= target_scores).sum(dim=1) - 1
    return torch.where(rank < k, 1 / torch.log2(rank + 2.0), 0.0).mean()


def perplexity(counts: Tensor) -> Tensor:
    """Return exp(entropy) of how often each codeword was used: `(..., n_codewords)` -> between 1 and n_codewords."""
    share = counts / counts.sum(dim=-1, keepdim=True).clamp(min=1)
    return torch.exp(-torch.xlogy(share, share).sum(dim=-1))


def codes_used(counts: Tensor) -> Tensor:
    """Return the share of the codewords that were used at all: `(..., n_codewords)` -> between 0 and 1."""
    return (counts > 0).float().mean(dim=-1)


def chance(name: str, counts: Tensor, *, k: int) -> dict[str, float]:
    """Return what a top-k accuracy is beside: `{name}_chance` of guessing evenly among the codes, and
    `{name}_constant` of always naming the k commonest, which `counts` `(n_codes,)` of the true ones tell."""
    n_codes = len(counts)
    commonest = counts.topk(min(k, n_codes)).values.sum() / counts.sum().clamp(min=1)
    return {f"{name}_chance": min(k, n_codes) / n_codes, f"{name}_constant": float(commonest)}
