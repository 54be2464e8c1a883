"""The three commands, as contents pages: resolve, data, model, task, fit, judge, write."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import nn

from ssl_bio import build, learn, recipe, report, resolve, results, runtime, sheet, sources
from ssl_bio.checkpoint import MODEL_FILE, RECIPE_FILE, Checkpoint, Facts, RunFolder, load, newest, now
from ssl_bio.data.store import PreparedDataset, data_root
from ssl_bio.errors import CheckpointError, RecipeError
from ssl_bio.learn import Learnt, Place
from ssl_bio.models.heads import Classifier
from ssl_bio.models.vqvae import VQVAE, VQVAEBackbone
from ssl_bio.recipe import Written
from ssl_bio.resolve import Resolved
from ssl_bio.results import Judged
from ssl_bio.schema import Recipe
from ssl_bio.terminal import note, table, warn
from ssl_bio.train import Fitted

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


class Job(NamedTuple):
    """One finetuning: where it starts (None: from random weights) and its recipe."""

    start: Checkpoint | None
    resolved: Resolved

    def with_seed(self, seed: int) -> "Job":
        """The same under another seed."""
        return Job(self.start, Resolved(self.resolved.recipe.model_copy(update={"seed": seed}), self.resolved.origins))


def pretrain(wishes: Wishes) -> RunFolder:
    """Learn a backbone without labels."""
    written = recipe.load(wishes.recipe or DEFAULT_RECIPE)
    resolved = resolve.resolve([written, wishes.overrides])
    device = runtime.pick_device(wishes.device)
    run = RunFolder(wishes.out or RUNS / resolved.recipe.name / f"pretrain-seed{resolved.recipe.seed}")
    if wishes.resume and _already_complete(run, "pretrain"):
        return run
    resolved = _resumed(run, resolved) if wishes.resume else resolved
    data = sources.dataset(resolved.recipe.data)
    resolved = resolve.with_dataset(resolved, data.info)
    plan = resolved.recipe
    runtime.seed_torch(plan.seed, "initialise")
    backbone = build.backbone(plan, len(data.info.channels), data.info.length)
    build.fit_input_scaling(backbone, data, plan)
    task = build.pretext_task(plan, backbone)
    learn.check_pretext(plan, data)
    if plan.model.codewords:
        codewords = load(Path(plan.model.codewords)).facts
        build.check_fit(codewords, data.info)
        _say_other_splits("the run in model.codewords", codewords, plan)
    run.claim("pretrain", wishes.resume, wishes.overwrite)
    _announce("pretrain", run, resolved, data, wishes.recipe or DEFAULT_RECIPE)
    _say_padding(backbone)
    _say_small_batches(plan, backbone)
    run.write_text(RECIPE_FILE, recipe.to_toml(plan, resolved.origins))
    learnt = learn.pretext(plan, data, task, backbone, Place(run, device, wishes.resume, _identity(data, None)))
    run.finish(learnt.fitted.tensors, _facts("pretrain", plan, data, learnt))
    table("Pretraining", ["", "value"], _figure_rows(learnt.fitted))
    if isinstance(task.model, VQVAE):
        task.model.load_state_dict(learnt.fitted.tensors)
        report.draw_vqvae(run, task.model, plan, data, device)
    note(f"backbone in {run.path / MODEL_FILE}")
    return run


def finetune(wishes: Wishes, checkpoint: str | None, seeds: Sequence[int] | None) -> list[RunFolder]:
    """Learn a downstream task on a backbone, once for each seed, and judge each on the test split."""
    sheet.check(wishes.sheet)
    device = runtime.pick_device(wishes.device)
    written = recipe.load(wishes.recipe) if wishes.recipe else None
    jobs = [_job(wishes, written, start) for start in _starting_points(wishes, written, checkpoint, seeds)]
    if seeds:
        jobs = [job.with_seed(seed) for job, seed in zip(jobs, seeds, strict=True)]
    runs = [RunFolder(_finetune_folder(wishes, job.resolved.recipe, several=bool(seeds))) for job in jobs]
    for run in runs:
        run.check("finetune", wishes.resume, wishes.overwrite)
    judged = [_finetune_one(wishes, job, run, device) for job, run in zip(jobs, runs, strict=True)]
    first = jobs[0].resolved
    if len({one.figures["Accuracy"] for one in judged}) == 1 < len(judged):
        warn(
            "all seeds agree: nothing in this probe is random; to see the spread, pretrain once a seed and give "
            "--checkpoint a path with {seed} in it"
        )
    results.compare(first.recipe, [job.resolved.recipe.seed for job in jobs], judged)
    results.side_by_side(RUNS, first.recipe, runs[0].load().facts)
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
    plan = resolve.resolve([resolve.from_checkpoint(loaded.facts), wishes.overrides]).recipe
    data = sources.external(data_name, plan, data_root(plan.data.root)) if data_name else sources.dataset(plan.data)
    if not data_name and data.info.fingerprint != loaded.facts.fingerprint:
        warn(f"dataset {data.info.name} was prepared anew since this run: fingerprint {data.info.fingerprint}")
    model = _load_classifier(loaded, plan)
    judged = results.judge(model, run, loaded.facts, plan, data, device, external=bool(data_name))
    results.show(judged, f"{run.path.name} on {data.info.name}, {plan.evaluate.split} ({judged.n} windows)")
    sheet.append(wishes.sheet, [results.row(loaded.facts, plan, data, judged, model, run)])
    note(f"one row appended to {wishes.sheet}")
    results.side_by_side(RUNS, plan, loaded.facts)
    return judged


def _finetune_one(wishes: Wishes, job: Job, run: RunFolder, device: torch.device) -> Judged:
    start, resolved = job
    if wishes.resume and _already_complete(run, "finetune"):
        return _judged_again(run, device)
    resolved = _resumed(run, resolved) if wishes.resume else resolved
    data = sources.dataset(resolved.recipe.data)
    resolved = resolve.with_dataset(resolved, data.info)
    plan = resolved.recipe
    learn.check_finetune(plan, data)
    runtime.seed_torch(plan.seed, "initialise")
    backbone = build.backbone(plan, len(data.info.channels), data.info.length, will_load=bool(start))
    build.fit_input_scaling(backbone, data, plan)
    if start:
        build.check_fit(start.facts, data.info)
        _say_other_splits("the pretrained backbone", start.facts, plan)
        build.load_into(backbone, start, build.BACKBONE)
    classes = build.class_names(data, plan.data.target)
    model = build.classifier(plan, backbone, len(classes))
    run.claim("finetune", wishes.resume, wishes.overwrite)
    origin = str(start.path.parent) if start else ""
    _announce("finetune", run, resolved, data, origin or wishes.recipe or "")
    run.write_text(RECIPE_FILE, recipe.to_toml(plan, resolved.origins))
    frozen = plan.finetune.mode in ("linear-probe", "random-frozen")
    learnt = (learn.linear_probe if frozen else learn.whole_network)(
        plan, data, model, Place(run, device, wishes.resume, _identity(data, start))
    )
    model.load_state_dict(learnt.fitted.tensors)
    facts = _facts("finetune", plan, data, learnt).model_copy(update={"classes": classes, "origin": origin})
    judged = results.judge(model, run, facts, plan, data, device)
    facts = facts.model_copy(update={"metrics": judged.figures, "split": plan.evaluate.split})
    # The row first: a crash between the two leaves a run to finish, never a result without its row.
    sheet.append(wishes.sheet, [results.row(facts, plan, data, judged, model, run)])
    run.finish(learnt.fitted.tensors, facts)
    return judged


def _judged_again(run: RunFolder, device: torch.device) -> Judged:
    loaded = run.load()
    plan = resolve.resolve([resolve.from_checkpoint(loaded.facts)]).recipe
    return results.judge(_load_classifier(loaded, plan), run, loaded.facts, plan, sources.dataset(plan.data), device)


def _starting_points(
    wishes: Wishes, written: Written | None, checkpoint: str | None, seeds: Sequence[int] | None
) -> list[Checkpoint | None]:
    """For each seed the pretraining run to start from: the one named, with its seed for `{seed}`, else the
    newest complete one; none for a recipe that trains from random weights.

    Raises CheckpointError when a run is missing, broken or no pretraining run.
    """
    if checkpoint is None:
        return [_newest_start(wishes, written)] * len(seeds or [0])
    places = [checkpoint.replace("{seed}", str(seed)) for seed in seeds or [0]]
    starts = {place: load(Path(place)) for place in dict.fromkeys(places)}
    for place, start in starts.items():
        if start.facts.kind != "pretrain":
            raise CheckpointError(f"{place}: a finetuned run; --checkpoint takes a pretraining run")
    return [starts[place] for place in places]


def _newest_start(wishes: Wishes, written: Written | None) -> Checkpoint | None:
    plan = resolve.resolve([layer for layer in (written, wishes.overrides) if layer]).recipe
    if written and plan.finetune.mode in ("scratch", "random-frozen"):
        return None
    run = newest(RUNS, "pretrain", plan.name if written else "")
    note(f"starting from the newest complete pretraining run{f' of {plan.name}' if written else ''}: {run.path}")
    return run.load()


def _job(wishes: Wishes, written: Written | None, start: Checkpoint | None) -> Job:
    above = [layer for layer in (written, wishes.overrides) if layer]
    resolved = resolve.resolve([*([resolve.from_checkpoint(start.facts, above)] if start else []), *above])
    if resolved.recipe.finetune.mode not in ("full", "linear-probe"):
        return Job(None, resolved)
    if start:
        resolve.check_architecture(start.facts, resolved)
    return Job(start, resolved)


def _finetune_folder(wishes: Wishes, plan: Recipe, several: bool) -> Path:
    if wishes.out:
        return Path(f"{wishes.out}-seed{plan.seed}") if several else wishes.out
    return RUNS / plan.name / f"finetune-{_mode_name(plan)}-seed{plan.seed}"


def _mode_name(plan: Recipe) -> str:
    share = plan.finetune.label_fraction
    return plan.finetune.mode + (f"-labels{share:g}" if share < 1 else "")


def _load_classifier(loaded: Checkpoint, plan: Recipe) -> Classifier:
    backbone = build.backbone(plan, len(loaded.facts.channels), loaded.facts.length, will_load=True)
    model = build.classifier(plan, backbone, len(loaded.facts.classes))
    build.load_into(model, loaded)
    return model


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


def _facts(kind: Literal["pretrain", "finetune"], plan: Recipe, data: PreparedDataset, learnt: Learnt) -> Facts:
    fitted = learnt.fitted
    return Facts(
        kind=kind,
        recipe=plan.model_dump(mode="json"),
        dataset=data.info.name,
        fingerprint=data.info.fingerprint,
        channels=data.info.channels,
        length=data.info.length,
        sampling_rate=data.info.sampling_rate,
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


def _say_other_splits(what: str, theirs: Facts, plan: Recipe) -> None:
    """Warn when something learnt from the same people under another division into training and test."""
    scheme = theirs.recipe["data"]["validation"]
    if theirs.recipe["data"]["dataset"] == plan.data.dataset and scheme != plan.data.validation:
        warn(
            f"{what} learnt under split scheme {scheme!r}, this run is judged under {plan.data.validation!r}: "
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
