"""Networks that look back on a series: one token for every sample, made of that sample and the ones before it.

Each can read a whole series at once, or go on from a kept state, a sample at a time, with the same outcome; what a
sample costs does then not depend on how many came before. Only unmasked attention keeps no state: there every sample
of a window sees all of it, so that one more sample changes every token.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_bio.models.layers import Dropout
from ssl_bio.models.quantizer import Quantizer

POSITIONS = ("none", "sinusoidal", "random", "rotary")


class Reader(Protocol):
    """Reads a standardised series. A state is what must be kept to go on."""

    d_model: int

    def __call__(self, series: Tensor) -> Tensor:
        """Series `(batch, time)` -> tokens `(batch, time, d_model)`."""
        ...

    def read(self, series: Tensor) -> tuple[Tensor, Any]:
        """The same tokens, and the state after the last sample."""
        ...

    def step(self, sample: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One more sample `(batch,)` -> its token `(batch, d_model)` and the next state; the one given is used up."""
        ...

    def auxiliary_loss(self) -> Tensor:
        """What the last forward pass adds to the loss."""
        ...


class LSTMReader(nn.Module):
    """Long short-term memory (Hochreiter and Schmidhuber 1997)."""

    def __init__(self, d_model: int = 64, n_layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.d_model = d_model
        self.lstm = nn.LSTM(1, d_model, n_layers, batch_first=True)
        self.dropout = Dropout(dropout)

    def forward(self, series: Tensor) -> Tensor:
        return self.read(series)[0]

    def read(self, series: Tensor) -> tuple[Tensor, Any]:
        """Tokens, and hidden and cell state."""
        tokens, state = self.lstm(series[..., None])
        return cast(Tensor, self.dropout(tokens)), state

    def step(self, sample: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One more sample."""
        tokens, state = self.lstm(sample[:, None, None], state)
        return cast(Tensor, self.dropout(tokens))[:, 0], state

    def auxiliary_loss(self) -> Tensor:
        """Nothing."""
        return torch.zeros(())


class Memory(NamedTuple):
    """Keys and values of the last samples in a ring, `(batch, n_heads, time_steps, d_head)` each."""

    keys: Tensor
    values: Tensor


class LookBack(nn.Module):
    """Multi-head attention of every sample to itself and the `time_steps - 1` before it (Vaswani et al. 2017).

    `norm_query`, `norm_key`: layer normalisation of queries and keys (Henry et al. 2020). `rotary`: queries and keys
    are turned by their place (Su et al. 2021), so that only distances count. `quantizer`: values give way to codes.
    Without `causal` every sample attends to all that are there.
    """

    def __init__(
        self,
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
        if d_model % n_heads:
            raise ValueError(f"d_model {d_model} is not a multiple of n_heads {n_heads}")
        if rotary and (d_model // n_heads) % 2:
            raise ValueError(f"rotary positions need an even width a head, not {d_model // n_heads}")
        self.n_heads, self.time_steps, self.rotary, self.causal = n_heads, time_steps, rotary, causal
        self.query, self.key, self.value, self.out = (nn.Linear(d_model, d_model) for _ in range(4))
        self.norm_query: nn.Module = nn.LayerNorm(d_model) if norm_query else nn.Identity()
        self.norm_key: nn.Module = nn.LayerNorm(d_model) if norm_key else nn.Identity()
        self.quantizer = quantizer
        self.commitment = torch.zeros(())

    def forward(self, tokens: Tensor, first: int) -> tuple[Tensor, Memory]:
        """Tokens `(batch, time, d_model)`, the first at place `first`; also what the next sample looks back on."""
        q, k, v = self._project(tokens, first)
        seen = self._seen(tokens) if self.causal else None
        y = self._joined(F.scaled_dot_product_attention(q, k, v, attn_mask=seen))
        return y, self._memory(k, v, first)

    def step(self, token: Tensor, place: int, memory: Memory) -> Tensor:
        """A token `(batch, 1, d_model)` at a place; its key and value take the oldest ones' slot in the memory, which
        changes in place."""
        q, k, v = self._project(token, place)
        slot = place % self.time_steps
        memory.keys[:, :, slot], memory.values[:, :, slot] = k[:, :, 0], v[:, :, 0]
        known = min(place + 1, self.time_steps)
        return self._joined(F.scaled_dot_product_attention(q, memory.keys[:, :, :known], memory.values[:, :, :known]))

    def _seen(self, tokens: Tensor) -> Tensor:
        place = torch.arange(tokens.shape[1], device=tokens.device)
        distance = place[:, None] - place
        return (distance >= 0) & (distance < self.time_steps)

    def _project(self, tokens: Tensor, first: int) -> tuple[Tensor, Tensor, Tensor]:
        q, k = self.norm_query(self.query(tokens)), self.norm_key(self.key(tokens))
        v = self.value(tokens)
        if self.quantizer:
            found = self.quantizer(v)
            v, self.commitment = found.tokens, found.commitment
        q, k, v = (part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for part in (q, k, v))
        if self.rotary:
            turn = _angles(first, tokens.shape[1], q.shape[-1], tokens.device)
            q, k = _turned(q, turn), _turned(k, turn)
        return q, k, v

    def _memory(self, keys: Tensor, values: Tensor, first: int) -> Memory:
        batch, heads, n, width = keys.shape
        ring = keys.new_zeros(batch, heads, self.time_steps, width)
        memory = Memory(ring, ring.clone())
        kept = min(n, self.time_steps)
        slots = torch.arange(first + n - kept, first + n, device=keys.device) % self.time_steps
        memory.keys[:, :, slots], memory.values[:, :, slots] = keys[:, :, -kept:], values[:, :, -kept:]
        return memory

    def _joined(self, heads: Tensor) -> Tensor:
        return cast(Tensor, self.out(heads.transpose(1, 2).flatten(2)))


class LookBackBlock(nn.Module):
    """`LookBack`, then a GELU feed-forward layer of four times the width, both residual; the latter and, with
    `norm_input`, the former on normalised tokens."""

    def __init__(self, look: LookBack, d_model: int, norm_input: bool, dropout: float) -> None:
        super().__init__()
        self.look = look
        self.norm_input: nn.Module = nn.LayerNorm(d_model) if norm_input else nn.Identity()
        self.norm_feed_forward = nn.LayerNorm(d_model)
        self.up, self.down = nn.Linear(d_model, 4 * d_model), nn.Linear(4 * d_model, d_model)
        self.dropout = Dropout(dropout)

    def forward(self, tokens: Tensor, first: int) -> tuple[Tensor, Memory]:
        """Tokens onwards, and the memory."""
        seen, memory = self.look(self.norm_input(tokens), first)
        return self._onwards(tokens, seen), memory

    def step(self, token: Tensor, place: int, memory: Memory) -> Tensor:
        """One token onwards."""
        return self._onwards(token, self.look.step(self.norm_input(token), place, memory))

    def _onwards(self, tokens: Tensor, seen: Tensor) -> Tensor:
        tokens = tokens + self.dropout(seen)
        return cast(Tensor, tokens + self.dropout(self.down(F.gelu(self.up(self.norm_feed_forward(tokens))))))


class AttentionReader(nn.Module):
    """A transformer whose every layer looks back `time_steps` samples, no further, so that what it has to keep does not
    grow.

    `positions`: "none"; "sinusoidal" (Vaswani et al. 2017) and "random", a fixed random vector for each of `time_steps`
    places over and over, both added to the samples; or "rotary". In training a series begins at a place drawn at
    random, for a rollout goes far beyond the places of a training crop. `quantizers`: one a layer, for vector-quantised
    values. Without `causal` it reads windows of `time_steps` samples, always from place 0 on, and keeps no state.
    """

    table: Tensor

    def __init__(
        self,
        d_model: int = 64,
        n_layers: int = 1,
        n_heads: int = 4,
        time_steps: int = 112,
        positions: str = "rotary",
        norm_input: bool = True,
        norm_query: bool = False,
        norm_key: bool = True,
        dropout: float = 0.0,
        quantizers: Sequence[Quantizer] = (),
        causal: bool = True,
    ) -> None:
        super().__init__()
        if positions not in POSITIONS:
            raise ValueError(f"positions must be one of {', '.join(POSITIONS)}, not {positions!r}")
        if positions == "sinusoidal" and d_model % 2:
            raise ValueError(f"sinusoidal positions need an even d_model, not {d_model}")
        self.d_model, self.positions, self.causal = d_model, positions, causal
        self.enter = nn.Linear(1, d_model)
        self.register_buffer("table", torch.randn(time_steps if positions == "random" else 0, d_model))
        self.blocks = nn.ModuleList(
            LookBackBlock(
                LookBack(
                    d_model,
                    n_heads,
                    time_steps,
                    norm_query,
                    norm_key,
                    positions == "rotary",
                    quantizers[layer] if quantizers else None,
                    causal,
                ),
                d_model,
                norm_input,
                dropout,
            )
            for layer in range(n_layers)
        )
        self.norm = nn.LayerNorm(d_model)

    def forward(self, series: Tensor) -> Tensor:
        return self.read(series)[0]

    def read(self, series: Tensor) -> tuple[Tensor, Any]:
        """Tokens, and the place of the next sample with every layer's memory."""
        first = int(torch.randint(_FURTHEST_START, ())) if self.training and self.causal else 0
        x, memories = self._entered(series, first), []
        for block in self.blocks:
            x, memory = block(x, first)
            memories.append(memory)
        return cast(Tensor, self.norm(x)), (first + series.shape[1], memories)

    def step(self, sample: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One more sample."""
        place, memories = state
        x = self._entered(sample[:, None], place)
        for block, memory in zip(self.blocks, memories, strict=True):
            x = cast(LookBackBlock, block).step(x, place, memory)
        return cast(Tensor, self.norm(x))[:, 0], (place + 1, memories)

    def auxiliary_loss(self) -> Tensor:
        """The commitment of quantised values."""
        return torch.stack([cast(LookBackBlock, block).look.commitment for block in self.blocks]).sum()

    def _entered(self, series: Tensor, first: int) -> Tensor:
        x = cast(Tensor, self.enter(series[..., None]))
        n = series.shape[1]
        if self.positions == "sinusoidal":
            angles = _angles(first, n, self.d_model, series.device)
            return x + torch.cat([angles.sin(), angles.cos()], dim=-1)
        if self.positions == "random":
            places = torch.arange(first, first + n, device=series.device)
            return x + self.table[places % len(self.table)]
        return x


_FURTHEST_START = 100_000


def _angles(first: int, n: int, width: int, device: torch.device) -> Tensor:
    """Angles `(n, width / 2)` of places from `first` on, slower and slower along the width; in double precision up to
    the last moment, for places grow large."""
    speed = torch.exp(torch.arange(0, width, 2, dtype=torch.float64, device=device) * (-math.log(10_000.0) / width))
    angles = torch.arange(first, first + n, dtype=torch.float64, device=device)[:, None] * speed
    return angles.remainder(2 * math.pi).float()


def _turned(x: Tensor, angles: Tensor) -> Tensor:
    """Pairs of features `(..., n, width)` turned by their places' angles."""
    first, second = x.chunk(2, dim=-1)
    sine, cosine = angles.sin(), angles.cos()
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)
