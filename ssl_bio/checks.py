"""What a recipe asks of its data and network that cannot be: said in one line before anything is trained."""

import numpy as np

from ssl_bio import build, mixtures, samples, sources
from ssl_bio.data.store import PreparedDataset, Rows
from ssl_bio.data.transforms import check_augmentations, parse_augmentation
from ssl_bio.errors import DataError, RecipeError
from ssl_bio.outcome import Series, Signal, Values
from ssl_bio.schema import FinetuneSection, ModelSection, NoiseSection, Recipe

_CLEANING = "networks that denoise or token backbones"
_LOOKED_AT = 64  # windows
_CHANNEL_BY_CHANNEL = ("recolour", "jitter", "drop_channels")
_FROZEN = ("linear-probe", "random-frozen")  # modes in which the backbone stays as it is
_OF_FORECASTS = ("input_noise", "feed_back")
_OF_DENOISING = ("draw_channels", "peak_weight", "peak_ramp_epochs")
_NOT_OF_SIGNALS = (  # means nothing where the answer is a signal itself
    "mixup",
    "label_smoothing",
    "head",
    "head_width",
    "pooling",
    "layers",
    "parts",
    "dropout",
    "layer_decay",
    "unfreeze_epochs",
)


def pretext(plan: Recipe, data: PreparedDataset) -> None:
    """Raise what pretraining would stumble over later: an augmentation that the channels do not allow, a
    probe without classes or without a class in training."""
    settings = plan.pretrain
    data.with_channels(settings.draw_channels)
    if settings.draw_channels and len(data.info.channels) > 1:
        raise RecipeError("pretrain.draw_channels shows one channel at a time: name one in data.channels")
    check_augmentations(settings.augment, len(data.info.channels))
    if settings.select == "val_loss" and settings.fit_on != "train":
        raise RecipeError(
            'pretrain.select "val_loss" chooses by the windows of validation: set pretrain.fit_on to "train"'
        )
    if not len(samples.pretraining_view(data, plan, settings.fit_on)):
        raise DataError(f"dataset {data.info.name} has no window in pretrain.fit_on {settings.fit_on!r}")
    if settings.select == "val_loss" and settings.pretext == "contrast":
        raise RecipeError('pretrain.select "val_loss" needs a pretext task of single windows, not "contrast"')
    if settings.select == "val_loss" and not len(samples.pretraining_view(data, plan, "val")):
        raise DataError(f"dataset {data.info.name} has no window in split 'val' for pretrain.select \"val_loss\"")
    if plan.pretrain.probe_every or plan.pretrain.select == "probe":
        everything = plan.finetune.model_copy(update={"label_fraction": 1.0})
        samples.training_rows(data, plan.model_copy(update={"finetune": everything}), "train")


def finetune(plan: Recipe, data: PreparedDataset) -> None:
    """Raise what finetuning would stumble over later: a class missing from training, an augmentation that
    the channels do not allow, an epoch chosen by windows that are trained on, nothing to be judged on."""
    settings = plan.finetune
    check_augmentations(settings.augment, len(data.info.channels))
    rows = samples.training_rows(data, plan, settings.fit_on)
    asked = samples.outcome(data, plan, rows)
    _check_forecast(plan, isinstance(asked, Series), data.info.length)
    _check_denoise(plan, data, isinstance(asked, Signal))
    _check_idle(plan)
    if settings.monitor not in ("loss", *asked.columns):
        raise RecipeError(
            f"finetune.monitor {settings.monitor!r} is no figure of {plan.data.target!r}: "
            f"choose loss, {', '.join(asked.columns)}"
        )
    samples.labelled_rows(data, plan, plan.evaluate.split)
    frozen = settings.mode in _FROZEN
    solved = frozen and settings.probe != "gradient"
    if settings.selected_on != "last" and not solved:
        samples.labelled_rows(data, plan, settings.selected_on)
    if frozen and "attention" in settings.pooling:
        raise RecipeError('finetune.pooling "attention" has weights to learn: not on a frozen backbone')
    if solved and (settings.head != "linear" or settings.loss == "bins"):
        what = f"finetune.head {settings.head!r}" if settings.head != "linear" else 'finetune.loss "bins"'
        raise RecipeError(f'{what} cannot be solved for: set finetune.probe to "gradient"')
    samples.drawing_weights(data, plan, rows)
    if settings.dense and not isinstance(asked, Series):
        _check_dense(plan, data, rows)
    if plan.evaluate.paces != [1.0] and not (isinstance(asked, Values) and all(asked.rates)):
        raise RecipeError(f"evaluate.paces is for rates, and {plan.data.target!r} is none: leave it out")
    if not solved and settings.selected_on == "val" and "val" in settings.fit_on:
        raise RecipeError(
            'finetune.fit_on "train+val" trains on the windows that finetune.selected_on "val" would choose by; '
            'set finetune.selected_on to "last"'
        )


