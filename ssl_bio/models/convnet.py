"""Convolution nets: the supervised yardstick, the stem of TimeMAE, and one that looks far at small cost."""

import math
from itertools import pairwise
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from ssl_bio.models.layers import Dropout, InputNorm


class ResidualStage(nn.Module):
    """Two convolutions of 5 samples with batch normalisation around a strided shortcut (He et al. 2016)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 2) -> None:
        super().__init__()
        self.first = nn.Conv1d(in_channels, out_channels, 5, stride, padding=2, bias=False)
        self.second = nn.Conv1d(out_channels, out_channels, 5, padding=2, bias=False)
        self.norm_first = nn.BatchNorm1d(out_channels)
        self.norm_second = nn.BatchNorm1d(out_channels)
        self.shortcut = nn.Conv1d(in_channels, out_channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm_first(self.first(x)))
        return F.relu(self.shortcut(x) + self.norm_second(self.second(y)))


class ConvStem(nn.Module):
    """Halves time on entering and with each residual stage until a token stands for `wave_length` samples.

    Scaled signals `(batch, n_channels, length)` -> tokens `(batch, length / wave_length, d_model)`; widths
    double, three eighths of `d_model` at the entrance of a stem of three halvings.
    """

    overlaps = True

    def __init__(self, n_channels: int, d_model: int, wave_length: int) -> None:
        super().__init__()
        n_halvings = int(math.log2(wave_length))
        if 2**n_halvings != wave_length or n_halvings < 1:
            raise ValueError(
                f"a convolutional stem halves time, so wave_length must be 2, 4, 8, ..., not {wave_length}"
            )
        widths = [min(d_model, max(32, 3 * d_model // 2 ** (n_halvings - i))) for i in range(n_halvings - 1)]
        widths.append(d_model)
        self.enter = nn.Conv1d(n_channels, widths[0], 7, stride=2, padding=3, bias=False)
        self.norm = nn.BatchNorm1d(widths[0])
        self.stages = nn.ModuleList(ResidualStage(before, after) for before, after in pairwise(widths))
        self.layer_widths = tuple(widths)

    def layers(self, x: Tensor) -> list[Tensor]:
        """Tokens of the entrance and of each stage, `(batch, time, width)` each."""
        x = F.relu(self.norm(self.enter(x)))
        outputs = [x.transpose(1, 2)]
        for stage in self.stages:
            x = stage(x)
            outputs.append(x.transpose(1, 2))
        return outputs


class ConvBackbone(nn.Module):
    """The stem alone as a backbone: signals `(batch, n_channels, length)` -> tokens `(batch, n_tokens, d_model)`."""

    stage_names = ("stem.stages",)
    entrance = ("input_norm.", "stem.enter.")

    def __init__(
        self, n_channels: int, length: int, d_model: int = 128, wave_length: int = 16, normalize: str = "channel"
    ) -> None:
        super().__init__()
        self.n_channels, self.length = n_channels, length
        self.input_norm = InputNorm(n_channels, normalize)
        self.stem = ConvStem(self.input_norm.out_channels, d_model, wave_length)
        self.layer_widths = self.stem.layer_widths

    def layers(self, signals: Tensor) -> list[Tensor]:
        """Tokens of every stage."""
        return self.stem.layers(self.input_norm(signals))

    def forward(self, signals: Tensor) -> Tensor:
        return self.layers(signals)[-1]


class DilatedBlock(nn.Module):
    """A residual block over `2 * dilation + 1` tokens: normalise, look, GELU, mix; `(batch, width, time)` both ways."""

    def __init__(self, width: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(math.gcd(_GROUPS, width), width)
        self.look = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.mix = nn.Conv1d(width, width, 1)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, x + self.dropout(self.mix(F.gelu(self.look(self.norm(x))))))


class DilatedBackbone(nn.Module):
    """Convolutions that look twice as far from block to block (van den Oord et al. 2016, WaveNet, here not causal).

    Signals `(batch, n_channels, length)` -> tokens `(batch, length / wave_length, d_model)`. With `n_layers` blocks a
    token sees `2 ** n_layers + 1` tokens on either side: slow rhythms for few parameters.
    """

    stage_names = ("blocks",)
    entrance = ("input_norm.", "enter.")

    def __init__(
        self,
        n_channels: int,
        length: int,
        d_model: int = 32,
        n_layers: int = 5,
        wave_length: int = 2,
        dropout: float = 0.0,
        normalize: str = "channel",
    ) -> None:
        super().__init__()
        self.n_channels, self.length = n_channels, length
        self.input_norm = InputNorm(n_channels, normalize)
        reach = 2 * wave_length
        self.enter = nn.Conv1d(self.input_norm.out_channels, d_model, 2 * reach + 1, stride=wave_length, padding=reach)
        self.blocks = nn.ModuleList(DilatedBlock(d_model, 2**depth, dropout) for depth in range(n_layers))
        self.layer_widths = (d_model,) * n_layers

    def layers(self, signals: Tensor) -> list[Tensor]:
        """Tokens of every block."""
        x = self.enter(self.input_norm(signals))
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(F.gelu(x).transpose(1, 2))
        return outputs

    def forward(self, signals: Tensor) -> Tensor:
        return self.layers(signals)[-1]


_GROUPS = 4
