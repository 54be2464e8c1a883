"""A vector-quantised autoencoder of signals with S4D layers (van den Oord et al. 2017; Gu et al. 2022).

Signals are scaled, run through S4D blocks at a high rate, brought down smoothly to one token for every
`wave_length` samples, quantised, brought up again and decoded by S4D blocks.
"""

from itertools import pairwise
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_bio.models.layers import InputNorm
from ssl_bio.models.quantizer import Quantizer
from ssl_bio.models.s4d import S4D, S4DBlock


class Bridge(NamedTuple):
    """How to get from the rate of the S4D blocks to that of the tokens, and back.

    `kind`: "conv1d", overlapping strided convolutions with a factor 2 (or the next prime) each; "linear", one map of
    all the samples of a token; "mlp", that and another on top.
    """

    kind: str = "conv1d"
    batch_norm: bool = True

    def down(self, width: int, d_model: int, factor: int) -> nn.Sequential:
        """`(batch, width, length)` -> `(batch, d_model, length / factor)`."""
        if self.kind in ("linear", "mlp"):
            once = [self._norm(width), nn.Conv1d(width, d_model, factor, stride=factor)]
            twice = [nn.ReLU(), nn.Conv1d(d_model, d_model, 1)] if self.kind == "mlp" else []
            return nn.Sequential(*once, *twice)
        if self.kind != "conv1d":
            raise ValueError(f"bridge must be 'conv1d', 'linear' or 'mlp', not {self.kind!r}")
        strides = _factors(factor)
        layers: list[nn.Module] = []
        for stride, (before, after) in zip(strides, pairwise(_widths(width, d_model, len(strides))), strict=True):
            layers += [self._norm(before), _strided(nn.Conv1d, before, after, stride), nn.GELU()]
        return nn.Sequential(*layers, nn.Conv1d(d_model, d_model, 1))

    def up(self, d_model: int, width: int, factor: int) -> nn.Sequential:
        """`(batch, d_model, length)` -> `(batch, width, length * factor)`."""
        if self.kind in ("linear", "mlp"):
            twice = [nn.Conv1d(d_model, d_model, 1), nn.ReLU()] if self.kind == "mlp" else []
            return nn.Sequential(*twice, nn.ConvTranspose1d(d_model, width, factor, stride=factor))
        strides = _factors(factor)[::-1]
        layers: list[nn.Module] = [nn.Conv1d(d_model, d_model, 3, padding=1)]
        for stride, (before, after) in zip(strides, pairwise(_widths(width, d_model, len(strides))[::-1]), strict=True):
            layers += [self._norm(before), nn.GELU(), _strided(nn.ConvTranspose1d, before, after, stride)]
        return nn.Sequential(*layers)

    def _norm(self, width: int) -> nn.Module:
        return nn.BatchNorm1d(width) if self.batch_norm else nn.Identity()