def _check_forecast(plan: Recipe, forecasts: bool, length: int) -> None:
    settings, kind = plan.finetune, plan.model.kind
    if kind not in build.FORECASTERS if forecasts else kind in build.READERS:
        raise RecipeError(
            f"model.kind {kind!r} and finetune.task {settings.task!r} do not go together: "
            f"{', '.join(build.FORECASTERS)} forecast, and {' and '.join(build.READERS)} do nothing else"
        )
    if forecasts:
        _check_start(plan)
        _check_crops(plan, length)


def _check_denoise(plan: Recipe, data: PreparedDataset, denoises: bool) -> None:
    settings, kind = plan.finetune, plan.model.kind
    if not denoises:
        if kind in build.CLEANERS:
            raise RecipeError(f'model.kind {kind!r} gives no tokens: it serves finetune.task "denoise" alone')
        if plan.noise != NoiseSection():
            raise RecipeError('[noise] is what finetune.task "denoise" lays over signals: leave it out')
        return
    if kind in build.READERS or settings.mode not in ("full", "scratch"):
        what = f"model.kind {kind!r}" if kind in build.READERS else f"finetune.mode {settings.mode!r}"
        raise RecipeError(
            f'{what} does not denoise: finetune.task "denoise" takes "full" and "scratch" and {_CLEANING}'
        )
    if plan.data.normalize != "none" and kind in build.CLEANERS:
        raise RecipeError("denoising standardises every window itself: leave out data.normalize")
    if not plan.noise.dataset and plan.noise != NoiseSection():
        raise RecipeError("[noise] without noise.dataset: name the dataset that noise comes from")
    low, high = plan.noise.between
    if low > high or (plan.noise.level == "gain" and low < 0):
        raise RecipeError(f"noise.between {plan.noise.between}: from the lower to the higher, gains from 0")
    mixtures.check_levels(plan)
    if plan.noise.band and plan.noise.band[1] >= data.info.sampling_rate / 2:
        raise RecipeError(f"noise.band {plan.noise.band}: it ends below half of {data.info.sampling_rate:g} Hz")
    if settings.draw_channels and len(data.info.channels) > 1:
        raise RecipeError("finetune.draw_channels shows one channel at a time: name one in data.channels")
    data.with_channels(settings.draw_channels)
    apart = [name for name, _ in map(parse_augmentation, settings.augment) if name in _CHANNEL_BY_CHANNEL]
    if apart and not plan.noise.dataset:
        raise RecipeError(f"finetune.augment {apart[0]!r} would treat noisy and clean recordings differently")
    if settings.draw_channels and not plan.noise.dataset:
        raise RecipeError("finetune.draw_channels needs noise.dataset: a recording and its clean twin go together")
    _check_idle_of_denoising(plan)
    _check_signals(plan, data)


def _check_idle_of_denoising(plan: Recipe) -> None:
    settings = plan.finetune
    if "peak" not in settings.loss.split("+") and (
        settings.peak_ramp_epochs or settings.peak_weight != FinetuneSection().peak_weight
    ):
        raise RecipeError(f'finetune.peak_weight and peak_ramp_epochs are of the loss "peak", not {settings.loss!r}')
    if plan.model.kind != "diffusion" and plan.model.sampling_steps != ModelSection().sampling_steps:
        raise RecipeError(f'model.sampling_steps is of "diffusion", not {plan.model.kind!r}')
    for name, ramp in (
        ("noise.ramp_epochs", plan.noise.ramp_epochs),
        ("finetune.peak_ramp_epochs", settings.peak_ramp_epochs),
    ):
        if ramp >= settings.epochs:
            raise RecipeError(f"{name} {ramp}: of {settings.epochs} finetune.epochs none would come after it")


