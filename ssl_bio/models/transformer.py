"""One transformer layer, and the kinds of attention that go into it."""

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_bio.models.layers import Dropout
from ssl_bio.models.quantizer import Quantizer


class FullAttention(nn.Module):
    """Multi-head scaled dot-product attention (Vaswani et al. 2017), without dropout on the weights.

    Shapes: queries `(batch, n, d_model)`, context `(batch, m, d_model)` -> `(batch, n, d_model)`; without a context,
    queries attend to themselves.
    """

    def __init__(self, *, d_model: int, n_heads: int) -> None:
        super().__init__()
        check_heads(d_model=d_model, n_heads=n_heads)
        self.n_heads = n_heads
        self.query = nn.Linear(d_model, d_model)
        self.key_value = nn.Linear(d_model, 2 * d_model)
        self.out = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        q = split_heads(self.query(x), self.n_heads)
        k, v = self.key_value(x if context is None else context).chunk(2, dim=-1)
        y = F.scaled_dot_product_attention(q, split_heads(k, self.n_heads), split_heads(v, self.n_heads))
        output: Tensor = self.out(join_heads(y))
        return output


@dataclass
class KVCache:
    """Keys and values of the last samples of a series, for `SlidingWindowAttention`; it changes in place.

    `position`: that of the next sample; `n_samples`: how many there were. `keys` and `values` are ring buffers
    `(batch, n_heads, time_steps, d_head)`, in which sample i, counted from 0, has slot i modulo `time_steps`; empty
    before the first sample.
    """

    position: int = 0
    n_samples: int = 0
    keys: Tensor = field(default_factory=lambda: torch.empty(0))
    values: Tensor = field(default_factory=lambda: torch.empty(0))

    def fill(self, *, keys: Tensor, values: Tensor, time_steps: int) -> None:
        """Keep the last `time_steps` of the first n samples: keys and values `(batch, n_heads, n, d_head)`."""
        batch, heads, n, width = keys.shape
        self.keys, self.values = (part.new_zeros(batch, heads, time_steps, width) for part in (keys, values))
        kept = min(n, time_steps)
        slots = torch.arange(n - kept, n, device=keys.device) % time_steps
        self.keys[:, :, slots], self.values[:, :, slots] = keys[:, :, -kept:], values[:, :, -kept:]
        self.position, self.n_samples = self.position + n, n

    def append(self, *, keys: Tensor, values: Tensor) -> None:
        """Add keys and values `(batch, n_heads, 1, d_head)` of one more sample; a full ring drops its oldest."""
        slot = self.n_samples % self.keys.shape[2]
        self.keys[:, :, slot], self.values[:, :, slot] = keys[:, :, 0], values[:, :, 0]
        self.position, self.n_samples = self.position + 1, self.n_samples + 1


