"""TimeMAE written plainly from torch's own parts: the baseline that `pretrain_step.py` measures against."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PlainLayer(nn.Module):
    """A post-norm layer with learnt residual scales, of `nn.MultiheadAttention` and `nn.Dropout`."""

    def __init__(self, d_model: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(d_model, n_heads, dropout, batch_first=True)
        self.feed_forward = nn.Sequential(
            nn.Linear(d_model, 4 * d_model), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * d_model, d_model)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(d_model) for _ in range(2))
        self.scales = nn.Parameter(torch.full((2,), 1e-8))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        context = x if context is None else context
        y, _ = self.attention(x, context, context, need_weights=False)
        x = self.norms[0](x + self.dropout(self.scales[0] * y))
        out: Tensor = self.norms[1](x + self.dropout(self.scales[1] * self.feed_forward(x)))
        return out


class PlainTimeMAE(nn.Module):
    """The same network and objective as `ssl_bio.models.timemae`, without its optimisations."""

    def __init__(self, n_channels: int = 9, length: int = 128, d_model: int = 64, wave_length: int = 8) -> None:
        super().__init__()
        self.n_tokens = length // wave_length
        self.embed = nn.Conv1d(n_channels, d_model, wave_length, wave_length)
        self.position = nn.Embedding(self.n_tokens, d_model)
        self.mask_token = nn.Parameter(torch.randn(d_model))
        self.encoder = nn.ModuleList(PlainLayer(d_model, 4, 0.2) for _ in range(8))
        self.target = copy.deepcopy(self.encoder).requires_grad_(False)
        self.decoder = nn.ModuleList(PlainLayer(d_model, 4, 0.2) for _ in range(4))
        self.codebook = nn.Linear(d_model, 192)

    def loss(self, x: Tensor) -> Tensor:
        """5 MRR + MCC of a batch."""
        tokens = self.embed(x).transpose(1, 2)
        placed = tokens + self.position.weight
        order = torch.randperm(self.n_tokens)
        hidden, visible = order[:9], order[9:]
        encoded = placed[:, visible]
        for layer in self.encoder:
            encoded = layer(encoded)
        with torch.no_grad():
            wanted = placed[:, hidden]
            for layer in self.target:
                wanted = layer(wanted)
            codewords = F.gumbel_softmax(self.codebook(tokens[:, hidden]), hard=True).argmax(-1)
        predicted = (self.mask_token + self.position.weight)[hidden].expand(len(x), -1, -1)
        for layer in self.decoder:
            predicted = layer(predicted, encoded)
        scores = self.codebook(predicted)
        ce = F.cross_entropy(scores.flatten(0, 1), codewords.flatten(), label_smoothing=0.2)
        return 5 * F.mse_loss(predicted, wanted) + ce


def stepper(signals: Tensor) -> Callable[[], None]:
    """One whole training step on `signals`, `(batch, 9, 128)`."""
    model = PlainTimeMAE()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)

    def step() -> None:
        loss = model.loss(signals)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        with torch.no_grad():
            for target, online in zip(model.target.parameters(), model.encoder.parameters(), strict=True):
                target.mul_(0.99).add_(online, alpha=0.01)

    return step
