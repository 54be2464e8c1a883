"""Networks that forecast a series, one step ahead from true samples or free-running on their own forecasts.

`StreamingForecaster` goes on from a kept state, so that a sample costs the same however many came before;
`WindowForecaster` reads the last `time_steps` samples again for every forecast, which costs a whole window each time.
"""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ssl_bio.models.base import Backbone, StreamingBackbone

_LEAST_DEVIATION = 0.01  # of a history, as a share of the standard deviation of all series
_WINDOWS_AT_ONCE = 512


class Scale(NamedTuple):
    """What a series is standardised by: a number each, or one a series, `(batch, 1)`."""

    mean: Tensor
    std: Tensor

    def standardised(self, series: Tensor) -> Tensor:
        """Return a series in its own unit standardised."""
        return (series - self.mean) / self.std

    def restored(self, series: Tensor) -> Tensor:
        """Return a standardised series in its own unit."""
        return series * self.std + self.mean


class Scaling(NamedTuple):
    """How series are standardised: `mean` and `std` for all alike, or with `own` each by its own beginning.

    Those are mean and standard deviation of its first `time_steps` samples, as long as it goes on, so that no rollout
    can forget them (after the reversible instance normalisation of Kim et al. 2022).
    """

    mean: float = 0.0
    std: float = 1.0
    own: bool = False


class Forecaster(nn.Module, ABC):
    """What every forecaster has.

    `time_steps`: how many samples it is given to begin with; `prediction_length`: how many it forecasts at once.
    `forward`: a standardised history `(batch, time)` -> forecasts `(batch, n)`, standardised, the last of them
    `prediction_length` samples after the history's end, each one sample after the one before.
    """

    backbone: Backbone
    mean: Tensor
    std: Tensor

    def __init__(
        self, *, backbone: Backbone, n_features: int, time_steps: int, prediction_length: int, scaling: Scaling
    ) -> None:
        super().__init__()
        self.backbone, self.time_steps, self.prediction_length = backbone, time_steps, prediction_length
        self.own_scale = scaling.own
        self.head = nn.Linear(n_features, prediction_length)
        self.register_buffer("mean", torch.tensor(scaling.mean))
        self.register_buffer("std", torch.tensor(scaling.std))

    def scale(self, series: Tensor) -> Scale:
        """Return what a series `(batch, time)` of `time_steps` samples or more is standardised by."""
        if not self.own_scale:
            return Scale(self.mean, self.std)
        history = series[:, : self.time_steps]
        # A constant history has no scale of its own.
        least = _LEAST_DEVIATION * self.std
        std = history.std(dim=1, correction=0, keepdim=True).clamp(min=least)
        return Scale(history.mean(dim=1, keepdim=True), std)

    def one_step(self, series: Tensor) -> Tensor:
        """Forecast every sample after the first `time_steps` of a series `(batch, time)` from the true ones before it.

        Returns `(batch, time - time_steps)`, in the series' unit.
        """
        scale = self.scale(series)
        return scale.restored(self._one_step(scale.standardised(series[:, :-1])))

    def rollout(self, history: Tensor, horizon: int) -> Tensor:
        """Forecast `horizon` samples after a history `(batch, time)`, each from the forecasts before it.

        Returns `(batch, horizon)`, in the series' unit.
        """
        scale = self.scale(history)
        return scale.restored(self._rollout(scale.standardised(history), horizon))

    def auxiliary_loss(self) -> Tensor:
        """Return what the last forward pass adds to the loss."""
        return self.backbone.auxiliary_loss()

    @abstractmethod
    def _one_step(self, history: Tensor) -> Tensor:
        """Return `one_step` of all but the last sample, standardised."""

    @abstractmethod
    def _rollout(self, history: Tensor, horizon: int) -> Tensor:
        """Return `rollout`, standardised."""