class SlidingWindowAttention(nn.Module):
    """Multi-head attention of every sample to itself and the `time_steps - 1` before it (Vaswani et al. 2017).

    `norm_query`, `norm_key`: layer normalisation of queries and keys (Henry et al. 2020). `rotary`: queries and keys
    are rotated by their positions (Su et al. 2021), so that only distances count. `quantizer` replaces values by codes.
    Without `causal` every sample attends to all samples of the input.
    """

    def __init__(
        self,
        *,
        d_model: int,
        n_heads: int,
        time_steps: int,
        norm_query: bool = False,
        norm_key: bool = True,
        rotary: bool = False,
        quantizer: Quantizer | None = None,
        causal: bool = True,
    ) -> None:
        super().__init__()
        check_heads(d_model=d_model, n_heads=n_heads)
        if rotary and (d_model // n_heads) % 2:
            raise ValueError(f"rotary positions need an even width a head, not {d_model // n_heads}")
        self.n_heads, self.time_steps, self.rotary, self.causal = n_heads, time_steps, rotary, causal
        self.query, self.key, self.value, self.out = (nn.Linear(d_model, d_model) for _ in range(4))
        self.norm_query: nn.Module = nn.LayerNorm(d_model) if norm_query else nn.Identity()
        self.norm_key: nn.Module = nn.LayerNorm(d_model) if norm_key else nn.Identity()
        self.quantizer = quantizer
        self.commitment = torch.zeros(())

    def forward(self, tokens: Tensor, cache: KVCache | None = None) -> Tensor:
        """Return `(batch, time, d_model)` for tokens of that shape.

        An empty cache says at which position they begin, and is filled with them; to one that is filled, a single
        token is added.
        """
        start = 0 if cache is None else cache.position
        q, k, v = self._project(tokens, start)
        if cache is None or not cache.n_samples:
            mask = self._mask(tokens) if self.causal else None
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            if cache is not None:
                cache.fill(keys=k.detach(), values=v.detach(), time_steps=self.time_steps)
        else:
            cache.append(keys=k, values=v)
            known = min(cache.n_samples, self.time_steps)
            y = F.scaled_dot_product_attention(q, cache.keys[:, :, :known], cache.values[:, :, :known])
        output: Tensor = self.out(join_heads(y))
        return output

    def _mask(self, tokens: Tensor) -> Tensor:
        position = torch.arange(tokens.shape[1], device=tokens.device)
        distance = position[:, None] - position
        return (distance >= 0) & (distance < self.time_steps)

    def _project(self, tokens: Tensor, start: int) -> tuple[Tensor, Tensor, Tensor]:
        q, k = self.norm_query(self.query(tokens)), self.norm_key(self.key(tokens))
        v = self.value(tokens)
        if self.quantizer is not None:
            v, _, self.commitment = self.quantizer(v)
        q, k, v = (split_heads(part, self.n_heads) for part in (q, k, v))
        if self.rotary:
            angles = position_angles(start=start, n=tokens.shape[1], width=q.shape[-1], device=tokens.device)
            q, k = rotate(q, angles), rotate(k, angles)
        return q, k, v


LOCAL_RADIUS = 32  # tokens that local attention sees to either side


class LocalAttention(nn.Module):
    """Multi-head attention of tokens `(batch, time, d_model)` to those at most 32 away.

    Of positions it knows distances alone: each has a learnt bias a head (Shaw et al. 2018; Raffel et al. 2020).
    """

    def __init__(self, *, d_model: int, n_heads: int) -> None:
        super().__init__()
        check_heads(d_model=d_model, n_heads=n_heads)
        self.n_heads = n_heads
        self.query_key_value, self.out = nn.Linear(d_model, 3 * d_model), nn.Linear(d_model, d_model)
        self.bias = nn.Parameter(torch.zeros(n_heads, 2 * LOCAL_RADIUS + 1))

    def forward(self, tokens: Tensor, context: None = None) -> Tensor:
        q, k, v = (split_heads(part, self.n_heads) for part in self.query_key_value(tokens).chunk(3, dim=-1))
        output: Tensor = self.out(join_heads(local_attention(q, k, v, bias=self.bias)))
        return output


class TransformerBlock(nn.Module):
    """A transformer layer: an attention module and a GELU feed-forward layer, each with a residual connection.

    `norm="post"` is TimeMAE's layer: each residual branch is scaled by a learnt scalar that starts at 1e-8 and the sum
    is normalised. `norm="pre"` is the usual layer without the scalar, which normalises the input of each branch;
    `norm_attention=False` leaves that of attention as it is. `inner_dropout`: dropout after the GELU, too.
    `norms_first`: list the normalisation layers before the feed-forward ones; the order of parameters is that in which
    gradient clipping sums them, so that it shows in the last digits.

    `forward` passes its second argument on to the attention module: what it attends to, or its cache.
    """

    def __init__(
        self,
        attention: nn.Module,
        *,
        d_model: int,
        feed_forward_width: int,
        dropout: float = 0.0,
        norm: Literal["post", "pre"] = "post",
        norm_attention: bool = True,
        inner_dropout: bool = True,
        norms_first: bool = False,
    ) -> None:
        super().__init__()
        if norm not in ("post", "pre"):
            raise ValueError(f"norm must be 'post' or 'pre', got {norm!r}")
        self.pre_norm, self.inner_dropout = norm == "pre", inner_dropout
        self.attention = attention
        norms = (nn.LayerNorm(d_model) if norm_attention else nn.Identity()), nn.LayerNorm(d_model)
        if norms_first:
            self.norm_attention, self.norm_feed_forward = norms
        self.up = nn.Linear(d_model, feed_forward_width)
        self.down = nn.Linear(feed_forward_width, d_model)
        if not norms_first:
            self.norm_attention, self.norm_feed_forward = norms
        self.dropout = Dropout(dropout)
        if not self.pre_norm:
            self.scale_attention = nn.Parameter(torch.tensor(1e-8))
            self.scale_feed_forward = nn.Parameter(torch.tensor(1e-8))

    def forward(self, x: Tensor, context: Tensor | KVCache | None = None) -> Tensor:
        output: Tensor
        if self.pre_norm:
            x = x + self.dropout(self.attention(self.norm_attention(x), context))
            output = x + self.dropout(self._feed_forward(self.norm_feed_forward(x)))
        else:
            x = self.norm_attention(x + self.dropout(self.scale_attention * self.attention(x, context)))
            output = self.norm_feed_forward(x + self.dropout(self.scale_feed_forward * self._feed_forward(x)))
        return output

    def _feed_forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.up(x))
        output: Tensor = self.down(self.dropout(x) if self.inner_dropout else x)
        return output


