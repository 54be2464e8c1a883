"""Building blocks shared by the backbones: dropout, attention, transformer layers, input scaling."""

import math
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Dropout(nn.Module):
    """Dropout whose masks come from random bytes.

    On CPUs the serial Bernoulli generator behind `torch.nn.Dropout` takes longer than the layer it
    follows; one byte an element from a counter of 64-bit words is about ten times faster. The rate is
    therefore a multiple of 1/256, and kept values are scaled by exactly that rate. Masks depend on
    torch's global seed alone. Other devices use torch's own dropout.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0.0 <= p <= 0.95:
            raise ValueError(f"dropout must lie in [0, 0.95], got {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        threshold = round(self.p * 256)
        if not self.training or threshold == 0:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.p)
        return x * _keep_mask(x.shape, threshold)

    def extra_repr(self) -> str:
        return f"p={self.p}"


def _keep_mask(shape: torch.Size, threshold: int) -> Tensor:
    """Float mask: 0 with probability threshold/256, else the factor that keeps the mean.

    One draw from torch's global generator seeds it. NumPy makes it because its comparison and its
    conversion of small integers are vectorised, and torch's on the CPU are not (0.1 against 0.4 ms
    for 128 x 7 x 256).
    """
    seed = int(torch.randint(2**62, ()).item())
    n = math.prod(shape)
    words = np.random.SFC64(seed).random_raw(-(-n // 8))
    mask = (words.view(np.uint8)[:n] >= threshold).astype(np.float32)
    mask *= 256 / (256 - threshold)
    return torch.from_numpy(mask).view(shape)


class Attention(nn.Module):
    """Multi-head scaled dot-product attention (Vaswani et al. 2017), without dropout on the weights.

    Shapes: queries `(batch, n, d_model)`, context `(batch, m, d_model)` -> `(batch, n, d_model)`.
    """

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        if d_model % n_heads:
            raise ValueError(f"d_model {d_model} is not a multiple of n_heads {n_heads}")
        self.n_heads = n_heads
        self.query = nn.Linear(d_model, d_model)
        self.key_value = nn.Linear(d_model, 2 * d_model)
        self.out = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        q = self._heads(self.query(x))
        k, v = (self._heads(part) for part in self.key_value(context).chunk(2, dim=-1))
        y = F.scaled_dot_product_attention(q, k, v)
        return cast(Tensor, self.out(y.transpose(1, 2).flatten(2)))

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.n_heads, -1).transpose(1, 2)  # (batch, heads, n, d_head)


class TransformerBlock(nn.Module):
    """Self-attention (or cross-attention, given a context) and a GELU feed-forward layer.

    `norm="post"` is TimeMAE's layer: each residual branch is scaled by a learnt scalar that starts at
    1e-8 and the sum is normalised. `norm="pre"` is the usual pre-norm layer without the scalar.
    """

    def __init__(self, d_model: int, n_heads: int, dropout: float = 0.0, norm: str = "post") -> None:
        super().__init__()
        if norm not in ("post", "pre"):
            raise ValueError(f"norm must be 'post' or 'pre', got {norm!r}")
        self.pre = norm == "pre"
        self.attention = Attention(d_model, n_heads)
        self.up = nn.Linear(d_model, 4 * d_model)
        self.down = nn.Linear(4 * d_model, d_model)
        self.norm_attention = nn.LayerNorm(d_model)
        self.norm_feed_forward = nn.LayerNorm(d_model)
        self.dropout = Dropout(dropout)
        if not self.pre:
            self.scale_attention = nn.Parameter(torch.tensor(1e-8))
            self.scale_feed_forward = nn.Parameter(torch.tensor(1e-8))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if self.pre:
            y = self.norm_attention(x)
            x = x + self.dropout(self.attention(y, y if context is None else context))
            return cast(Tensor, x + self.dropout(self._feed_forward(self.norm_feed_forward(x))))
        y = self.attention(x, x if context is None else context)
        x = self.norm_attention(x + self.dropout(self.scale_attention * y))
        y = self._feed_forward(x)
        return cast(Tensor, self.norm_feed_forward(x + self.dropout(self.scale_feed_forward * y)))

    def _feed_forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.down(self.dropout(F.gelu(self.up(x)))))


class InputNorm(nn.Module):
    """Scaling of raw signals as the first layer, so that a saved network can never be fed unscaled input.

    "none" passes signals on; "channel" standardises each channel with the statistics set from a training
    split; "window" standardises each channel of each window with its own; "channel+window" shows both
    views side by side, which lets a network see the millig sway of a person who stands still beside the
    swings of one who walks. Shapes: `(batch, n_channels, length)` -> `(batch, out_channels, length)`.

    `visible`, `(batch, 1, length)` of booleans, keeps a window's own statistics to the samples that a
    masked autoencoder may see: those of hidden samples would tell what it has to guess.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, n_channels: int, how: str = "none") -> None:
        super().__init__()
        if how not in ("none", "channel", "window", "channel+window"):
            raise ValueError(f"unknown input scaling {how!r}")
        self.how = how
        self.out_channels = 2 * n_channels if how == "channel+window" else n_channels
        self.register_buffer("mean", torch.zeros(n_channels, 1))
        self.register_buffer("std", torch.ones(n_channels, 1))

    def set_statistics(self, mean: np.ndarray, std: np.ndarray) -> None:
        """Take the training split's mean and deviation, `(n_channels,)` each."""
        self.mean.copy_(torch.from_numpy(mean)[:, None])
        self.std.copy_(torch.from_numpy(std)[:, None])

    def forward(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        views = []
        if "channel" in self.how:
            views.append((x - self.mean) / self.std)
        if "window" in self.how:
            weight = torch.ones_like(x[:, :1]) if visible is None else visible.to(x.dtype)
            weight = weight / weight.sum(dim=-1, keepdim=True)
            centred = x - (x * weight).sum(dim=-1, keepdim=True)
            swing = (centred.square() * weight).sum(dim=-1, keepdim=True).sqrt()
            # The floor, a thousandth of the channel's usual swing, keeps silence silent.
            views.append(centred / (swing + 1e-3 * self.std))
        return torch.cat(views, dim=1) if views else x

    def extra_repr(self) -> str:
        return self.how
