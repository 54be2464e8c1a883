"""What denoising learns from and is judged by: which signals are clean, and which noise is laid over them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ssl_bio import samples
from ssl_bio.data.mixing import Noise
from ssl_bio.data.store import PreparedDataset, Rows
from ssl_bio.data.transforms import bandpass, fill_missing, resample
from ssl_bio.data.view import View, check_missing
from ssl_bio.errors import DataError, RecipeError
from ssl_bio.samples import Form
from ssl_bio.schema import Recipe


def clean_view(data: PreparedDataset, plan: Recipe, rows: Rows, form: Form) -> View:
    """Clean signals: those of the target that the recipe names, else the dataset's own; where noise comes from no other
    dataset, with the signals as recorded as further channels.

    Raises RecipeError when there is neither noise to add nor a clean target.
    """
    check_missing(data, plan.data.missing)
    recorded = View(data, rows, None, plan.data.missing, form.sampling_rate, form.length)
    if not plan.data.target and not plan.noise.dataset:
        raise RecipeError(
            "nothing to take away: name noise.dataset, or in data.target the clean twin of noisy recordings"
        )
    clean = replace(recorded, dataset=samples.clean_signals(data, plan))
    return clean if plan.noise.dataset else replace(clean, beside=recorded)


def check_levels(plan: Recipe) -> None:
    """Raise RecipeError for a gain to be judged under that is none."""
    if plan.noise.level == "gain" and min(plan.evaluate.levels) < 0:
        raise RecipeError(f"evaluate.levels {plan.evaluate.levels}: gains, as noise.level says, start from 0")


def types_of(noise: PreparedDataset, plan: Recipe) -> list[str]:
    """The types of noise in a dataset: the classes of the recipe's target, or its one name where it has none."""
    name = samples.noise_target(noise.info, plan)
    if not name:
        return [noise.info.name]
    return [kind for kind in noise.info.targets[name].classes if kind != plan.noise.clean]


def noise_for(noise: PreparedDataset, plan: Recipe, split: str, form: Form, types: Sequence[str], length: int) -> Noise:
    """Noise of these types (none: of all that the split holds) in a split ("train", "val", "test", or several with "+"
    between) of the dataset's first scheme, at the signals' rate.

    Raises DataError when a type is unknown or silent, or stretches are shorter than windows of `length` samples.
    """
    known, settings = types_of(noise, plan), plan.noise
    unknown = [kind for kind in types if kind not in known]
    if unknown:
        raise DataError(f"noise.dataset {noise.info.name} has no type {unknown[0]!r}; it has {', '.join(known)}")
    check_missing(noise, plan.data.missing)
    scheme = next(iter(noise.info.schemes))
    rows = np.sort(np.concatenate([noise.rows(scheme, part) for part in split.split("+")]))
    target = samples.noise_target(noise.info, plan)
    sources = {}
    for kind in types or known:
        chosen = samples.rows_of_class(noise, target, kind, rows) if target else rows
        if len(chosen):
            sources[kind] = _prepared(noise, plan, chosen, form.sampling_rate)
        elif types:
            raise DataError(f"noise.dataset {noise.info.name}: no {kind} in its split {split!r} of scheme {scheme!r}")
    low, high = settings.between
    found = Noise(sources, settings.level, low, high, settings.shuffle)
    found.check(length, noise.info.name)
    return found


def _prepared(noise: PreparedDataset, plan: Recipe, rows: Rows, sampling_rate: float) -> NDArray[np.float32]:
    """Stretches `(n, channels, length)` at the signals' rate, filled and filtered as the recipe says."""
    signals = fill_missing(noise.read(rows), plan.data.missing)
    signals = resample(signals, noise.info.sampling_rate, sampling_rate).astype(np.float32, copy=False)
    if plan.noise.band:
        low, high = plan.noise.band
        signals = bandpass(signals, low, high, sampling_rate)
    return signals


def beats(data: PreparedDataset, rows: Rows, form: Form) -> NDArray[np.int8] | None:
    """Codes `(n, length)` above 0 where the dataset has a beat; None where it tells of none, or at another rate."""
    info = data.info.targets.get("beats")
    if info is None or info.kind != "events" or form.sampling_rate != data.info.sampling_rate:
        return None
    codes = np.asarray(data.targets["beats"][rows])
    return codes if codes.shape[1] == form.length else None
