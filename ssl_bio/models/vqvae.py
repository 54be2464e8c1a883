"""A vector-quantised autoencoder of signals with S4D layers (van den Oord et al. 2017; Gu et al. 2022).

Signals are scaled, run through S4D blocks at a high rate, brought down to one token for every `wave_length` samples,
quantised, brought up again and decoded by S4D blocks. `VQVAE` quantises the tokens of other backbones, too, which bring
a decoder of their own.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_bio.models.base import AutoencodingBackbone, split_stages
from ssl_bio.models.layers import InputNorm
from ssl_bio.models.quantizer import Quantized, Quantizer
from ssl_bio.models.s4d import S4D, S4DBlock


class Bridge(NamedTuple):
    """How to get from the rate of the S4D blocks to that of the tokens, and back.

    `kind`: "conv1d", overlapping strided convolutions with a factor of 2 (or the next prime) each; "linear", one map of
    all the samples of a token; "mlp", that and another on top.
    """

    kind: str = "conv1d"
    batch_norm: bool = True

    def down(self, *, width: int, d_model: int, factor: int) -> nn.Sequential:
        """Return layers `(batch, width, length)` -> `(batch, d_model, length / factor)`."""
        if self.kind in ("linear", "mlp"):
            once = [self._norm(width), nn.Conv1d(width, d_model, factor, stride=factor)]
            twice = [nn.ReLU(), nn.Conv1d(d_model, d_model, 1)] if self.kind == "mlp" else []
            return nn.Sequential(*once, *twice)
        if self.kind != "conv1d":
            raise ValueError(f"bridge must be 'conv1d', 'linear' or 'mlp', not {self.kind!r}")
        strides = _prime_factors(factor)
        widths = _geometric_widths(narrow=width, wide=d_model, n_stages=len(strides))
        layers: list[nn.Module] = []
        for stride, (before, after) in zip(strides, pairwise(widths), strict=True):
            layers += [self._norm(before), _strided(nn.Conv1d, before=before, after=after, stride=stride), nn.GELU()]
        return nn.Sequential(*layers, nn.Conv1d(d_model, d_model, 1))

    def up(self, *, d_model: int, width: int, factor: int) -> nn.Sequential:
        """Return layers `(batch, d_model, length)` -> `(batch, width, length * factor)`."""
        if self.kind in ("linear", "mlp"):
            twice = [nn.Conv1d(d_model, d_model, 1), nn.ReLU()] if self.kind == "mlp" else []
            return nn.Sequential(*twice, nn.ConvTranspose1d(d_model, width, factor, stride=factor))
        strides = _prime_factors(factor)[::-1]
        widths = _geometric_widths(narrow=width, wide=d_model, n_stages=len(strides))[::-1]
        layers: list[nn.Module] = [nn.Conv1d(d_model, d_model, 3, padding=1)]
        for stride, (before, after) in zip(strides, pairwise(widths), strict=True):
            upwards = _strided(nn.ConvTranspose1d, before=before, after=after, stride=stride)
            layers += [self._norm(before), nn.GELU(), upwards]
        return nn.Sequential(*layers)

    def _norm(self, width: int) -> nn.Module:
        return nn.BatchNorm1d(width) if self.batch_norm else nn.Identity()


class VQVAEBackbone(AutoencodingBackbone):
    """The encoder: signals `(batch, n_channels, length)` -> tokens `(batch, n_tokens, d_model)`, not quantised.

    Inputs may have any length; one that is no multiple of `wave_length` is padded at its end with the last sample.
    The S4D blocks have `width` channels and a step for every `stride` samples; from there a bridge leads to tokens.
    `s4d`: arguments of `S4D`.

    Raises ValueError for a `length` shorter than one token, and for a `stride` that does not divide `wave_length`.
    """

    input_layers = ("input_norm.", "enter.")
    input_norm: InputNorm

    def __init__(
        self,
        *,
        n_channels: int,
        length: int,
        normalize: str = "channel",
        d_model: int = 128,
        width: int = 32,
        n_layers: int = 2,
        wave_length: int = 16,
        stride: int = 1,
        bridge: str = "conv1d",
        batch_norm: bool = True,
        dropout: float = 0.0,
        s4d: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if wave_length % stride:
            raise ValueError(f"stride {stride} does not divide wave_length {wave_length}")
        if length < wave_length:
            raise ValueError(f"windows of {length} samples are shorter than one token of wave_length {wave_length}")
        if "window" in normalize:
            raise ValueError("a VQ-VAE cannot give back the scale that data.normalize 'window' takes away")
        self.n_channels, self.length, self.wave_length, self.stride = n_channels, length, wave_length, stride
        self.bridge = Bridge(bridge, batch_norm)
        self.width, self.n_layers, self.dropout_rate, self.s4d = width, n_layers, dropout, dict(s4d or {})
        self.input_norm = InputNorm(n_channels, normalize)
        self.enter = _strided(nn.Conv1d, before=n_channels, after=width, stride=stride)
        self.blocks = nn.ModuleList(self.new_block() for _ in range(n_layers))
        self.down = self.bridge.down(width=width, d_model=d_model, factor=wave_length // stride)
        self.layer_widths = (*[width] * n_layers, d_model)

    def new_block(self) -> S4DBlock:
        """Return another block like its own, with new random weights."""
        return S4DBlock(S4D(n_channels=self.width, **self.s4d), width=self.width, dropout=self.dropout_rate)

    def new_decoder(self) -> "Decoder":
        """Return a decoder that mirrors it, with random weights."""
        return Decoder(self)

    def scale(self, signals: Tensor) -> Tensor:
        """Return scaled and padded signals `(batch, n_channels, whole tokens)`."""
        x: Tensor = self.input_norm(signals)
        padding = -x.shape[-1] % self.wave_length
        return F.pad(x, (0, padding), mode="replicate") if padding else x

    def encode(self, scaled: Tensor) -> Tensor:
        """Return the tokens of scaled signals."""
        return self._encode(scaled)[-1]

    def hidden_states(self, signals: Tensor) -> list[Tensor]:
        """Return the tokens of every S4D block, at its rate, and the tokens."""
        return self._encode(self.scale(signals))

    def stages(self) -> list[nn.Module]:
        """Return the first convolution, the S4D blocks, and the bridge."""
        return split_stages(self, [*self.blocks, self.down])

    def _encode(self, scaled: Tensor) -> list[Tensor]:
        x = self.enter(scaled)
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(x.transpose(1, 2))
        return [*outputs, self.down(x).transpose(1, 2)]


class Decoder(nn.Module):
    """Tokens `(batch, n_tokens, d_model)` -> signals `(batch, n_channels, n_tokens * wave_length)`.

    It mirrors the backbone.
    """

    def __init__(self, backbone: VQVAEBackbone) -> None:
        super().__init__()
        width, stride = backbone.width, backbone.stride
        self.up = backbone.bridge.up(d_model=backbone.d_model, width=width, factor=backbone.wave_length // stride)
        self.blocks = nn.Sequential(*(backbone.new_block() for _ in range(backbone.n_layers)))
        self.smooth = nn.Conv1d(width, width, 5, padding=2)
        self.project = _strided(nn.ConvTranspose1d, before=width, after=backbone.n_channels, stride=stride)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.blocks(self.up(tokens.transpose(1, 2)))
        signals: Tensor = self.project(F.gelu(self.smooth(x)))
        return signals


class Reconstruction(NamedTuple):
    """Reconstructed signals beside the true ones, both scaled and of the input's length."""

    signals: Tensor  # (batch, n_channels, length)
    target: Tensor  # (batch, n_channels, length)
    commitment: Tensor  # scalar
    codes: tuple[Tensor, ...]  # for each quantizer (batch, n_tokens, n_codebooks)


