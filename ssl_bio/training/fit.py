"""The one training loop: pretraining, full finetuning and gradient probes differ only in their objective."""

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

from ssl_bio.console import TrainingWatch, training_progress
from ssl_bio.data.loader import BatchSource
from ssl_bio.errors import CheckpointError, TrainingError
from ssl_bio.metrics import lower_is_better
from ssl_bio.runs.folder import RunFolder
from ssl_bio.training import optim, runtime
from ssl_bio.training.objective import Objective, TensorBatch

History = Sequence[Mapping[str, float]]
#: The history of the epochs before -> more metrics of the epoch that just ended.
Validate = Callable[[History], dict[str, float]]
#: Told of the history row of every epoch, with its `epoch` and `seconds`, those of a resumed run's past included; what
#: it raises stops the training.
AfterEpoch = Callable[[Mapping[str, float]], None]

#: Metrics of an epoch so far that are shown while it lasts.
_LIVE = ("loss", "mse", "ce", "hit_rate", "accuracy", "perplexity")


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How to train. `monitor` names the history column that chooses the epoch; empty: the last one is kept."""

    epochs: int
    seed: int
    weight_decay: float
    optimizer: str = "adamw"
    schedule: str = "constant"
    warmup_epochs: float = 0
    max_grad_norm: float = 0
    ema_decay: float = 0
    monitor: str = ""
    patience: int = 0


class FitResult(NamedTuple):
    """What training leaves.

    Weights of the chosen epoch, how many epochs ran and which one was chosen (from 1; 0: none), its metrics, how long
    it took in s, the split that chose ("last": none), and how many windows were learnt from.
    """

    tensors: dict[str, Tensor]
    epochs: int
    best_epoch: int
    metrics: dict[str, float]
    seconds: float
    selected_on: str = "last"
    n_train: int = 0


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """Where a run trains, whether it goes on with what it finds there, and who is told of every epoch: who judges it,
    and who writes it down."""

    run: RunFolder
    device: torch.device
    resume: bool
    identity: str  # of data and starting weights
    after_epoch: AfterEpoch | None = None
    log_epoch: AfterEpoch | None = None


@dataclass
class _State:
    """All that changes while training, and all that a resumed run needs."""

    epoch: int = 0  # epochs done
    seconds: float = 0.0
    best_epoch: int = 0
    best_score: float = -math.inf
    best: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class _Loop:
    """What stays the same while training."""

    objective: Objective
    loader: BatchSource
    settings: FitSettings
    optimizer: torch.optim.Optimizer
    average: optim.ExponentialAverage | None
    context: RunContext

    @property
    def module(self) -> nn.Module:
        return self.objective.module


def fit(
    objective: Objective,
    *,
    loader: BatchSource,
    settings: FitSettings,
    context: RunContext,
    validate: Validate | None = None,
) -> FitResult:
    """Train an objective's module and return the weights of the chosen epoch.

    After every epoch the history and the whole state are on disk, so an interrupted run goes on with `context.resume`
    and ends bit for bit as if nothing had happened: order, augmentation, masks, dropout and noise of a step are
    functions of (seed, epoch, step). `context.identity` says what the run learns from; a state of another one is
    refused.

    Raises CheckpointError for such a state, and TrainingError when the loss or the weights are no longer finite; the
    state of the epoch before stays on disk.
    """
    module, run = objective.module.to(context.device), context.run
    optimizer = optim.optimizer(settings.optimizer, objective.parameter_groups(), settings.weight_decay)
    average = optim.ExponentialAverage(module, settings.ema_decay) if settings.ema_decay else None
    loop = _Loop(
        objective=objective, loader=loader, settings=settings, optimizer=optimizer, average=average, context=context
    )
    state = _restore(loop) if context.resume else _State()
    for past in state.history:
        _tell(context, past)
    with training_progress(epochs=settings.epochs, steps=len(loader), done=state.epoch) as watch:
        while state.epoch < settings.epochs and not _stale(state, settings):
            started = time.perf_counter()
            row = _train_epoch(loop, state.epoch, watch)
            state.epoch += 1
            if not all(bool(torch.isfinite(parameter).all()) for parameter in module.parameters()):
                raise TrainingError(_explain_lost_weights(state.epoch))
            with average.applied(module) if average else nullcontext():
                if validate:
                    row |= validate(state.history)
                _keep_best(state, row=row, module=module, monitor=settings.monitor)
            state.seconds += time.perf_counter() - started
            state.history.append({"epoch": state.epoch, **row, "seconds": state.seconds})
            run.write_history(state.history)
            _save(loop, state)
            _tell(context, state.history[-1])
            watch.epoch(state.epoch, _shown(row, ("loss", "val_loss", settings.monitor)))
    if state.epoch and not state.best:
        raise TrainingError(
            f"no epoch has a {settings.monitor}, so none can be chosen: validation lacks a class or a label that it "
            'needs; choose another finetune.monitor, or finetune.selected_on "last"'
        )
    metrics = dict(state.history[state.best_epoch - 1]) if state.best_epoch else {}
    return FitResult(state.best, state.epoch, state.best_epoch, metrics, state.seconds)


def _tell(context: RunContext, row: Mapping[str, float]) -> None:
    for told in (context.log_epoch, context.after_epoch):
        if told:
            told(row)


def _train_epoch(loop: _Loop, epoch: int, watch: TrainingWatch) -> dict[str, float]:
    objective, settings, device, n_steps = loop.objective, loop.settings, loop.context.device, len(loop.loader)
    loop.module.train()
    objective.on_epoch_start(epoch)
    totals: dict[str, Tensor] = {}
    streams = partial(_epoch_stream, settings.seed, epoch)
    for step, batch in enumerate(loop.loader.shuffled(streams)):
        position = epoch * n_steps + step
        factor = optim.schedule_factor(
            settings.schedule,
            step=position,
            n_steps=settings.epochs * n_steps,
            warmup_steps=round(settings.warmup_epochs * n_steps),
        )
        optim.set_rates(loop.optimizer, factor, epoch)
        runtime.seed_torch(settings.seed, "step", epoch, step)
        output = objective.step(
            TensorBatch(
                torch.from_numpy(batch.inputs).to(device),
                None if batch.targets is None else torch.from_numpy(np.asarray(batch.targets)).to(device),
            )
        )
        if not torch.isfinite(output.loss):
            raise TrainingError(_explain_divergence(output.sums, epoch + 1, step + 1))
        _descend(loop, output.loss)
        objective.after_step()
        if loop.average:
            loop.average.update_parameters(loop.module)
        for name, value in output.sums.items():
            totals[name] = totals[name] + value if name in totals else value.clone()
        watch.step(position + 1, _shown(objective.metrics(totals), _LIVE) if step % 10 == 0 else None)
    rates = {f"lr_{group['name']}": float(group["lr"]) for group in loop.optimizer.param_groups}
    return {**objective.metrics(totals), **rates}


def _descend(loop: _Loop, loss: Tensor) -> None:
    loop.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    if loop.settings.max_grad_norm:
        nn.utils.clip_grad_norm_(
            [p for group in loop.optimizer.param_groups for p in group["params"]], loop.settings.max_grad_norm
        )
    loop.optimizer.step()


def _epoch_stream(seed: int, epoch: int, purpose: str, *position: int) -> np.random.Generator:
    return runtime.stream(seed, purpose, epoch, *position)


def _shown(metrics: Mapping[str, float], names: Sequence[str]) -> dict[str, float]:
    return {name: metrics[name] for name in names if name in metrics}


def _keep_best(state: _State, *, row: Mapping[str, float], module: nn.Module, monitor: str) -> None:
    if monitor and monitor not in row:
        return  # an epoch without a probe chooses nothing
    if monitor:
        score = -row[monitor] if lower_is_better(monitor) else row[monitor]
        if not score > state.best_score:
            return
        state.best_score = score
    state.best_epoch = state.epoch
    state.best = {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}


def _stale(state: _State, settings: FitSettings) -> bool:
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


def _save(loop: _Loop, state: _State) -> None:
    tensors = {f"model.{name}": tensor for name, tensor in loop.module.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in state.best.items()}
    if loop.average:
        tensors |= {f"average.{name}": tensor for name, tensor in loop.average.averaged_state().items()}
    for index, slots in loop.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{slot}": value for slot, value in slots.items()}
    progress_made = {
        "epoch": state.epoch,
        "seconds": state.seconds,
        "best_epoch": state.best_epoch,
        "best_score": None if math.isinf(state.best_score) else state.best_score,
        "history": state.history,
        "identity": loop.context.identity,
    }
    loop.context.run.save_state({name: tensor.clone() for name, tensor in tensors.items()}, progress_made)


def _restore(loop: _Loop) -> _State:
    run, identity = loop.context.run, loop.context.identity
    saved = run.load_state()
    if saved is None:
        return _State()
    tensors, progress_made = saved
    if progress_made["identity"] != identity:
        raise CheckpointError(
            f"{run.path}: --resume: the run learnt from {progress_made['identity']}, now there is {identity}; "
            "bring that back, or start again with --overwrite"
        )
    loop.module.load_state_dict(_with_prefix(tensors, "model."))
    if loop.average:
        loop.average.load_averaged_state(
            _with_prefix(tensors, "average."), n_updates=progress_made["epoch"] * len(loop.loader)
        )
    slots: dict[int, dict[str, Tensor]] = {}
    for name, value in _with_prefix(tensors, "optimizer.").items():
        index, slot = name.split(".")
        slots.setdefault(int(index), {})[slot] = value
    loop.optimizer.load_state_dict({"state": slots, "param_groups": loop.optimizer.state_dict()["param_groups"]})
    return _State(
        epoch=progress_made["epoch"],
        seconds=progress_made["seconds"],
        best_epoch=progress_made["best_epoch"],
        best_score=-math.inf if progress_made["best_score"] is None else progress_made["best_score"],
        best=_with_prefix(tensors, "best."),
        history=progress_made["history"],
    )


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
