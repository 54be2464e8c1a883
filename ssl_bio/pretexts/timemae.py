"""TimeMAE's pretext task: masked codeword classification and masked representation regression."""

from typing import ClassVar

import torch
from torch.nn import functional as F

from ssl_bio.config.pretexts import TimeMAEPretextConfig
from ssl_bio.errors import RecipeError
from ssl_bio.metrics.codes import chance, ndcg, perplexity
from ssl_bio.models.base import Backbone, SignalNetwork
from ssl_bio.models.masking import random_mask
from ssl_bio.models.timemae import TimeMAE, TimeMAEBackbone
from ssl_bio.pretexts.tokenizer import TokenPretext
from ssl_bio.runs.inputs import InputSpec
from ssl_bio.tasks.base import expect
from ssl_bio.training.objective import BaseObjective, StepOutput, Sums, TensorBatch
from ssl_bio.training.optim import ParameterGroup, groups_of


class TimeMAEPretext(TokenPretext[TimeMAEPretextConfig]):
    """Hide most tokens and predict, for each, its codeword and the target encoder's output."""

    Config = TimeMAEPretextConfig
    always_validates: ClassVar[bool] = True
    leading_metrics: ClassVar = ("hit_rate",)

    def build(self, backbone: Backbone | SignalNetwork, spec: InputSpec) -> "TimeMAEObjective":
        """Return TimeMAE around a backbone.

        Raises RecipeError when there is nothing to mask or codewords do not fit, and CheckpointError when their run is
        broken.
        """
        config, encoder = self.config, expect(TimeMAEBackbone, backbone)
        check_maskable(encoder)
        vocab_size = config.vocab_size
        if self.tokenizer is not None:
            vocab_size = self.tokenizer.vocab_size
            if self.tokenizer.wave_length != encoder.wave_length:
                raise RecipeError(
                    f"{self.tokenizer.name}: its codes stand for {self.tokenizer.wave_length} samples, this model's "
                    f"tokens for {encoder.wave_length}: masked tokens need a codeword each, so set "
                    f'model.wave_length to {self.tokenizer.wave_length} (model.stem "patch" takes any)'
                )
        model = TimeMAE(backbone=encoder, decoder_layers=config.decoder_layers, vocab_size=vocab_size)
        return TimeMAEObjective(
            model,
            lr=config.lr,
            mask_ratio=config.mask_ratio,
            mask_per_sample=config.mask_per_sample,
            momentum=config.momentum,
            alpha=config.alpha,
            beta=config.beta,
            label_smoothing=config.label_smoothing,
            straight_through=config.straight_through,
            learns_codes=self.tokenizer is not None,
        )


class TimeMAEObjective(BaseObjective):
    """Masked representation regression and masked codeword classification (TimeMAE, equations 5-8).

    loss = alpha * MSE(prediction, target) + beta * CE(scores, codewords), with label smoothing in CE. With
    `learns_codes`, codewords come with the windows, as targets.
    """

    def __init__(
        self,
        model: TimeMAE,
        *,
        lr: float,
        mask_ratio: float,
        momentum: float,
        alpha: float,
        beta: float,
        label_smoothing: float = 0.0,
        straight_through: bool = False,
        mask_per_sample: bool = False,
        learns_codes: bool = False,
    ) -> None:
        self.module, self.learns_codes = model, learns_codes
        self.lr, self.mask_ratio, self.momentum = lr, mask_ratio, momentum
        self.alpha, self.beta, self.label_smoothing = alpha, beta, label_smoothing
        self.straight_through, self.mask_per_sample = straight_through, mask_per_sample

    def step(self, batch: TensorBatch) -> StepOutput:
        """Return the loss of signals `(batch, n_channels, length)`.

        With `learns_codes` the targets are the codes of all tokens, `(batch, n_tokens)`; else they are not looked at.
        """
        inputs, model = batch.inputs, self.module
        mask = random_mask(
            n_tokens=model.backbone.n_tokens,
            mask_ratio=self.mask_ratio,
            batch_size=len(inputs),
            per_sample=self.mask_per_sample,
        ).to(inputs.device)
        prediction = model(inputs, mask, batch.targets if self.learns_codes else None)
        scores = prediction.scores.flatten(0, 1)
        codewords = prediction.codewords.flatten(0, 1)
        if not self.straight_through:
            codewords = codewords.detach()
        mse = F.mse_loss(prediction.representation, prediction.target)
        ce = F.cross_entropy(scores, codewords, label_smoothing=self.label_smoothing)
        loss = self.alpha * mse + self.beta * ce
        with torch.no_grad():
            wanted = codewords.argmax(dim=1)
            n = torch.tensor(float(len(inputs)))
            sums = {
                "windows": n,
                "tokens": torch.tensor(float(len(wanted))),
                "loss": loss.detach() * n,
                "mse": mse.detach() * n,
                "ce": ce.detach() * n,
                "hits": (scores.argmax(dim=1) == wanted).sum(),
                "ndcg10": ndcg(scores, wanted, k=10) * len(wanted),
                "codeword_counts": codewords.sum(dim=0),
            }
        return StepOutput(loss, sums)

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return everything but the target encoder, at one rate."""
        return groups_of("pretext", self.module, self.lr)

    def after_step(self) -> None:
        """Let the target encoder follow."""
        self.module.update_target(self.momentum)

    def metrics(self, sums: Sums) -> dict[str, float]:
        """Return loss, mse, ce, hits, hit_rate (with what guessing and the commonest codeword reach), ndcg10 and
        perplexity."""
        windows, tokens, counts = float(sums["windows"]), float(sums["tokens"]), sums["codeword_counts"]
        return {
            "loss": float(sums["loss"]) / windows,
            "mse": float(sums["mse"]) / windows,
            "ce": float(sums["ce"]) / windows,
            "hits": float(sums["hits"]),
            "hit_rate": float(sums["hits"]) / tokens,
            **chance("hit_rate", counts, k=1),
            "ndcg10": float(sums["ndcg10"]) / tokens,
            "perplexity": float(perplexity(counts)),
        }


def check_maskable(backbone: TimeMAEBackbone) -> None:
    """Raise RecipeError when a backbone's windows are of a single token."""
    if backbone.n_tokens < 2:
        raise RecipeError(f"model.wave_length {backbone.wave_length} leaves {backbone.n_tokens} token: nothing to mask")
