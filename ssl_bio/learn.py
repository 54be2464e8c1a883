"""How a run learns: a pretext task, a whole network, or a linear head on frozen features."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import nn

from ssl_bio import build, denoising, judging, mixtures, probe, samples, sources
from ssl_bio.checkpoint import RunFolder
from ssl_bio.data.mixing import Mixed
from ssl_bio.data.store import PreparedDataset, Rows
from ssl_bio.data.transforms import even_crops
from ssl_bio.data.view import Batches, Features
from ssl_bio.errors import RecipeError
from ssl_bio.forecasts import forecast
from ssl_bio.models.denoiser import Denoiser
from ssl_bio.models.forecaster import Forecaster
from ssl_bio.models.heads import Predictor
from ssl_bio.outcome import OfWindow, Series, Signal, Values
from ssl_bio.pretexts import VQVAETask
from ssl_bio.samples import Form
from ssl_bio.schema import FinetuneSection, PretrainSection, Recipe
from ssl_bio.tasks import Task
from ssl_bio.terminal import note, warn
from ssl_bio.train import Fitted, History, Settings, Validate, fit

Figures = Mapping[str, float]


class Place(NamedTuple):
    """Where a run learns, and whether it goes on with what it finds there."""

    run: RunFolder
    device: torch.device
    resume: bool
    identity: str  # of data and starting weights


class Asked(NamedTuple):
    """What a finetuned network is to answer of a window, and in what form it sees signals."""

    outcome: OfWindow
    form: Form


class Learnt(NamedTuple):
    """What came of it: weights and figures, the split that chose them ("last": none), windows learnt from."""

    fitted: Fitted
    selected_on: str
    n_train: int


def pretext(plan: Recipe, data: PreparedDataset, task: Task, backbone: nn.Module, place: Place) -> Learnt:
    """Train the backbone inside a pretext task."""
    settings = plan.pretrain
    view = samples.pretraining_view(data.with_channels(settings.draw_channels), plan, settings.fit_on)
    batches = Batches(
        view,
        settings.batch_size,
        settings.augment,
        settings.augment_strength,
        pairs=settings.pretext == "contrast",
        neighbours=settings.neighbours,
        draw_channel=bool(settings.draw_channels),
        window=samples.form(plan, data.info).window,
    )
    monitor = {"last": "", "probe": "", "val_loss": "val_loss"}[settings.select]
    if settings.select == "probe":
        monitor = PROBE_COLUMNS["MAE" if samples.target_kind(data.info, plan) == "value" else "Accuracy"]
    loop = _loop(settings, plan.seed, monitor)
    watchers = []
    held_out = len(samples.pretraining_view(data, plan, "val"))
    if held_out and settings.fit_on == "train" and (settings.select == "val_loss" or isinstance(task, VQVAETask)):
        watchers.append(_holding_out(plan, data, task, place.device))
    if settings.select == "probe" or settings.probe_every:
        watchers.append(_probing(plan, data, backbone, place.device))
    validate = partial(_watched, watchers) if watchers else None
    fitted = fit(task, batches, loop, place.run, place.device, validate, place.resume, place.identity)
    return Learnt(fitted, "val" if monitor else "last", len(view))


def whole_network(plan: Recipe, data: PreparedDataset, model: Predictor, asked: Asked, place: Place) -> Learnt:
    """Train head and backbone, each at its own rate."""
    settings, selected_on = plan.finetune, plan.finetune.selected_on
    rows = samples.training_rows(data, plan, settings.fit_on)
    view = samples.view(data, plan, rows, asked.form)
    if settings.dense:
        view = replace(view, track=samples.track(data, plan, rows, asked.form))
    batches = Batches(
        view,
        settings.batch_size,
        settings.augment,
        settings.augment_strength,
        window=model.window,
        weights=samples.drawing_weights(data, plan, rows),
        rates=asked.outcome.rates if isinstance(asked.outcome, Values) else (),
    )
    validate = None
    if selected_on != "last":
        held_out = samples.view(data, plan, samples.training_rows(data, plan, selected_on), asked.form)
        batches_held_out = Batches(held_out, plan.evaluate.batch_size)
        validate = _judging(asked.outcome, batches_held_out, selected_on, place.device, plan.evaluate.paces)
    task = build.downstream_task(plan, model, asked.outcome, frozen_features=False)
    fitted = fit(task, batches, _finetune_loop(plan), place.run, place.device, validate, place.resume, place.identity)
    return Learnt(fitted, selected_on, len(rows))


def forecaster(
    plan: Recipe, data: PreparedDataset, model: Forecaster, outcome: Series, form: Form, place: Place
) -> Learnt:
    """Train on crops of series: as many an epoch as cover each once, from places drawn at random."""
    settings = plan.finetune
    rows = samples.training_rows(data, plan, settings.fit_on)
    # Densely a crop holds as many forecasts that look back all the way as ones that cannot yet.
    crop = min((2 if settings.dense else 1) * outcome.time_steps + model.lead, form.length)
    view = samples.view(data, plan, np.repeat(rows, max(1, form.length // crop)), form)
    weights = samples.drawing_weights(data, plan, view.rows)
    batches = Batches(
        view, settings.batch_size, settings.augment, settings.augment_strength, window=crop, weights=weights
    )
    validate = None
    if settings.selected_on != "last":
        held_out = samples.view(data, plan, samples.training_rows(data, plan, settings.selected_on), form)
        judged = Batches(held_out, plan.evaluate.batch_size)
        horizon = plan.evaluate.horizon

        def validate(_: nn.Module, history: History) -> dict[str, float]:
            found = forecast(model, outcome, judged, place.device, horizon)
            return _of_split(settings.selected_on, outcome.figures(found.targets, found.answers))

    task = build.forecast_task(plan, model, outcome)
    fitted = fit(task, batches, _finetune_loop(plan), place.run, place.device, validate, place.resume, place.identity)
    return Learnt(fitted, settings.selected_on, len(rows))


def denoiser(plan: Recipe, data: PreparedDataset, model: Denoiser, outcome: Signal, form: Form, place: Place) -> Learnt:
    """Train on crops of clean signals with noise laid over them: as many an epoch as cover each window once."""
    settings, selected_on = plan.finetune, plan.finetune.selected_on
    rows = samples.training_rows(data, plan, settings.fit_on)
    shown = data.with_channels(settings.draw_channels)
    view = mixtures.clean_view(shown, plan, np.repeat(rows, max(1, form.length // form.window)), form)
    batches = Batches(
        view,
        settings.batch_size,
        settings.augment,
        settings.augment_strength,
        draw_channel=bool(settings.draw_channels),
        window=form.window,
        weights=samples.drawing_weights(data, plan, view.rows),
    )
    source, noise = sources.noise(plan), None
    if source:
        if source.info.sampling_rate != form.sampling_rate:
            note(f"noise of {source.info.name} is resampled to {form.sampling_rate:g} Hz")
        noise = mixtures.noise_for(source, plan, settings.fit_on, form, plan.noise.types, form.window)
    validate = None
    if selected_on != "last":
        held_out = judging.judged_rows(data, plan, selected_on)
        trial = judging.trial(data, plan, held_out, selected_on, form, validating=True)

        def validate(_: nn.Module, history: History) -> dict[str, float]:
            found = denoising.fared(model, outcome, trial, place.device)
            return _of_split(selected_on, outcome.figures(found.noisy, found.answers[denoising.OURS]))

    task = build.denoise_task(plan, model, outcome)
    mixed = Mixed(batches, noise)
    fitted = fit(task, mixed, _finetune_loop(plan), place.run, place.device, validate, place.resume, place.identity)
    return Learnt(fitted, selected_on, len(rows))


def linear_probe(plan: Recipe, data: PreparedDataset, model: Predictor, asked: Asked, place: Place) -> Learnt:
    """Fit a head on frozen features, and prove that the backbone stayed as it was."""
    settings, selected_on = plan.finetune, plan.finetune.selected_on
    started = time.perf_counter()
    rows = samples.training_rows(data, plan, settings.fit_on)
    with probe.frozen(model.backbone):
        features = _features(plan, data, rows, model, asked.form, place.device)
        probe.standardise(model, features.values)
        if settings.probe != "gradient":
            _solve(plan, model, asked.outcome, features)
            solved = Fitted(dict(model.state_dict()), 0, 0, {}, time.perf_counter() - started)
            return Learnt(solved, "last", len(rows))
        validate = None
        if selected_on != "last":
            held_out_rows = samples.training_rows(data, plan, selected_on)
            held_out = _features(plan, data, held_out_rows, model, asked.form, place.device)
            validate = _judging(asked.outcome, Batches(held_out, plan.evaluate.batch_size), selected_on, place.device)
        task = build.downstream_task(plan, model, asked.outcome, frozen_features=True)
        batches = Batches(features, settings.batch_size)
        fitted = fit(
            task, batches, _finetune_loop(plan), place.run, place.device, validate, place.resume, place.identity
        )
        return Learnt(fitted, selected_on, len(rows))


def _loop(settings: PretrainSection | FinetuneSection, seed: int, monitor: str) -> Settings:
    """What both sections say of the loop."""
    return Settings(
        epochs=settings.epochs,
        seed=seed,
        weight_decay=settings.weight_decay,
        optimizer=settings.optimizer,
        schedule=settings.schedule,
        warmup_epochs=settings.warmup_epochs,
        max_grad_norm=settings.max_grad_norm,
        monitor=monitor,
    )


def _finetune_loop(plan: Recipe) -> Settings:
    settings = plan.finetune
    if settings.selected_on == "last":
        return replace(_loop(settings, plan.seed, monitor=""), average=settings.average)
    loop = _loop(settings, plan.seed, monitor=f"{settings.selected_on}_{settings.monitor}")
    return replace(loop, average=settings.average, patience=settings.patience)


def _features(
    plan: Recipe, data: PreparedDataset, rows: Rows, model: Predictor, form: Form, device: torch.device
) -> Features:
    view = samples.view(data, plan, rows, form)
    values = probe.extract(model, Batches(view, plan.evaluate.batch_size), device)
    return Features(values, np.asarray(view.targets))


def _solve(plan: Recipe, model: Predictor, outcome: OfWindow, features: Features) -> None:
    """Set a head on features by the recipe's solver (a gradient probe's stand-in is the logistic one)."""
    settings = plan.finetune
    kind = "logistic" if settings.probe == "gradient" else settings.probe
    if not probe.solve(model, outcome, features.values, features.targets, kind, settings.probe_c, settings.probe_alpha):
        warn("the logistic regression did not converge: a smaller finetune.probe_c helps")


def _judging(
    outcome: OfWindow, batches: Batches, split: str, device: torch.device, paces: Sequence[float] = (1.0,)
) -> Validate:
    """Figures of a split after each epoch."""

    def validate(model: nn.Module, history: History) -> dict[str, float]:
        return _of_split(split, judging.figures_of(cast(Predictor, model), outcome, batches, device, paces))

    return validate


def _of_split(split: str, figures: Figures) -> dict[str, float]:
    return {f"{split}_{name}": value for name, value in figures.items()}


def _watched(watchers: Sequence[Validate], model: nn.Module, history: History) -> dict[str, float]:
    return {name: value for watch in watchers for name, value in watch(model, history).items()}


def _holding_out(plan: Recipe, data: PreparedDataset, task: Task, device: torch.device) -> Validate:
    """The pretext task's figures on validation windows, and a guard against a codebook that falls out of use."""
    window = samples.form(plan, data.info).window
    batches = Batches(samples.pretraining_view(data, plan, "val"), plan.evaluate.batch_size)

    def validate(model: nn.Module, history: History) -> dict[str, float]:
        figures = {f"val_{name}": value for name, value in held_out_figures(task, batches, window, device).items()}
        return figures | _guard_codes(plan.pretrain, figures, history)

    return validate


