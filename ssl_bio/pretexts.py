"""Pretext tasks: what pretraining asks of a network, without labels."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_bio.metrics import codes_used, ndcg, perplexity
from ssl_bio.models.contrast import MaskedContrast, Views
from ssl_bio.models.denoiser import Denoiser
from ssl_bio.models.timemae import Prediction, TimeMAE, hide
from ssl_bio.models.vqvae import VQVAE, Reconstruction
from ssl_bio.optim import Group, groups_of
from ssl_bio.tasks import DenoiseTask, Steady, StepResult, Sums


class TimeMAETask(Steady):
    """Masked representation regression and masked codeword classification (TimeMAE, equations 5-8).

    loss = alpha * MSE(prediction, target) + beta * CE(scores, codewords), with label smoothing in CE.
    """

    def __init__(
        self,
        model: TimeMAE,
        lr: float,
        mask_ratio: float,
        momentum: float,
        alpha: float,
        beta: float,
        label_smoothing: float = 0.0,
        straight_through: bool = False,
        mask_per_sample: bool = False,
    ) -> None:
        self.model = model
        self.lr, self.mask_ratio, self.momentum = lr, mask_ratio, momentum
        self.alpha, self.beta, self.label_smoothing = alpha, beta, label_smoothing
        self.straight_through, self.mask_per_sample = straight_through, mask_per_sample

    def step(self, inputs: Tensor, targets: Tensor | None = None) -> StepResult:
        """Signals `(batch, n_channels, length)`; targets are not looked at."""
        n_tokens = self.model.backbone.n_tokens
        hidden = hide(n_tokens, self.mask_ratio, len(inputs), self.mask_per_sample).to(inputs.device)
        prediction: Prediction = self.model(inputs, hidden)
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
        return StepResult(loss, sums)

    def parameter_groups(self) -> list[Group]:
        """Everything but the target encoder, at one rate."""
        return groups_of("pretext", self.model, self.lr)

    def after_step(self) -> None:
        """Let the target encoder follow."""
        self.model.update_target(self.momentum)

    def figures(self, sums: Sums) -> dict[str, float]:
        """loss, mse, ce, hits, hit_rate, ndcg10, perplexity."""
        windows, tokens = float(sums["windows"]), float(sums["tokens"])
        return {
            **{name: float(sums[name]) / windows for name in ("loss", "mse", "ce")},
            "hits": float(sums["hits"]),
            "hit_rate": float(sums["hits"]) / tokens,
            "ndcg10": float(sums["ndcg10"]) / tokens,
            "perplexity": float(perplexity(sums["codeword_counts"])),
        }


class ContrastTask(Steady):
    """Masked window contrast: InfoNCE between a masked window and another view of it."""

    def __init__(
        self, model: MaskedContrast, lr: float, mask_ratio: float, momentum: float, temperature: float
    ) -> None:
        self.model = model
        self.lr, self.mask_ratio, self.momentum, self.temperature = lr, mask_ratio, momentum, temperature

    def step(self, inputs: Tensor, targets: Tensor | None) -> StepResult:
        """Signals `(batch, n_channels, length)`; `targets`: another view of each, of the same shape."""
        assert targets is not None
        hidden = hide(self.model.backbone.n_tokens, self.mask_ratio, len(inputs), per_sample=True)
        views: Views = self.model(inputs, hidden.to(inputs.device), targets)
        scores = views.masked @ views.partner.T / self.temperature
        own = torch.arange(len(scores), device=scores.device)
        loss = F.cross_entropy(scores, own)
        n = torch.tensor(float(len(inputs)))
        hits = (scores.detach().argmax(dim=1) == own).sum()
        return StepResult(loss, {"windows": n, "loss": loss.detach() * n, "hits": hits})

    def parameter_groups(self) -> list[Group]:
        """Everything but the momentum copies, at one rate."""
        return groups_of("pretext", self.model, self.lr)

    def after_step(self) -> None:
        """Let the momentum copies follow."""
        self.model.update_target(self.momentum)

    def figures(self, sums: Sums) -> dict[str, float]:
        """loss and hit_rate, the share of windows whose own partner agrees most."""
        windows = float(sums["windows"])
        return {"loss": float(sums["loss"]) / windows, "hit_rate": float(sums["hits"]) / windows}


class VQVAETask(Steady):
    """Reconstruction through a codebook: loss = reconstruction error + weighted commitment (van den Oord et
    al. 2017, equation 3, the codebook's own term replaced by moving averages).

    `noise` and `mask_ratio` disturb the input in training alone; the target is always the clean signal.
    """

    def __init__(self, model: VQVAE, lr: float, reconstruction: str, noise: float, mask_ratio: float) -> None:
        self.model = model
        self.lr, self.reconstruction = lr, reconstruction
        self.noise, self.mask_ratio = noise, mask_ratio

    def step(self, inputs: Tensor, targets: Tensor | None = None) -> StepResult:
        """Signals `(batch, n_channels, length)`; targets are not looked at."""
        training = self.model.training
        noise, mask_ratio = (self.noise, self.mask_ratio) if training else (0.0, 0.0)
        found: Reconstruction = self.model(inputs, noise, mask_ratio)
        mse = F.mse_loss(found.signals, found.target)
        error = mse if self.reconstruction == "mse" else F.l1_loss(found.signals, found.target)
        loss = error + found.commitment
        n = torch.tensor(float(len(inputs)))
        sums = {"windows": n, "loss": loss.detach() * n, "mse": mse.detach() * n}
        if self.reconstruction == "l1":
            sums["l1"] = error.detach() * n
        if training:
            sums["commitment"] = found.commitment.detach() * n
        with torch.no_grad():
            counts = [
                quantizer.counts(codes) for quantizer, codes in zip(self.model.quantizers, found.codes, strict=True)
            ]
            sums["batch_perplexity"] = torch.cat([perplexity(count) for count in counts]).mean() * n
            sums["batch_codes_used"] = torch.cat([codes_used(count) for count in counts]).mean() * n
            for name, count in zip(_LEVELS[-len(counts) :], counts, strict=True):
                sums[f"{name}counts"] = count
        return StepResult(loss, sums)

    def parameter_groups(self) -> list[Group]:
        """Everything at one rate but the state spaces; codes move by their averages."""
        return groups_of("pretext", self.model, self.lr)

    def figures(self, sums: Sums) -> dict[str, float]:
        """loss, mse, commitment, perplexity and share of codes used: mean over batches, and over all codes at
        once (mean over codebooks; those of coarse codes apart)."""
        windows = float(sums["windows"])
        means = ("loss", "mse", "l1", "commitment", "batch_perplexity", "batch_codes_used")
        figures = {name: float(sums[name]) / windows for name in means if name in sums}
        for level in _LEVELS:
            if f"{level}counts" in sums:
                counts = sums[f"{level}counts"]
                figures[f"{level}perplexity"] = float(perplexity(counts).mean())
                figures[f"{level}codes_used"] = float(codes_used(counts).mean())
        return figures


_LEVELS = ("coarse_", "")  # names of a VQ-VAE's quantizers, the last one always there


class ReconstructTask(DenoiseTask):
    """What a network that denoises learns while there is no noise: to give back what it is shown."""

    def __init__(self, model: Denoiser, lr: float, loss: str) -> None:
        super().__init__(model, lr, lr, loss)

    def step(self, inputs: Tensor, targets: Tensor | None = None) -> StepResult:
        """Signals `(batch, n_channels, length)`; targets are not looked at."""
        return super().step(inputs, torch.zeros_like(inputs))
