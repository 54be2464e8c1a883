"""From tokens to answers: pooling over tokens, feature scaling, a linear head."""

from collections.abc import Sequence
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from ssl_bio.models.layers import Dropout


class Backbone(Protocol):
    """What every backbone offers. `layers` gives the tokens of each depth, the last being `forward`'s."""

    layer_widths: Sequence[int]

    def __call__(self, signals: Tensor) -> Tensor: ...
    def layers(self, signals: Tensor) -> list[Tensor]: ...


class Pooling(nn.Module):
    """Tokens `(batch, n_tokens, width)` -> `(batch, len(kinds) * width)`: mean, max, std over tokens."""

    def __init__(self, kinds: Sequence[str]) -> None:
        super().__init__()
        unknown = set(kinds) - {"mean", "max", "std"}
        if unknown or not kinds:
            raise ValueError(f"pooling must name mean, max or std, got {list(kinds)}")
        self.kinds = tuple(kinds)

    def forward(self, tokens: Tensor) -> Tensor:
        parts = []
        for kind in self.kinds:
            if kind == "mean":
                parts.append(tokens.mean(dim=1))
            elif kind == "max":
                parts.append(tokens.amax(dim=1))
            else:
                # The floor under the root keeps the gradient finite where all tokens agree.
                parts.append((tokens.var(dim=1, correction=0) + 1e-8).sqrt())
        return torch.cat(parts, dim=-1)

    def extra_repr(self) -> str:
        return ", ".join(self.kinds)


class Classifier(nn.Module):
    """A backbone, pooling and a linear head: signals `(batch, n_channels, length)` -> logits `(batch, n_classes)`.

    `layers="last"` pools the backbone's tokens, "all" those of every depth. Pooled features are
    standardised by `feature_mean` and `feature_std`, which are 0 and 1 until a probe sets them.
    """

    feature_mean: Tensor
    feature_std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        n_classes: int,
        pooling: Sequence[str] = ("mean",),
        layers: str = "last",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.pooling = Pooling(pooling)
        self.all_layers = layers == "all"
        widths = cast(Backbone, backbone).layer_widths
        n_features = len(pooling) * (sum(widths) if self.all_layers else widths[-1])
        self.register_buffer("feature_mean", torch.zeros(n_features))
        self.register_buffer("feature_std", torch.ones(n_features))
        self.dropout = Dropout(dropout)
        self.head = nn.Linear(n_features, n_classes)

    def features(self, signals: Tensor) -> Tensor:
        """Pooled features `(batch, n_features)`, not yet standardised."""
        if not self.all_layers:
            return cast(Tensor, self.pooling(self.backbone(signals)))
        return torch.cat([self.pooling(tokens) for tokens in cast(Backbone, self.backbone).layers(signals)], dim=-1)

    def classify(self, features: Tensor) -> Tensor:
        """Logits `(batch, n_classes)` of pooled features."""
        return cast(Tensor, self.head(self.dropout((features - self.feature_mean) / self.feature_std)))

    def forward(self, signals: Tensor) -> Tensor:
        return self.classify(self.features(signals))
