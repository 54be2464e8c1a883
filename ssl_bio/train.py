"""The one loop: pretraining, full finetuning and gradient probes differ only in their task."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ssl_bio import optim, runtime
from ssl_bio.checkpoint import RunFolder
from ssl_bio.data.mixing import Mixed
from ssl_bio.data.view import Batches
from ssl_bio.errors import CheckpointError, TrainingError
from ssl_bio.metrics import LOWER_IS_BETTER
from ssl_bio.tasks import Task
from ssl_bio.terminal import Ticker, progress

History = Sequence[Mapping[str, float]]
#: (model, the history of the epochs before) -> more figures of the epoch that just ended.
Validate = Callable[[nn.Module, History], dict[str, float]]


@dataclass(frozen=True)
class Settings:
    """How to train. `monitor` names the history column that chooses the epoch; empty: the last one is kept."""

    epochs: int
    seed: int
    weight_decay: float
    optimizer: str = "adamw"
    schedule: str = "constant"
    warmup_epochs: float = 0
    max_grad_norm: float = 0
    average: float = 0
    monitor: str = ""
    patience: int = 0


class Fitted(NamedTuple):
    """What a fit leaves: weights of the chosen epoch (from 1), how many epochs ran, and how long they took."""

    tensors: dict[str, Tensor]
    epochs: int
    best_epoch: int
    figures: dict[str, float]
    seconds: float


@dataclass
class _State:
    """All that changes while training, and all that a resumed run needs."""

    epoch: int = 0  # epochs done
    seconds: float = 0.0
    best_epoch: int = 0
    best_score: float = -math.inf
    best: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


def fit(
    task: Task,
    batches: Batches | Mixed,
    settings: Settings,
    run: RunFolder,
    device: torch.device,
    validate: Validate | None = None,
    resume: bool = False,
    identity: str = "",
) -> Fitted:
    """Train `task` and return the weights of the chosen epoch.

    After every epoch the history and the whole state are on disk, so an interrupted run goes on with
    `resume=True` and ends bit for bit as if nothing had happened: order, augmentation, masks, dropout
    and noise of a step are functions of (seed, epoch, step). `identity` says what the run learns from; a
    state of another one is refused.

    Raises CheckpointError for such a state, and TrainingError when the loss or the weights are no longer
    finite; the state of the epoch before stays on disk.
    """
    model = task.model.to(device)
    optimizer = optim.optimizer(settings.optimizer, task.parameter_groups(), settings.weight_decay)
    average = optim.WeightAverage(model, settings.average) if settings.average else None
    state = _restore(run, model, optimizer, average, identity) if resume else _State()
    with progress(f"{run.path.name}", settings.epochs * len(batches)) as tick:
        while state.epoch < settings.epochs and not _stale(state, settings):
            started = time.perf_counter()
            row = _train_epoch(task, batches, settings, optimizer, average, device, state, tick)
            state.epoch += 1
            if not all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters()):
                raise TrainingError(_explain_lost_weights(state.epoch))
            with average.applied() if average else nullcontext():
                if validate:
                    row |= validate(model, state.history)
                _keep_best(state, row, model, settings.monitor)
            state.seconds += time.perf_counter() - started
            state.history.append({"epoch": state.epoch, **row, "seconds": state.seconds})
            run.write_history(state.history)
            _save(run, state, model, optimizer, average, identity)
    if state.epoch and not state.best:
        raise TrainingError(
            f"no epoch has a {settings.monitor}, so none can be chosen: validation lacks a class or a label that it "
            'needs; choose another finetune.monitor, or finetune.selected_on "last"'
        )
    figures = state.history[state.best_epoch - 1] if state.best_epoch else {}
    return Fitted(state.best, state.epoch, state.best_epoch, figures, state.seconds)


def _train_epoch(
    task: Task,
    batches: Batches | Mixed,
    settings: Settings,
    optimizer: torch.optim.Optimizer,
    average: optim.WeightAverage | None,
    device: torch.device,
    state: _State,
    tick: Ticker,
) -> dict[str, float]:
    epoch, n_steps = state.epoch, len(batches)
    task.model.train()
    task.begin_epoch(epoch)
    totals: dict[str, Tensor] = {}
    streams = partial(_epoch_stream, settings.seed, epoch)
    for step, batch in enumerate(batches.shuffled(streams)):
        position = epoch * n_steps + step
        factor = optim.schedule_factor(
            settings.schedule, position, settings.epochs * n_steps, round(settings.warmup_epochs * n_steps)
        )
        optim.set_rates(optimizer, factor, epoch)
        runtime.seed_torch(settings.seed, "step", epoch, step)
        inputs = torch.from_numpy(batch.inputs).to(device)
        targets = None if batch.targets is None else torch.from_numpy(np.asarray(batch.targets)).to(device)
        result = task.step(inputs, targets)
        if not torch.isfinite(result.loss):
            raise TrainingError(_explain_divergence(result.sums, epoch + 1, step + 1))
        optimizer.zero_grad()
        result.loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        if settings.max_grad_norm:
            nn.utils.clip_grad_norm_(
                [p for group in optimizer.param_groups for p in group["params"]], settings.max_grad_norm
            )
        optimizer.step()
        task.after_step()
        if average:
            average.update(position)
        for name, value in result.sums.items():
            totals[name] = totals[name] + value if name in totals else value.clone()
        tick(position + 1, {"epoch": epoch + 1, **_live(task.figures(totals))} if step % 10 == 0 else None)
    rates = {f"lr_{group['name']}": float(group["lr"]) for group in optimizer.param_groups}
    return {**task.figures(totals), **rates}


def _epoch_stream(seed: int, epoch: int, purpose: str, *position: int) -> np.random.Generator:
    return runtime.stream(seed, purpose, epoch, *position)


def _live(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: figures[name] for name in ("loss", "mse", "ce", "hit_rate", "perplexity") if name in figures}


def _keep_best(state: _State, row: Mapping[str, float], model: nn.Module, monitor: str) -> None:
    if monitor and monitor not in row:
        return  # an epoch without a probe chooses nothing
    if monitor:
        score = -row[monitor] if monitor.endswith(LOWER_IS_BETTER) else row[monitor]
        if not score > state.best_score:
            return
        state.best_score = score
    state.best_epoch = state.epoch
    state.best = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


def _stale(state: _State, settings: Settings) -> bool:
    return bool(settings.patience) and state.epoch - state.best_epoch >= settings.patience


def _explain_divergence(sums: Mapping[str, Tensor], epoch: int, step: int) -> str:
    guilty = [name for name, value in sums.items() if name != "loss" and not bool(torch.isfinite(value).all())]
    term = f" (in {', '.join(guilty)})" if guilty else ""
    return (
        f"the loss is no longer finite{term} at epoch {epoch}, step {step}: lower the learning rate or set "
        "max_grad_norm; the state after the epoch before is kept, and --resume goes on from it"
    )


def _explain_lost_weights(epoch: int) -> str:
    return (
        f"weights are no longer finite after epoch {epoch}: lower the learning rate or set max_grad_norm; "
        "the state after the epoch before is kept, and --resume goes on from it"
    )


def _save(
    run: RunFolder,
    state: _State,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: optim.WeightAverage | None,
    identity: str,
) -> None:
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in state.best.items()}
    tensors |= {f"average.{name}": tensor for name, tensor in (average.state if average else {}).items()}
    for index, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{slot}": value for slot, value in slots.items()}
    facts = {
        "epoch": state.epoch,
        "seconds": state.seconds,
        "best_epoch": state.best_epoch,
        "best_score": None if math.isinf(state.best_score) else state.best_score,
        "history": state.history,
        "identity": identity,
    }
    run.save_state({name: tensor.clone() for name, tensor in tensors.items()}, facts)


def _restore(
    run: RunFolder,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: optim.WeightAverage | None,
    identity: str,
) -> _State:
    saved = run.load_state()
    if saved is None:
        return _State()
    tensors, facts = saved
    if facts["identity"] != identity:
        raise CheckpointError(
            f"{run.path}: --resume: the run learnt from {facts['identity']}, now there is {identity}; "
            "bring that back, or start again with --overwrite"
        )
    model.load_state_dict(_part(tensors, "model."))
    if average:
        average.load(_part(tensors, "average."))
    slots: dict[int, dict[str, Tensor]] = {}
    for name, value in _part(tensors, "optimizer.").items():
        index, slot = name.split(".")
        slots.setdefault(int(index), {})[slot] = value
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
    return _State(
        epoch=facts["epoch"],
        seconds=facts["seconds"],
        best_epoch=facts["best_epoch"],
        best_score=-math.inf if facts["best_score"] is None else facts["best_score"],
        best=_part(tensors, "best."),
        history=facts["history"],
    )


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
