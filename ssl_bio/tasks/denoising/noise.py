"""What denoising learns from and is evaluated on: which signals are clean, and which noise is added to them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ssl_bio.config import DataConfig, Recipe
from ssl_bio.config.tasks import NoiseConfig
from ssl_bio.data.catalog import open_dataset
from ssl_bio.data.dataset import DatasetInfo, PreparedDataset, Rows
from ssl_bio.data.filters import bandpass, fill_missing, resample
from ssl_bio.data.loader import SignalDataset, check_missing
from ssl_bio.data.locations import data_root
from ssl_bio.data.noise import Noise
from ssl_bio.errors import DataError, RecipeError
from ssl_bio.runs.inputs import InputSpec
from ssl_bio.tasks.datasets import open_recipe_dataset


def clean_signals(
    dataset: PreparedDataset, rows: Rows, *, data: DataConfig, noise: NoiseConfig, spec: InputSpec
) -> SignalDataset:
    """Return clean signals: those of the target that the recipe names, else the dataset's own; where noise comes from
    no other dataset, with the signals as recorded as further channels.

    Raises RecipeError when there is neither noise to add nor a clean target.
    """
    check_missing(dataset, data.missing)
    if not data.target and not noise.dataset:
        raise RecipeError(
            "nothing to take away: name finetune.noise.dataset, or in data.target the clean twin of noisy recordings"
        )
    recorded = SignalDataset(
        dataset=dataset,
        rows=rows,
        targets=None,
        missing=data.missing,
        sampling_rate=spec.sampling_rate,
        length=spec.length,
    )
    clean = replace(recorded, dataset=with_clean_signals(dataset, data.target))
    return clean if noise.dataset else replace(clean, companion=recorded)


def with_clean_signals(dataset: PreparedDataset, target: str) -> PreparedDataset:
    """Return the dataset with a target's signals for its signals; without a target as it is.

    Raises DataError when that target holds no signals.
    """
    if not target:
        return dataset
    info, values = dataset.target(target)
    if info.kind != "signal":
        twins = [name for name, other in dataset.info.targets.items() if other.kind == "signal"]
        raise DataError(
            f'data.target: {target!r} holds no signals, which finetune.task "denoising" takes for the clean ones: '
            f"choose {' or '.join(twins) or 'none, and a noise.dataset'}"
        )
    return replace(dataset, signals=values)


def open_noise(recipe: Recipe, noise: NoiseConfig) -> PreparedDataset | None:
    """Open the dataset that noise comes from, if the recipe names one: the signals' own, cut as they are, or another
    one as its publisher has it.

    Raises DataError when it can be neither found nor had.
    """
    data = recipe.data
    if not noise.dataset:
        return None
    same_root = not noise.root or data_root(noise.root).resolve() == data_root(data.root).resolve()
    if noise.dataset == data.dataset and same_root:
        return open_recipe_dataset(data.model_copy(update={"channels": [], "folds": 0}))
    return open_dataset(name=noise.dataset, root=noise.root or data.root)


def noise_target(info: DatasetInfo, wanted: str) -> str:
    """Return the target whose classes are types of noise; empty where the dataset has none.

    Raises DataError when the recipe names one that is not there or holds no classes.
    """
    classes = [name for name, target in info.targets.items() if target.kind == "class"]
    if wanted and wanted not in classes:
        raise DataError(
            f"finetune.noise.target: dataset {info.name} has no classes {wanted!r}; it has "
            f"{', '.join(classes) or 'none'}"
        )
    return wanted or (classes[0] if classes else "")


def rows_of_class(dataset: PreparedDataset, rows: Rows, *, target: str, name: str) -> Rows:
    """Return those of the rows that are of a class. Raises DataError when there is no such class."""
    classes = dataset.info.targets[target].classes if target else ()
    if name not in classes:
        raise DataError(f"dataset {dataset.info.name} has no class {name!r} in {target!r}; it has {', '.join(classes)}")
    chosen: Rows = rows[np.asarray(dataset.targets[target])[rows] == classes.index(name)]
    return chosen


def noise_types(noise: PreparedDataset, config: NoiseConfig) -> list[str]:
    """Return the types of noise in a dataset: the classes of its target, or its own name where it has none."""
    target = noise_target(noise.info, config.target)
    if not target:
        return [noise.info.name]
    return [kind for kind in noise.info.targets[target].classes if kind != config.clean]


def noise_of_split(
    dataset: PreparedDataset,
    *,
    config: NoiseConfig,
    missing: str,
    split: str,
    sampling_rate: float,
    types: Sequence[str],
    length: int,
) -> Noise:
    """Return noise of these types (none: of all that the split holds) in a split ("train", "val", "test", or several
    with "+" between) of the dataset's first scheme, at the signals' rate.

    Raises DataError when a type is unknown or silent, or stretches are shorter than windows of `length` samples.
    """
    known, name = noise_types(dataset, config), dataset.info.name
    unknown = [kind for kind in types if kind not in known]
    if unknown:
        raise DataError(f"finetune.noise.dataset {name} has no type {unknown[0]!r}; it has {', '.join(known)}")
    check_missing(dataset, missing)
    scheme = next(iter(dataset.info.schemes))
    rows = np.sort(np.concatenate([dataset.rows(scheme, part) for part in split.split("+")]))
    target = noise_target(dataset.info, config.target)
    sources = {}
    for kind in types or known:
        chosen = rows_of_class(dataset, rows, target=target, name=kind) if target else rows
        if len(chosen):
            sources[kind] = _stretches(dataset, chosen, config=config, missing=missing, sampling_rate=sampling_rate)
        elif types:
            raise DataError(f"finetune.noise.dataset {name}: no {kind} in its split {split!r} of scheme {scheme!r}")
    low, high = config.range
    found = Noise(sources=sources, level=config.level, low=low, high=high, shuffle=config.shuffle)
    found.check(length, name)
    return found


def _stretches(
    dataset: PreparedDataset, rows: Rows, *, config: NoiseConfig, missing: str, sampling_rate: float
) -> NDArray[np.float32]:
    """Return stretches `(n, channels, length)` at the signals' rate, filled and filtered as the recipe says."""
    signals = fill_missing(dataset.read(rows), missing)
    signals = resample(signals, dataset.info.sampling_rate, sampling_rate).astype(np.float32, copy=False)
    return (
        bandpass(signals, low=config.band[0], high=config.band[1], sampling_rate=sampling_rate)
        if config.band
        else signals
    )


def annotated_beats(dataset: PreparedDataset, rows: Rows, spec: InputSpec) -> NDArray[np.int8] | None:
    """Return codes `(n, length)` above 0 where the dataset has a beat; None where it tells of none, or at another
    rate."""
    info = dataset.info.targets.get("beats")
    if info is None or info.kind != "events" or spec.sampling_rate != dataset.info.sampling_rate:
        return None
    codes = np.asarray(dataset.targets["beats"][rows])
    return codes if codes.shape[1] == spec.length else None
