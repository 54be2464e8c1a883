"""Which windows and labels of a dataset a recipe learns from, and in what form a network sees them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ssl_bio import runtime
from ssl_bio.checkpoint import Facts
from ssl_bio.data.counting import Track
from ssl_bio.data.store import DatasetInfo, PreparedDataset, Rows
from ssl_bio.data.transforms import channel_statistics
from ssl_bio.data.view import View, check_missing, draw_labelled, draw_people, draw_share
from ssl_bio.errors import DataError, RecipeError
from ssl_bio.outcome import Classes, Labels, Outcome, Series, Signal, Values, season
from ssl_bio.schema import Recipe

_KIND_OF_TASK = {"classify": "class", "multilabel": "labels", "regress": "value"}
_LOSSES = {
    "class": ("cross-entropy",),
    "labels": ("binary-cross-entropy",),
    "value": ("mse", "l1", "huber", "bins"),
    "series": ("mse", "l1"),
    "signal": ("l1", "mse", "snr", "peak", "wavelet"),
}
_MOST_LEVELS = 256
_SEASON_FROM = 64  # training series


class Form(NamedTuple):
    """How signals come to a network: their rate in Hz, and in samples how long a window of the dataset is and how much
    of it the network sees at once."""

    sampling_rate: float
    length: int
    window: int


def form(plan: Recipe, info: DatasetInfo, start: Facts | None = None) -> Form:
    """The form of a dataset for a new network, or for one that goes on from a pretraining run.

    A pretrained network keeps its sampling rate, and where its tokens have learnt positions, at most its own window.
    """
    rate = start.sampling_rate if start else info.sampling_rate
    length = info.length if rate == info.sampling_rate else round(info.length * rate / info.sampling_rate)
    wanted = round(plan.model.window * rate)
    if not wanted and start and plan.model.kind == "timemae":
        wanted = start.window or start.length
    return Form(rate, length, min(wanted or length, length))


def finetuning_form(plan: Recipe, info: DatasetInfo, start: Facts | None = None) -> Form:
    """The form of a dataset for finetuning: a forecast sees `time_steps` samples at once."""
    found = form(plan, info, start)
    return found._replace(window=plan.model.time_steps) if plan.finetune.task == "forecast" else found


def form_of(facts: Facts) -> Form:
    """The form that a finished run was trained on."""
    return Form(facts.sampling_rate, facts.length, facts.window or facts.length)


def view(data: PreparedDataset, plan: Recipe, rows: Rows, form: Form) -> View:
    """Rows of a dataset with the recipe's target and treatment."""
    check_missing(data, plan.data.missing)
    asked = None if own_target(plan) else targets(data, plan)[rows]
    return View(data, rows, asked, plan.data.missing, form.sampling_rate, form.length)


def own_target(plan: Recipe) -> bool:
    """Whether signals are their own target: the recipe asks how they go on, or what they are without noise."""
    return plan.finetune.task in ("forecast", "denoise")


def track(data: PreparedDataset, plan: Recipe, rows: Rows, form: Form) -> Track:
    """The events that the recipe's target counts, of `rows`.

    Raises RecipeError when the target counts none, or when the network does not see windows as they are.
    """
    counting = data.info.targets[target_names(plan)[0]].counts
    if counting is None or len(target_names(plan)) > 1:
        raise RecipeError(f"finetune.dense learns counts of events, and {plan.data.target!r} is none: leave it out")
    if data.info.length < 2 * counting.span:
        raise RecipeError(
            f"finetune.dense counts over {counting.span} samples around every token, and windows show "
            f"{data.info.length}: set data.context to half a window or more"
        )
    if form != Form(data.info.sampling_rate, data.info.length, data.info.length):
        raise RecipeError("finetune.dense goes with windows as they are: no model.window, no other sampling rate")
    return Track(np.asarray(data.targets[counting.events][rows]), counting.span, counting.weight)


def pretraining_view(data: PreparedDataset, plan: Recipe, split: str) -> View:
    """Unlabelled rows of "train", "val" or "train+val"; of a recipe that denoises, the clean signals."""
    info, rows = data.info, _union(data, plan, split)
    if plan.finetune.task == "denoise":
        data, rows = clean_signals(data, plan), known_rows(data, plan, split)
    return View(data, rows, None, plan.data.missing, info.sampling_rate, info.length)