class StreamingForecaster(Forecaster):
    """A streaming backbone and a linear head: after each sample the next one's value.

    It goes on from the backbone's state. Raises ValueError for a backbone that does not stream.
    """

    backbone: StreamingBackbone[Any]

    def __init__(
        self,
        *,
        backbone: StreamingBackbone[Any],
        time_steps: int,
        scaling: Scaling = Scaling(),  # noqa: B008  # it is immutable
    ) -> None:
        if not backbone.streams:
            raise ValueError("the backbone keeps no state to go on from")
        super().__init__(
            backbone=backbone, n_features=backbone.d_model, time_steps=time_steps, prediction_length=1, scaling=scaling
        )

    def forward(self, history: Tensor) -> Tensor:
        forecasts: Tensor = self.head(self.backbone(history[:, None]))[..., 0]
        return forecasts

    def _one_step(self, history: Tensor) -> Tensor:
        forecasts: Tensor = self(history)
        return forecasts[:, self.time_steps - 1 :]

    def _rollout(self, history: Tensor, horizon: int) -> Tensor:
        tokens, state = self.backbone.prefill(history[:, None])
        token, forecasts = tokens[:, -1], []
        for _ in range(horizon):
            sample = self.head(token)[:, 0]
            forecasts.append(sample)
            token, state = self.backbone.step(sample, state)
        return torch.stack(forecasts, dim=1)


class WindowForecaster(Forecaster, ABC):
    """Reads the last `time_steps` samples for every forecast of the `prediction_length` samples that follow.

    A rollout of n samples reads n / `prediction_length` windows, one after the other. One step ahead every sample has a
    window of its own, n in all, of which the first forecast counts: exact, and `prediction_length` times the work of a
    rollout.
    """

    @abstractmethod
    def features(self, window: Tensor) -> Tensor:
        """Return features `(batch, n_features)` of standardised windows `(batch, time_steps)`."""

    def forward(self, history: Tensor) -> Tensor:
        forecasts: Tensor = self.head(self.features(history[:, -self.time_steps :]))
        return forecasts

    def _one_step(self, history: Tensor) -> Tensor:
        windows = history.unfold(1, self.time_steps, 1)
        forecasts = [self(part)[:, 0] for part in torch.split(windows.flatten(0, 1), _WINDOWS_AT_ONCE)]
        return torch.cat(forecasts).view(windows.shape[:2])

    def _rollout(self, history: Tensor, horizon: int) -> Tensor:
        window, forecasts = history[:, -self.time_steps :], []
        for _ in range(-(-horizon // self.prediction_length)):
            following = self(window)
            forecasts.append(following)
            window = torch.cat([window, following], dim=1)[:, -self.time_steps :]
        return torch.cat(forecasts, dim=1)[:, :horizon]


class LastTokenForecaster(WindowForecaster):
    """A backbone of a single channel and a linear head on its last token: the next sample's value.

    For attention without a causal mask. The backbone sees standardised samples.
    """

    def __init__(
        self,
        *,
        backbone: Backbone,
        time_steps: int,
        scaling: Scaling = Scaling(),  # noqa: B008  # it is immutable
    ) -> None:
        super().__init__(
            backbone=backbone, n_features=backbone.d_model, time_steps=time_steps, prediction_length=1, scaling=scaling
        )

    def features(self, window: Tensor) -> Tensor:
        """Return the last token."""
        tokens: Tensor = self.backbone(window[:, None])
        return tokens[:, -1]


class PatchForecaster(WindowForecaster):
    """A backbone of a single channel, pretrained or not, and a linear head on the mean of its tokens and the last one.

    It forecasts the next `prediction_length` samples at once. The backbone sees samples in the unit that it was
    pretrained on.
    """

    def __init__(
        self,
        *,
        backbone: Backbone,
        time_steps: int,
        prediction_length: int,
        scaling: Scaling = Scaling(),  # noqa: B008  # it is immutable
    ) -> None:
        super().__init__(
            backbone=backbone,
            n_features=2 * backbone.d_model,
            time_steps=time_steps,
            prediction_length=prediction_length,
            scaling=scaling,
        )

    def features(self, window: Tensor) -> Tensor:
        """Return the mean of the tokens and the last one."""
        tokens: Tensor = self.backbone((window * self.std + self.mean)[:, None])
        return torch.cat([tokens.mean(dim=1), tokens[:, -1]], dim=-1)
