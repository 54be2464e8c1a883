"""TimeMAE's pretext task: masked codeword classification and masked representation regression."""

from pathlib import Path

import torch
from torch.nn import functional as F

from ssl_bio.config.pretexts import TimeMAEPretextConfig
from ssl_bio.config.resolve import recipe_of
from ssl_bio.data.store import PreparedDataset
from ssl_bio.errors import CheckpointError, RecipeError, SslBioError
from ssl_bio.metrics.codes import ndcg, perplexity
from ssl_bio.models.base import Backbone, SignalNetwork
from ssl_bio.models.masking import random_mask
from ssl_bio.models.timemae import TimeMAE, TimeMAEBackbone
from ssl_bio.models.vqvae import FrozenCodes
from ssl_bio.pretexts.base import Pretext, other_splits_note
from ssl_bio.pretexts.vqvae import VQVAEPretext
from ssl_bio.runs.checkpoint import load_checkpoint, load_metadata
from ssl_bio.runs.inputs import InputSpec, stored_input_spec
from ssl_bio.runs.transfer import check_channels, check_sampling_rate, load_into
from ssl_bio.tasks.base import expect
from ssl_bio.tasks.load import recipe_backbone
from ssl_bio.training.objective import BaseObjective, StepOutput, Sums, TensorBatch
from ssl_bio.training.optim import ParameterGroup, groups_of


class TimeMAEPretext(Pretext[TimeMAEPretextConfig]):
    """Hide most tokens and predict, for each, its codeword and the target encoder's output."""

    Config = TimeMAEPretextConfig

    def build(self, backbone: Backbone | SignalNetwork, spec: InputSpec) -> "TimeMAEObjective":
        """Return TimeMAE around a backbone.

        Raises RecipeError when there is nothing to mask or codewords do not fit, and CheckpointError when their run is
        broken.
        """
        config, encoder = self.config, expect(TimeMAEBackbone, backbone)
        check_maskable(encoder)
        model = TimeMAE(
            backbone=encoder,
            decoder_layers=config.decoder_layers,
            vocab_size=config.vocab_size,
            codes=self._codes(encoder),
        )
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
        )

    def _codes(self, backbone: TimeMAEBackbone) -> FrozenCodes | None:
        """Return the frozen VQ-VAE whose codes are the codewords, if the recipe names one."""
        if not self.config.codewords:
            return None
        codes = frozen_codes(Path(self.config.codewords))
        theirs = codes.vqvae.backbone
        if (theirs.n_channels, theirs.wave_length) != (backbone.n_channels, backbone.wave_length):
            raise RecipeError(
                f"pretrain.codewords {self.config.codewords}: its codes stand for {theirs.wave_length} samples of "
                f"{theirs.n_channels} channels, this model's tokens for {backbone.wave_length} of {backbone.n_channels}"
            )
        return codes

    def check_data(self, dataset: PreparedDataset) -> list[str]:
        """Return why the run that gives codewords did not see such windows."""
        if not self.config.codewords:
            return []
        try:
            metadata = load_metadata(Path(self.config.codewords))
            check_channels(metadata, dataset.info)
            check_sampling_rate(metadata, dataset.info)
        except SslBioError as error:
            return [str(error)]
        return []

    def notes(self, backbone: Backbone | SignalNetwork, spec: InputSpec) -> list[str]:
        """Say when the codewords' run has seen other people."""
        if not self.config.codewords:
            return []
        metadata = load_metadata(Path(self.config.codewords))
        return other_splits_note("the run in pretrain.codewords", metadata, self.recipe)


class TimeMAEObjective(BaseObjective):
    """Masked representation regression and masked codeword classification (TimeMAE, equations 5-8).

    loss = alpha * MSE(prediction, target) + beta * CE(scores, codewords), with label smoothing in CE.
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
    ) -> None:
        self.module = model
        self.lr, self.mask_ratio, self.momentum = lr, mask_ratio, momentum
        self.alpha, self.beta, self.label_smoothing = alpha, beta, label_smoothing
        self.straight_through, self.mask_per_sample = straight_through, mask_per_sample

    def step(self, batch: TensorBatch) -> StepOutput:
        """Return the loss of signals `(batch, n_channels, length)`; targets are not looked at."""
        inputs, model = batch.inputs, self.module
        mask = random_mask(
            n_tokens=model.backbone.n_tokens,
            mask_ratio=self.mask_ratio,
            batch_size=len(inputs),
            per_sample=self.mask_per_sample,
        ).to(inputs.device)
        prediction = model(inputs, mask)
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
        """Return loss, mse, ce, hits, hit_rate, ndcg10, perplexity."""
        windows, tokens = float(sums["windows"]), float(sums["tokens"])
        return {
            "loss": float(sums["loss"]) / windows,
            "mse": float(sums["mse"]) / windows,
            "ce": float(sums["ce"]) / windows,
            "hits": float(sums["hits"]),
            "hit_rate": float(sums["hits"]) / tokens,
            "ndcg10": float(sums["ndcg10"]) / tokens,
            "perplexity": float(perplexity(sums["codeword_counts"])),
        }


def check_maskable(backbone: TimeMAEBackbone) -> None:
    """Raise RecipeError when a backbone's windows are of a single token."""
    if backbone.n_tokens < 2:
        raise RecipeError(f"model.wave_length {backbone.wave_length} leaves {backbone.n_tokens} token: nothing to mask")


def frozen_codes(run: Path) -> FrozenCodes:
    """Return the codes of a pretrained VQ-VAE, which never trains.

    Raises CheckpointError when the run is missing, broken or of another kind.
    """
    checkpoint = load_checkpoint(run)
    recipe = recipe_of(checkpoint.metadata.recipe, str(checkpoint.path))
    if checkpoint.metadata.kind != "pretrain" or not isinstance(recipe.pretrain, VQVAEPretext.Config):
        raise CheckpointError(f"{checkpoint.path}: not a VQ-VAE's pretraining run")
    spec = stored_input_spec(checkpoint.metadata)
    backbone = recipe_backbone(recipe, spec, weights_follow=True)
    objective = VQVAEPretext(recipe).build(backbone, spec)
    load_into(objective.module, checkpoint)
    return FrozenCodes(objective.module.eval())