@torch.no_grad()
def held_out_figures(task: Task, batches: Batches, window: int, device: torch.device) -> dict[str, float]:
    """A task's figures over batches in order, in evaluation mode, of windows cut evenly into what the network sees."""
    training = task.model.training
    task.model.eval()
    totals: dict[str, torch.Tensor] = {}
    for batch in batches.ordered():
        for part in even_crops(batch.inputs, window):
            for name, value in task.step(torch.from_numpy(part).to(device), None).sums.items():
                totals[name] = totals[name] + value if name in totals else value
    task.model.train(training)
    return task.figures(totals)


def _guard_codes(settings: PretrainSection, figures: Figures, history: History) -> dict[str, float]:
    """How many epochs in a row validation has used too few codes; says so when they are too many."""
    used = figures.get("val_codes_used")
    if used is None:
        return {}
    before = history[-1].get("low_use_epochs", 0.0) if history else 0.0
    low = before + 1 if used < settings.collapse_share else 0.0
    if low == settings.collapse_epochs:
        warn(
            f"epoch {len(history) + 1}: validation uses {used:.0%} of the codes, under "
            f"{settings.collapse_share:.0%} for {low:g} epochs: the codebook collapses. A lower "
            "model.quantizer.code_dim, cosine, revive_below or a lower pretrain.lr helps"
        )
    return {"low_use_epochs": low}


