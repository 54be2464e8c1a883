"""Networks that say how a series goes on, one step ahead from the truth or feeding on what they said before.

`StepForecaster` reads on from a kept state, so that a sample costs the same however many came before;
`WindowForecaster` reads the last `time_steps` samples afresh for every forecast, which costs a whole window each time.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from ssl_bio.models.heads import Backbone
from ssl_bio.models.readers import Reader

_LEAST_DEVIATION = 0.01  # of a history, as a share of the deviation of all series
_WINDOWS_AT_ONCE = 512


class Scale(NamedTuple):
    """What a series is standardised by; each a number, or one a series, `(batch, 1)`."""

    mean: Tensor
    std: Tensor

    def standardised(self, series: Tensor) -> Tensor:
        """A series in its own unit -> standardised."""
        return (series - self.mean) / self.std

    def restored(self, series: Tensor) -> Tensor:
        """A standardised series -> in its own unit."""
        return series * self.std + self.mean


class Scaling(NamedTuple):
    """How series are standardised: `mean` and `std` for all alike; or with `own` each by the mean and deviation of its
    first `time_steps` samples, and by those as long as it goes on, so that no rollout can forget them (after the
    reversible instance normalisation of Kim et al. 2022)."""

    mean: float = 0.0
    std: float = 1.0
    own: bool = False


class Forecaster(nn.Module, ABC):
    """What every forecaster offers. `time_steps`: how many samples it is given to begin with; `lead`: how many samples
    it forecasts at once.

    `forward`: a standardised history `(batch, time)` -> forecasts `(batch, n)`, standardised, the last of them `lead`
    samples after the history's end, each one sample after the one before.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, n_features: int, time_steps: int, lead: int, scaling: Scaling) -> None:
        super().__init__()
        self.backbone, self.time_steps, self.lead = backbone, time_steps, lead
        self.own_scale = scaling.own
        self.head = nn.Linear(n_features, lead)
        self.register_buffer("mean", torch.tensor(scaling.mean))
        self.register_buffer("std", torch.tensor(scaling.std))

    def scale(self, series: Tensor) -> Scale:
        """What a series `(batch, time)` is standardised by, `time_steps` samples of it or more."""
        if not self.own_scale:
            return Scale(self.mean, self.std)
        shown = series[:, : self.time_steps]
        # A history that stands still has no scale of its own.
        least = _LEAST_DEVIATION * self.std
        return Scale(shown.mean(dim=1, keepdim=True), shown.std(dim=1, correction=0, keepdim=True).clamp(min=least))

    def one_step(self, series: Tensor) -> Tensor:
        """Every sample after the first `time_steps` of a series `(batch, time)`, each from the true ones before it:
        `(batch, time - time_steps)`, in the series' unit."""
        scale = self.scale(series)
        return scale.restored(self._one_step(scale.standardised(series[:, :-1])))

    def rollout(self, history: Tensor, horizon: int) -> Tensor:
        """`horizon` samples after a history `(batch, time)`, each from the ones predicted before it:
        `(batch, horizon)`, in the series' unit."""
        scale = self.scale(history)
        return scale.restored(self._rollout(scale.standardised(history), horizon))

    def auxiliary_loss(self) -> Tensor:
        """What the last forward pass adds to the loss: the commitment of quantised values, if there are any."""
        found = getattr(self.backbone, "auxiliary_loss", None)
        return cast(Tensor, found()) if found else torch.zeros(())

    @abstractmethod
    def _one_step(self, history: Tensor) -> Tensor:
        """`one_step` of all but the last sample, standardised."""

    @abstractmethod
    def _rollout(self, history: Tensor, horizon: int) -> Tensor:
        """`rollout`, standardised."""


class StepForecaster(Forecaster):
    """A reader and a linear head: after each sample the next one's value. It goes on from the reader's state."""

    def __init__(self, reader: nn.Module, time_steps: int, scaling: Scaling = Scaling()) -> None:  # noqa: B008  # it is immutable
        super().__init__(reader, cast(Reader, reader).d_model, time_steps, 1, scaling)

    def forward(self, history: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.backbone(history)))[..., 0]

    def _one_step(self, history: Tensor) -> Tensor:
        return cast(Tensor, self(history))[:, self.time_steps - 1 :]

    def _rollout(self, history: Tensor, horizon: int) -> Tensor:
        reader = cast(Reader, self.backbone)
        tokens, state = reader.read(history)
        token, found = tokens[:, -1], []
        for _ in range(horizon):
            sample = self.head(token)[:, 0]
            found.append(sample)
            token, state = reader.step(sample, state)
        return torch.stack(found, dim=1)


class WindowForecaster(Forecaster, ABC):
    """Reads the last `time_steps` samples for every forecast of the `lead` samples that follow.

    A rollout of n samples reads n / `lead` windows, one after the other. One step ahead every sample has a window of
    its own, n in all, of which the first sample forecast counts: exact, and `lead` times the work of a rollout.
    """

    @abstractmethod
    def features(self, window: Tensor) -> Tensor:
        """Standardised windows `(batch, time_steps)` -> `(batch, n_features)`."""

    def forward(self, history: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.features(history[:, -self.time_steps :])))

    def _one_step(self, history: Tensor) -> Tensor:
        windows = history.unfold(1, self.time_steps, 1)
        found = [self(part)[:, 0] for part in torch.split(windows.flatten(0, 1), _WINDOWS_AT_ONCE)]
        return torch.cat(found).view(windows.shape[:2])

    def _rollout(self, history: Tensor, horizon: int) -> Tensor:
        window, found = history[:, -self.time_steps :], []
        for _ in range(-(-horizon // self.lead)):
            following = self(window)
            found.append(following)
            window = torch.cat([window, following], dim=1)[:, -self.time_steps :]
        return torch.cat(found, dim=1)[:, :horizon]


class UnmaskedForecaster(WindowForecaster):
    """Attention without a causal mask and a linear head on the last sample's token: the next sample's value."""

    def __init__(self, reader: nn.Module, time_steps: int, scaling: Scaling = Scaling()) -> None:  # noqa: B008  # it is immutable
        super().__init__(reader, cast(Reader, reader).d_model, time_steps, 1, scaling)

    def features(self, window: Tensor) -> Tensor:
        """The last token."""
        return cast(Tensor, self.backbone(window))[:, -1]


class PatchForecaster(WindowForecaster):
    """A backbone of signals, pretrained or not, and a linear head on the mean of its tokens and the last one: the next
    `lead` samples at once. The backbone sees samples in the unit that it was pretrained on."""

    def __init__(
        self,
        backbone: nn.Module,
        time_steps: int,
        lead: int,
        scaling: Scaling = Scaling(),  # noqa: B008  # it is immutable
    ) -> None:
        super().__init__(backbone, 2 * cast(Backbone, backbone).layer_widths[-1], time_steps, lead, scaling)

    def features(self, window: Tensor) -> Tensor:
        """Mean and last token."""
        tokens = cast(Tensor, self.backbone((window * self.std + self.mean)[:, None]))
        return torch.cat([tokens.mean(dim=1), tokens[:, -1]], dim=-1)
