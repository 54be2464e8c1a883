"""Masked window contrast: what is left of a window should tell which other window shows the same moment."""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_bio.config.pretexts import ContrastConfig
from ssl_bio.models.base import Backbone, SignalNetwork
from ssl_bio.models.contrast import MaskedContrast
from ssl_bio.models.masking import random_mask
from ssl_bio.models.timemae import TimeMAEBackbone
from ssl_bio.pretexts.base import Pretext
from ssl_bio.pretexts.timemae import check_maskable
from ssl_bio.runs.inputs import InputSpec
from ssl_bio.tasks.base import expect
from ssl_bio.training.objective import BaseObjective, StepOutput, Sums, TensorBatch
from ssl_bio.training.optim import ParameterGroup, groups_of


class ContrastPretext(Pretext[ContrastConfig]):
    """Momentum contrast (He et al. 2020) with a masked student (Assran et al. 2022)."""

    Config = ContrastConfig
    shows_pairs: ClassVar[bool] = True
    leading_metrics: ClassVar = ("hit_rate",)

    @property
    def neighbours(self) -> int:
        """Return how many rows away the other view of a window may be."""
        return self.config.neighbours

    def build(self, backbone: Backbone | SignalNetwork, spec: InputSpec) -> "ContrastObjective":
        """Return the contrast around a backbone. Raises RecipeError when there is nothing to mask."""
        config, encoder = self.config, expect(TimeMAEBackbone, backbone)
        check_maskable(encoder)
        return ContrastObjective(
            MaskedContrast(encoder),
            lr=config.lr,
            mask_ratio=config.mask_ratio,
            momentum=config.momentum,
            temperature=config.temperature,
        )


class ContrastObjective(BaseObjective):
    """Cross entropy of which window of the batch is the partner (InfoNCE, van den Oord et al. 2018)."""

    def __init__(
        self, model: MaskedContrast, *, lr: float, mask_ratio: float, momentum: float, temperature: float
    ) -> None:
        self.module = model
        self.lr, self.mask_ratio, self.momentum, self.temperature = lr, mask_ratio, momentum, temperature

    def step(self, batch: TensorBatch) -> StepOutput:
        """Return the loss of signals and their partners, `(batch, n_channels, length)` each."""
        inputs = batch.inputs
        mask = random_mask(
            n_tokens=self.module.backbone.n_tokens, mask_ratio=self.mask_ratio, batch_size=len(inputs), per_sample=True
        ).to(inputs.device)
        views = self.module(inputs, masked=mask, partner=expect(Tensor, batch.targets))
        scores = views.masked @ views.partner.T / self.temperature
        own = torch.arange(len(scores), device=scores.device)
        loss = F.cross_entropy(scores, own)
        n = torch.tensor(float(len(inputs)))
        hits = (scores.detach().argmax(dim=1) == own).sum()
        return StepOutput(loss, {"windows": n, "batches": torch.tensor(1.0), "loss": loss.detach() * n, "hits": hits})

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return everything but the momentum copies, at one rate."""
        return groups_of("pretext", self.module, self.lr)

    def after_step(self) -> None:
        """Let the momentum copies follow."""
        self.module.update_target(self.momentum)

    def metrics(self, sums: Sums) -> dict[str, float]:
        """Return loss and hit_rate, the share of windows whose own partner agrees most, with what guessing reaches."""
        windows = float(sums["windows"])
        return {
            "loss": float(sums["loss"]) / windows,
            "hit_rate": float(sums["hits"]) / windows,
            "hit_rate_chance": float(sums["batches"]) / windows,  # one hit is expected in every batch
        }