def _probing(plan: Recipe, data: PreparedDataset, backbone: nn.Module, device: torch.device) -> Validate:
    """Every k epochs: what a linear probe on training people answers of validation people."""
    every, last = max(1, plan.pretrain.probe_every), plan.pretrain.epochs
    rows = {split: samples.labelled_rows(data, plan, split) for split in ("train", "val")}
    outcome = samples.outcome(data, plan, rows["train"])
    if isinstance(outcome, Series | Signal):
        raise RecipeError(f"finetune.task {plan.finetune.task!r}: a probe during pretraining asks something of windows")
    form = samples.form(plan, data.info)
    column = PROBE_COLUMNS[outcome.columns[0]]
    pooling = [kind for kind in plan.finetune.pooling if kind != "attention"] or ["mean"]
    solvable = plan.finetune.model_copy(update={"head": "linear", "pooling": pooling, "loss": "auto"})
    plan = plan.model_copy(update={"finetune": solvable})

    def validate(_: nn.Module, history: History) -> dict[str, float]:
        epoch = len(history) + 1
        if epoch % every and epoch != last:
            return {}
        model = build.predictor(plan, backbone, outcome, form)
        train, val = (_features(plan, data, rows[split], model, form, device) for split in ("train", "val"))
        probe.standardise(model, train.values)
        _solve(plan, model, outcome, train)
        figures = judging.figures_of(model, outcome, Batches(val, plan.evaluate.batch_size), device)
        return {column: figures[outcome.columns[0]]}

    return validate


#: The history's column of a probe during pretraining, by the metric it shows.
PROBE_COLUMNS = {"Accuracy": "probe_accuracy", "MAE": "probe_MAE"}
