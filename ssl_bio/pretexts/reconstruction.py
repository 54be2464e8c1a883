"""Reconstruction: what a network that denoises learns while there is no noise, to give back what it is shown."""

import torch

from ssl_bio.config.pretexts import ReconstructionConfig
from ssl_bio.models.base import Backbone, SignalNetwork
from ssl_bio.models.denoiser import SignalDenoiser
from ssl_bio.pretexts.base import Pretext
from ssl_bio.runs.inputs import InputSpec
from ssl_bio.tasks.base import expect
from ssl_bio.tasks.denoising.task import DenoisingObjective
from ssl_bio.training.objective import StepOutput, TensorBatch


class ReconstructionPretext(Pretext[ReconstructionConfig]):
    """Give clean signals back."""

    Config = ReconstructionConfig

    def build(self, backbone: Backbone | SignalNetwork, spec: InputSpec) -> "ReconstructionObjective":
        """Return a denoiser around a network of signals."""
        model = SignalDenoiser(backbone=expect(SignalNetwork, backbone))
        lr = self.config.lr
        return ReconstructionObjective(model, lr=lr, backbone_lr=lr, loss=self.config.reconstruction)


class ReconstructionObjective(DenoisingObjective):
    """Denoising of signals without noise."""

    def step(self, batch: TensorBatch) -> StepOutput:
        """Return the loss of signals `(batch, n_channels, length)`; targets are not looked at."""
        return super().step(TensorBatch(batch.inputs, torch.zeros_like(batch.inputs)))