class VQVAE(nn.Module):
    """The pretext model around a backbone: quantizer and decoder. A token codes all channels of its stretch at once.

    `quantizer`: arguments of `Quantizer`. `coarse > 1` makes the decoder of a `VQVAEBackbone` hierarchical (Razavi et
    al. 2019): one code for `coarse` tokens is decoded first, and the fine codes say what it left out.

    Raises ValueError for a hierarchical decoder of another backbone.
    """

    def __init__(
        self, *, backbone: AutoencodingBackbone, quantizer: Mapping[str, Any] | None = None, coarse: int = 1
    ) -> None:
        super().__init__()
        d_model = backbone.d_model
        self.backbone = backbone
        self.quantizer = Quantizer(d_model=d_model, **(quantizer or {}))
        # Drawn before the decoder's weights, but listed after them.
        coarse_quantizer = Quantizer(d_model=d_model, **(quantizer or {})) if coarse > 1 else None
        self.decoder = backbone.new_decoder()
        self.coarse = coarse
        if coarse_quantizer is not None:
            if not isinstance(backbone, VQVAEBackbone):
                raise ValueError(f"a hierarchical decoder needs a VQ-VAE's backbone, not {type(backbone).__name__}")
            bridge = backbone.bridge
            self.coarse_quantizer = coarse_quantizer
            self.coarse_down = bridge.down(width=d_model, d_model=d_model, factor=coarse)
            self.coarse_up = bridge.up(d_model=d_model, width=d_model, factor=coarse)

    def forward(self, signals: Tensor, *, noise: float = 0.0, mask_ratio: float = 0.0) -> Reconstruction:
        """Encode, quantise and decode signals `(batch, n_channels, length)`.

        `noise`, in standard deviations, and a share `mask_ratio` of blanked tokens disturb the input, not the target.
        """
        scaled = self.backbone.scale(signals)
        seen = _disturbed(scaled, noise=noise, mask_ratio=mask_ratio, wave_length=self.backbone.wave_length)
        tokens, commitment, codes = self._quantise(self.backbone.encode(seen))
        length = signals.shape[-1]
        return Reconstruction(self.decoder(tokens)[..., :length], scaled[..., :length], commitment, codes)

    def codes(self, signals: Tensor) -> Tensor:
        """Return the codes `(batch, n_tokens, n_codebooks)` of signals, those of the fine quantizer."""
        return self._quantise(self.backbone(signals))[2][-1]

    @property
    def quantizers(self) -> tuple[Quantizer, ...]:
        """Return its quantizers, the coarse one first."""
        return (self.coarse_quantizer, self.quantizer) if self.coarse > 1 else (self.quantizer,)

    def _quantise(self, tokens: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        if self.coarse == 1:
            found: Quantized = self.quantizer(tokens)
            return found.tokens, found.commitment, (found.codes,)
        n_tokens = tokens.shape[1]
        x = F.pad(tokens.transpose(1, 2), (0, -n_tokens % self.coarse), mode="replicate")
        coarse: Quantized = self.coarse_quantizer(self.coarse_down(x).transpose(1, 2))
        outline = self.coarse_up(coarse.tokens.transpose(1, 2)).transpose(1, 2)[:, :n_tokens]
        fine: Quantized = self.quantizer(tokens - outline)
        return outline + fine.tokens, coarse.commitment + fine.commitment, (coarse.codes, fine.codes)


def _disturbed(scaled: Tensor, *, noise: float, mask_ratio: float, wave_length: int) -> Tensor:
    x = scaled
    if noise:
        x = x + noise * torch.randn_like(x)
    if mask_ratio:
        kept = torch.rand(len(x), 1, x.shape[-1] // wave_length, device=x.device) >= mask_ratio
        x = x * kept.repeat_interleave(wave_length, dim=-1)
    return x


def _prime_factors(n: int) -> list[int]:
    """Return prime factors, the largest first: a large step is cheapest where channels are few."""
    factors, divisor = [], 2
    while n > 1:
        while n % divisor == 0:
            factors.append(divisor)
            n //= divisor
        divisor += 1
    return factors[::-1] or [1]


def _geometric_widths(*, narrow: int, wide: int, n_stages: int) -> list[int]:
    """Return widths from `narrow` to `wide` in n equal ratios."""
    return [round(narrow * (wide / narrow) ** (i / n_stages)) for i in range(n_stages + 1)]


def _strided(
    kind: type[nn.Conv1d] | type[nn.ConvTranspose1d], *, before: int, after: int, stride: int
) -> nn.Conv1d | nn.ConvTranspose1d:
    """Return a convolution that divides (or multiplies) a length by `stride` exactly, with overlap between steps."""
    kernel = 2 * stride + stride % 2 if stride > 1 else 5
    return kind(before, after, kernel, stride, padding=(kernel - stride) // 2)
