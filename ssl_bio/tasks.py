"""What one step does: the pretext task and the downstream tasks behind one contract.

`step` returns the loss and sums; the loop adds the sums up over an epoch and `figures` turns them into
what the history shows. A task never sees a recipe, a file or the loop.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ssl_bio.models.denoiser import Denoiser
from ssl_bio.models.forecaster import Forecaster
from ssl_bio.models.heads import Predictor, stages
from ssl_bio.models.waveform_loss import waveform_loss
from ssl_bio.optim import Group, groups_of
from ssl_bio.outcome import OfWindow, Series

Sums = Mapping[str, Tensor]


class StepResult(NamedTuple):
    """The loss to minimise, and sums over the batch that add up over steps."""

    loss: Tensor
    sums: dict[str, Tensor]

    @classmethod
    def of(cls, loss: Tensor, n_windows: int, shown: Tensor | None = None) -> "StepResult":
        """Of a task whose one sum is its loss, or the part of it that is to be shown."""
        n = torch.tensor(float(n_windows))
        return cls(loss, {"windows": n, "loss": (loss if shown is None else shown).detach() * n})


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

    def begin_epoch(self, epoch: int) -> None:
        """What changes with the epoch, counted from 0."""
        ...

    def after_step(self) -> None:
        """What follows an optimiser step."""
        ...

    def figures(self, sums: Sums) -> dict[str, float]:
        """Figures of an epoch from its sums."""
        ...


class Steady:
    """A task that stays as it is from epoch to epoch, that nothing follows after a step, and that shows its loss."""

    def begin_epoch(self, epoch: int) -> None:
        """Nothing changes."""

    def after_step(self) -> None:
        """Nothing follows."""

    def figures(self, sums: Sums) -> dict[str, float]:
        """loss."""
        return {"loss": float(sums["loss"]) / float(sums["windows"])}


class DownstreamTask(Steady):
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
        return StepResult.of(loss, len(inputs))

    def _dense_step(self, inputs: Tensor, targets: Tensor) -> StepResult:
        outputs = self.model.everywhere(inputs)
        wanted = targets[:, :: -(-targets.shape[1] // outputs.shape[1])]
        known = wanted.isfinite()
        # A batch of which nothing is known teaches nothing.
        loss = outputs.sum() * 0
        if known.any():
            loss = self.outcome.loss(outputs[known], wanted[known][:, None], self.label_smoothing)
        return StepResult.of(loss, len(inputs))

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


class ForecastTask(Steady):
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
        return StepResult.of(loss, len(inputs), shown=error)

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


class DenoiseTask(Steady):
    """The clean signal from the noisy one, both without their offsets, which are no signal. Each channel is shown in
    deviations of the noisy window; the loss is in those of the clean one, so that quiet windows count as much as loud
    ones.

    Noise grows from nothing to its level over `ramp_epochs`, the weight of peaks over `peak_ramp_epochs`.
    """

    def __init__(
        self,
        model: Denoiser,
        lr: float,
        backbone_lr: float,
        loss: str,
        peak_weight: float = 0.0,
        ramp_epochs: int = 0,
        peak_ramp_epochs: int = 0,
    ) -> None:
        self.model, self.lr, self.backbone_lr = model, lr, backbone_lr
        self.loss, self.peak_weight = loss, peak_weight
        self.ramp_epochs, self.peak_ramp_epochs = ramp_epochs, peak_ramp_epochs
        self.noise_share, self.peak_share = 1.0, 1.0

    def begin_epoch(self, epoch: int) -> None:
        """Set the shares of noise and of the peaks' weight, 0 in the first epoch of a ramp."""
        self.noise_share = min(1.0, epoch / self.ramp_epochs) if self.ramp_epochs else 1.0
        self.peak_share = min(1.0, epoch / self.peak_ramp_epochs) if self.peak_ramp_epochs else 1.0

    def step(self, inputs: Tensor, targets: Tensor | None) -> StepResult:
        """Clean signals `(batch, n_channels, length)`, and the noise to be added to them at its final level."""
        assert targets is not None
        noisy, clean = (centred(signals) for signals in (inputs + self.noise_share * targets, inputs))
        scale, own = deviation(noisy), clean.std(dim=-1, keepdim=True)
        unit = scale / torch.where(own > 0, own, scale)
        answer = self.model.guess(noisy / scale, clean / scale)
        weight = self.peak_weight * self.peak_share
        loss = waveform_loss(answer * unit, clean / scale * unit, self.loss, weight).mean()
        return StepResult.of(loss, len(inputs))

    def parameter_groups(self) -> list[Group]:
        """The backbone at its own rate, a decoder on top of it at `lr`."""
        head = groups_of("head", self.model.decoder, self.lr) if self.model.decoder else []
        return [*head, *groups_of("backbone", self.model.backbone, self.backbone_lr)]


def centred(signals: Tensor) -> Tensor:
    """Without the mean of each channel over time."""
    return signals - signals.mean(dim=-1, keepdim=True)


def deviation(signals: Tensor) -> Tensor:
    """Of each channel over time, `(batch, n_channels, 1)`; 1 where it is silent."""
    found = signals.std(dim=-1, keepdim=True)
    return torch.where(found > 0, found, 1.0)
