"""Metrics of embeddings that need no labels."""

import torch
from torch import Tensor


def rankme(gram: Tensor) -> float:
    """Return RankMe (Garrido et al. 2023, equation 1): the effective rank of embeddings, from 1 to their width.

    It is exp(entropy) of the singular values of the embeddings `(n, width)`, each over their sum. `gram` is the matrix
    of their products `(width, width)`, embeddings.T @ embeddings, which adds up over batches; its eigenvalues are the
    squares of the singular values. 0 where all embeddings are 0.
    """
    singular = torch.linalg.eigvalsh(gram.double()).clamp(min=0).sqrt()
    total = singular.sum()
    if total == 0:
        return 0.0
    share = singular / total
    return float(torch.exp(-torch.xlogy(share, share).sum()))
