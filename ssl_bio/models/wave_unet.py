"""Networks from noisy signals to clean ones of the same length, convolutional throughout.

A long record can be denoised in overlapping segments, for what they return at a sample depends on samples up to
`receptive_field` away alone.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_bio.models.base import SignalNetwork, check_unnormalized
from ssl_bio.models.transformer import LOCAL_RADIUS, LocalAttention, TransformerBlock

_DOWN, _UP = 15, 5  # kernels of Stoller et al.


class WaveUNet(SignalNetwork):
    """Wave-U-Net (Stoller, Ewert and Dixon 2018) on patches of `stride` samples.

    Convolutions that halve the rate `n_layers` times, a bottleneck of `bottleneck_layers` transformer layers, and
    linear interpolation back, each level joined with the one that it came from. A level has `width` channels more than
    the one above.

    Signals `(batch, n_channels + n_extra_inputs, length)` -> `(batch, n_channels, length)`; a length that is no
    multiple of `length_multiple` is padded with zeros. `length` is not looked at.

    Raises ValueError for a `normalize` other than "none", and for heads that do not divide the deepest level.
    """

    input_layers = ("enter.", "leave.")

    def __init__(
        self,
        *,
        n_channels: int,
        length: int = 0,
        normalize: str = "none",
        width: int = 24,
        n_layers: int = 6,
        stride: int = 2,
        bottleneck_layers: int = 0,
        n_heads: int = 4,
        dropout: float = 0.0,
        n_extra_inputs: int = 0,
    ) -> None:
        super().__init__()
        check_unnormalized(normalize, "a Wave-U-Net")
        self.n_channels, self.stride, self.length_multiple = n_channels, stride, stride * 2**n_layers
        n_inputs = (n_channels + n_extra_inputs) * stride
        widths = [width * (level + 1) for level in range(n_layers + 1)]
        levels = range(n_layers)
        self.enter = nn.Conv1d(n_inputs, width, _DOWN, padding=_DOWN // 2)
        self.down = nn.ModuleList(
            _level(n_inputs=widths[max(level - 1, 0)], n_outputs=widths[level], kernel=_DOWN) for level in levels
        )
        self.bottom = _level(n_inputs=widths[max(n_layers - 1, 0)], n_outputs=widths[-1], kernel=_DOWN)
        self.bottleneck = Bottleneck(width=widths[-1], n_layers=bottleneck_layers, n_heads=n_heads, dropout=dropout)
        self.up = nn.ModuleList(
            _level(n_inputs=widths[level] + widths[level + 1], n_outputs=widths[level], kernel=_UP)
            for level in reversed(levels)
        )
        self.leave = nn.Conv1d(width + n_inputs, n_channels * stride, _UP, padding=_UP // 2)
        steps = _DOWN // 2 * 2 ** (n_layers + 1) + self.bottleneck.receptive_field * 2**n_layers
        # Going up, a level sees as far as its kernel and the neighbour that it is interpolated from.
        steps += sum((_UP // 2) * 2**level + 2 ** (level + 1) for level in levels) + _UP // 2
        self.receptive_field = stride * (steps + 1)

    def forward(self, noisy: Tensor) -> Tensor:
        patches = _to_patches(_padded(noisy, self.length_multiple), self.stride)
        x, skipped = self.enter(patches), []
        for level in self.down:
            x = level(x)
            skipped.append(x)
            x = x[..., ::2]
        x = self.bottleneck(self.bottom(x))
        for level in self.up:
            x = F.interpolate(x, scale_factor=2.0, mode="linear", align_corners=False)
            x = level(torch.cat([x, skipped.pop()], dim=1))
        return _from_patches(self.leave(torch.cat([x, patches], dim=1)), self.stride)[..., : noisy.shape[-1]]


class PixelShuffle(SignalNetwork):
    """An autoencoder whose rate changes by pixel shuffle (Shi et al. 2016).

    A level folds two steps into channels on the way down and unfolds them on the way up, and nothing bypasses the
    bottleneck. Signals, arguments and errors as of `WaveUNet`.
    """

    input_layers = ("enter.", "leave.")

    def __init__(
        self,
        *,
        n_channels: int,
        length: int = 0,
        normalize: str = "none",
        width: int = 24,
        n_layers: int = 6,
        stride: int = 2,
        bottleneck_layers: int = 0,
        n_heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_unnormalized(normalize, "a pixel-shuffle autoencoder")
        self.n_channels, self.stride, self.length_multiple = n_channels, stride, stride * 2**n_layers
        widths = [width * (level + 1) for level in range(n_layers + 1)]
        levels = range(n_layers)
        self.enter = nn.Conv1d(n_channels * stride, width, _DOWN, padding=_DOWN // 2)
        self.down = nn.ModuleList(
            _level(n_inputs=2 * widths[level], n_outputs=widths[level + 1], kernel=_DOWN) for level in levels
        )
        self.bottleneck = Bottleneck(width=widths[-1], n_layers=bottleneck_layers, n_heads=n_heads, dropout=dropout)
        self.up = nn.ModuleList(
            _level(n_inputs=widths[level + 1], n_outputs=2 * widths[level], kernel=_UP) for level in reversed(levels)
        )
        self.leave = nn.Conv1d(width, n_channels * stride, _UP, padding=_UP // 2)
        steps = (_DOWN // 2 + _UP // 2) * (2 ** (n_layers + 1) - 1) + self.bottleneck.receptive_field * 2**n_layers
        self.receptive_field = stride * (steps + 2 ** (n_layers + 1))

    def forward(self, noisy: Tensor) -> Tensor:
        x = self.enter(_to_patches(_padded(noisy, self.length_multiple), self.stride))
        for level in self.down:
            x = level(_to_patches(x, 2))
        x = self.bottleneck(x)
        for level in self.up:
            x = _from_patches(level(x), 2)
        return _from_patches(self.leave(x), self.stride)[..., : noisy.shape[-1]]


class Bottleneck(nn.Module):
    """Transformer layers with local attention over steps `(batch, width, time)`; without layers, nothing.

    Raises ValueError for heads that do not divide the width.
    """

    def __init__(self, *, width: int, n_layers: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            TransformerBlock(
                LocalAttention(d_model=width, n_heads=n_heads),
                d_model=width,
                feed_forward_width=2 * width,
                dropout=dropout,
                norm="pre",
                inner_dropout=False,
            )
            for _ in range(n_layers)
        )
        self.receptive_field = n_layers * LOCAL_RADIUS

    def forward(self, x: Tensor) -> Tensor:
        if not len(self.blocks):
            return x
        tokens = x.transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens.transpose(1, 2)


def _level(*, n_inputs: int, n_outputs: int, kernel: int) -> nn.Module:
    convolution = nn.Conv1d(n_inputs, n_outputs, kernel, padding=kernel // 2)
    return nn.Sequential(convolution, nn.BatchNorm1d(n_outputs), nn.LeakyReLU(0.1))


def _padded(signals: Tensor, multiple: int) -> Tensor:
    return F.pad(signals, (0, -signals.shape[-1] % multiple))


def _to_patches(x: Tensor, size: int) -> Tensor:
    """Return `(batch, channels * size, time / size)` of `(batch, channels, time)`."""
    batch, channels, time = x.shape
    return x.reshape(batch, channels, time // size, size).transpose(2, 3).reshape(batch, channels * size, time // size)


def _from_patches(x: Tensor, size: int) -> Tensor:
    """Return `(batch, channels, time * size)` of `(batch, channels * size, time)`."""
    batch, channels, time = x.shape
    return x.reshape(batch, channels // size, size, time).transpose(2, 3).reshape(batch, channels // size, time * size)
