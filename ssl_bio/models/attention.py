"""A transformer that reads series sample by sample."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ssl_bio.models.base import StreamingBackbone, check_single_channel, check_unnormalized, split_stages
from ssl_bio.models.quantizer import Quantizer
from ssl_bio.models.transformer import KVCache, SlidingWindowAttention, TransformerBlock, position_angles

POSITIONS = ("none", "sinusoidal", "random", "rotary")

_LAST_START = 100_000


class AttentionBackbone(StreamingBackbone[list[KVCache]]):
    """A transformer whose every layer attends to the last `length` samples, so that what it has to keep does not grow.

    Series `(batch, 1, time)` of any length -> `(batch, time, d_model)`. `positions`: "none"; "sinusoidal" (Vaswani et
    al. 2017) and "random", a fixed random vector for each of `length` positions over and over, both added to the
    samples; or "rotary". In training a series begins at a position drawn at random, for a rollout goes far beyond the
    positions of a training crop. `norm_input`: layer normalisation before attention. `values="vq"`: attention gathers
    codes, of one `quantizer` a layer (arguments of `Quantizer`). Without `causal` every sample attends to all others,
    positions begin at 0, and there is no state to go on from.

    Raises ValueError for several channels, for a `normalize` other than "none", and for widths that do not fit.
    """

    table: Tensor

    def __init__(
        self,
        *,
        n_channels: int = 1,
        length: int = 112,
        normalize: str = "none",
        d_model: int = 64,
        n_layers: int = 1,
        n_heads: int = 4,
        causal: bool = True,
        positions: str = "rotary",
        norm_input: bool = True,
        norm_query: bool = False,
        norm_key: bool = True,
        values: str = "plain",
        quantizer: Mapping[str, Any] | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_single_channel(n_channels, "attention")
        check_unnormalized(normalize, "attention")
        if positions not in POSITIONS:
            raise ValueError(f"positions must be one of {', '.join(POSITIONS)}, not {positions!r}")
        if positions == "sinusoidal" and d_model % 2:
            raise ValueError(f"sinusoidal positions need an even d_model, not {d_model}")
        if values not in ("plain", "vq"):
            raise ValueError(f"values must be 'plain' or 'vq', not {values!r}")
        self.length, self.positions, self.causal = length, positions, causal
        self.layer_widths = (d_model,) * n_layers
        self.receptive_field = n_layers * (length - 1) if causal else None
        quantizers: list[Quantizer | None] = [None] * n_layers
        if values == "vq":
            quantizers = [Quantizer(d_model=d_model, **(quantizer or {})) for _ in range(n_layers)]
        self.enter = nn.Linear(1, d_model)
        self.register_buffer("table", torch.randn(length if positions == "random" else 0, d_model))
        self.blocks = nn.ModuleList(
            TransformerBlock(
                SlidingWindowAttention(
                    d_model=d_model,
                    n_heads=n_heads,
                    time_steps=length,
                    norm_query=norm_query,
                    norm_key=norm_key,
                    rotary=positions == "rotary",
                    quantizer=layer_quantizer,
                    causal=causal,
                ),
                d_model=d_model,
                feed_forward_width=4 * d_model,
                dropout=dropout,
                norm="pre",
                norm_attention=norm_input,
                inner_dropout=False,
                norms_first=True,
            )
            for layer_quantizer in quantizers
        )
        self.norm = nn.LayerNorm(d_model)

    @property
    def streams(self) -> bool:
        """Return whether it is causal."""
        return self.causal

    def hidden_states(self, signals: Tensor) -> list[Tensor]:
        """Return the tokens of every layer, the last ones normalised."""
        return self._read(signals, self._new_caches())

    def stages(self) -> list[nn.Module]:
        """Return the map of samples, then the layers, the last one with the norm behind it."""
        *blocks, last = self.blocks
        return split_stages(self, [*blocks, nn.ModuleList([last, self.norm])])

    def auxiliary_loss(self) -> Tensor:
        """Return the commitment losses of quantised values, summed."""
        if not any(attention.quantizer for attention in self._attentions()):
            return super().auxiliary_loss()
        return torch.stack([attention.commitment for attention in self._attentions()]).sum()

    def prefill(self, signals: Tensor) -> tuple[Tensor, list[KVCache]]:
        """Return tokens and a cache for every layer. Raises ValueError without `causal`."""
        if not self.causal:
            raise ValueError("attention without a causal mask keeps no state to go on from")
        caches = self._new_caches()
        return self._read(signals, caches)[-1], caches

    def step(self, sample: Tensor, state: list[KVCache]) -> tuple[Tensor, list[KVCache]]:
        """Return the token of one more sample, and the caches, which change in place."""
        return self._read(sample[:, None, None], state)[-1][:, 0], state

    def _new_caches(self) -> list[KVCache]:
        start = int(torch.randint(_LAST_START, ())) if self.training and self.causal else 0
        return [KVCache(start) for _ in self.blocks]

    def _read(self, signals: Tensor, caches: list[KVCache]) -> list[Tensor]:
        x = self._embed(signals, caches[0].position)
        outputs = []
        for block, cache in zip(self.blocks, caches, strict=True):
            x = block(x, cache)
            outputs.append(x)
        outputs[-1] = self.norm(x)
        return outputs

    def _embed(self, signals: Tensor, start: int) -> Tensor:
        x: Tensor = self.enter(signals.transpose(1, 2))
        n = x.shape[1]
        if self.positions == "sinusoidal":
            angles = position_angles(start=start, n=n, width=x.shape[-1], device=x.device)
            return x + torch.cat([angles.sin(), angles.cos()], dim=-1)
        if self.positions == "random":
            position = torch.arange(start, start + n, device=x.device)
            return x + self.table[position % len(self.table)]
        return x

    def _attentions(self) -> list[SlidingWindowAttention]:
        return [module for module in self.modules() if isinstance(module, SlidingWindowAttention)]
