"""The three commands, as contents pages: resolve, data, model, task, fit, judge, write."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ssl_bio import build, probe, recipe, resolve, results, runtime, sheet
from ssl_bio.checkpoint import MODEL_FILE, RECIPE_FILE, Checkpoint, Facts, RunFolder, load, newest, now
from ssl_bio.data.store import PreparedDataset, data_root
from ssl_bio.data.view import Batches, Features
from ssl_bio.errors import CheckpointError, RecipeError
from ssl_bio.models.heads import Classifier
from ssl_bio.recipe import Recipe, Written
from ssl_bio.resolve import Resolved
from ssl_bio.results import Judged
from ssl_bio.terminal import note, table, warn
from ssl_bio.train import Fitted, Settings, Validate, fit

RUNS = Path("checkpoints")
DEFAULT_RECIPE = "demo.toml"
DEFAULT_SHEET = Path("results.csv")


class Wishes(NamedTuple):
    """What the command line asks for, the same on every command."""

    overrides: Written
    recipe: str | None = None
    out: Path | None = None
    resume: bool = False
    overwrite: bool = False
    device: str = "auto"
    sheet: Path = DEFAULT_SHEET


def pretrain(wishes: Wishes) -> RunFolder:
    """Learn a backbone without labels."""
    written = recipe.load(wishes.recipe or DEFAULT_RECIPE)
    resolved = resolve.resolve([written, wishes.overrides])
    device = runtime.pick_device(wishes.device)
    run = RunFolder(wishes.out or RUNS / resolved.recipe.name / f"pretrain-seed{resolved.recipe.seed}")
    if wishes.resume and _already_complete(run):
        return run
    resolved = _resumed(run, resolved) if wishes.resume else resolved
    data = build.dataset(resolved.recipe.data)
    resolved = resolve.with_dataset(resolved, data.info)
    plan = resolved.recipe
    view = build.pretraining_view(data, plan, plan.pretrain.fit_on)
    runtime.seed_torch(plan.seed, "initialise")
    backbone = build.backbone(plan, len(data.info.channels), data.info.length)
    build.fit_input_scaling(backbone, data, plan)
    task = build.pretext_task(plan, backbone)
    run.claim(wishes.resume, wishes.overwrite)
    _announce("pretrain", run, resolved, data, wishes.recipe or DEFAULT_RECIPE)
    _say_padding(backbone)
    run.write_text(RECIPE_FILE, recipe.to_toml(plan, resolved.origins))
    settings = Settings(
        epochs=plan.pretrain.epochs,
        seed=plan.seed,
        weight_decay=plan.pretrain.weight_decay,
        schedule=plan.pretrain.schedule,
        warmup_epochs=plan.pretrain.warmup_epochs,
        max_grad_norm=plan.pretrain.max_grad_norm,
        monitor="probe_accuracy" if plan.pretrain.select == "probe" else "",
    )
    batches = Batches(
        view,
        plan.pretrain.batch_size,
        plan.pretrain.augment,
        plan.pretrain.augment_strength,
        pairs=plan.pretrain.pretext == "contrast",
        neighbours=plan.pretrain.neighbours,
    )
    fitted = fit(task, batches, settings, run, device, _pretext_validation(plan, data, backbone, device), wishes.resume)
    facts = _facts("pretrain", plan, data, fitted, len(view))
    facts = facts.model_copy(update={"selected_on": "val" if settings.monitor else "last"})
    run.finish(fitted.tensors, facts)
    table("Pretraining", ["", "value"], _figure_rows(fitted))
    note(f"backbone in {run.path / MODEL_FILE}")
    return run


def finetune(wishes: Wishes, checkpoint: str | None, seeds: Sequence[int] | None) -> list[RunFolder]:
    """Learn a downstream task on a backbone, once for each seed, and judge each on the test split."""
    sheet.check(wishes.sheet)
    device = runtime.pick_device(wishes.device)
    written = recipe.load(wishes.recipe) if wishes.recipe else None
    base = _starting_point(wishes, written, checkpoint)
    first = _finetune_recipe(wishes, written, base)
    runs, judged = [], []
    several = bool(seeds)
    seeds = seeds or [first.recipe.seed]
    for seed in seeds:
        start = load(Path(checkpoint.format(seed=seed))) if checkpoint and "{seed}" in checkpoint else base
        resolved = _finetune_recipe(wishes, written, start)
        resolved = Resolved(resolved.recipe.model_copy(update={"seed": seed}), resolved.origins)
        out = wishes.out or RUNS / resolved.recipe.name / f"finetune-{_mode_name(resolved.recipe)}"
        run = RunFolder(Path(f"{out}-seed{seed}") if several or not wishes.out else out)
        judged.append(_finetune_one(wishes, resolved, start, run, device))
        runs.append(run)
    results.compare(first.recipe, seeds, judged)
    results.side_by_side(RUNS, first.recipe, runs[0].load().facts.fingerprint)
    return runs


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
        if not key.startswith(("evaluate.", "data.root", "data.missing", "model_name", "task_name")):
            raise RecipeError(f"--set {key}: evaluate does not train, so it would change nothing")
    plan = resolve.resolve([resolve.from_checkpoint(loaded.facts, None), wishes.overrides]).recipe
    data = build.external(data_name, plan, data_root(plan.data.root)) if data_name else build.dataset(plan.data)
    if not data_name and data.info.fingerprint != loaded.facts.fingerprint:
        warn(f"dataset {data.info.name} was prepared anew since this run: fingerprint {data.info.fingerprint}")
    model = _load_classifier(loaded, plan)
    judged = results.judge(model, run, loaded.facts, plan, data, device, external=bool(data_name))
    results.show(judged, f"{run.path.name} on {data.info.name}, {plan.evaluate.split} ({judged.n} windows)")
    sheet.append(wishes.sheet, [results.row(loaded.facts, plan, data, judged, model, run)])
    note(f"one row appended to {wishes.sheet}")
    return judged


def _finetune_one(
    wishes: Wishes, resolved: Resolved, start: Checkpoint | None, run: RunFolder, device: torch.device
) -> Judged:
    if not (wishes.resume and _already_complete(run)):
        resolved = _resumed(run, resolved) if wishes.resume else resolved
        data = build.dataset(resolved.recipe.data)
        resolved = resolve.with_dataset(resolved, data.info)
        plan = resolved.recipe
        runtime.seed_torch(plan.seed, "initialise")
        backbone = build.backbone(plan, len(data.info.channels), data.info.length)
        build.fit_input_scaling(backbone, data, plan)
        if start and plan.finetune.mode in ("full", "linear-probe"):
            build.check_fit(start.facts, data.info)
            build.load_into(backbone, start, build.BACKBONE)
        info, _ = data.target(plan.data.target)
        model = build.classifier(plan, backbone, len(info.classes))
        train = build.training_rows(data, plan, plan.finetune.fit_on)
        run.claim(wishes.resume, wishes.overwrite)
        _announce("finetune", run, resolved, data, str(start.path.parent) if start else wishes.recipe or "")
        run.write_text(RECIPE_FILE, recipe.to_toml(plan, resolved.origins))
        frozen = plan.finetune.mode in ("linear-probe", "random-frozen")
        learn = _probe if frozen else _train_all
        fitted, selected_on = learn(plan, data, model, train, run, device, wishes.resume)
        facts = _facts("finetune", plan, data, fitted, len(train)).model_copy(
            update={
                "selected_on": selected_on,
                "classes": info.classes,
                "origin": str(start.path.parent) if start else "",
            }
        )
        run.write_model(fitted.tensors, facts)
        model.load_state_dict(fitted.tensors)
        judged = results.judge(model, run, facts, plan, data, device)
        facts = facts.model_copy(update={"metrics": judged.figures})
        run.finish(fitted.tensors, facts)
        sheet.append(wishes.sheet, [results.row(facts, plan, data, judged, model, run)])
        return judged
    loaded = run.load()
    plan = resolve.resolve([resolve.from_checkpoint(loaded.facts, None)]).recipe
    data = build.dataset(plan.data)
    return results.judge(_load_classifier(loaded, plan), run, loaded.facts, plan, data, device)


def _train_all(
    plan: Recipe,
    data: PreparedDataset,
    model: Classifier,
    train: NDArray[np.int64],
    run: RunFolder,
    device: torch.device,
    resume: bool,
) -> tuple[Fitted, str]:
    """Train head and backbone, each at its own rate."""
    settings, selected_on = _finetune_settings(plan)
    info = data.info
    batches = Batches(
        build.view(data, plan.data, train, info.sampling_rate, info.length),
        plan.finetune.batch_size,
        plan.finetune.augment,
        plan.finetune.augment_strength,
    )
    validate = None
    if selected_on != "last":
        rows = build.training_rows(data, plan, selected_on)
        held_out = Batches(build.view(data, plan.data, rows, info.sampling_rate, info.length), plan.evaluate.batch_size)
        validate = partial(_validation_figures, held_out, selected_on, device)
    return fit(build.classify_task(plan, model, False), batches, settings, run, device, validate, resume), selected_on


def _probe(
    plan: Recipe,
    data: PreparedDataset,
    model: Classifier,
    train: NDArray[np.int64],
    run: RunFolder,
    device: torch.device,
    resume: bool,
) -> tuple[Fitted, str]:
    """Fit a linear head on frozen features, and prove that the backbone stayed as it was."""
    info = data.info
    with probe.frozen(model.backbone):
        view = build.view(data, plan.data, train, info.sampling_rate, info.length)
        features = probe.extract(model, Batches(view, plan.evaluate.batch_size), device)
        targets = np.asarray(view.targets)
        probe.standardise(model, features)
        if plan.finetune.probe == "logistic":
            if not probe.solve_logistic(model, features, targets, plan.finetune.probe_c):
                warn("the logistic regression did not converge: a smaller finetune.probe_c helps")
            return Fitted(dict(model.state_dict()), 0, 0, {}, 0.0), "last"
        settings, selected_on = _finetune_settings(plan)
        validate = None
        if selected_on != "last":
            rows = build.training_rows(data, plan, selected_on)
            held_out_view = build.view(data, plan.data, rows, info.sampling_rate, info.length)
            held_out = Batches(held_out_view, plan.evaluate.batch_size)
            held_out_features = Features(probe.extract(model, held_out, device), np.asarray(held_out_view.targets))
            batches = Batches(held_out_features, plan.evaluate.batch_size)
            validate = partial(_validation_figures, batches, selected_on, device)
        task = build.classify_task(plan, model, True)
        batches = Batches(Features(features, targets), plan.finetune.batch_size)
        return fit(task, batches, settings, run, device, validate, resume), selected_on


def _starting_point(wishes: Wishes, written: Written | None, checkpoint: str | None) -> Checkpoint | None:
    """The pretraining run to start from: the one named, else the newest complete one; none for a recipe
    that trains from random weights."""
    if checkpoint and "{seed}" not in checkpoint:
        start = load(Path(checkpoint))
        if start.facts.kind != "pretrain":
            raise CheckpointError(f"{checkpoint}: a finetuned run; --checkpoint takes a pretraining run")
        return start
    if checkpoint:
        return None
    plan = resolve.resolve([layer for layer in (written, wishes.overrides) if layer]).recipe
    if written and plan.finetune.mode in ("scratch", "random-frozen"):
        return None
    run = newest(RUNS, "pretrain", plan.name if written else "")
    note(f"starting from the newest complete pretraining run{f' of {plan.name}' if written else ''}: {run.path}")
    return run.load()


def _finetune_recipe(wishes: Wishes, written: Written | None, start: Checkpoint | None) -> Resolved:
    layers = [resolve.from_checkpoint(start.facts, written)] if start else []
    if written:
        layers.append(written)
    return resolve.resolve([*layers, wishes.overrides])


def _mode_name(plan: Recipe) -> str:
    share = plan.finetune.label_fraction
    return plan.finetune.mode + (f"-labels{share:g}" if share < 1 else "")


def _finetune_settings(plan: Recipe) -> tuple[Settings, str]:
    """Loop settings, and the split that chooses the epoch ("last": none does)."""
    settings = plan.finetune
    if settings.selected_on == "val" and "val" in settings.fit_on:
        raise RecipeError(
            'finetune.fit_on "train+val" trains on the windows that finetune.selected_on "val" would choose by; '
            'set finetune.selected_on to "last"'
        )
    chosen = settings.selected_on
    return (
        Settings(
            epochs=settings.epochs,
            seed=plan.seed,
            weight_decay=settings.weight_decay,
            schedule=settings.schedule,
            warmup_epochs=settings.warmup_epochs,
            max_grad_norm=settings.max_grad_norm,
            average=settings.average,
            monitor="" if chosen == "last" else f"{chosen}_{settings.monitor}",
            patience=settings.patience if chosen != "last" else 0,
        ),
        chosen,
    )


def _validation_figures(
    batches: Batches, split: str, device: torch.device, model: nn.Module, epoch: int
) -> dict[str, float]:
    figures = results.figures_of(cast(Classifier, model), batches, device)
    return {f"{split}_{name}": value for name, value in figures.items()}


def _pretext_validation(
    plan: Recipe, data: PreparedDataset, module: nn.Module, device: torch.device
) -> Validate | None:
    """Every k epochs: accuracy on validation people of a linear probe on training people."""
    every, last = plan.pretrain.probe_every, plan.pretrain.epochs
    if not every and plan.pretrain.select == "last":
        return None
    rows = {split: data.rows(plan.data.validation, split) for split in ("train", "val")}
    info, _ = data.target(plan.data.target)
    views = {
        split: build.view(data, plan.data, r, data.info.sampling_rate, data.info.length) for split, r in rows.items()
    }

    def validate(_: nn.Module, epoch: int) -> dict[str, float]:
        if epoch % max(1, every) and epoch != last:
            return {}
        classifier = build.classifier(plan, module, len(info.classes))
        features = {
            split: probe.extract(classifier, Batches(view, plan.evaluate.batch_size), device)
            for split, view in views.items()
        }
        probe.standardise(classifier, features["train"])
        probe.solve_logistic(classifier, features["train"], np.asarray(views["train"].targets), plan.finetune.probe_c)
        held_out = Batches(Features(features["val"], np.asarray(views["val"].targets)), plan.evaluate.batch_size)
        return {"probe_accuracy": results.figures_of(classifier, held_out, device)["Accuracy"]}

    return validate


def _load_classifier(loaded: Checkpoint, plan: Recipe) -> Classifier:
    backbone = build.backbone(plan, len(loaded.facts.channels), loaded.facts.length)
    model = build.classifier(plan, backbone, len(loaded.facts.classes))
    build.load_into(model, loaded)
    return model


def _already_complete(run: RunFolder) -> bool:
    if run.complete:
        note(f"{run.path} is complete already; --overwrite runs it again")
    return run.complete


def _resumed(run: RunFolder, resolved: Resolved) -> Resolved:
    path = run.path / RECIPE_FILE
    if not path.is_file():
        raise CheckpointError(f"--resume: no run in {run.path}")
    kept, refused = resolve.on_resume(recipe.load(str(path)), resolved)
    for line in refused:
        warn(line)
    return kept


def _facts(
    kind: Literal["pretrain", "finetune"], plan: Recipe, data: PreparedDataset, fitted: Fitted, n_train: int
) -> Facts:
    return Facts(
        kind=kind,
        recipe=plan.model_dump(mode="json"),
        dataset=data.info.name,
        fingerprint=data.info.fingerprint,
        channels=data.info.channels,
        length=data.info.length,
        sampling_rate=data.info.sampling_rate,
        metrics={name: value for name, value in fitted.figures.items() if name != "epoch"},
        epochs=fitted.epochs,
        best_epoch=fitted.best_epoch,
        n_train=n_train,
        seconds=fitted.seconds,
        versions=runtime.versions(),
        finished_at=now(),
    )


def _announce(verb: str, run: RunFolder, resolved: Resolved, data: PreparedDataset, source: str) -> None:
    plan, info = resolved.recipe, data.info
    note(f"{verb} {plan.name} (seed {plan.seed}) from {source or 'defaults'} into {run.path}")
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


def _say_padding(backbone: nn.Module) -> None:
    padding = getattr(backbone, "padding", 0)
    if padding:
        warn(f"windows are padded by {padding} samples to {getattr(backbone, 'n_tokens', 0)} whole tokens")


def _figure_rows(fitted: Fitted) -> list[list[str]]:
    shown = {name: value for name, value in fitted.figures.items() if not name.startswith("lr_")}
    return [[name, f"{value:.6g}"] for name, value in shown.items()]
