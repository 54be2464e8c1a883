"""Optimizer, parameter groups, learning-rate schedules and averaged weights."""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ssl_bio.models.base import OwnLearningRate

_Tensors = tuple[Tensor, ...] | list[Tensor]


class ParameterGroup(NamedTuple):
    """Parameters that train together: `lr` is the peak rate, which the schedule multiplies; `decays`: by weight decay.

    Before epoch `unfreeze_epoch`, counted from 0, they stay as they are.
    """

    name: str
    parameters: list[nn.Parameter]
    lr: float
    decays: bool = True
    unfreeze_epoch: int = 0


def trainable(module: nn.Module) -> list[nn.Parameter]:
    """Return a module's parameters that take gradients."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def groups_of(name: str, module: nn.Module, lr: float) -> list[ParameterGroup]:
    """Return a module's trainable parameters at `lr`, and those with an own rate (`OwnLearningRate`) in further groups.

    The latter do not decay.
    """
    apart: dict[tuple[str, float], list[nn.Parameter]] = {}
    for part in module.modules():
        if isinstance(part, OwnLearningRate):
            overrides = part.parameter_overrides()
            parameters = [parameter for parameter in overrides.parameters if parameter.requires_grad]
            if parameters:
                apart.setdefault((overrides.name, overrides.lr), []).extend(parameters)
    taken = {id(parameter) for parameters in apart.values() for parameter in parameters}
    groups = [ParameterGroup(name, [p for p in trainable(module) if id(p) not in taken], lr)]
    for (suffix, rate), parameters in apart.items():
        groups.append(ParameterGroup(f"{name}_{suffix}", parameters, rate, decays=False))
    return groups


def optimizer(kind: str, groups: Iterable[ParameterGroup], weight_decay: float) -> torch.optim.Optimizer:
    """Return AdamW (Loshchilov and Hutter 2019), or "sgd" with momentum 0.9.

    Its groups remember their peak rate as `peak_lr`.
    """
    tables: list[dict[str, Any]] = [
        {
            "params": group.parameters,
            "lr": group.lr,
            "peak_lr": group.lr,
            "name": group.name,
            "unfreeze_epoch": group.unfreeze_epoch,
            "weight_decay": weight_decay if group.decays else 0.0,
        }
        for group in groups
    ]
    if kind == "sgd":
        return torch.optim.SGD(tables, momentum=0.9, fused=True)
    return torch.optim.AdamW(tables, fused=True)


def schedule_factor(schedule: str, *, step: int, n_steps: int, warmup_steps: int) -> float:
    """Return the share of the peak rate at `step` of `n_steps`: linear warm-up, then constant or half a cosine to 0.

    A function of the step alone, so that a resumed run needs no scheduler state.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if schedule == "constant":
        return 1.0
    progress = (step - warmup_steps) / max(1, n_steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def set_rates(optimizer: torch.optim.Optimizer, factor: float, epoch: int = 0) -> None:
    """Give every group `factor` times its peak rate, and 0 before its `unfreeze_epoch`."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor if epoch >= group["unfreeze_epoch"] else 0.0


class ExponentialAverage(AveragedModel):
    """Exponential moving average of a model's weights and buffers, often better than its last step.

    `decay` is reached by and by: after update n, counted from 0, it is (1 + n) / (10 + n) at most, so that early
    averages forget the start. Buffers of integers are copied.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        def update(averaged: _Tensors, current: _Tensors, n_averaged: Tensor | int) -> None:
            step = int(n_averaged) - 1
            weight = 1 - min(decay, (1 + step) / (10 + step))
            for ours, theirs in zip(averaged, current, strict=True):
                if ours.is_floating_point():
                    ours.lerp_(theirs, weight)
                else:
                    ours.copy_(theirs)

        super().__init__(model, multi_avg_fn=torch.no_grad()(update), use_buffers=True)
        self.n_averaged.fill_(1)  # the start counts: the first update is no mere copy

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Have a model carry the averaged weights inside the block and its own again after it."""
        own = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        model.load_state_dict(self.module.state_dict())
        try:
            yield
        finally:
            model.load_state_dict(own)

    def averaged_state(self) -> dict[str, Tensor]:
        """Return the averaged weights and buffers by their names in the model."""
        return dict(self.module.state_dict())

    def load_averaged_state(self, state: Mapping[str, Tensor], *, n_updates: int) -> None:
        """Take over what `averaged_state` returned after so many updates."""
        self.module.load_state_dict(dict(state))
        self.n_averaged.fill_(1 + n_updates)
