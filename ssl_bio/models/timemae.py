"""TimeMAE: masked autoencoding of time series with decoupled encoders (Cheng et al., arXiv 2303.00320).

The backbone cuts a signal into non-overlapping windows of `wave_length` samples and encodes them as
tokens. Pretraining hides most tokens and predicts, for each hidden one, the output of a slowly moving
copy of the encoder (masked representation regression, MRR) and its codeword (masked codeword
classification, MCC).
"""

import copy
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_bio.models.convnet import ConvStem
from ssl_bio.models.layers import InputNorm, TransformerBlock


class TimeMAEBackbone(nn.Module):
    """Signals `(batch, n_channels, length)` -> tokens `(batch, n_tokens, d_model)`.

    `stem="patch"` embeds each window by one shared linear convolution, as the paper does;
    `stem="conv"` by a residual convolution net whose strides multiply to `wave_length`.
    `encoder`: "timemae" (post-norm layers with learnt residual scales), "pre-norm" (the usual kind) or
    "bert" (`encoder_module` from the library transformers). A length that is no multiple of
    `wave_length` is padded at its end with the last sample.
    """

    stage_names = ("stem.stages", "encoder.blocks", "encoder.bert.encoder.layer")
    entrance = ("input_norm.", "stem.enter.", "stem.project.")

    def __init__(
        self,
        n_channels: int,
        length: int,
        d_model: int = 64,
        n_layers: int = 8,
        n_heads: int = 4,
        wave_length: int = 8,
        dropout: float = 0.2,
        stem: str = "patch",
        encoder: str = "timemae",
        normalize: str = "none",
        encoder_module: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.n_channels, self.length, self.wave_length = n_channels, length, wave_length
        self.n_tokens = -(-length // wave_length)
        self.padding = self.n_tokens * wave_length - length
        self.input_norm = InputNorm(n_channels, normalize)
        self.pre_norm = encoder == "pre-norm"
        self.stem: PatchStem | ConvStem
        if stem == "conv":
            self.stem = ConvStem(self.input_norm.out_channels, d_model, wave_length)
        else:
            self.stem = PatchStem(self.input_norm.out_channels, d_model, wave_length)
        self.position = nn.Parameter(torch.randn(self.n_tokens, d_model) * (0.02 if self.pre_norm else 1.0))
        if encoder_module is not None:
            self.encoder: nn.Module = encoder_module
        else:
            self.encoder = Encoder(d_model, n_layers, n_heads, dropout, "pre" if self.pre_norm else "post")
        depth = getattr(self.encoder, "depth", 1)
        self.layer_widths = (*self.stem.layer_widths, *[d_model] * depth)

    def scale(self, signals: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Scaled and padded signals `(batch, channels, n_tokens * wave_length)`.

        With positions `hidden`, `(batch, n)`, nothing of those windows enters a window's own statistics.
        """
        visible = None
        if hidden is not None:
            visible = ~self._samples(self._is_hidden(hidden))[..., : signals.shape[-1]]
        x = self.input_norm(signals, visible)
        return F.pad(x, (0, self.padding), mode="replicate") if self.padding else cast(Tensor, x)

    def embed(self, scaled: Tensor) -> Tensor:
        """Token embeddings `(batch, n_tokens, d_model)` of scaled signals, without positions."""
        return self.stem.layers(scaled)[-1]

    def encode_visible(self, scaled: Tensor, hidden: Tensor, embeddings: Tensor | None = None) -> Tensor:
        """Encode what is left of scaled signals when the positions `hidden`, `(batch, n)`, are taken away.

        `embeddings`, those of the whole signals, are used where the stem lets no hidden window leak into
        its neighbours. Returns `(batch, n_tokens - n, d_model)`.
        """
        is_hidden = self._is_hidden(hidden)
        visible = (~is_hidden).nonzero()[:, 1].view(len(hidden), -1)
        if embeddings is None or self.stem.overlaps:
            embeddings = self.embed(scaled.masked_fill(self._samples(is_hidden), 0.0))
        return cast(Tensor, self.encoder(pick(embeddings + self.position, visible)))

    def layers(self, signals: Tensor) -> list[Tensor]:
        """Tokens of the stem's stages and of every encoder layer."""
        stages = self.stem.layers(self.scale(signals))
        return [*stages, *cast(Encoder, self.encoder).layers(stages[-1] + self.position)]

    def forward(self, signals: Tensor) -> Tensor:
        return cast(Tensor, self.encoder(self.embed(self.scale(signals)) + self.position))

    def _is_hidden(self, hidden: Tensor) -> Tensor:
        """Positions `(batch, n)` -> `(batch, n_tokens)` of booleans."""
        flags = torch.zeros(len(hidden), self.n_tokens, dtype=torch.bool, device=hidden.device)
        return flags.scatter(1, hidden, True)

    def _samples(self, tokens: Tensor) -> Tensor:
        """A flag for each token `(batch, n_tokens)` -> for each sample `(batch, 1, samples)`."""
        return tokens.repeat_interleave(self.wave_length, dim=1)[:, None]


class PatchStem(nn.Module):
    """One linear map of each window of `wave_length` samples: windows do not see each other."""

    overlaps = False

    def __init__(self, n_channels: int, d_model: int, wave_length: int) -> None:
        super().__init__()
        self.project = nn.Conv1d(n_channels, d_model, wave_length, wave_length)
        self.layer_widths = (d_model,)

    def layers(self, x: Tensor) -> list[Tensor]:
        """`[(batch, n_tokens, d_model)]`."""
        return [self.project(x).transpose(1, 2)]


class Encoder(nn.Module):
    """A stack of transformer layers: tokens `(batch, n, d_model)` of any subset of positions -> the same shape."""

    def __init__(self, d_model: int, n_layers: int, n_heads: int, dropout: float, norm: str) -> None:
        super().__init__()
        self.depth = n_layers
        self.blocks = nn.ModuleList(TransformerBlock(d_model, n_heads, dropout, norm) for _ in range(n_layers))
        self.final_norm: nn.Module = nn.LayerNorm(d_model) if norm == "pre" else nn.Identity()

    def layers(self, tokens: Tensor, context: Tensor | None = None) -> list[Tensor]:
        """The tokens after each layer; with a context, each layer attends to that instead of to itself."""
        outputs = []
        for block in self.blocks:
            tokens = block(tokens, context)
            outputs.append(tokens)
        outputs[-1] = self.final_norm(outputs[-1])
        return outputs

    def forward(self, tokens: Tensor, context: Tensor | None = None) -> Tensor:
        return self.layers(tokens, context)[-1]


class Tokenizer(nn.Module):
    """Codewords by inner product with a learnt codebook, Gumbel noise and argmax (TimeMAE, section 3.3)."""

    def __init__(self, d_model: int, vocab_size: int) -> None:
        super().__init__()
        self.codebook = nn.Linear(d_model, vocab_size)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Embeddings `(..., d_model)` -> one-hot codewords `(..., vocab_size)`.

        Straight-through: the value is one-hot, the gradient that of the softmax (Jang et al. 2017).
        """
        logits = self.codebook(embeddings)
        soft = (logits + _gumbel(logits)).softmax(dim=-1)
        hard = F.one_hot(soft.argmax(dim=-1), logits.shape[-1]).to(soft.dtype)
        return cast(Tensor, hard + soft - soft.detach())


class Prediction(NamedTuple):
    """What the model says of the hidden tokens, beside what it should say; `n` of them in each window."""

    representation: Tensor  # (batch, n, d_model), predicted
    target: Tensor  # (batch, n, d_model), by the target encoder, no gradient
    scores: Tensor  # (batch, n, vocab_size), logits of the predicted codeword
    codewords: Tensor  # (batch, n, vocab_size), one-hot, straight-through


class TimeMAE(nn.Module):
    """The pretext model around a `TimeMAEBackbone`.

    `codes`, signals -> `(batch, n_tokens)` with a `vocab_size`, replaces the codewords of a learnt codebook by
    those of a trained tokenizer, as CM-SSL does.

    The target encoder is a copy of the backbone's encoder that follows it by `update_target` and sees the
    hidden tokens alone. The decoder sees the encoded visible tokens, and of hidden ones only the position.
    """

    def __init__(
        self,
        backbone: TimeMAEBackbone,
        decoder_layers: int = 4,
        n_heads: int = 4,
        vocab_size: int = 192,
        dropout: float = 0.2,
        codes: nn.Module | None = None,
    ) -> None:
        super().__init__()
        d_model = backbone.position.shape[1]
        self.backbone = backbone
        self.decoder = Encoder(d_model, decoder_layers, n_heads, dropout, "pre" if backbone.pre_norm else "post")
        self.mask_token = nn.Parameter(torch.randn(d_model) * (0.02 if backbone.pre_norm else 1.0))
        self.codes = codes
        self.tokenizer = Tokenizer(d_model, vocab_size if codes is None else cast(int, codes.vocab_size))
        self.target = copy.deepcopy(backbone.encoder).requires_grad_(False)

    def forward(self, signals: Tensor, hidden: Tensor) -> Prediction:
        """`hidden`: token positions to hide, `(batch, n)`."""
        position = self.backbone.position
        scaled = self.backbone.scale(signals, hidden)
        embeddings = self.backbone.embed(scaled)
        encoded = self.backbone.encode_visible(scaled, hidden, embeddings)
        predicted = self.decoder((self.mask_token + position)[hidden], encoded)
        with torch.no_grad():
            target = self.target(pick(embeddings + position, hidden))
        return Prediction(
            representation=predicted,
            target=target,
            scores=self.tokenizer.codebook(predicted),
            codewords=self._codewords(signals, embeddings, hidden),
        )

    def _codewords(self, signals: Tensor, embeddings: Tensor, hidden: Tensor) -> Tensor:
        if self.codes is None:
            return cast(Tensor, self.tokenizer(pick(embeddings, hidden)))
        found = self.codes(signals).gather(1, hidden)
        return F.one_hot(found, cast(int, self.codes.vocab_size)).to(embeddings.dtype)

    def update_target(self, momentum: float) -> None:
        """Let the target encoder follow the encoder."""
        follow(self.target, self.backbone.encoder, momentum)


@torch.no_grad()
def follow(target: nn.Module, online: nn.Module, momentum: float) -> None:
    """target <- momentum * target + (1 - momentum) * online, for parameters; buffers are copied."""
    torch._foreach_lerp_(list(target.parameters()), list(online.parameters()), 1 - momentum)
    for theirs, ours in zip(target.buffers(), online.buffers(), strict=True):
        theirs.copy_(ours)


def hide(n_tokens: int, mask_ratio: float, batch: int, per_sample: bool) -> Tensor:
    """Positions to hide in each window, `(batch, n)`, drawn from torch's global generator.

    n = floor(mask_ratio * n_tokens), at least one and at most all but one. The official code draws one mask
    a step for the whole batch; `per_sample` draws one for each window.
    """
    n = min(max(1, int(mask_ratio * n_tokens)), n_tokens - 1)
    order = torch.rand(batch if per_sample else 1, n_tokens).argsort(dim=1)[:, :n].sort(dim=1).values
    return order.expand(batch, -1)


def pick(tokens: Tensor, index: Tensor) -> Tensor:
    """Tokens at positions: tokens `(batch, n_tokens, width)`, index `(batch, n)` -> `(batch, n, width)`."""
    return tokens.gather(1, index[..., None].expand(-1, -1, tokens.shape[-1]))


def _gumbel(like: Tensor) -> Tensor:
    """Standard Gumbel noise. On the CPU from NumPy's exponential (ziggurat), four times faster than torch's."""
    if like.device.type != "cpu":
        return -torch.empty_like(like).exponential_().log()
    seed = int(torch.randint(2**62, ()).item())
    exponential = np.random.Generator(np.random.SFC64(seed)).standard_exponential(tuple(like.shape), dtype=np.float32)
    return -torch.from_numpy(np.maximum(exponential, np.finfo(np.float32).tiny)).log()
