"""TimeMAE: masked autoencoding of time series with decoupled encoders (Cheng et al., arXiv 2303.00320).

The backbone splits a signal into non-overlapping patches of `wave_length` samples and encodes them as tokens.
Pretraining masks most tokens and predicts, for each of them, the output of a slowly moving copy of the encoder (masked
representation regression, MRR) and its codeword (masked codeword classification, MCC).
"""

import copy
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_bio.models.base import AutoencodingBackbone, split_stages
from ssl_bio.models.bert import BertEncoder, bert_encoder
from ssl_bio.models.convnet import ConvStem
from ssl_bio.models.layers import InputNorm
from ssl_bio.models.masking import ema_update, gather_tokens
from ssl_bio.models.transformer import FullAttention, TransformerBlock


class TimeMAEBackbone(AutoencodingBackbone):
    """Signals `(batch, n_channels, length)` -> tokens `(batch, n_tokens, d_model)`, with learnt positions.

    `stem="patch"` embeds each patch by one shared linear convolution, as the paper does; `stem="conv"` by a residual
    convolution net whose strides multiply to `wave_length`. `encoder`: "timemae" (post-norm layers with learnt residual
    scales), "pre-norm" (the usual layers) or "bert" (of the library transformers; `bert_weights`: a local folder of
    safetensors, empty: random weights). A length that is no multiple of `wave_length` is padded at its end with the
    last sample.

    Raises ValueError for values that make no network, and what `bert_encoder` raises.
    """

    input_layers = ("input_norm.", "stem.enter.", "stem.project.")
    input_norm: InputNorm

    def __init__(
        self,
        *,
        n_channels: int,
        length: int,
        normalize: str = "none",
        d_model: int = 64,
        n_layers: int = 8,
        n_heads: int = 4,
        wave_length: int = 8,
        stem: str = "patch",
        encoder: str = "timemae",
        bert_weights: str = "",
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if stem not in ("patch", "conv"):
            raise ValueError(f"stem must be 'patch' or 'conv', not {stem!r}")
        if encoder not in ("timemae", "pre-norm", "bert"):
            raise ValueError(f"encoder must be 'timemae', 'pre-norm' or 'bert', not {encoder!r}")
        self.n_channels, self.length, self.wave_length = n_channels, length, wave_length
        self.n_heads, self.dropout_rate, self.pre_norm = n_heads, dropout, encoder == "pre-norm"
        # BERT's weights are drawn before all others.
        bert = None
        if encoder == "bert":
            bert = bert_encoder(
                d_model=d_model,
                n_layers=n_layers,
                n_heads=n_heads,
                dropout=dropout,
                n_tokens=self.n_tokens,
                weights=bert_weights,
            )
        self.input_norm = InputNorm(n_channels, normalize)
        make_stem = ConvStem if stem == "conv" else PatchStem
        self.stem: ConvStem | PatchStem = make_stem(
            n_channels=self.input_norm.out_channels, d_model=d_model, wave_length=wave_length
        )
        self.position = nn.Parameter(torch.randn(self.n_tokens, d_model) * (0.02 if self.pre_norm else 1.0))
        self.encoder: Encoder | BertEncoder = bert or Encoder(
            d_model=d_model, n_layers=n_layers, n_heads=n_heads, dropout=dropout, pre_norm=self.pre_norm
        )
        self.layer_widths = (*self.stem.layer_widths, *[d_model] * n_layers)
        self.max_length = self.n_tokens * wave_length

    def scale(self, signals: Tensor, masked: Tensor | None = None) -> Tensor:
        """Return scaled and padded signals `(batch, channels, whole tokens)`.

        With masked positions `(batch, n)`, nothing of those patches enters a window's own statistics.
        """
        visible = None
        if masked is not None:
            visible = ~self._of_samples(self._is_masked(masked))[..., : signals.shape[-1]]
        x: Tensor = self.input_norm(signals, visible)
        padding = -x.shape[-1] % self.wave_length
        return F.pad(x, (0, padding), mode="replicate") if padding else x

    def embed(self, scaled: Tensor) -> Tensor:
        """Return token embeddings `(batch, n_tokens, d_model)` of scaled signals, without positions."""
        return self.stem.hidden_states(scaled)[-1]

    def with_positions(self, embeddings: Tensor) -> Tensor:
        """Return embeddings `(batch, n, d_model)` plus the first n positions.

        Raises ValueError when there are fewer.
        """
        n = embeddings.shape[1]
        self.check_length(n * self.wave_length)
        return embeddings + (self.position if n == self.n_tokens else self.position[:n])

    def encode_visible(self, scaled: Tensor, *, masked: Tensor, embeddings: Tensor | None = None) -> Tensor:
        """Encode what is left of scaled signals without the masked positions, `(batch, n)`.

        `embeddings`, those of the whole signals, are used where the stem lets no masked patch leak into its neighbours.
        Returns `(batch, n_tokens - n, d_model)`.
        """
        is_masked = self._is_masked(masked)
        visible = (~is_masked).nonzero()[:, 1].view(len(masked), -1)
        if embeddings is None or self.stem.overlaps:
            embeddings = self.embed(scaled.masked_fill(self._of_samples(is_masked), 0.0))
        tokens: Tensor = self.encoder(gather_tokens(self.with_positions(embeddings), visible))
        return tokens

    def hidden_states(self, signals: Tensor) -> list[Tensor]:
        """Return the tokens of the stem's stages and of every encoder layer."""
        stages = self.stem.hidden_states(self.scale(signals))
        return [*stages, *self.encoder.hidden_states(self.with_positions(stages[-1]))]

    def encode(self, scaled: Tensor) -> Tensor:
        """Return the tokens of scaled signals. Raises ValueError for more than `max_length` samples."""
        tokens: Tensor = self.encoder(self.with_positions(self.embed(scaled)))
        return tokens

    def forward(self, signals: Tensor) -> Tensor:
        """Return tokens `(batch, n_tokens, d_model)`. Raises ValueError for more than `max_length` samples."""
        return self.encode(self.scale(signals))

    def new_decoder(self) -> "PatchDecoder":
        """Return a pre-norm transformer as deep as its own that ends in a linear map to patches."""
        return PatchDecoder(self)

    def stages(self) -> list[nn.Module]:
        """Return the first convolution and the positions, then the stages of the stem and the encoder's layers."""
        return split_stages(self, [*self.stem.stages, *self.encoder.layers])

    def _is_masked(self, positions: Tensor) -> Tensor:
        """Return `(batch, n_tokens)` of booleans for masked positions `(batch, n)`."""
        flags = torch.zeros(len(positions), self.n_tokens, dtype=torch.bool, device=positions.device)
        return flags.scatter(1, positions, True)

    def _of_samples(self, tokens: Tensor) -> Tensor:
        """Return a flag for each sample `(batch, 1, samples)` of one for each token `(batch, n_tokens)`."""
        return tokens.repeat_interleave(self.wave_length, dim=1)[:, None]


class PatchStem(nn.Module):
    """One linear map of each patch of `wave_length` samples."""

    overlaps = False  # a token sees none of its neighbours' samples
    stages: tuple[nn.Module, ...] = ()  # behind the first convolution

    def __init__(self, *, n_channels: int, d_model: int, wave_length: int) -> None:
        super().__init__()
        self.project = nn.Conv1d(n_channels, d_model, wave_length, wave_length)
        self.layer_widths = (d_model,)

    def hidden_states(self, x: Tensor) -> list[Tensor]:
        """Return `[(batch, n_tokens, d_model)]`."""
        return [self.project(x).transpose(1, 2)]


class Encoder(nn.Module):
    """A stack of transformer layers: tokens `(batch, n, d_model)` of any subset of positions -> the same shape."""

    def __init__(self, *, d_model: int, n_layers: int, n_heads: int, dropout: float, pre_norm: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            TransformerBlock(
                FullAttention(d_model=d_model, n_heads=n_heads),
                d_model=d_model,
                feed_forward_width=4 * d_model,
                dropout=dropout,
                norm="pre" if pre_norm else "post",
            )
            for _ in range(n_layers)
        )
        self.final_norm: nn.Module = nn.LayerNorm(d_model) if pre_norm else nn.Identity()

    @property
    def layers(self) -> list[nn.Module]:
        """Return its transformer layers."""
        return list(self.blocks)

    def hidden_states(self, tokens: Tensor, context: Tensor | None = None) -> list[Tensor]:
        """Return the tokens after each layer; with a context, each layer attends to that instead of to itself."""
        outputs = []
        for block in self.blocks:
            tokens = block(tokens, context)
            outputs.append(tokens)
        outputs[-1] = self.final_norm(outputs[-1])
        return outputs

    def forward(self, tokens: Tensor, context: Tensor | None = None) -> Tensor:
        return self.hidden_states(tokens, context)[-1]


class PatchDecoder(nn.Module):
    """Tokens `(batch, n_tokens, d_model)` -> scaled signals `(batch, channels, n_tokens * wave_length)`: positions, a
    transformer as deep as the backbone's, and one linear map to the samples of each patch."""

    def __init__(self, backbone: TimeMAEBackbone) -> None:
        super().__init__()
        d_model, self.n_channels = backbone.d_model, backbone.input_norm.out_channels
        self.position = nn.Parameter(torch.randn(backbone.n_tokens, d_model) * 0.02)
        self.encoder = Encoder(
            d_model=d_model,
            n_layers=len(backbone.encoder.layers),
            n_heads=backbone.n_heads,
            dropout=backbone.dropout_rate,
            pre_norm=True,
        )
        self.project = nn.Linear(d_model, self.n_channels * backbone.wave_length)

    def forward(self, tokens: Tensor) -> Tensor:
        patches = self.project(self.encoder(tokens + self.position[: tokens.shape[1]]))
        signals: Tensor = patches.unflatten(-1, (self.n_channels, -1)).transpose(1, 2).flatten(2)
        return signals


class LearntCodebook(nn.Module):
    """Codewords by inner product with a learnt codebook, Gumbel noise and argmax (TimeMAE, section 3.3)."""

    def __init__(self, d_model: int, vocab_size: int) -> None:
        super().__init__()
        self.codebook = nn.Linear(d_model, vocab_size)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return one-hot codewords `(..., vocab_size)` of embeddings `(..., d_model)`.

        Straight-through: the value is one-hot, the gradient that of the softmax (Jang et al. 2017).
        """
        logits = self.codebook(embeddings)
        soft = (logits + _gumbel(logits)).softmax(dim=-1)
        hard = F.one_hot(soft.argmax(dim=-1), logits.shape[-1]).to(soft.dtype)
        codewords: Tensor = hard + soft - soft.detach()
        return codewords


class Prediction(NamedTuple):
    """What the model predicts of the masked tokens, beside what it should predict; `n` of them in each window."""

    representation: Tensor  # (batch, n, d_model), predicted
    target: Tensor  # (batch, n, d_model), by the target encoder, no gradient
    scores: Tensor  # (batch, n, vocab_size), logits of the predicted codeword
    codewords: Tensor  # (batch, n, vocab_size), one-hot, straight-through


class TimeMAE(nn.Module):
    """The pretext model around a `TimeMAEBackbone`, whose `n_heads` and dropout its decoder shares.

    It has a codebook of `vocab_size` codewords of its own, unless each window comes with the codes that a trained
    tokenizer gives its tokens, as in CM-SSL.

    The target encoder is a copy of the backbone's encoder that follows it by `update_target` and sees the masked tokens
    alone. The decoder sees the encoded visible tokens, and of masked ones only the position.
    """

    def __init__(
        self,
        *,
        backbone: TimeMAEBackbone,
        decoder_layers: int = 4,
        vocab_size: int = 192,
    ) -> None:
        super().__init__()
        d_model = backbone.d_model
        self.backbone = backbone
        self.decoder = Encoder(
            d_model=d_model,
            n_layers=decoder_layers,
            n_heads=backbone.n_heads,
            dropout=backbone.dropout_rate,
            pre_norm=backbone.pre_norm,
        )
        self.mask_token = nn.Parameter(torch.randn(d_model) * (0.02 if backbone.pre_norm else 1.0))
        self.tokenizer = LearntCodebook(d_model, vocab_size)
        self.target = copy.deepcopy(backbone.encoder).requires_grad_(False)

    def forward(self, signals: Tensor, masked: Tensor, codes: Tensor | None = None) -> Prediction:
        """Return predictions for the masked positions `(batch, n)` of signals `(batch, n_channels, length)`.

        `codes`, `(batch, n_tokens)`: the codewords of all tokens, where a tokenizer gives them.
        """
        backbone = self.backbone
        scaled = backbone.scale(signals, masked)
        embeddings = backbone.embed(scaled)
        encoded = backbone.encode_visible(scaled, masked=masked, embeddings=embeddings)
        queries = (self.mask_token + backbone.position).expand(len(masked), -1, -1)
        predicted: Tensor = self.decoder(gather_tokens(queries, masked), encoded)
        with torch.no_grad():
            target = self.target(gather_tokens(backbone.with_positions(embeddings), masked))
        return Prediction(
            representation=predicted,
            target=target,
            scores=self.tokenizer.codebook(predicted),
            codewords=self._codewords(embeddings, masked=masked, codes=codes),
        )

    def _codewords(self, embeddings: Tensor, *, masked: Tensor, codes: Tensor | None) -> Tensor:
        if codes is None:
            codewords: Tensor = self.tokenizer(gather_tokens(embeddings, masked))
            return codewords
        one_hot = F.one_hot(codes.gather(1, masked), self.tokenizer.codebook.out_features)
        return one_hot.to(embeddings.dtype)

    def update_target(self, momentum: float) -> None:
        """Move the target encoder towards the encoder."""
        ema_update(target=self.target, online=self.backbone.encoder, momentum=momentum)


def _gumbel(like: Tensor) -> Tensor:
    """Return standard Gumbel noise. On the CPU from NumPy's exponential (ziggurat), four times faster than torch's."""
    if like.device.type != "cpu":
        return -torch.empty_like(like).exponential_().log()
    seed = int(torch.randint(2**62, ()).item())
    exponential = np.random.Generator(np.random.SFC64(seed)).standard_exponential(tuple(like.shape), dtype=np.float32)
    return -torch.from_numpy(np.maximum(exponential, np.finfo(np.float32).tiny)).log()
