"""Residual convolution nets: a supervised baseline, and the stem of TimeMAE."""

import math
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from ssl_bio.models.base import Backbone, split_stages
from ssl_bio.models.layers import InputNorm


class ResidualStage(nn.Module):
    """Two convolutions of 5 samples with batch normalisation around a strided shortcut (He et al. 2016)."""

    def __init__(self, *, in_channels: int, out_channels: int, stride: int = 2) -> None:
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
    """A convolution and residual stages that halve time each, until a token stands for `wave_length` samples.

    Scaled signals `(batch, n_channels, length)` -> tokens `(batch, length / wave_length, d_model)`; widths double from
    stage to stage and end at `d_model`.

    Raises ValueError for a `wave_length` that is no power of two.
    """

    overlaps = True  # a token sees samples of its neighbours

    def __init__(self, *, n_channels: int, d_model: int, wave_length: int) -> None:
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
        self.stages = nn.ModuleList(
            ResidualStage(in_channels=before, out_channels=after) for before, after in pairwise(widths)
        )
        self.layer_widths = tuple(widths)

    @property
    def receptive_field(self) -> int:
        """Return how many samples to either side of its first one a token depends on."""
        # 3 of the first convolution; of a stage 2 at the rate before it and 2 at half that rate.
        return 3 + sum(12 << depth for depth in range(len(self.stages)))

    def hidden_states(self, x: Tensor) -> list[Tensor]:
        """Return the tokens of the first convolution and of each stage, `(batch, time, width)` each."""
        x = F.relu(self.norm(self.enter(x)))
        outputs = [x.transpose(1, 2)]
        for stage in self.stages:
            x = stage(x)
            outputs.append(x.transpose(1, 2))
        return outputs


class ConvBackbone(Backbone):
    """The stem alone: signals `(batch, n_channels, length)` -> tokens `(batch, length / wave_length, d_model)`."""

    input_layers = ("input_norm.", "stem.enter.")
    input_norm: InputNorm

    def __init__(
        self,
        *,
        n_channels: int,
        length: int,
        normalize: str = "channel",
        d_model: int = 128,
        wave_length: int = 16,
    ) -> None:
        super().__init__()
        self.n_channels, self.length, self.wave_length = n_channels, length, wave_length
        self.input_norm = InputNorm(n_channels, normalize)
        self.stem = ConvStem(n_channels=self.input_norm.out_channels, d_model=d_model, wave_length=wave_length)
        self.layer_widths = self.stem.layer_widths
        self.receptive_field = None if "window" in normalize else self.stem.receptive_field

    def hidden_states(self, signals: Tensor) -> list[Tensor]:
        """Return the tokens of every stage."""
        return self.stem.hidden_states(self.input_norm(signals))

    def stages(self) -> list[nn.Module]:
        """Return the first convolution, then the residual stages."""
        return split_stages(self, list(self.stem.stages))
