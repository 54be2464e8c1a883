"""Networks from noisy signals to clean ones of the same length, convolutional throughout.

What they answer at a sample depends on samples up to `reach` away alone, and a signal delayed by `multiple` samples
gives the same answer, delayed: so a long record may be cleaned in overlapping pieces.
"""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_bio.models.layers import Dropout

_DOWN, _UP = 15, 5  # kernels of Stoller et al.
_SPAN = 32  # tokens that the bottleneck looks to either side


class Shape(NamedTuple):
    """How large a network is: `depth` levels below patches of `stride` samples, each with `width` channels more than
    the one above, and at the lowest rate so many transformer layers."""

    width: int = 24
    depth: int = 6
    stride: int = 2
    bottleneck_layers: int = 0
    n_heads: int = 4
    dropout: float = 0.0

    @property
    def channels(self) -> list[int]:
        """Of each level, the deepest last."""
        return [self.width * (level + 1) for level in range(self.depth + 1)]

    @property
    def multiple(self) -> int:
        """Samples to a step of the deepest level."""
        return int(self.stride * 2**self.depth)


class WaveUNet(nn.Module):
    """Wave-U-Net (Stoller, Ewert and Dixon 2018) on patches of `stride` samples: convolutions that halve the rate
    `depth` times, a bottleneck, and linear interpolation back, each level joined with the one it came from.

    Signals `(batch, n_inputs, length)` -> `(batch, n_outputs, length)`; a length that is no multiple of `multiple` is
    padded with zeros.
    """

    entrance = ("enter.", "leave.")

    def __init__(self, n_inputs: int, n_outputs: int, shape: Shape) -> None:
        super().__init__()
        depth, stride, channels = shape.depth, shape.stride, shape.channels
        self.stride, self.multiple = stride, shape.multiple
        self.enter = nn.Conv1d(n_inputs * stride, shape.width, _DOWN, padding=_DOWN // 2)
        self.down = nn.ModuleList(_level(channels[max(level - 1, 0)], channels[level], _DOWN) for level in range(depth))
        self.bottom = _level(channels[max(depth - 1, 0)], channels[depth], _DOWN)
        self.bottleneck = Bottleneck(channels[depth], shape.bottleneck_layers, shape.n_heads, shape.dropout)
        self.up = nn.ModuleList(
            _level(channels[level] + channels[level + 1], channels[level], _UP) for level in reversed(range(depth))
        )
        self.leave = nn.Conv1d(shape.width + n_inputs * stride, n_outputs * stride, _UP, padding=_UP // 2)
        steps = _DOWN // 2 * 2 ** (depth + 1) + self.bottleneck.reach * 2**depth
        # Going up, a level sees as far as its kernel and the neighbour that it is interpolated from.
        steps += sum((_UP // 2) * 2**level + 2 ** (level + 1) for level in range(depth)) + _UP // 2
        self.reach = stride * (steps + 1)

    def forward(self, signals: Tensor) -> Tensor:
        patches = _patched(_padded(signals, self.multiple), self.stride)
        x, skipped = self.enter(patches), []
        for level in self.down:
            x = level(x)
            skipped.append(x)
            x = x[..., ::2]
        x = self.bottleneck(self.bottom(x))
        for level in self.up:
            x = F.interpolate(x, scale_factor=2.0, mode="linear", align_corners=False)
            x = level(torch.cat([x, skipped.pop()], dim=1))
        return _unpatched(self.leave(torch.cat([x, patches], dim=1)), self.stride)[..., : signals.shape[-1]]


class PixelShuffle(nn.Module):
    """An autoencoder whose rate changes by pixel shuffle (Shi et al. 2016): a level folds two steps into channels on
    the way down and unfolds them on the way up, and nothing passes by the bottleneck.

    Signals as of `WaveUNet`.
    """

    entrance = ("enter.", "leave.")

    def __init__(self, n_inputs: int, n_outputs: int, shape: Shape) -> None:
        super().__init__()
        depth, stride, channels = shape.depth, shape.stride, shape.channels
        self.stride, self.multiple = stride, shape.multiple
        self.enter = nn.Conv1d(n_inputs * stride, shape.width, _DOWN, padding=_DOWN // 2)
        self.down = nn.ModuleList(_level(2 * channels[level], channels[level + 1], _DOWN) for level in range(depth))
        self.bottleneck = Bottleneck(channels[depth], shape.bottleneck_layers, shape.n_heads, shape.dropout)
        self.up = nn.ModuleList(
            _level(channels[level + 1], 2 * channels[level], _UP) for level in reversed(range(depth))
        )
        self.leave = nn.Conv1d(shape.width, n_outputs * stride, _UP, padding=_UP // 2)
        steps = (_DOWN // 2 + _UP // 2) * (2 ** (depth + 1) - 1) + self.bottleneck.reach * 2**depth
        self.reach = stride * (steps + 2 ** (depth + 1))

    def forward(self, signals: Tensor) -> Tensor:
        x = self.enter(_patched(_padded(signals, self.multiple), self.stride))
        for level in self.down:
            x = level(_patched(x, 2))
        x = self.bottleneck(x)
        for level in self.up:
            x = _unpatched(level(x), 2)
        return _unpatched(self.leave(x), self.stride)[..., : signals.shape[-1]]


class Bottleneck(nn.Module):
    """Transformer layers (Vaswani et al. 2017, normalised before each part) over steps `(batch, channels, time)`, in
    which a step sees the 32 on either side of it; of places it knows distances alone. Without layers, nothing."""

    def __init__(self, width: int, n_layers: int, n_heads: int = 4, dropout: float = 0.0) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(NearBlock(width, n_heads, dropout) for _ in range(n_layers))
        self.reach = n_layers * _SPAN

    def forward(self, x: Tensor) -> Tensor:
        if not len(self.blocks):
            return x
        tokens = x.transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens.transpose(1, 2)


class NearBlock(nn.Module):
    """Attention to near tokens `(batch, time, width)`, each distance with a learnt bias, and a feed-forward layer."""

    def __init__(self, width: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        if width % n_heads:
            raise ValueError(f"{width} channels at the deepest level are not a multiple of n_heads {n_heads}")
        self.n_heads = n_heads
        self.norm, self.norm_feed_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.bias = nn.Parameter(torch.zeros(n_heads, 2 * _SPAN + 1))
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.dropout = Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        q, k, v = (
            part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for part in self.query_key_value(self.norm(tokens)).chunk(3, dim=-1)
        )
        seen = _near_attention(q, k, v, self.bias)
        x = tokens + self.dropout(self.out(seen.transpose(1, 2).flatten(2)))
        return cast(Tensor, x + self.dropout(self.down(F.gelu(self.up(self.norm_feed_forward(x))))))


def _near_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Attention of queries `(batch, heads, n, width)` to keys at most 32 away, `bias` `(heads, 65)` by distance. Blocks
    of 32 attend to themselves and their neighbours, so that what it takes grows with n, not with its square."""
    batch, heads, n, width = q.shape
    n_blocks = -(-n // _SPAN)
    rest = n_blocks * _SPAN - n
    queries = F.pad(q, (0, 0, 0, rest)).reshape(batch, heads, n_blocks, _SPAN, width)
    around = [F.pad(part, (0, 0, _SPAN, rest + _SPAN)).unfold(2, 3 * _SPAN, _SPAN).transpose(-1, -2) for part in (k, v)]
    place = torch.arange(n_blocks * _SPAN, device=q.device).view(n_blocks, _SPAN, 1)
    theirs = place[:, :1] - _SPAN + torch.arange(3 * _SPAN, device=q.device)  # (blocks, 1, keys)
    distance = theirs - place
    unseen = (distance.abs() > _SPAN) | (theirs < 0) | (theirs >= n)
    near = bias[:, distance[0].clamp(-_SPAN, _SPAN) + _SPAN][:, None]  # the same in every block
    # What fills up the last block is asked as well, and sees itself so that softmax has something.
    mask = near.masked_fill((unseen & (distance != 0)).expand(n_blocks, _SPAN, 3 * _SPAN), -torch.inf)
    found = F.scaled_dot_product_attention(queries, around[0], around[1], attn_mask=mask.expand(batch, -1, -1, -1, -1))
    return found.reshape(batch, heads, n_blocks * _SPAN, width)[:, :, :n]


def _level(n_inputs: int, n_outputs: int, kernel: int) -> nn.Module:
    convolution = nn.Conv1d(n_inputs, n_outputs, kernel, padding=kernel // 2)
    return nn.Sequential(convolution, nn.BatchNorm1d(n_outputs), nn.LeakyReLU(0.1))


def _padded(signals: Tensor, multiple: int) -> Tensor:
    return F.pad(signals, (0, -signals.shape[-1] % multiple))


def _patched(x: Tensor, size: int) -> Tensor:
    """`(batch, channels, time)` -> `(batch, channels * size, time / size)`."""
    batch, channels, time = x.shape
    return x.reshape(batch, channels, time // size, size).transpose(2, 3).reshape(batch, channels * size, time // size)


def _unpatched(x: Tensor, size: int) -> Tensor:
    """`(batch, channels * size, time)` -> `(batch, channels, time * size)`."""
    batch, channels, time = x.shape
    return x.reshape(batch, channels // size, size, time).transpose(2, 3).reshape(batch, channels // size, time * size)
