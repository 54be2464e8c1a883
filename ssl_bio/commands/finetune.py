"""`ssl-bio finetune`: resolve, data, backbone, task, fit, evaluate, append the row, write."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch

from ssl_bio.commands.comparison import show_runs
from ssl_bio.commands.plan import RunOptions, RunPlan, SeedPlan, Start, asks_for_full, plan_seeds
from ssl_bio.commands.result import RunResult, pooled, write_predictions
from ssl_bio.commands.rows import append_rows, draw, published, say_left_out
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
    with_default_target,
)
from ssl_bio.config import Recipe, Resolved, to_toml
from ssl_bio.config.resolve import check_task
from ssl_bio.console import note, stage, warn
from ssl_bio.data.dataset import PreparedDataset
from ssl_bio.errors import CheckpointError
from ssl_bio.models.base import Backbone, SignalNetwork
from ssl_bio.pretexts.sources import seen_test_people
from ssl_bio.results import sheet, tables
from ssl_bio.results.tensorboard import check_tensorboard, event_log
from ssl_bio.runs.checkpoint import load_checkpoint
from ssl_bio.runs.folder import RECIPE_FILE, RunFolder
from ssl_bio.runs.inputs import InputSpec
from ssl_bio.runs.transfer import n_parameters, transfer
from ssl_bio.tasks.base import AnyTask, load_task
from ssl_bio.tasks.datasets import open_recipe_dataset
from ssl_bio.tasks.load import fit_input_scaling, load_finetuned, recipe_backbone
from ssl_bio.tasks.train import train_task
from ssl_bio.training import runtime
from ssl_bio.training.fit import RunContext

#: Told of every epoch's history row, and of which part of a cross-validation it is (a single run: 0).
AfterEpochOfPart = Callable[[int, Mapping[str, float]], None]


class Reporting(NamedTuple):
    """What a run tells besides its folder: a row in the sheet, figures, and its epochs while it learns."""

    row: bool = True
    figures: bool = True
    after_epoch: AfterEpochOfPart | None = None


_WHOLE = Reporting()


class Prepared(NamedTuple):
    """A finetuning whose recipe is complete and whose data has been checked."""

    resolved: Resolved
    task: AnyTask
    dataset: PreparedDataset

    @property
    def recipe(self) -> Recipe:
        """Return the complete recipe."""
        return self.resolved.recipe


def finetune(options: RunOptions, checkpoint: str | None, seeds: Sequence[int] | None) -> list[RunFolder]:
    """Learn a downstream task on a backbone, once for each seed and each part of a cross-validation, and evaluate each
    on its test split."""
    sheet.check(options.sheet)
    check_tensorboard(options.tensorboard)
    device = runtime.pick_device(options.device)
    if asks_for_full(options.overrides):
        note("--backbone-lr trains the backbone: --mode full")
    plans = plan_seeds(options, checkpoint, seeds)
    for plan in plans:
        plan.run.check(kind="finetune", resume=options.resume, overwrite=options.overwrite)
    start = plans[0].runs[0].start
    if start and not checkpoint:
        note(f"starting from the newest complete pretraining run: {start.path}")
    results = []
    for number, plan in enumerate(plans, start=1):
        with stage("seed", number, len(plans)):
            results.append(run_seed(options, plan, device))
    first, evaluations = results[0], [one.evaluation for one in results]
    if len(results) > 1 and all(one.predicts_same(evaluations[0]) for one in evaluations):
        warn(
            "all seeds predict the same: nothing in this run is random; to see the spread, pretrain once a seed "
            "and give --checkpoint a path with {seed} in it"
        )
    recipe, split = first.recipe, first.metadata.split
    title = f"{recipe.name}, {recipe.finetune.mode}, {split} ({evaluations[0].n} windows)"
    tables.show([tables.seeds_table(evaluations, [plan.seed for plan in plans], title)])
    tables.show(first.task.tables(first.target, evaluations))
    references = published(recipe)
    tables.show(tables.comparison_table(evaluations, {**evaluations[0].baselines, **references}))
    if references and recipe.reference.source:
        note(f"reference: {recipe.reference.source}")
    show_runs(first)
    return [plan.run for plan in plans]


def run_seed(options: RunOptions, plan: SeedPlan, device: torch.device, reporting: Reporting = _WHOLE) -> RunResult:
    """Run one seed: a single run, or all parts of a cross-validation as one result."""
    if not plan.is_cross_validation:
        return _run_one(options, plan.runs[0], device, reporting)
    runs = _resumed_parts(plan.run, plan.runs) if options.resume else plan.runs
    for part in runs:  # what cannot be is said before anything is replaced or trained
        prepare(part.resolved)
    of_parts = reporting._replace(row=False)
    if plan.run.complete_folds and not options.overwrite:  # every part is there
        return pooled([_run_one(options, part, device, of_parts) for part in runs], plan.run)
    with plan.run.owned(kind="finetune", resume=options.resume, overwrite=options.overwrite):
        whole = runs[0].resolved.recipe
        data = whole.data.model_copy(update={"fold": -1})
        plan.run.write_text(RECIPE_FILE, to_toml(whole.model_copy(update={"data": data}), {}))
        options = options._replace(overwrite=False)
        parts = []
        for index, part in enumerate(runs):
            with stage("fold", index + 1, len(runs)):
                parts.append(_run_one(options, part, device, of_parts, index=index))
        result = pooled(parts, plan.run)
        write_predictions(plan.run, result.evaluation, split=parts[0].metadata.split)
        if reporting.figures:
            draw(result, plan.run)
        if reporting.row:
            append_rows(result, sheet_path=options.sheet, run=plan.run)
        plan.run.finish_folds(result.metadata)
    return result


def _resumed_parts(run: RunFolder, runs: Sequence[RunPlan]) -> list[RunPlan]:
    """Return the parts of a cross-validation that goes on, all under the recipe that it began with."""
    if not (run.path / RECIPE_FILE).is_file():
        return list(runs)
    kept = resumed(run, runs[0].resolved)
    if kept.recipe.data.folds != len(runs):
        raise CheckpointError(
            f"{run.path} holds a cross-validation of {kept.recipe.data.folds} parts, not {len(runs)}: choose another "
            "with --out, or replace it with --overwrite"
        )
    return [
        part._replace(
            resolved=kept.with_recipe(data=kept.recipe.data.model_copy(update={"fold": part.resolved.recipe.data.fold}))
        )
        for part in runs
    ]


def prepare(resolved: Resolved) -> Prepared:
    """Return a run whose recipe is complete. Raises for all that cannot be, before anything is written."""
    dataset = open_recipe_dataset(resolved.recipe.data)
    check_split_scheme(resolved.recipe, dataset.info)
    check_task(resolved.recipe)
    resolved = with_default_target(resolved, dataset.info)
    task = load_task(resolved.recipe)
    refuse(task.check(dataset))
    return Prepared(resolved, task, dataset)


def _run_one(
    options: RunOptions, plan: RunPlan, device: torch.device, reporting: Reporting, *, index: int = 0
) -> RunResult:
    start, resolved, run = plan
    if options.resume and already_complete(run, "finetune"):
        return _evaluated_again(run, device)
    prepared = prepare(resumed(run, resolved) if options.resume else resolved)
    recipe, task, dataset = prepared.recipe, prepared.task, prepared.dataset
    if start:
        task.check_start(start.metadata, dataset.info)
    spec = task.input_spec(dataset.info, start.metadata if start else None)
    runtime.seed_torch(recipe.seed, "initialise")
    backbone = recipe_backbone(recipe, spec, weights_follow=start is not None)
    fit_input_scaling(backbone, dataset, recipe=recipe, spec=spec)
    anew = _transferred(backbone, start, dataset=dataset, recipe=recipe)
    target = task.target(dataset, task.training_rows(dataset, recipe.finetune.fit_on))
    model = task.build(backbone, target, spec)
    with (
        run.owned(kind="finetune", resume=options.resume, overwrite=options.overwrite),
        event_log(run, on=options.tensorboard) as log_epoch,
    ):
        seen = _announce(options, prepared, start, run=run, backbone=backbone, spec=spec, anew=anew)
        record(run, prepared.resolved, dataset, seen)
        learns_from = identity(dataset, f"{start.path} of {start.metadata.finished_at}" if start else "")
        context = RunContext(
            run=run,
            device=device,
            resume=options.resume,
            identity=learns_from,
            after_epoch=partial(reporting.after_epoch, index) if reporting.after_epoch else None,
            log_epoch=log_epoch,
        )
        result = train_task(task, model=model, target=target, dataset=dataset, spec=spec, context=context)
        model.load_state_dict(result.tensors)
        split = recipe.evaluate.split
        rows = task.evaluated_rows(dataset, split)
        evaluation = task.evaluate(model, target, dataset=dataset, rows=rows, split=split, spec=spec, device=device)
        metadata = checkpoint_metadata(
            "finetune", run=run, recipe=recipe, dataset=dataset, spec=spec, result=result
        ).model_copy(
            update={
                "target": target.model_dump(mode="json"),
                "origin": str(start.path) if start else "",
                "split": split,
                "grid": options.grid,
                "trials": options.trials,
                "metrics": dict(evaluation.metrics),
            }
        )
        write_predictions(run, evaluation, split=split)
        done = RunResult(recipe, task, target, evaluation, metadata, n_parameters(model), dataset)
        if reporting.figures:
            draw(done, run)
        # The row first: a crash between the two leaves a run to finish, whose row is then there only once.
        if reporting.row:
            append_rows(done, sheet_path=options.sheet, run=run)
        run.finish(result.tensors, metadata)
    return done


def _transferred(
    backbone: Backbone | SignalNetwork, start: Start | None, *, dataset: PreparedDataset, recipe: Recipe
) -> list[str]:
    """Load the weights that finetuning starts from; return what starts anew."""
    if start is None:
        return []
    return transfer(backbone, load_checkpoint(start.path), info=dataset.info, normalize=recipe.data.normalize)


def _announce(
    options: RunOptions,
    prepared: Prepared,
    start: Start | None,
    *,
    run: RunFolder,
    backbone: Backbone | SignalNetwork,
    spec: InputSpec,
    anew: Sequence[str],
) -> list[str]:
    """Say what is about to run and what a person should know about it; return whom of the test people the pretrained
    backbone has seen, a line each."""
    source = str(start.path) if start else options.recipe or ""
    announce("finetune", run=run, resolved=prepared.resolved, dataset=prepared.dataset, source=source)
    info, recipe = prepared.dataset.info, prepared.recipe
    if spec.sampling_rate != info.sampling_rate:
        note(f"signals are resampled to {spec.sampling_rate:g} Hz, the checkpoint's rate")
    if spec.crop:
        note(f"the network sees {spec.window} of {spec.length} samples at once")
    for line in anew:
        warn(f"starts anew: {line}")
    say_padding(backbone)
    say_left_out(prepared.task, prepared.dataset)
    if start is None:
        return []
    seen = list(seen_test_people("the pretrained backbone", start.metadata, recipe=recipe, dataset=prepared.dataset))
    for line in seen:
        warn(line)
    return seen


def _evaluated_again(run: RunFolder, device: torch.device) -> RunResult:
    """Return the result of a complete run."""
    loaded = load_finetuned(run.load())
    dataset, split = open_recipe_dataset(loaded.recipe.data), loaded.recipe.evaluate.split
    evaluation = loaded.task.evaluate(
        loaded.model,
        loaded.target,
        dataset=dataset,
        rows=loaded.task.evaluated_rows(dataset, split),
        split=split,
        spec=loaded.spec,
        device=device,
    )
    n = n_parameters(loaded.model)
    return RunResult(loaded.recipe, loaded.task, loaded.target, evaluation, loaded.metadata, n, dataset)
