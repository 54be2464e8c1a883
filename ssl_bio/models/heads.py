"""From tokens to predictions: pooling over tokens, feature scaling, a head."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ssl_bio.models.base import Backbone
from ssl_bio.models.layers import Dropout


class Pooling(nn.Module):
    """Tokens `(batch, n_tokens, width)` -> `(batch, len(kinds) * width)`.

    `kinds`: "mean", "max" and "std" over tokens; "middle", the middle token, for what is asked of the window's middle;
    "attention", a mean whose weights are learnt (Ilse et al. 2018, without the gate), which alone needs the width.
    """

    def __init__(self, kinds: Sequence[str], width: int = 0) -> None:
        super().__init__()
        unknown = set(kinds) - {"mean", "max", "std", "middle", "attention"}
        if unknown or not kinds:
            raise ValueError(f"pooling must name mean, max, std, middle or attention, got {list(kinds)}")
        self.kinds = tuple(kinds)
        if "attention" in kinds:
            self.score = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))

    def forward(self, tokens: Tensor) -> Tensor:
        return torch.cat([self._pool(kind, tokens) for kind in self.kinds], dim=-1)

    def _pool(self, kind: str, tokens: Tensor) -> Tensor:
        if kind == "mean":
            return tokens.mean(dim=1)
        if kind == "max":
            return tokens.amax(dim=1)
        if kind == "middle":
            return tokens[:, tokens.shape[1] // 2]
        if kind == "attention":
            weight: Tensor = self.score(tokens).softmax(dim=1)
            return (weight * tokens).sum(dim=1)
        # The floor under the root keeps the gradient finite where all tokens agree.
        return (tokens.var(dim=1, correction=0) + 1e-8).sqrt()

    def extra_repr(self) -> str:
        return ", ".join(self.kinds)


class Unit(nn.Module):
    """Standardised outputs `(batch, n)` -> outputs in the target's unit."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.std + self.mean


class Predictor(nn.Module):
    """A backbone, pooling and a head: signals `(batch, n_channels, length)` -> outputs `(batch, n_outputs)`.

    `layers="last"` pools the backbone's tokens, "all" those of every depth, each in `pool_segments` equal parts of the
    window one after the other. Pooled features are standardised by `feature_mean` and `feature_std`, which are 0 and 1
    until a probe sets them. The head is "linear", or "mlp": Linear-GELU-Linear with `head_width` units (0: as many as
    features). `unit`, for values, puts the target's unit back. `window`: the most samples that it takes at once (0: any
    number).

    Raises ValueError for an unknown head or pooling.
    """

    feature_mean: Tensor
    feature_std: Tensor

    def __init__(
        self,
        *,
        backbone: Backbone,
        n_outputs: int,
        pooling: Sequence[str] = ("mean",),
        layers: str = "last",
        dropout: float = 0.0,
        head: str = "linear",
        head_width: int = 0,
        unit: Unit | None = None,
        window: int = 0,
        pool_segments: int = 1,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.all_layers = layers == "all"
        self.window, self.pool_segments = window, pool_segments
        widths = backbone.layer_widths if self.all_layers else backbone.layer_widths[-1:]
        self.pooling = nn.ModuleList(Pooling(pooling, width) for width in widths)
        n_features = pool_segments * len(pooling) * sum(widths)
        self.register_buffer("feature_mean", torch.zeros(n_features))
        self.register_buffer("feature_std", torch.ones(n_features))
        self.dropout = Dropout(dropout)
        if head not in ("linear", "mlp"):
            raise ValueError(f"head must be 'linear' or 'mlp', not {head!r}")
        hidden = head_width or n_features
        self.head: nn.Module = nn.Linear(n_features, n_outputs)
        if head == "mlp":
            self.head = nn.Sequential(nn.Linear(n_features, hidden), nn.GELU(), nn.Linear(hidden, n_outputs))
        self.unit = unit or nn.Identity()

    def features(self, signals: Tensor) -> Tensor:
        """Return pooled features `(batch, n_features)`, not yet standardised."""
        depths = self.backbone.hidden_states(signals) if self.all_layers else [self.backbone(signals)]
        pooled = [
            pool(segment)
            for pool, tokens in zip(self.pooling, depths, strict=True)
            for segment in tokens.tensor_split(self.pool_segments, dim=1)
        ]
        return torch.cat(pooled, dim=-1)

    def apply_head(self, features: Tensor) -> Tensor:
        """Return the head's outputs `(batch, n_outputs)` for pooled features."""
        outputs: Tensor = self.unit(self.head(self.dropout((features - self.feature_mean) / self.feature_std)))
        return outputs

    def predict_per_token(self, signals: Tensor) -> Tensor:
        """Return the outputs `(batch, n_tokens, n_outputs)` for each token as if it were the only one."""
        tokens: Tensor = self.backbone(signals)
        return self.apply_head(tokens.flatten(0, 1)).view(*tokens.shape[:2], -1)

    def forward(self, signals: Tensor) -> Tensor:
        return self.apply_head(self.features(signals))
