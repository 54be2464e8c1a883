"""The one training routine of all downstream tasks: rows, batches, validation, objective, fit."""

import time

import torch
from torch import nn

from ssl_bio.config import Recipe
from ssl_bio.data.dataset import PreparedDataset
from ssl_bio.runs.inputs import InputSpec
from ssl_bio.tasks.base import AnyTask, TargetSpec
from ssl_bio.training.fit import FitResult, FitSettings, History, RunContext, Validate, fit


def train_task(
    task: AnyTask,
    *,
    model: nn.Module,
    target: TargetSpec,
    dataset: PreparedDataset,
    spec: InputSpec,
    context: RunContext,
) -> FitResult:
    """Train a task's model as its recipe says, or solve for its head, and return the weights of the chosen epoch.

    Where somebody is told of every epoch, "val" is evaluated after each, also by a recipe that chooses none by it; what
    is learnt is the same.
    """
    config, started = task.config, time.perf_counter()
    rows = task.training_rows(dataset, config.fit_on)
    with task.training_scope(model):
        loader = task.training_loader(dataset, rows, model=model.to(context.device), target=target, spec=spec)
        if config.solved:
            task.solve(model, target, loader)
            seconds = time.perf_counter() - started
            return FitResult(dict(model.state_dict()), 0, 0, {}, seconds, n_train=len(rows))
        validate, split = None, config.selected_on
        if split == "last" and context.after_epoch:
            split = "val"
        if split != "last":
            validate = _validation(
                task, split, model=model, target=target, dataset=dataset, spec=spec, device=context.device
            )
        result = fit(
            task.objective(model, target),
            loader=loader,
            settings=fit_settings(task.recipe),
            context=context,
            validate=validate,
        )
    return result._replace(selected_on=config.selected_on, n_train=len(rows))


def _validation(
    task: AnyTask,
    split: str,
    *,
    model: nn.Module,
    target: TargetSpec,
    dataset: PreparedDataset,
    spec: InputSpec,
    device: torch.device,
) -> Validate:
    rows = task.validation_rows(dataset, split)

    def validate(history: History) -> dict[str, float]:
        found = task.evaluate(
            model, target, dataset=dataset, rows=rows, split=split, spec=spec, device=device, validating=True
        )
        return {f"{split}_{name}": value for name, value in found.history_row.items()}

    return validate


def fit_settings(recipe: Recipe) -> FitSettings:
    """Return how a recipe's `[finetune]` section has the network trained."""
    config = recipe.finetune
    chooses = config.selected_on != "last"
    return FitSettings(
        epochs=config.epochs,
        seed=recipe.seed,
        weight_decay=config.weight_decay,
        optimizer=config.optimizer,
        schedule=config.schedule,
        warmup_epochs=config.warmup_epochs,
        max_grad_norm=config.max_grad_norm,
        ema_decay=config.ema_decay,
        monitor=f"{config.selected_on}_{config.monitor}" if chooses else "",
        patience=config.patience if chooses else 0,
    )