def _check_signals(plan: Recipe, data: PreparedDataset) -> None:
    """Raise for noise that is not there and for clean signals without anything in them."""
    form = samples.form(plan, data.info)
    source = sources.noise(plan)
    splits = [
        (plan.finetune.fit_on, plan.noise.types, form.window),
        (plan.evaluate.split, plan.evaluate.noises, form.length),
    ]
    if plan.finetune.selected_on != "last":
        splits.append((plan.finetune.selected_on, plan.noise.types, form.length))
    for split, types, length in splits:
        rows = samples.labelled_rows(data, plan, split)
        view = mixtures.clean_view(data, plan, rows[:_LOOKED_AT], form)
        if not np.ptp(view.read(slice(None))[:, : len(data.info.channels)], axis=-1).any():
            raise DataError(f"dataset {data.info.name}: its clean signals in split {split!r} are silent")
        if source:
            mixtures.noise_for(source, plan, split, form, types, length)


def _check_idle(plan: Recipe) -> None:
    """Raise for options that would do nothing."""
    settings, task = plan.finetune, plan.finetune.task
    idle = {
        "forecast": (*_NOT_OF_SIGNALS, *_OF_DENOISING),
        "denoise": (*_NOT_OF_SIGNALS, *_OF_FORECASTS, "dense"),
    }.get(task, (*_OF_FORECASTS, *_OF_DENOISING))
    chosen = [key for key in idle if getattr(settings, key) != getattr(FinetuneSection(), key)]
    if chosen:
        raise RecipeError(f"finetune.{chosen[0]} means nothing to finetune.task {task!r}: leave it out")


def _check_start(plan: Recipe) -> None:
    """What a forecast starts from, and how its series come to it."""
    settings, model = plan.finetune, plan.model
    reads = model.kind in build.READERS
    if reads and settings.mode != "scratch":
        raise RecipeError(
            f'finetune.mode {settings.mode!r}: {model.kind} starts from random weights, which is "scratch"'
        )
    if settings.mode in _FROZEN:
        raise RecipeError(f'finetune.mode {settings.mode!r}: a forecast trains the whole network: "full" or "scratch"')
    if "stretch" in " ".join(settings.augment) or (reads and (model.window or plan.data.normalize != "none")):
        raise RecipeError("a forecast is of series as they are: leave out model.window, stretch and data.normalize")


def _check_crops(plan: Recipe, length: int) -> None:
    """What a forecast learns from a crop of a series."""
    settings, model = plan.finetune, plan.model
    reads = model.kind in build.READERS
    if not model.causal and model.kind != "attention":
        raise RecipeError(f"model.causal is an option of attention: leave it out for {model.kind}")
    if settings.dense and not (reads and model.causal):
        raise RecipeError(
            f"finetune.dense learns a forecast after every sample, and {model.kind} "
            f"{'with model.causal = false ' if reads else ''}sees all of a window: set finetune.dense to false"
        )
    if settings.feed_back and not settings.dense:
        raise RecipeError("finetune.feed_back replaces samples of a longer history: set finetune.dense to true")
    if not reads and length < model.time_steps + model.wave_length:
        raise DataError(
            f"series of {length} samples are shorter than model.time_steps {model.time_steps} and the "
            f"{model.wave_length} of model.wave_length that are forecast at once"
        )


def _check_dense(plan: Recipe, data: PreparedDataset, rows: Rows) -> None:
    settings = plan.finetune
    samples.track(data, plan, rows, samples.form(plan, data.info))
    if settings.mode in _FROZEN:
        raise RecipeError(f"finetune.dense trains the whole network: not with finetune.mode {settings.mode!r}")
    if settings.pooling != ["middle"] or settings.layers == "all" or settings.parts > 1 or settings.mixup:
        raise RecipeError(
            'finetune.dense asks each token alone: set finetune.pooling to ["middle"], and leave out layers, parts '
            "and mixup"
        )
    names = [parse_augmentation(text)[0] for text in settings.augment]
    moving = [name for name in names if name in ("shift", "reverse_time") or names.count("stretch") > 1]
    if moving:
        raise RecipeError(f"finetune.dense cannot follow {moving[0]!r}: of what moves a window it knows one stretch")
    length, token = data.info.length, plan.model.wave_length
    n_tokens = -(-length // token)
    if -(-length // n_tokens) != token or n_tokens // 2 * token != length // 2:
        raise RecipeError(
            f"model.wave_length {token}: no token stands in the middle of windows of {length} samples; "
            f"choose one that divides {length // 2}"
        )