def clean_signals(data: PreparedDataset, plan: Recipe) -> PreparedDataset:
    """The dataset with its clean signals for its signals: the target that the recipe names, or what it has.

    Raises DataError when that target holds no signals.
    """
    target = plan.data.target
    if not target:
        return data
    info, values = data.target(target)
    if info.kind != "signal":
        twins = [name for name, other in data.info.targets.items() if other.kind == "signal"]
        raise DataError(
            f'data.target: {target!r} holds no signals, which finetune.task "denoise" takes for the clean ones: '
            f"choose {' or '.join(twins) or 'none, and a noise.dataset'}"
        )
    return replace(data, signals=values)


def training_rows(data: PreparedDataset, plan: Recipe, split: str) -> Rows:
    """Labelled rows of "train", "val" or "train+val": all of them, or the recipe's share."""
    rows = labelled_rows(data, plan, split)
    settings = plan.finetune
    rng = runtime.stream(plan.seed, f"labels of {split}")
    if settings.label_fraction < 1 and settings.label_draw == "subjects":
        rows = draw_people(rows, data.subjects, settings.label_fraction, rng)
        return draw_labelled(rows, *_classes(data, plan, rows, split), 1.0, rng) if _is_class(data, plan) else rows
    if _is_class(data, plan):
        return draw_labelled(rows, *_classes(data, plan, rows, split), settings.label_fraction, rng)
    return draw_share(rows, settings.label_fraction, rng)


def labelled_rows(data: PreparedDataset, plan: Recipe, split: str) -> Rows:
    """Rows of "train", "val" or "train+val" whose target is known.

    Raises DataError when there is none.
    """
    known = known_rows(data, plan, split)
    if not len(known):
        n = len(_union(data, plan, split))
        why = f"{plan.data.target!r} is known of none of its {n} windows" if n else "it has no window"
        raise DataError(
            f"dataset {data.info.name}: split {split!r} of scheme {plan.data.validation!r} cannot serve: {why}; choose "
            "another data.validation, finetune.fit_on, finetune.selected_on or evaluate.split"
        )
    return known


def known_rows(data: PreparedDataset, plan: Recipe, split: str) -> Rows:
    """Rows of a split whose target is known; perhaps none."""
    rows = _union(data, plan, split)
    if own_target(plan):
        clean = plan.noise.clean
        return rows_of_class(data, noise_target(data.info, plan), clean, rows) if clean else rows
    values = targets(data, plan)[rows]
    return rows[np.isfinite(values).all(axis=1)] if values.dtype.kind == "f" else rows


def spread(rows: Rows, subjects: NDArray[np.str_], most: int) -> Rows:
    """At most so many rows of each subject, evenly spaced; 0: all."""
    if not most:
        return rows
    groups = [rows[subjects[rows] == who] for who in np.unique(subjects[rows])]
    chosen = [group[np.linspace(0, len(group) - 1, most + 2)[1:-1].round().astype(int)] for group in groups]
    return np.unique(np.concatenate(chosen))


def noise_target(info: DatasetInfo, plan: Recipe) -> str:
    """The target whose classes are types of noise; empty where the dataset has none.

    Raises DataError when the recipe names one that is not there or holds no classes.
    """
    classes = [name for name, target in info.targets.items() if target.kind == "class"]
    wanted = plan.noise.target
    if wanted and wanted not in classes:
        raise DataError(
            f"noise.target: dataset {info.name} has no classes {wanted!r}; it has {', '.join(classes) or 'none'}"
        )
    return wanted or (classes[0] if classes else "")


def rows_of_class(data: PreparedDataset, target: str, name: str, rows: Rows) -> Rows:
    """Those of the rows that are of a class. Raises DataError when there is no such class."""
    classes = data.info.targets[target].classes if target else ()
    if name not in classes:
        raise DataError(f"dataset {data.info.name} has no class {name!r} in {target!r}; it has {', '.join(classes)}")
    chosen: Rows = rows[np.asarray(data.targets[target])[rows] == classes.index(name)]
    return chosen


def target_names(plan: Recipe) -> list[str]:
    """The targets that the recipe asks for."""
    return plan.data.target.split("+")


