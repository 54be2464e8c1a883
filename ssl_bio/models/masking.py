"""Masks over tokens, and the moving average that a target network is."""

import torch
from torch import Tensor, nn


def random_mask(*, n_tokens: int, mask_ratio: float, batch_size: int, per_sample: bool) -> Tensor:
    """Return the positions to mask in each window, `(batch_size, n)`, drawn from torch's global generator.

    n = floor(mask_ratio * n_tokens), at least one and at most all but one. TimeMAE's official code draws one mask a
    step for the whole batch; `per_sample` draws one for each window.
    """
    n = min(max(1, int(mask_ratio * n_tokens)), n_tokens - 1)
    order = torch.rand(batch_size if per_sample else 1, n_tokens).argsort(dim=1)[:, :n].sort(dim=1).values
    return order.expand(batch_size, -1)


def gather_tokens(tokens: Tensor, positions: Tensor) -> Tensor:
    """Return tokens at positions: tokens `(batch, n_tokens, width)`, positions `(batch, n)` -> `(batch, n, width)`.

    Unlike that of indexing with a tensor, its backward pass adds nothing up in parallel, so that it repeats bit for
    bit with any number of threads.
    """
    return tokens.gather(1, positions[..., None].expand(-1, -1, tokens.shape[-1]))


@torch.no_grad()
def ema_update(*, target: nn.Module, online: nn.Module, momentum: float) -> None:
    """Set the target's parameters to momentum * target + (1 - momentum) * online, and copy the online buffers."""
    torch._foreach_lerp_(list(target.parameters()), list(online.parameters()), 1 - momentum)
    for theirs, ours in zip(target.buffers(), online.buffers(), strict=True):
        theirs.copy_(ours)
