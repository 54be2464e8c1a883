"""The VQ-VAE's pretext task: reconstruction through a codebook."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ssl_bio.config.pretexts import VQVAEPretextConfig
from ssl_bio.console import warn
from ssl_bio.data.dataset import PreparedDataset
from ssl_bio.data.loader import Batch, Loader
from ssl_bio.errors import RecipeError
from ssl_bio.metrics.codes import codes_used, perplexity
from ssl_bio.models.base import AutoencodingBackbone, Backbone, SignalNetwork
from ssl_bio.models.vqvae import VQVAE, VQVAEBackbone
from ssl_bio.pretexts.base import Pretext
from ssl_bio.results.plots import ACCENT, GREY, WIDE, axes_grid, single_axes
from ssl_bio.runs.inputs import InputSpec
from ssl_bio.tasks.base import expect
from ssl_bio.training.evaluation import map_batches
from ssl_bio.training.fit import History
from ssl_bio.training.objective import BaseObjective, Objective, StepOutput, Sums, TensorBatch
from ssl_bio.training.optim import ParameterGroup, groups_of
from ssl_bio.training.runtime import evaluation_mode

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LEVELS = ("coarse_", "")  # prefixes of a VQ-VAE's quantizers, the last one always there
_N_DRAWN = 4
_CHANNELS_DRAWN = 2


class VQVAEPretext(Pretext[VQVAEPretextConfig]):
    """Encode signals into codes and decode them again."""

    Config = VQVAEPretextConfig
    always_validates: ClassVar[bool] = True
    leading_metrics: ClassVar = ("mse", "perplexity", "codes_used")

    def build(self, backbone: Backbone | SignalNetwork, spec: InputSpec) -> "VQVAEObjective":
        """Return the autoencoder around a backbone. Raises RecipeError for a quantizer that cannot be."""
        config, encoder = self.config, expect(AutoencodingBackbone, backbone)
        if config.coarse > 1 and not isinstance(encoder, VQVAEBackbone):
            raise RecipeError(f"pretrain.coarse {config.coarse}: a hierarchical decoder needs model.kind 'vqvae'")
        if encoder.input_norm.out_channels != encoder.n_channels:
            raise RecipeError("data.normalize 'channel+window' shows every channel twice: choose one of the two")
        try:
            model = VQVAE(backbone=encoder, quantizer=config.quantizer.model_dump(), coarse=config.coarse)
        except ValueError as error:
            raise RecipeError(f"pretrain.quantizer: {error}") from error
        return VQVAEObjective(
            model,
            lr=config.lr,
            reconstruction=config.reconstruction,
            input_noise=config.input_noise,
            input_mask=config.input_mask,
            channels=spec.channels,
            channel_weights=config.channel_weights,
        )

    def check_data(self, dataset: PreparedDataset) -> list[str]:
        """Return why weights of channels do not belong to the dataset's."""
        weights, channels = self.config.channel_weights, dataset.info.channels
        stored = dataset.stored_channels or channels  # those that are not chosen may keep their weights
        unknown = [name for name in weights if name not in stored]
        if unknown:
            return [f"pretrain.channel_weights: no channel {', '.join(unknown)} among {', '.join(stored)}"]
        if weights and not any(weights.get(name, 1.0) for name in channels):
            return ["pretrain.channel_weights: every channel's weight is 0"]
        return []

    def notes(self, backbone: Backbone | SignalNetwork, dataset: PreparedDataset) -> list[str]:
        """Say when k-means starts from fewer tokens than there are codes."""
        quantizer, encoder = self.config.quantizer, expect(AutoencodingBackbone, backbone)
        if quantizer.kind != "vq" or not quantizer.kmeans_init:
            return []
        n_tokens = self.config.batch_size * -(-encoder.n_tokens // self.config.coarse)
        if n_tokens >= quantizer.codebook_size:
            return []
        return [
            f"the first batch holds {n_tokens} tokens for {quantizer.codebook_size} codes: k-means starts some codes "
            "as copies, and those that stay unused move to tokens of later batches "
            "(pretrain.quantizer.dead_code_threshold)"
        ]

    def after_validation(self, metrics: Mapping[str, float], history: History) -> dict[str, float]:
        """Return how many epochs in a row validation has used too few codes; warn when they are too many."""
        config, used = self.config, metrics["val_codes_used"]
        before = history[-1].get("low_use_epochs", 0.0) if history else 0.0
        low = before + 1 if used < config.collapse_share else 0.0
        if low == config.collapse_epochs:
            warn(
                f"epoch {len(history) + 1}: validation uses {used:.0%} of the codes, under {config.collapse_share:.0%} "
                f"for {low:g} epochs: the codebook collapses. A lower pretrain.quantizer.code_dim, cosine, "
                "dead_code_threshold or a lower pretrain.lr helps"
            )
        return {"low_use_epochs": low}

    def figures(self, objective: Objective, dataset: PreparedDataset, device: torch.device) -> "dict[str, Figure]":
        """Return reconstructions beside originals, and the use of the codes."""
        model = expect(VQVAE, objective.module).to(device)
        has_validation = self.config.fit_on == "train" and len(self.signals(dataset, "val"))
        split = "val" if has_validation else "train"
        signals = self.signals(dataset, split)
        loader = Loader(source=signals, batch_size=self.recipe.evaluate.batch_size)
        counts = _code_counts(model, loader, device)
        with evaluation_mode(model):
            positions = np.linspace(0, len(signals) - 1, _N_DRAWN).round().astype(np.int64)
            shown = model(torch.from_numpy(signals.read(positions)).to(device))
            originals, outputs = shown.target.cpu().numpy(), shown.signals.cpu().numpy()
        return {
            "reconstruction": _reconstructions(
                originals,
                outputs,
                channels=dataset.info.channels,
                sampling_rate=dataset.info.sampling_rate,
                split=split,
            ),
            "codes": _code_use(counts, split),
        }


class VQVAEObjective(BaseObjective):
    """Reconstruction through a codebook: loss = reconstruction error + weighted commitment (van den Oord et al. 2017,
    equation 3, the codebook's own term replaced by moving averages).

    `input_noise` and `input_mask` disturb the input in training alone; the target is always the clean signal. The error
    is the mean over `channels`, weighted by `channel_weights` (1 for those not named); metrics are not weighted.
    """

    def __init__(
        self,
        model: VQVAE,
        *,
        lr: float,
        reconstruction: str,
        input_noise: float,
        input_mask: float,
        channels: Sequence[str] = (),
        channel_weights: Mapping[str, float] | None = None,
    ) -> None:
        self.module = model
        self.lr, self.reconstruction = lr, reconstruction
        self.input_noise, self.input_mask = input_noise, input_mask
        self.channels = channels
        weights = channel_weights or {}
        shares = torch.tensor([weights.get(name, 1.0) for name in channels])
        self.channel_shares = shares / shares.sum() if weights else None

    def step(self, batch: TensorBatch) -> StepOutput:
        """Return the loss of signals `(batch, n_channels, length)`; targets are not looked at."""
        inputs, training = batch.inputs, self.module.training
        noise, mask_ratio = (self.input_noise, self.input_mask) if training else (0.0, 0.0)
        found = self.module(inputs, noise=noise, mask_ratio=mask_ratio)
        mse = F.mse_loss(found.signals, found.target)
        error = self._error(found.signals, found.target)
        loss = error + found.commitment
        n = torch.tensor(float(len(inputs)))
        sums = {"windows": n, "loss": loss.detach() * n, "mse": mse.detach() * n}
        if training:
            sums["commitment"] = found.commitment.detach() * n
        with torch.no_grad():
            difference = found.signals - found.target
            if self.reconstruction == "l1":
                sums["l1"] = difference.abs().mean() * n
            if len(self.channels) > 1:
                sums["channel_mse"] = difference.square().mean(dim=(0, 2)) * n
                sums["channel_l1"] = difference.abs().mean(dim=(0, 2)) * n
            counts = [
                quantizer.counts(codes) for quantizer, codes in zip(self.module.quantizers, found.codes, strict=True)
            ]
            sums["batch_perplexity"] = torch.cat([perplexity(count) for count in counts]).mean() * n
            sums["batch_codes_used"] = torch.cat([codes_used(count) for count in counts]).mean() * n
            for name, count in zip(_LEVELS[-len(counts) :], counts, strict=True):
                sums[f"{name}counts"] = count
        return StepOutput(loss, sums)

    def _error(self, signals: Tensor, target: Tensor) -> Tensor:
        measure = F.mse_loss if self.reconstruction == "mse" else F.l1_loss
        if self.channel_shares is None:
            return measure(signals, target)
        by_channel = measure(signals, target, reduction="none").mean(dim=(0, 2))
        return (by_channel * self.channel_shares.to(by_channel.device)).sum()

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return everything at one rate but the state spaces; codes move by their averages."""
        return groups_of("pretext", self.module, self.lr)

    def metrics(self, sums: Sums) -> dict[str, float]:
        """Return loss, mse (of several channels also that of each), commitment, perplexity and share of codes used:
        mean over batches, and over all codes at once (mean over codebooks; those of coarse codes apart)."""
        windows = float(sums["windows"])
        means = ("loss", "mse", "l1", "commitment", "batch_perplexity", "batch_codes_used")
        found = {name: float(sums[name]) / windows for name in means if name in sums}
        for measure in ("mse", "l1"):
            if measure in found and f"channel_{measure}" in sums:
                errors = (sums[f"channel_{measure}"] / windows).tolist()
                found |= {f"{measure}_{name}": value for name, value in zip(self.channels, errors, strict=True)}
        for level in _LEVELS:
            if f"{level}counts" in sums:
                counts = sums[f"{level}counts"]
                found[f"{level}perplexity"] = float(perplexity(counts).mean())
                found[f"{level}codes_used"] = float(codes_used(counts).mean())
        return found


def _code_counts(model: VQVAE, loader: Loader, device: torch.device) -> NDArray[np.float32]:
    """Return how often each code is used, `(n_codebooks, codebook_size)`."""

    def count(index: int, batch: Batch) -> NDArray[np.float32]:
        found = model(torch.from_numpy(batch.inputs).to(device))
        return np.asarray(model.quantizer.counts(found.codes[-1]).cpu().numpy())

    return np.asarray(np.sum(map_batches(model, loader, count, device=device, title="figures"), axis=0))


def _reconstructions(
    originals: NDArray[np.float32],
    outputs: NDArray[np.float32],
    *,
    channels: Sequence[str],
    sampling_rate: float,
    split: str,
) -> "Figure":
    """Draw windows one above the other, their first channels side by side."""
    shown = channels[:_CHANNELS_DRAWN]
    figure, all_axes = axes_grid(len(originals), len(shown), height=1.7)
    time = np.arange(originals.shape[-1]) / sampling_rate
    for row, original, output in zip(all_axes, originals, outputs, strict=True):
        for index, axes in enumerate(row):
            error = float(np.square(original[index] - output[index]).mean())
            axes.plot(time, original[index], color=GREY, linestyle="-", linewidth=1.4, label="original")
            axes.plot(time, output[index], color=ACCENT, linestyle="-", linewidth=0.9, label="reconstruction")
            axes.set_title(f"MSE {error:.4f}", fontsize=8, loc="right")
            axes.margins(x=0)
    for name, axes in zip(shown, all_axes[0], strict=True):
        axes.set_title(name, fontsize=9, loc="center")
    all_axes[0][0].legend(loc="upper left", fontsize=8, ncols=2)
    for axes in all_axes[-1]:
        axes.set_xlabel(f"time in s ({split} windows)")
    figure.supylabel("signal as the network sees it")
    return figure


def _code_use(counts: NDArray[np.float32], split: str) -> "Figure":
    figure, axes = single_axes(width=WIDE)
    for index, row in enumerate(counts):
        share = np.sort(row / max(row.sum(), 1))[::-1]
        evenness = float(perplexity(torch.from_numpy(row)))
        label = f"codebook {index}: {np.mean(row > 0):.1%} used, perplexity {evenness:.0f} of {len(row)}"
        axes.step(np.arange(1, len(row) + 1), share, where="mid", label=label)
    axes.axhline(1 / counts.shape[1], color=GREY, linestyle=":", label="all alike")
    axes.set(xlabel=f"codes, the most used first ({split})", ylabel="share of tokens")
    axes.set_yscale("log")
    axes.legend(fontsize=8)
    axes.margins(x=0)
    return figure
