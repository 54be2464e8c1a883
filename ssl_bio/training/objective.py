"""What one training step does: the contract between an objective and the training loop.

`step` returns the loss and sums; the loop adds the sums up over an epoch and `metrics` turns them into what the history
shows. An objective never sees a recipe, a file or the loop.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ssl_bio.training.optim import ParameterGroup

Sums = Mapping[str, Tensor]


class TensorBatch(NamedTuple):
    """A batch on the device: inputs `(batch, ...)` and, where there are any, targets `(batch, ...)`."""

    inputs: Tensor
    targets: Tensor | None = None


class StepOutput(NamedTuple):
    """The loss to minimise, and sums over the batch that add up over steps."""

    loss: Tensor
    sums: dict[str, Tensor]


def mean_loss(loss: Tensor, n_windows: int, shown: Tensor | None = None) -> StepOutput:
    """Return the output of a step whose one metric is its mean loss over windows, or that of the part to be shown."""
    n = torch.tensor(float(n_windows))
    return StepOutput(loss, {"windows": n, "loss": (loss if shown is None else shown).detach() * n})


class Objective(Protocol):
    """All that the training loop knows."""

    @property
    def module(self) -> nn.Module:
        """Return the network with all that trains and all that is saved."""
        ...

    def step(self, batch: TensorBatch) -> StepOutput:
        """Return the loss of a batch. Randomness comes from torch's global generator, which the loop seeds."""
        ...

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return which parameters train, at which rate."""
        ...

    def on_epoch_start(self, epoch: int) -> None:
        """Change what depends on the epoch, counted from 0; the module is in training mode."""
        ...

    def after_step(self) -> None:
        """Do what follows an optimizer step."""
        ...

    def metrics(self, sums: Sums) -> dict[str, float]:
        """Return the metrics of an epoch from its sums."""
        ...


class BaseObjective:
    """An objective that does not change from epoch to epoch, that nothing follows after a step, and that shows its
    loss."""

    def on_epoch_start(self, epoch: int) -> None:
        """Change nothing."""

    def after_step(self) -> None:
        """Do nothing."""

    def metrics(self, sums: Sums) -> dict[str, float]:
        """Return the mean loss."""
        return {"loss": float(sums["loss"]) / float(sums["windows"])}