class VQVAEBackbone(nn.Module):
    """The encoder: signals `(batch, n_channels, length)` -> tokens `(batch, n_tokens, d_model)`, not quantised.

    Any length will do; one that is no multiple of `wave_length` is padded at its end with the last sample.
    The S4D blocks have `width` channels and a step for every `stride` samples; from there `bridge` leads to tokens.
    `s4d`: keyword arguments of `S4D`.

    Raises ValueError for windows shorter than one token, and for a `stride` that does not divide `wave_length`.
    """

    stage_names = ("blocks", "down")
    entrance = ("input_norm.", "enter.")

    def __init__(
        self,
        n_channels: int,
        length: int,
        d_model: int = 128,
        width: int = 32,
        n_layers: int = 2,
        wave_length: int = 16,
        bridge: Bridge = Bridge(),  # noqa: B008  # it is immutable
        dropout: float = 0.0,
        normalize: str = "channel",
        s4d: dict[str, Any] | None = None,
        stride: int = 1,
    ) -> None:
        super().__init__()
        if wave_length % stride:
            raise ValueError(f"stride {stride} does not divide wave_length {wave_length}")
        if length < wave_length:
            raise ValueError(f"windows of {length} samples are shorter than one token of wave_length {wave_length}")
        if "window" in normalize:
            raise ValueError("a VQ-VAE cannot give back the scale that data.normalize 'window' takes away")
        self.n_channels, self.length, self.wave_length = n_channels, length, wave_length
        self.stride = stride
        self.n_tokens = -(-length // wave_length)
        self.padding = self.n_tokens * wave_length - length
        self.input_norm = InputNorm(n_channels, normalize)
        self.enter = _strided(nn.Conv1d, n_channels, width, stride)
        self.blocks = nn.ModuleList(S4DBlock(width, dropout, S4D(width, **(s4d or {}))) for _ in range(n_layers))
        self.down = bridge.down(width, d_model, wave_length // stride)
        self.layer_widths = (*[width] * n_layers, d_model)

    def scale(self, signals: Tensor) -> Tensor:
        """Scaled and padded signals `(batch, n_channels, whole tokens)`."""
        x = self.input_norm(signals)
        padding = -x.shape[-1] % self.wave_length
        return F.pad(x, (0, padding), mode="replicate") if padding else cast(Tensor, x)

    def encode(self, scaled: Tensor) -> Tensor:
        """Tokens of scaled signals."""
        return self._layers(scaled)[-1]

    def layers(self, signals: Tensor) -> list[Tensor]:
        """Tokens of every S4D block, at its rate, and the tokens."""
        return self._layers(self.scale(signals))

    def forward(self, signals: Tensor) -> Tensor:
        return self.layers(signals)[-1]

    def _layers(self, scaled: Tensor) -> list[Tensor]:
        x = self.enter(scaled)
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(x.transpose(1, 2))
        return [*outputs, self.down(x).transpose(1, 2)]


class Decoder(nn.Module):
    """Tokens `(batch, n_tokens, d_model)` -> signals `(batch, n_channels, n_tokens * wave_length)`."""

    def __init__(
        self,
        n_channels: int,
        d_model: int,
        width: int,
        n_layers: int,
        wave_length: int,
        stride: int,
        bridge: Bridge,
        dropout: float,
        s4d: dict[str, Any],
    ) -> None:
        super().__init__()
        self.up = bridge.up(d_model, width, wave_length // stride)
        self.blocks = nn.Sequential(*(S4DBlock(width, dropout, S4D(width, **s4d)) for _ in range(n_layers)))
        self.smooth = nn.Conv1d(width, width, 5, padding=2)
        self.project = _strided(nn.ConvTranspose1d, width, n_channels, stride)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.blocks(self.up(tokens.transpose(1, 2)))
        return cast(Tensor, self.project(F.gelu(self.smooth(x))))


class Reconstruction(NamedTuple):
    """A batch beside what came out of its codes; signals are scaled and cut to their own length."""

    signals: Tensor  # (batch, n_channels, length)
    target: Tensor  # (batch, n_channels, length)
    commitment: Tensor  # scalar
    codes: tuple[Tensor, ...]  # for each quantizer (batch, n_tokens, n_codebooks)


class VQVAE(nn.Module):
    """The pretext model around a `VQVAEBackbone`.

    `coarse > 1` makes the decoder hierarchical (Razavi et al. 2019): one code for `coarse` tokens is decoded
    first, and the fine codes say what it left out.
    """

    def __init__(
        self,
        backbone: VQVAEBackbone,
        quantizer: Quantizer,
        n_layers: int = 2,
        bridge: Bridge = Bridge(),  # noqa: B008  # it is immutable
        dropout: float = 0.0,
        s4d: dict[str, Any] | None = None,
        coarse: int = 1,
        coarse_quantizer: Quantizer | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.quantizer = quantizer
        width, d_model = backbone.layer_widths[0], backbone.layer_widths[-1]
        self.decoder = Decoder(
            backbone.n_channels,
            d_model,
            width,
            n_layers,
            backbone.wave_length,
            backbone.stride,
            bridge,
            dropout,
            s4d or {},
        )
        self.coarse = coarse
        if coarse > 1:
            assert coarse_quantizer is not None
            self.coarse_quantizer = coarse_quantizer
            self.coarse_down = bridge.down(d_model, d_model, coarse)
            self.coarse_up = bridge.up(d_model, d_model, coarse)

    def forward(self, signals: Tensor, noise: float = 0.0, mask_ratio: float = 0.0) -> Reconstruction:
        """Encode, quantise and decode; noise (in deviations) and masked tokens disturb the input alone."""
        scaled = self.backbone.scale(signals)
        seen = _disturbed(scaled, noise, mask_ratio, self.backbone.wave_length)
        tokens, commitment, codes = self._quantise(self.backbone.encode(seen))
        length = signals.shape[-1]
        return Reconstruction(self.decoder(tokens)[..., :length], scaled[..., :length], commitment, codes)

    def codes(self, signals: Tensor) -> Tensor:
        """Codes `(batch, n_tokens, n_codebooks)` of signals, those of the fine quantizer."""
        return self._quantise(self.backbone(signals))[2][-1]

    @property
    def quantizers(self) -> tuple[Quantizer, ...]:
        """Coarse first."""
        return (self.coarse_quantizer, self.quantizer) if self.coarse > 1 else (self.quantizer,)

    def _quantise(self, tokens: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        if self.coarse == 1:
            found = self.quantizer(tokens)
            return found.tokens, found.commitment, (found.codes,)
        n_tokens = tokens.shape[1]
        x = F.pad(tokens.transpose(1, 2), (0, -n_tokens % self.coarse), mode="replicate")
        coarse = self.coarse_quantizer(self.coarse_down(x).transpose(1, 2))
        outline = self.coarse_up(coarse.tokens.transpose(1, 2)).transpose(1, 2)[:, :n_tokens]
        fine = self.quantizer(tokens - outline)
        return outline + fine.tokens, coarse.commitment + fine.commitment, (coarse.codes, fine.codes)


class FrozenCodes(nn.Module):
    """A trained VQ-VAE as the source of codewords for TimeMAE, as in CM-SSL: it never trains, nor follows batches."""

    def __init__(self, vqvae: VQVAE) -> None:
        super().__init__()
        self.vqvae = vqvae.requires_grad_(False).eval()
        self.vocab_size = vqvae.quantizer.codebook_size

    def train(self, mode: bool = True) -> "FrozenCodes":
        """Stay in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, signals: Tensor) -> Tensor:
        """Signals -> the code of each token, `(batch, n_tokens)`; of several codebooks the first counts."""
        return self.vqvae.codes(signals)[..., 0]


def _disturbed(scaled: Tensor, noise: float, mask_ratio: float, wave_length: int) -> Tensor:
    x = scaled
    if noise:
        x = x + noise * torch.randn_like(x)
    if mask_ratio:
        kept = torch.rand(len(x), 1, x.shape[-1] // wave_length, device=x.device) >= mask_ratio
        x = x * kept.repeat_interleave(wave_length, dim=-1)
    return x


def _factors(n: int) -> list[int]:
    """Prime factors, the largest first: a coarse step is cheapest where channels are few."""
    factors, divisor = [], 2
    while n > 1:
        while n % divisor == 0:
            factors.append(divisor)
            n //= divisor
        divisor += 1
    return factors[::-1] or [1]


def _widths(narrow: int, wide: int, n_stages: int) -> list[int]:
    """Widths from `narrow` to `wide` in n equal ratios."""
    return [round(narrow * (wide / narrow) ** (i / n_stages)) for i in range(n_stages + 1)]


def _strided(
    kind: type[nn.Conv1d] | type[nn.ConvTranspose1d], before: int, after: int, stride: int
) -> nn.Conv1d | nn.ConvTranspose1d:
    """A convolution that divides (or multiplies) a length by `stride` exactly, with overlap between steps."""
    kernel = 2 * stride + stride % 2 if stride > 1 else 5
    return kind(before, after, kernel, stride, padding=(kernel - stride) // 2)
