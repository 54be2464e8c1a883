"""What one step does: the pretext task and the downstream tasks behind one contract.

`step` returns the loss and sums; the loop adds the sums up over an epoch and `figures` turns them into
what the history shows. A task never sees a recipe, a file or the loop.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_bio.metrics import codes_used, ndcg, perplexity
from ssl_bio.models.contrast import MaskedContrast, Views
from ssl_bio.models.forecaster import Forecaster
from ssl_bio.models.heads import Predictor, stages
from ssl_bio.models.timemae import Prediction, TimeMAE, hide
from ssl_bio.models.vqvae import VQVAE, Reconstruction
from ssl_bio.optim import Group, groups_of
from ssl_bio.outcome import OfWindow, Series

Sums = Mapping[str, Tensor]


class StepResult(NamedTuple):
    """The loss to minimise, and sums over the batch that add up over steps."""

    loss: Tensor
    sums: dict[str, Tensor]


class Task(Protocol):
    """The contract between a task and the loop."""

    @property
    def model(self) -> nn.Module:
        """The network with all that trains and all that is saved."""
        ...

    def step(self, inputs: Tensor, targets: Tensor | None) -> StepResult:
        """Loss of a batch. Randomness comes from torch's global generator, which the loop seeds."""
        ...

    def parameter_groups(self) -> list[Group]:
        """Who trains, at which rate."""
        ...

    def after_step(self) -> None:
        """What follows an optimiser step."""
        ...

    def figures(self, sums: Sums) -> dict[str, float]:
        """Figures of an epoch from its sums."""
        ...


class TimeMAETask:
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


class ContrastTask:
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


class VQVAETask:
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

    def after_step(self) -> None:
        """Nothing follows: the codebook moves within the forward pass."""

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


