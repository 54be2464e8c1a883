"""`ssl-bio pretrain`: resolve, data, backbone, pretext task, fit, write."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ssl_bio.commands.plan import DEFAULT_RECIPE, RunOptions, plan_pretraining
from ssl_bio.commands.steps import (
    already_complete,
    announce,
    check_split_scheme,
    checkpoint_metadata,
    identity,
    record,
    refuse,
    resumed,
    say_padding,
    shown_metrics,
    with_default_target,
)
from ssl_bio.config import Recipe, Resolved
from ssl_bio.config.resolve import check_pretext
from ssl_bio.console import note, stage, table, warn
from ssl_bio.data.dataset import PreparedDataset
from ssl_bio.data.loader import Loader
from ssl_bio.models.base import Backbone, SignalNetwork
from ssl_bio.pretexts.base import AnyPretext, embedding_rank, load_pretext, probe_metrics, validation_metrics
from ssl_bio.results import plots
from ssl_bio.results.curves import learning_curves
from ssl_bio.results.tensorboard import check_tensorboard, event_log
from ssl_bio.runs.checkpoint import MODEL_FILE
from ssl_bio.runs.files import read_json
from ssl_bio.runs.folder import METRICS_FILE, RunFolder
from ssl_bio.runs.inputs import InputSpec, input_spec
from ssl_bio.tasks.datasets import open_recipe_dataset
from ssl_bio.tasks.load import fit_input_scaling, recipe_backbone
from ssl_bio.training import runtime
from ssl_bio.training.fit import FitResult, History, RunContext, Validate, fit
from ssl_bio.training.objective import Objective

_OF_ONE_RUN = ("lr_", "seconds", "epoch")


def pretrain(options: RunOptions, seeds: Sequence[int] | None = None) -> list[RunFolder]:
    """Learn a backbone without labels, once for each seed; under cross-validation one for each part, which never sees
    the people of its test split."""
    check_tensorboard(options.tensorboard)
    plans = plan_pretraining(options, seeds)
    for part, run in plans:
        run.check(kind="pretrain", resume=options.resume, overwrite=options.overwrite)
        if len(plans) > 1 and not options.resume:
            _prepare(part)  # what cannot be is said before any of them is trained
    runs, n_seeds = [], len(seeds or [None])
    n_parts = len(plans) // n_seeds
    for index, (part, run) in enumerate(plans):
        seed, fold = divmod(index, n_parts)
        with stage("seed", seed + 1, n_seeds), stage("fold", fold + 1, n_parts):
            runs.append(_pretrain_one(options, part, run))
    if len(runs) > 1:
        _show_all(runs)
    return runs


class _Prepared(NamedTuple):
    """A pretraining whose recipe is complete and whose data has been checked."""

    resolved: Resolved
    pretext: AnyPretext
    dataset: PreparedDataset


def _prepare(resolved: Resolved) -> _Prepared:
    """Return a run whose recipe is complete. Raises for all that cannot be, before anything is written."""
    check_pretext(resolved.recipe)
    dataset = open_recipe_dataset(resolved.recipe.data)
    check_split_scheme(resolved.recipe, dataset.info)
    if load_pretext(resolved.recipe).probes():
        resolved = with_default_target(resolved, dataset.info)
    pretext = load_pretext(resolved.recipe)
    refuse(pretext.check(dataset))
    return _Prepared(resolved, pretext, dataset)


def _pretrain_one(options: RunOptions, resolved: Resolved, run: RunFolder) -> RunFolder:
    device = runtime.pick_device(options.device)
    if options.resume and already_complete(run, "pretrain"):
        return run
    resolved, pretext, dataset = _prepare(resumed(run, resolved) if options.resume else resolved)
    recipe = resolved.recipe
    spec = input_spec(dataset.info, window=recipe.model.window)
    runtime.seed_torch(recipe.seed, "initialise")
    backbone = recipe_backbone(recipe, spec)
    fit_input_scaling(backbone, dataset, recipe=recipe, spec=spec)
    objective = pretext.build(backbone, spec)
    with (
        run.owned(kind="pretrain", resume=options.resume, overwrite=options.overwrite),
        event_log(run, on=options.tensorboard) as log_epoch,
    ):
        announce("pretrain", run=run, resolved=resolved, dataset=dataset, source=options.recipe or DEFAULT_RECIPE)
        say_padding(backbone)
        for line in pretext.notes(backbone, dataset):
            warn(line)
        record(run, resolved, dataset)
        context = RunContext(
            run=run,
            device=device,
            resume=options.resume,
            identity=identity(dataset, pretext.learns_from),
            log_epoch=log_epoch,
        )
        result = _fit(pretext, objective, backbone=backbone, dataset=dataset, spec=spec, context=context)
        objective.module.load_state_dict(result.tensors)
        plots.draw(
            run,
            lambda: {
                **learning_curves(run.read_history(), leading=pretext.curves(), best_epoch=result.best_epoch),
                **pretext.figures(objective, dataset, device),
            },
        )
        metadata = checkpoint_metadata("pretrain", run=run, recipe=recipe, dataset=dataset, spec=spec, result=result)
        run.finish(result.tensors, metadata)
    table("Pretraining", ["", "value"], shown_metrics(result.metrics))
    note(f"backbone in {run.path / MODEL_FILE}")
    return run


def _show_all(runs: Sequence[RunFolder]) -> None:
    """Show the metrics of several runs, all seeds and parts of a cross-validation together."""
    found = [read_json(run.path / METRICS_FILE)["metrics"] for run in runs]
    names = [name for name in found[0] if not name.startswith(_OF_ONE_RUN) and all(name in one for one in found)]
    values = {name: np.array([one[name] for one in found]) for name in names}
    rows = [[name, f"{each.mean():.6g} ± {each.std(ddof=1):.2g}"] for name, each in values.items()]
    table(f"{len(runs)} runs in {Path(os.path.commonpath([run.path for run in runs]))}", ["", "mean ± std"], rows)


def _fit(
    pretext: AnyPretext,
    objective: Objective,
    *,
    backbone: Backbone | SignalNetwork,
    dataset: PreparedDataset,
    spec: InputSpec,
    context: RunContext,
) -> FitResult:
    """Train the backbone inside its pretext task."""
    loader, settings = pretext.training_loader(dataset, spec, context.device), pretext.fit_settings()
    watchers: list[Validate] = []
    if pretext.validates(dataset):
        unseen = pretext.validation_loader(dataset, context.device)
        watchers.append(partial(_on_validation, pretext, objective, loader=unseen, spec=spec, device=context.device))
    if pretext.has_unseen_windows(dataset) and isinstance(backbone, Backbone):
        windows = Loader(source=pretext.signals(dataset, "val"), batch_size=pretext.recipe.evaluate.batch_size)
        watchers.append(partial(_rank, backbone, loader=windows, window=spec.window, device=context.device))
    if pretext.probes():
        if "val" in pretext.config.fit_on:
            warn("the probe scores validation windows that pretraining has seen, without labels")
        watchers.append(partial(_probe, pretext, backbone, dataset=dataset, spec=spec, device=context.device))

    def validate(history: History) -> dict[str, float]:
        return {name: value for watch in watchers for name, value in watch(history).items()}

    result = fit(objective, loader=loader, settings=settings, context=context, validate=validate if watchers else None)
    return result._replace(selected_on="val" if settings.monitor else "last", n_train=len(loader.source))


def _on_validation(
    pretext: AnyPretext,
    objective: Objective,
    history: History,
    *,
    loader: Loader,
    spec: InputSpec,
    device: torch.device,
) -> dict[str, float]:
    """Return the pretext task's metrics on validation windows."""
    recipe: Recipe = pretext.recipe
    found = validation_metrics(objective, loader, window=spec.window, device=device, seed=recipe.seed)
    row = {f"val_{name}": value for name, value in found.items()}
    return row | pretext.after_validation(row, history)


def _rank(
    backbone: Backbone, history: History, *, loader: Loader, window: int, device: torch.device
) -> dict[str, float]:
    """Return the effective rank of the embeddings of validation windows: a low one tells of a collapse."""
    return {"val_rankme": embedding_rank(backbone, loader, window=window, device=device)}


def _probe(
    pretext: AnyPretext,
    backbone: Backbone | SignalNetwork,
    history: History,
    *,
    dataset: PreparedDataset,
    spec: InputSpec,
    device: torch.device,
) -> dict[str, float]:
    """Return, every few epochs and after the last one, what a linear probe predicts of validation people."""
    epoch, every = len(history) + 1, max(1, pretext.config.probe_every)
    if epoch % every and epoch != pretext.config.epochs:
        return {}
    return probe_metrics(pretext, backbone, dataset=dataset, spec=spec, device=device)