def targets(data: PreparedDataset, plan: Recipe) -> NDArray[Any]:
    """The recipe's target of every row: codes `(n,)`, labels `(n, n_labels)` or values `(n, n_values)`, NaN where one
    is not known.

    Raises DataError when the dataset has no such target or the recipe's task does not go with it.
    """
    kind, names = target_kind(data.info, plan), target_names(plan)
    if kind == "value":
        return np.stack([np.asarray(data.targets[name], np.float32) for name in names], axis=1)
    return np.asarray(data.targets[names[0]])


def target_kind(info: DatasetInfo, plan: Recipe) -> str:
    """What the recipe's target holds: "class", "labels" or "value"; or "series" or "signal", which need none.

    Raises DataError for a target that is not there, cannot be learnt, or does not go with the task.
    """
    names, task = target_names(plan), plan.finetune.task
    if own_target(plan):
        return {"forecast": "series", "denoise": "signal"}[task]
    for name in names:
        if name not in info.targets:
            raise DataError(
                f"data.target: dataset {info.name} has no target {name!r}; it has {', '.join(info.targets)}"
            )
    kinds = {info.targets[name].kind for name in names}
    kind = next(iter(kinds))
    wanted = _KIND_OF_TASK.get(task, kind)
    if len(kinds) > 1 or (len(names) > 1 and kind != "value"):
        raise DataError(f"data.target: {plan.data.target!r} joins targets, and only values can be joined")
    if kind != wanted or kind not in _KIND_OF_TASK.values():
        fitting = [
            name
            for name, other in info.targets.items()
            if other.kind in ([wanted] if task != "auto" else _KIND_OF_TASK.values())
        ]
        raise DataError(
            f"data.target: {plan.data.target!r} holds {_plural(kind)}, and finetune.task {task!r} needs "
            f"{_plural(wanted) if task != 'auto' else 'classes, labels or values'}: "
            f"{', '.join(fitting) or 'this dataset has none'}"
        )
    return kind


def outcome(data: PreparedDataset, plan: Recipe, rows: Rows) -> Outcome:
    """What the recipe asks, with what standardises values or weighs classes measured on training `rows`.

    Raises RecipeError for a loss that does not go with the target.
    """
    settings, kind, names = plan.finetune, target_kind(data.info, plan), target_names(plan)
    terms = settings.loss.split("+") if kind == "signal" else [settings.loss]
    if settings.loss != "auto" and not set(terms) <= set(_LOSSES[kind]):
        raise RecipeError(
            f"finetune.loss {settings.loss!r} does not go with the {_plural(kind)} of {plan.data.target!r}: "
            f"choose {' or '.join(_LOSSES[kind])}"
        )
    if kind == "series":
        return _series(data, plan, rows)
    if kind == "signal":
        return Signal(
            names=data.info.channels,
            unit=data.info.unit,
            learnt=tuple(plan.noise.types),
            error="l1" if settings.loss == "auto" else settings.loss,
            peak_weight=settings.peak_weight,
        )
    info = data.info.targets[names[0]]
    values = targets(data, plan)[rows]
    if kind == "labels":
        return Labels(names=info.classes)
    if kind == "class":
        return Classes(names=info.classes)
    values = values.astype(np.float64)
    std = values.std(axis=0)
    return Values(
        names=tuple(names),
        units=tuple(data.info.targets[name].unit for name in names),
        mean=tuple(values.mean(axis=0).tolist()),
        std=tuple(np.where(std > 0, std, 1.0).tolist()),
        median=tuple(np.median(values, axis=0).tolist()),
        error="mse" if settings.loss == "auto" else settings.loss,
        bins=_bins(values, settings.bins, names) if settings.loss == "bins" else (),
        levels=settings.loss == "bins" and settings.bins == 0,
    )


def _series(data: PreparedDataset, plan: Recipe, rows: Rows) -> Series:
    """Raises DataError for several channels, series that are too short or silent."""
    info, time_steps, horizon = data.info, plan.model.time_steps, plan.evaluate.horizon
    if len(info.channels) > 1:
        raise DataError(f"forecasts are of one channel: set data.channels to one of {', '.join(info.channels)}")
    if info.length < time_steps + max(horizon, 1):
        raise DataError(
            f"dataset {info.name}: its series have {info.length} samples, fewer than model.time_steps {time_steps} and "
            f"evaluate.horizon {horizon or 'of at least 1'}: choose less of either, or a longer data.window"
        )
    view = View(data, rows, None, plan.data.missing, info.sampling_rate, info.length)
    check_missing(data, plan.data.missing)
    mean, std = channel_statistics(view.parts())
    shown = view.read(slice(0, _SEASON_FROM))[:, 0]
    if not np.ptp(shown, axis=1).any():
        raise DataError(f"dataset {info.name}: {info.channels[0]} is constant: there is nothing to forecast")
    return Series(
        names=info.channels,
        unit=info.unit,
        mean=float(mean[0]),
        std=float(std[0]),
        season=season(shown, time_steps),
        time_steps=time_steps,
        error="l1" if plan.finetune.loss == "l1" else "mse",
    )


