"""The three commands, as contents pages: resolve, data, model, task, fit, judge, write."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import nn

from ssl_bio import (
    build,
    checks,
    judging,
    learn,
    recipe,
    report,
    resolve,
    results,
    runtime,
    samples,
    sheet,
    sources,
    weights,
)
from ssl_bio.checkpoint import MODEL_FILE, RECIPE_FILE, Checkpoint, Facts, RunFolder, load, newest, now
from ssl_bio.data.store import PreparedDataset, data_root
from ssl_bio.errors import CheckpointError, RecipeError
from ssl_bio.judging import Judged, Network
from ssl_bio.learn import Asked, Learnt, Place
from ssl_bio.models.denoiser import Denoiser
from ssl_bio.models.forecaster import Forecaster
from ssl_bio.models.vqvae import VQVAE, VQVAEBackbone
from ssl_bio.outcome import Outcome, Series, Signal
from ssl_bio.resolve import Resolved
from ssl_bio.samples import Form
from ssl_bio.schema import Recipe
from ssl_bio.studies import RUNS, Job, Wishes, data_of_fold, fold_folder, folds_name, parts, studies_of
from ssl_bio.terminal import note, table, warn
from ssl_bio.train import Fitted

DEFAULT_RECIPE = "demo.toml"


class Done(NamedTuple):
    """A finished finetuning."""

    judged: Judged
    facts: Facts
    n_parameters: int


def pretrain(wishes: Wishes) -> list[RunFolder]:
    """Learn a backbone without labels; under cross-validation one for each part, which never sees the people of its
    test split."""
    written = recipe.load(wishes.recipe or DEFAULT_RECIPE)
    resolved = resolve.resolve([written, wishes.overrides])
    home = (
        wishes.out or RUNS / resolved.recipe.name / f"pretrain{folds_name(resolved.recipe)}-seed{resolved.recipe.seed}"
    )
    return [_pretrain_one(wishes, one, RunFolder(fold_folder(home, one.recipe))) for one in parts(resolved)]


def _pretrain_one(wishes: Wishes, resolved: Resolved, run: RunFolder) -> RunFolder:
    device = runtime.pick_device(wishes.device)
    if wishes.resume and _already_complete(run, "pretrain"):
        return run
    resolved = _resumed(run, resolved) if wishes.resume else resolved
    data = sources.dataset(resolved.recipe.data)
    resolved = resolve.with_dataset(resolved, data.info)
    plan = resolved.recipe
    form = samples.form(plan, data.info)
    runtime.seed_torch(plan.seed, "initialise")
    backbone = build.backbone(plan, len(data.info.channels), form.window)
    samples.fit_input_scaling(backbone, data, plan, form)
    task = build.pretext_task(plan, backbone)
    checks.pretext(plan, data)
    if plan.model.codewords:
        codewords = load(Path(plan.model.codewords)).facts
        weights.check_codewords(codewords, data.info)
        _say_other_splits("the run in model.codewords", codewords, plan)
    run.claim("pretrain", wishes.resume, wishes.overwrite)
    _announce("pretrain", run, resolved, data, wishes.recipe or DEFAULT_RECIPE)
    _say_padding(backbone)
    _say_small_batches(plan, backbone)
    run.write_text(RECIPE_FILE, recipe.to_toml(plan, resolved.origins))
    learnt = learn.pretext(plan, data, task, backbone, Place(run, device, wishes.resume, _identity(data, None)))
    run.finish(learnt.fitted.tensors, _facts("pretrain", plan, data, form, learnt))
    table("Pretraining", ["", "value"], _figure_rows(learnt.fitted))
    if isinstance(task.model, VQVAE):
        task.model.load_state_dict(learnt.fitted.tensors)
        report.draw_vqvae(run, task.model, plan, data, device)
    note(f"backbone in {run.path / MODEL_FILE}")
    return run


def finetune(wishes: Wishes, checkpoint: str | None, seeds: Sequence[int] | None) -> list[RunFolder]:
    """Learn a downstream task on a backbone, once for each seed and each part of a cross-validation, and judge each
    on its test split."""
    sheet.check(wishes.sheet)
    device = runtime.pick_device(wishes.device)
    studies = studies_of(wishes, checkpoint, seeds)
    for run, _ in studies:
        run.check("finetune", wishes.resume, wishes.overwrite)
    done = [_finetune_study(wishes, run, jobs, device) for run, jobs in studies]
    plan = studies[0][1][0].resolved.recipe
    judged = [one.judged for one in done]
    first = judged[0].outcome.columns[0]
    if len({one.figures[first] for one in judged}) == 1 < len(judged):
        warn(
            "all seeds agree: nothing in this probe is random; to see the spread, pretrain once a seed and give "
            "--checkpoint a path with {seed} in it"
        )
    results.compare(plan, [jobs[0].resolved.recipe.seed for _, jobs in studies], judged, done[0].facts.split)
    results.side_by_side(RUNS, plan, done[0].facts)
    return [run for run, _ in studies]


def evaluate(wishes: Wishes, checkpoint: str | None, data_name: str | None) -> Judged:
    """Judge a finetuned run on a split of its own data, or on other data with its own preprocessing."""
    sheet.check(wishes.sheet)
    device = runtime.pick_device(wishes.device)
    run = RunFolder(Path(checkpoint)) if checkpoint else newest(RUNS, "finetune")
    if run.path.is_file():
        run = RunFolder(run.path.parent)
    note(f"evaluating {run.path}")
    loaded = run.load()
    if loaded.facts.kind != "finetune":
        raise CheckpointError(
            f"{run.path}: a pretraining run has no head to evaluate; run ssl-bio finetune on it first"
        )
    for key in recipe.flatten(wishes.overrides.values):
        if not key.startswith(
            (
                "evaluate.",
                "noise.dataset",
                "noise.root",
                "noise.target",
                "data.root",
                "data.missing",
                "model_name",
                "task_name",
            )
        ):
            raise RecipeError(f"--set {key}: evaluate does not train, so it would change nothing")
    plan = resolve.resolve([resolve.from_checkpoint(loaded.facts), wishes.overrides]).recipe
    data = sources.external(data_name, plan, data_root(plan.data.root)) if data_name else sources.dataset(plan.data)
    if not data_name and data.info.fingerprint != loaded.facts.fingerprint:
        warn(f"dataset {data.info.name} was prepared anew since this run: fingerprint {data.info.fingerprint}")
    model = judging.load_network(loaded, plan)
    judged = judging.judge(model, run, loaded.facts, plan, data, device, external=bool(data_name))
    results.show(judged, f"{run.path.name} on {data.info.name}, {plan.evaluate.split} ({judged.n} windows)")
    facts = loaded.facts.model_copy(update={"split": plan.evaluate.split})
    rows = results.rows(facts, plan, data, judged, weights.n_parameters(model), run)
    sheet.append(wishes.sheet, rows)
    note(f"{'one row' if len(rows) == 1 else f'{len(rows)} rows'} appended to {wishes.sheet}")
    results.side_by_side(RUNS, plan, loaded.facts)
    return judged


def _finetune_study(wishes: Wishes, run: RunFolder, jobs: Sequence[Job], device: torch.device) -> Done:
    """One seed: a single run, or all parts of a cross-validation as one result."""
    if jobs[0].run is run:
        return _finetune_one(wishes, jobs[0], device, with_row=True)
    jobs = _resumed_parts(run, jobs) if wishes.resume else jobs
    for job in jobs:  # what cannot be is said before anything is replaced or trained
        data = sources.dataset(job.resolved.recipe.data)
        checks.finetune(resolve.with_dataset(job.resolved, data.info).recipe, data)
    already = run.complete_folds and not wishes.overwrite
    if not already:
        run.claim("finetune", wishes.resume, wishes.overwrite)
        whole = jobs[0].resolved.recipe
        run.write_text(RECIPE_FILE, recipe.to_toml(whole.model_copy(update={"data": data_of_fold(whole, -1)}), {}))
    done = [_finetune_one(wishes, job, device, with_row=False) for job in jobs]
    judged = judging.pooled([one.judged for one in done])
    facts = done[-1].facts.model_copy(
        update={
            "metrics": judged.figures,
            "split": f"{done[-1].facts.split} of {len(jobs)} folds",
            "seconds": sum(one.facts.seconds for one in done),
            "n_train": round(sum(one.facts.n_train for one in done) / len(done)),
            "finished_at": now(),
        }
    )
    if not already:
        plan = jobs[-1].resolved.recipe
        data = sources.dataset(plan.data)
        plan = resolve.with_dataset(jobs[-1].resolved, data.info).recipe
        sheet.append(wishes.sheet, results.rows(facts, plan, data, judged, done[-1].n_parameters, run))
        run.finish_folds(facts)
    return Done(judged, facts, done[-1].n_parameters)


def _resumed_parts(run: RunFolder, jobs: Sequence[Job]) -> list[Job]:
    """The parts of a cross-validation that goes on, all under the recipe that it began with."""
    if not (run.path / RECIPE_FILE).is_file():
        return list(jobs)
    kept = _resumed(run, jobs[0].resolved)
    if kept.recipe.data.folds != len(jobs):
        raise CheckpointError(
            f"{run.path} holds a cross-validation of {kept.recipe.data.folds} parts, not {len(jobs)}: choose another "
            "with --out, or replace it with --overwrite"
        )
    folds = [data_of_fold(kept.recipe, job.resolved.recipe.data.fold) for job in jobs]
    return [
        job._replace(resolved=Resolved(kept.recipe.model_copy(update={"data": data}), kept.origins))
        for job, data in zip(jobs, folds, strict=True)
    ]


def _finetune_one(wishes: Wishes, job: Job, device: torch.device, with_row: bool) -> Done:
    start, resolved, run = job
    if wishes.resume and _already_complete(run, "finetune"):
        return _judged_again(run, device)
    resolved = _resumed(run, resolved) if wishes.resume else resolved
    data = sources.dataset(resolved.recipe.data)
    resolved = resolve.with_dataset(resolved, data.info)
    plan = resolved.recipe
    checks.finetune(plan, data)
    form = samples.finetuning_form(plan, data.info, start.facts if start else None)
    runtime.seed_torch(plan.seed, "initialise")
    backbone = build.backbone(plan, len(data.info.channels), form.window, will_load=bool(start))
    samples.fit_input_scaling(backbone, data, plan, form)
    anew = weights.transfer(backbone, start, data.info, plan) if start else []
    outcome = samples.outcome(data, plan, samples.training_rows(data, plan, plan.finetune.fit_on))
    model = build.network(plan, backbone, outcome, form)
    run.claim("finetune", wishes.resume, wishes.overwrite and with_row)
    origin = str(start.path.parent) if start else ""
    _announce("finetune", run, resolved, data, origin or wishes.recipe or "")
    _say_form(form, data, anew, plan)
    if start:
        _say_other_splits("the pretrained backbone", start.facts, plan)
    run.write_text(RECIPE_FILE, recipe.to_toml(plan, resolved.origins))
    learnt = _learn(plan, data, model, outcome, form, Place(run, device, wishes.resume, _identity(data, start)))
    model.load_state_dict(learnt.fitted.tensors)
    facts = _facts("finetune", plan, data, form, learnt)
    facts = facts.model_copy(
        update={"outcome": outcome, "origin": origin, "split": plan.evaluate.split, "grid": wishes.grid}
    )
    judged = judging.judge(model, run, facts, plan, data, device)
    facts = facts.model_copy(update={"metrics": judged.figures})
    n_parameters = weights.n_parameters(model)
    # The row first: a crash between the two leaves a run to finish, never a result without its row.
    if with_row:
        sheet.append(wishes.sheet, results.rows(facts, plan, data, judged, n_parameters, run))
    run.finish(learnt.fitted.tensors, facts)
    if isinstance(model, Forecaster):
        naive = judged.constants["seasonal naive"]
        report.draw_forecast(run, judged.targets, judged.answers, naive, form.sampling_rate)
    elif isinstance(model, Denoiser):
        report.draw_denoised(run, judged, form.sampling_rate)
    return Done(judged, facts, n_parameters)


def _learn(plan: Recipe, data: PreparedDataset, model: Network, outcome: Outcome, form: Form, place: Place) -> Learnt:
    if isinstance(model, Denoiser):
        assert isinstance(outcome, Signal)
        return learn.denoiser(plan, data, model, outcome, form, place)
    if isinstance(model, Forecaster):
        assert isinstance(outcome, Series)
        return learn.forecaster(plan, data, model, outcome, form, place)
    assert not isinstance(outcome, Series | Signal)
    frozen = plan.finetune.mode in ("linear-probe", "random-frozen")
    return (learn.linear_probe if frozen else learn.whole_network)(plan, data, model, Asked(outcome, form), place)


def _judged_again(run: RunFolder, device: torch.device) -> Done:
    loaded = run.load()
    plan = resolve.resolve([resolve.from_checkpoint(loaded.facts)]).recipe
    model = judging.load_network(loaded, plan)
    judged = judging.judge(model, run, loaded.facts, plan, sources.dataset(plan.data), device)
    return Done(judged, loaded.facts, weights.n_parameters(model))


def _identity(data: PreparedDataset, start: Checkpoint | None) -> str:
    """What a run learns from, for a resumed one to compare."""
    weights = f" and {start.path.parent} of {start.facts.finished_at}" if start else ""
    return f"dataset {data.info.name} ({data.info.fingerprint}){weights}"


def _already_complete(run: RunFolder, kind: str) -> bool:
    if run.complete:
        run.check(kind, resume=True, overwrite=False)
        note(f"{run.path} is complete already; --overwrite runs it again")
    return run.complete


def _resumed(run: RunFolder, resolved: Resolved) -> Resolved:
    path = run.path / RECIPE_FILE
    if not path.is_file():
        note(f"nothing to resume in {run.path}: starting from the beginning")
        return resolved
    kept, refused = resolve.on_resume(recipe.load(str(path)), resolved)
    for line in refused:
        warn(line)
    return kept


def _facts(
    kind: Literal["pretrain", "finetune"], plan: Recipe, data: PreparedDataset, form: Form, learnt: Learnt
) -> Facts:
    fitted = learnt.fitted
    return Facts(
        kind=kind,
        recipe=plan.model_dump(mode="json"),
        dataset=data.info.name,
        fingerprint=data.info.fingerprint,
        channels=data.info.channels,
        length=form.length,
        window=form.window,
        sampling_rate=form.sampling_rate,
        metrics={name: value for name, value in fitted.figures.items() if name != "epoch"},
        selected_on=learnt.selected_on,
        epochs=fitted.epochs,
        best_epoch=fitted.best_epoch,
        n_train=learnt.n_train,
        seconds=fitted.seconds,
        versions=runtime.versions(),
        finished_at=now(),
    )


def _announce(verb: str, run: RunFolder, resolved: Resolved, data: PreparedDataset, source: str) -> None:
    plan, info = resolved.recipe, data.info
    note(f"{verb} {plan.name} (seed {plan.seed}) from {source or 'defaults'} into {run.path}")
    if plan.data.fold > 0 and "data.fold" not in resolved.origins:
        return  # the first part of the cross-validation has told it all
    note(
        f"data {info.name}, fingerprint {info.fingerprint}: {info.n} windows of {len(info.channels)} channels x "
        f"{info.length} samples at {info.sampling_rate:g} Hz; validation: {info.schemes[plan.data.validation]}"
    )
    results.say_overlap(info, plan.data.validation)
    chosen = {key: origin for key, origin in resolved.origins.items() if not key.startswith("reference.")}
    flat = recipe.flatten(plan.model_dump())
    for origin in dict.fromkeys(chosen.values()):
        shown = ", ".join(f"{key}={flat[key]}" for key, where in chosen.items() if where == origin)
        note(f"  from {origin}: {shown}")


def _say_form(form: Form, data: PreparedDataset, anew: Sequence[str], plan: Recipe) -> None:
    """What is done to signals before the network sees them, what of a checkpoint it cannot use, and which windows
    have no label."""
    if form.sampling_rate != data.info.sampling_rate:
        note(f"signals are resampled to {form.sampling_rate:g} Hz, the checkpoint's rate")
    if form.window < form.length and plan.finetune.task != "forecast":
        then = "pieced together" if plan.finetune.task == "denoise" else "averaged"
        note(f"the network sees {form.window} of {form.length} samples: drawn in training, {then} in evaluation")
    for line in anew:
        warn(f"starts anew: {line}")
    counts = {split: len(rows) for split, rows in data.splits[plan.data.validation].items()}
    if samples.own_target(plan):
        return
    unknown = {split: n - len(samples.known_rows(data, plan, split)) for split, n in counts.items()}
    missing = {split: n for split, n in unknown.items() if n}
    if missing:
        shown = ", ".join(f"{n} of {counts[split]} in {split}" for split, n in missing.items())
        warn(f"windows without a known {plan.data.target} are left out: {shown}")


def _say_padding(backbone: nn.Module) -> None:
    padding = getattr(backbone, "padding", 0)
    if padding:
        warn(f"windows are padded by {padding} samples to {getattr(backbone, 'n_tokens', 0)} whole tokens")


def _say_other_splits(what: str, theirs: Facts, plan: Recipe) -> None:
    """Warn when something learnt from the same people under another division into training and test."""
    data = theirs.recipe["data"]
    if data["dataset"] != plan.data.dataset:
        return
    learnt, judged = (
        f"{validation!r}" + (f", part {fold} of {folds}" if folds else "")
        for validation, folds, fold in (
            (data["validation"], data["folds"], data["fold"]),
            (plan.data.validation, plan.data.folds, plan.data.fold),
        )
    )
    if learnt != judged:
        warn(
            f"{what} learnt under split scheme {learnt}, this run is judged under {judged}: "
            "it may have seen signals (no labels) of the test people"
        )


def _say_small_batches(plan: Recipe, backbone: nn.Module) -> None:
    settings = plan.model.quantizer
    if not isinstance(backbone, VQVAEBackbone) or settings.kind != "vq" or not settings.kmeans_init:
        return
    n_tokens = plan.pretrain.batch_size * -(-backbone.n_tokens // plan.model.coarse)
    if n_tokens < settings.codebook_size:
        warn(
            f"the first batch holds {n_tokens} tokens for {settings.codebook_size} codes: k-means starts some codes as "
            "copies, and those that stay unused move to tokens of later batches (model.quantizer.revive_below)"
        )


def _figure_rows(fitted: Fitted) -> list[list[str]]:
    shown = {name: value for name, value in fitted.figures.items() if not name.startswith("lr_")}
    return [[name, f"{value:.6g}"] for name, value in shown.items()]