def check_heads(*, d_model: int, n_heads: int) -> None:
    """Raise ValueError unless the width can be split among the heads."""
    if d_model % n_heads:
        raise ValueError(f"a width of {d_model} is not a multiple of n_heads {n_heads}")


def split_heads(x: Tensor, n_heads: int) -> Tensor:
    """Return `(batch, n_heads, n, d_head)` of `(batch, n, d_model)`."""
    return x.view(*x.shape[:-1], n_heads, -1).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """Return `(batch, n, d_model)` of `(batch, n_heads, n, d_head)`."""
    return x.transpose(1, 2).flatten(2)


def position_angles(*, start: int, n: int, width: int, device: torch.device) -> Tensor:
    """Return angles `(n, width / 2)` of positions from `start` on, slower and slower along the width.

    They are computed in double precision up to the last moment, for positions grow large.
    """
    speed = torch.exp(torch.arange(0, width, 2, dtype=torch.float64, device=device) * (-math.log(10_000.0) / width))
    angles = torch.arange(start, start + n, dtype=torch.float64, device=device)[:, None] * speed
    return angles.remainder(2 * math.pi).float()


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Return pairs of features `(..., n, width)` rotated by angles `(n, width / 2)` (Su et al. 2021)."""
    first, second = x.chunk(2, dim=-1)
    sine, cosine = angles.sin(), angles.cos()
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)


def local_attention(q: Tensor, k: Tensor, v: Tensor, *, bias: Tensor) -> Tensor:
    """Return attention of queries `(batch, heads, n, width)` to keys at most 32 away; `bias` `(heads, 65)` by distance.

    Blocks of 32 queries attend to their own keys and those of both neighbours, so that cost grows with n, not with its
    square.
    """
    span = LOCAL_RADIUS
    batch, heads, n, width = q.shape
    n_blocks = -(-n // span)
    rest = n_blocks * span - n
    queries = F.pad(q, (0, 0, 0, rest)).reshape(batch, heads, n_blocks, span, width)
    keys, values = (
        F.pad(part, (0, 0, span, rest + span)).unfold(2, 3 * span, span).transpose(-1, -2) for part in (k, v)
    )
    query_at = torch.arange(n_blocks * span, device=q.device).view(n_blocks, span, 1)
    key_at = query_at[:, :1] - span + torch.arange(3 * span, device=q.device)  # (blocks, 1, keys)
    distance = key_at - query_at
    unseen = (distance.abs() > span) | (key_at < 0) | (key_at >= n)
    # Queries that fill up the last block attend to themselves, so that softmax has something.
    mask = _bias_by_place(bias).masked_fill((unseen & (distance != 0)).expand(n_blocks, span, 3 * span), -torch.inf)
    found = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask.expand(batch, -1, -1, -1, -1))
    return found.reshape(batch, heads, n_blocks * span, width)[:, :, :n]


def _bias_by_place(bias: Tensor) -> Tensor:
    """Return biases by distance `(heads, 65)` as those of 32 queries to 96 keys, `(heads, 1, 32, 96)`.

    A view of the biases that is shifted from query to query: unlike indexing with a table of distances, its backward
    pass repeats bit for bit with any number of threads. Keys out of sight have zeros.
    """
    shifted = F.pad(bias, (LOCAL_RADIUS - 1, LOCAL_RADIUS - 1)).flip(-1)
    return shifted.unfold(-1, 3 * LOCAL_RADIUS, 1).flip(-1)[:, None]