def fit_input_scaling(module: nn.Module, data: PreparedDataset, plan: Recipe, form: Form) -> None:
    """Give a backbone that scales its input the training split's channel statistics.

    Raises DataError when samples are missing and nothing says how to fill them.
    """
    check_missing(data, plan.data.missing)
    if not hasattr(module, "input_norm"):
        return
    rows = data.rows(plan.data.validation, "train")
    whole = View(data, rows, None, plan.data.missing, form.sampling_rate, form.length)
    module.input_norm.set_statistics(*channel_statistics(whole.parts()))  # type: ignore[operator, union-attr]


def class_names(data: PreparedDataset, plan: Recipe) -> tuple[str, ...]:
    """The classes of the recipe's target, by code. Raises DataError when it holds no classes."""
    if not _is_class(data, plan):
        raise DataError(f"data.target: {plan.data.target!r} holds {_plural(target_kind(data.info, plan))}, not classes")
    return data.info.targets[plan.data.target].classes


def _is_class(data: PreparedDataset, plan: Recipe) -> bool:
    return target_kind(data.info, plan) == "class"


def _classes(data: PreparedDataset, plan: Recipe, rows: Rows, split: str) -> tuple[NDArray[np.int64], Sequence[str]]:
    """Codes and names to draw by; validation may lack a class, training may not."""
    classes, codes = class_names(data, plan), targets(data, plan)
    if split != "val":
        return codes, classes
    present = [code for code in range(len(classes)) if (codes[rows] == code).any()]
    return (np.searchsorted(present, codes) if present else codes), [classes[code] for code in present]


def drawing_weights(data: PreparedDataset, plan: Recipe, rows: Rows) -> NDArray[np.float64] | None:
    """How often an epoch draws each of the training rows, by the rarity of its class or person; None: each once."""
    power = plan.finetune.balance
    if not power:
        return None
    if plan.finetune.balance_by == "subject":
        codes = np.unique(data.subjects[rows], return_inverse=True)[1]
    elif not own_target(plan) and _is_class(data, plan):
        codes = targets(data, plan)[rows]
    else:
        raise RecipeError(
            f'finetune.balance draws by class, and {plan.data.target!r} has none: set finetune.balance_by to "subject"'
        )
    weights = (1 / np.bincount(codes)[codes]) ** power
    return np.asarray(weights / weights.sum())


def _bins(values: NDArray[np.float64], n: int, names: Sequence[str]) -> tuple[tuple[float, ...], ...]:
    """For each value the centres of `n` bins that cover what training saw and half as much again, as stretched windows
    need; or, for n = 0, the values that training saw."""
    if n == 0:
        levels = [np.unique(column) for column in values.T]
        if len({len(level) for level in levels}) > 1 or not 2 <= len(levels[0]) <= _MOST_LEVELS:
            counts = ", ".join(f"{len(level)} of {name}" for level, name in zip(levels, names, strict=True))
            raise RecipeError(
                f"finetune.bins 0 takes 2 to {_MOST_LEVELS} values that occur, not {counts}: give a number"
            )
        return tuple(tuple(level.tolist()) for level in levels)
    centres = []
    for low, high in zip(values.min(axis=0), values.max(axis=0), strict=True):
        first, last = (low / 1.5, high * 1.5) if low > 0 else (low - (high - low) / 4, high + (high - low) / 4)
        centres.append(tuple(np.linspace(first, last if last > first else first + 1, n).tolist()))
    return tuple(centres)


def _union(data: PreparedDataset, plan: Recipe, split: str) -> Rows:
    parts = [data.rows(plan.data.validation, part) for part in split.split("+")]
    return np.unique(np.concatenate(parts))


def _plural(kind: str) -> str:
    return {"class": "classes", "labels": "labels", "events": "events", "series": "series"}.get(kind, f"{kind}s")
