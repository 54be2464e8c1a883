"""The pretext task of CM-SSL: from one signal, unmasked, tell the codes that a tokenizer of several gives."""

from typing import ClassVar

import torch
from torch.nn import functional as F

from ssl_bio.config.pretexts import JointTokensConfig
from ssl_bio.data.dataset import PreparedDataset
from ssl_bio.errors import RecipeError
from ssl_bio.metrics.codes import chance, perplexity
from ssl_bio.models.base import Backbone, SignalNetwork
from ssl_bio.models.code_predictor import CodePredictor
from ssl_bio.pretexts.tokenizer import Tokenizer, TokenPretext
from ssl_bio.runs.inputs import InputSpec
from ssl_bio.tasks.base import expect
from ssl_bio.training.objective import BaseObjective, StepOutput, Sums, TensorBatch
from ssl_bio.training.optim import ParameterGroup, groups_of

_TOP = 10


class JointTokensPretext(TokenPretext[JointTokensConfig]):
    """Predict the code of every stretch of a window. The encoder sees `data.channels`, the tokenizer its own."""

    Config = JointTokensConfig
    always_validates: ClassVar[bool] = True
    leading_metrics: ClassVar = ("accuracy", "top10")

    def check_data(self, dataset: PreparedDataset) -> list[str]:
        """Return why codes cannot be had, or would not belong to what the encoder sees."""
        if not self.config.tokenizer:
            return ["pretrain.tokenizer: name the run or the recipe of a VQ-VAE whose codes are predicted"]
        return super().check_data(dataset)

    def build(self, backbone: Backbone | SignalNetwork, spec: InputSpec) -> "JointTokensObjective":
        """Return the predictor of codes around a backbone.

        Raises RecipeError when tokens are longer than codes, and CheckpointError when the tokenizer's run is broken.
        """
        encoder, tokenizer = expect(Backbone, backbone), expect(Tokenizer, self.tokenizer)
        if encoder.wave_length > tokenizer.wave_length:
            raise RecipeError(
                f"{tokenizer.name}: its codes stand for {tokenizer.wave_length} samples, this model's tokens for "
                f"{encoder.wave_length}: choose a shorter model.wave_length"
            )
        model = CodePredictor(backbone=encoder, vocab_size=tokenizer.vocab_size, code_length=tokenizer.wave_length)
        return JointTokensObjective(model, lr=self.config.lr, label_smoothing=self.config.label_smoothing)


class JointTokensObjective(BaseObjective):
    """Cross entropy of every code, with label smoothing (CM-SSL)."""

    def __init__(self, model: CodePredictor, *, lr: float, label_smoothing: float = 0.0) -> None:
        self.module = model
        self.lr, self.label_smoothing = lr, label_smoothing

    def step(self, batch: TensorBatch) -> StepOutput:
        """Return the loss of signals `(batch, n_channels, length)` whose codes `(batch, n_codes)` are the targets."""
        assert batch.targets is not None
        codes = batch.targets.flatten()
        scores = self.module(batch.inputs).flatten(0, 1)
        loss = F.cross_entropy(scores, codes, label_smoothing=self.label_smoothing)
        loss = loss + self.module.backbone.auxiliary_loss()
        with torch.no_grad():
            n = torch.tensor(float(len(batch.inputs)))
            top = scores.topk(min(_TOP, scores.shape[1]), dim=1).indices == codes[:, None]
            sums = {
                "windows": n,
                "tokens": torch.tensor(float(len(codes))),
                "loss": loss.detach() * n,
                "accuracy": top[:, 0].sum(),
                "top10": top.sum(),
                "code_counts": torch.bincount(codes, minlength=scores.shape[1]).float(),
            }
        return StepOutput(loss, sums)

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return everything at one rate."""
        return groups_of("pretext", self.module, self.lr)

    def metrics(self, sums: Sums) -> dict[str, float]:
        """Return the loss, the share of codes that are told and that are among the ten likeliest, each with what
        guessing and the commonest codes reach, and the perplexity of the codes."""
        tokens, counts = float(sums["tokens"]), sums["code_counts"]
        return {
            "loss": float(sums["loss"]) / float(sums["windows"]),
            "accuracy": float(sums["accuracy"]) / tokens,
            **chance("accuracy", counts, k=1),
            "top10": float(sums["top10"]) / tokens,
            **chance("top10", counts, k=_TOP),
            "perplexity": float(perplexity(counts)),
        }
