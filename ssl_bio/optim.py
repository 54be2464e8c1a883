"""Optimiser, parameter groups and learning-rate schedules."""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Group(NamedTuple):
    """Parameters that train together: `lr` is the peak rate; the schedule multiplies it. Before epoch `begins`,
    counted from 0, they stay as they are."""

    name: str
    parameters: list[nn.Parameter]
    lr: float
    decays: bool = True
    begins: int = 0


def trainable(module: nn.Module) -> list[nn.Parameter]:
    """A module's parameters that take gradients."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def groups_of(name: str, module: nn.Module, lr: float) -> list[Group]:
    """A module's trainable parameters at `lr`; those that a part of it names as its `state_space` apart, at
    that part's own `state_space_lr` and without weight decay (as Gu et al. 2022 train S4D)."""
    apart: dict[float, list[nn.Parameter]] = {}
    for part in module.modules():
        for attribute in getattr(part, "state_space", ()):
            parameter = getattr(part, attribute)
            if parameter.requires_grad:
                apart.setdefault(float(part.state_space_lr), []).append(parameter)  # type: ignore[arg-type]
    taken = {id(parameter) for parameters in apart.values() for parameter in parameters}
    groups = [Group(name, [p for p in trainable(module) if id(p) not in taken], lr)]
    groups += [Group(f"{name}_state_space", parameters, rate, decays=False) for rate, parameters in apart.items()]
    return groups


def optimizer(kind: str, groups: Iterable[Group], weight_decay: float) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019), or "sgd" with momentum 0.9; groups remember their peak rate as `peak_lr`."""
    tables: list[dict[str, Any]] = [
        {
            "params": group.parameters,
            "lr": group.lr,
            "peak_lr": group.lr,
            "name": group.name,
            "begins": group.begins,
            "weight_decay": weight_decay if group.decays else 0.0,
        }
        for group in groups
    ]
    if kind == "sgd":
        return torch.optim.SGD(tables, momentum=0.9, fused=True)
    return torch.optim.AdamW(tables, fused=True)


def schedule_factor(schedule: str, step: int, n_steps: int, warmup_steps: int) -> float:
    """The share of the peak rate at `step` of `n_steps`: linear warm-up, then constant or half a cosine to 0.

    A function of the step alone, so that a resumed run needs no scheduler state.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if schedule == "constant":
        return 1.0
    progress = (step - warmup_steps) / max(1, n_steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def set_rates(optimizer: torch.optim.Optimizer, factor: float, epoch: int = 0) -> None:
    """Give every group `factor` times its peak rate, and 0 before the epoch it begins at."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor if epoch >= group["begins"] else 0.0


class WeightAverage:
    """Exponential moving average of a model's weights and buffers, often better than its last step.

    The momentum grows to `momentum` as (1 + step) / (10 + step), so that early averages forget the start.
    """

    def __init__(self, model: nn.Module, momentum: float) -> None:
        self.model, self.momentum = model, momentum
        self.state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Follow the model after optimiser step `step`, counted from 0."""
        weight = 1 - min(self.momentum, (1 + step) / (10 + step))
        for name, tensor in self.model.state_dict().items():
            if tensor.is_floating_point():
                self.state[name].lerp_(tensor, weight)
            else:
                self.state[name].copy_(tensor)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over a saved average."""
        for name, tensor in state.items():
            self.state[name].copy_(tensor)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model carries the averaged weights inside the block and its own again after it."""
        own = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        self.model.load_state_dict(self.state)
        try:
            yield
        finally:
            self.model.load_state_dict(own)
