"""Dilated convolutions: a backbone that sees far at small cost."""

import math

from torch import Tensor, nn
from torch.nn import functional as F

from ssl_bio.models.base import Backbone, split_stages
from ssl_bio.models.layers import Dropout, InputNorm

_N_GROUPS = 4  # of group normalisation


class DilatedBlock(nn.Module):
    """A residual block over `2 * dilation + 1` tokens, `(batch, width, time)` both ways.

    Group normalisation, a dilated convolution, GELU, a convolution of one token.
    """

    def __init__(self, *, width: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(math.gcd(_N_GROUPS, width), width)
        self.look = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.mix = nn.Conv1d(width, width, 1)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = x + self.dropout(self.mix(F.gelu(self.look(self.norm(x)))))
        return output


class DilatedBackbone(Backbone):
    """Convolutions whose dilation doubles from block to block (van den Oord et al. 2016, WaveNet, here not causal).

    Signals `(batch, n_channels, length)` -> tokens `(batch, length / wave_length, d_model)`. With `n_layers` blocks the
    convolutions span `2 ** n_layers + 1` tokens on either side: slow rhythms for few parameters. Group normalisation
    sees the whole input.
    """

    input_layers = ("input_norm.", "enter.")
    input_norm: InputNorm

    def __init__(
        self,
        *,
        n_channels: int,
        length: int,
        normalize: str = "channel",
        d_model: int = 32,
        n_layers: int = 5,
        wave_length: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.n_channels, self.length, self.wave_length = n_channels, length, wave_length
        self.input_norm = InputNorm(n_channels, normalize)
        margin = 2 * wave_length
        self.enter = nn.Conv1d(
            self.input_norm.out_channels, d_model, 2 * margin + 1, stride=wave_length, padding=margin
        )
        self.blocks = nn.ModuleList(
            DilatedBlock(width=d_model, dilation=2**depth, dropout=dropout) for depth in range(n_layers)
        )
        self.layer_widths = (d_model,) * n_layers

    def hidden_states(self, signals: Tensor) -> list[Tensor]:
        """Return the tokens of every block."""
        x = self.enter(self.input_norm(signals))
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(F.gelu(x).transpose(1, 2))
        return outputs

    def stages(self) -> list[nn.Module]:
        """Return the first convolution, then every block."""
        return split_stages(self, list(self.blocks))