class DownstreamTask:
    """A predictor that learns an outcome, optionally with mixup (Zhang et al. 2018).

    `frozen_features=True` takes pooled features in place of signals and trains the head alone. Below 1,
    `layer_decay` multiplies the backbone's rate once more for every stage further from the head (Clark et al.
    2020); with `unfreeze_epochs` k, the deepest stage joins after k epochs, the next after 2 k, and so on (Howard and
    Ruder 2018). With `dense` every token learns the value around it.
    """

    def __init__(
        self,
        model: Predictor,
        outcome: OfWindow,
        lr: float,
        backbone_lr: float,
        label_smoothing: float = 0.0,
        mixup: float = 0.0,
        frozen_features: bool = False,
        layer_decay: float = 1.0,
        unfreeze_epochs: int = 0,
        dense: bool = False,
    ) -> None:
        self.model, self.outcome, self.dense = model, outcome, dense
        self.lr, self.backbone_lr = lr, backbone_lr
        self.label_smoothing, self.mixup = label_smoothing, mixup
        self.frozen_features = frozen_features
        self.layer_decay, self.unfreeze_epochs = layer_decay, unfreeze_epochs

    def step(self, inputs: Tensor, targets: Tensor | None) -> StepResult:
        """Signals or features `(batch, ...)` and targets: codes `(batch,)`, labels or values `(batch, n)`; densely
        a value at every sample, `(batch, length)`, NaN where there is none."""
        assert targets is not None
        if self.dense and self.model.training:
            return self._dense_step(inputs, targets)
        wanted = self.outcome.wanted(targets)
        if self.mixup and self.model.training:
            share = torch.distributions.Beta(self.mixup, self.mixup).sample().to(inputs.device)
            partner = torch.randperm(len(inputs), device=inputs.device)
            inputs = share * inputs + (1 - share) * inputs[partner]
            wanted = share * wanted + (1 - share) * wanted[partner]
        outputs = self.model.answer(inputs) if self.frozen_features else self.model(inputs)
        loss = self.outcome.loss(outputs, wanted, self.label_smoothing if self.model.training else 0.0)
        n = torch.tensor(float(len(inputs)))
        return StepResult(loss, {"windows": n, "loss": loss.detach() * n})

    def _dense_step(self, inputs: Tensor, targets: Tensor) -> StepResult:
        outputs = self.model.everywhere(inputs)
        wanted = targets[:, :: -(-targets.shape[1] // outputs.shape[1])]
        known = wanted.isfinite()
        # A batch of which nothing is known teaches nothing.
        loss = outputs.sum() * 0
        if known.any():
            loss = self.outcome.loss(outputs[known], wanted[known][:, None], self.label_smoothing)
        n = torch.tensor(float(len(inputs)))
        return StepResult(loss, {"windows": n, "loss": loss.detach() * n})

    def parameter_groups(self) -> list[Group]:
        """The head, with what pools, at `lr`; the backbone at `backbone_lr` unless features are frozen."""
        head = groups_of("head", nn.ModuleList([self.model.pooling, self.model.head]), self.lr)
        if self.frozen_features:
            return head
        if self.layer_decay == 1 and not self.unfreeze_epochs:
            return [*head, *groups_of("backbone", self.model.backbone, self.backbone_lr)]
        return [*head, *self._staged_groups()]

    def _staged_groups(self) -> list[Group]:
        groups = []
        for distance, stage in enumerate(reversed(stages(self.model.backbone))):
            lr = self.backbone_lr * self.layer_decay**distance
            begins = self.unfreeze_epochs * (distance + 1)
            groups += [group._replace(begins=begins) for group in groups_of(f"backbone_{distance}", stage, lr)]
        return [group for group in groups if group.parameters]

    def after_step(self) -> None:
        """Nothing follows."""

    def figures(self, sums: Sums) -> dict[str, float]:
        """loss."""
        return {"loss": float(sums["loss"]) / float(sums["windows"])}


class ForecastTask:
    """The next samples of a series from the ones before: after every sample (`dense`), or at the end of a crop alone.

    Where a series is standardised by its own first `time_steps` samples, forecasts among those would know the future:
    only later ones are learnt. `noise` disturbs the history in training, in deviations of the series, and `feed_back`
    replaces a share of what follows the first `time_steps` samples by the network's own forecasts (parallel scheduled
    sampling, Duckworth et al. 2019), so that a forecast that feeds on itself meets nothing new in its own errors.
    """

    def __init__(
        self,
        model: Forecaster,
        outcome: Series,
        lr: float,
        backbone_lr: float,
        dense: bool,
        noise: float = 0.0,
        feed_back: float = 0.0,
    ) -> None:
        self.model, self.outcome = model, outcome
        self.lr, self.backbone_lr = lr, backbone_lr
        self.dense, self.noise, self.feed_back = dense, noise, feed_back

    def step(self, inputs: Tensor, targets: Tensor | None = None) -> StepResult:
        """Series `(batch, 1, time)`; targets are not looked at."""
        model, series = self.model, inputs[:, 0]
        series = model.scale(series).standardised(series)
        outputs = model(self._disturbed(series[:, : -model.lead]))
        if not self.dense:
            outputs = outputs[:, -model.lead :]
        elif model.own_scale:
            outputs = outputs[:, model.time_steps - 1 :]
        error = self.outcome.loss(outputs, series[:, -outputs.shape[1] :])
        loss = error + model.auxiliary_loss().to(error.device)
        n = torch.tensor(float(len(inputs)))
        return StepResult(loss, {"windows": n, "loss": error.detach() * n})

    def _disturbed(self, history: Tensor) -> Tensor:
        if self.feed_back and self.model.training:
            history = self._fed_back(history)
        if self.noise and self.model.training:
            history = history + self.noise * torch.randn_like(history)
        return history

    @torch.no_grad()
    def _fed_back(self, history: Tensor) -> Tensor:
        self.model.eval()
        own = self.model(history)[:, :-1]
        self.model.train()
        drawn = torch.rand_like(own) < self.feed_back
        drawn[:, : self.model.time_steps - 1] = False
        return torch.cat([history[:, :1], torch.where(drawn, own, history[:, 1:])], dim=1)

    def parameter_groups(self) -> list[Group]:
        """Everything at one rate, or the backbone at its own where that differs."""
        if self.backbone_lr == self.lr:
            return groups_of("head", self.model, self.lr)
        return [
            *groups_of("head", self.model.head, self.lr),
            *groups_of("backbone", self.model.backbone, self.backbone_lr),
        ]

    def after_step(self) -> None:
        """Nothing follows."""

    def figures(self, sums: Sums) -> dict[str, float]:
        """loss: the error alone, standardised."""
        return {"loss": float(sums["loss"]) / float(sums["windows"])}
