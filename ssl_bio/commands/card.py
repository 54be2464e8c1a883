"""What the model card of an exported run tells: data, people, metrics beside baselines, limits, origin."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ssl_bio.config import Recipe
from ssl_bio.config.load import toml_lines
from ssl_bio.data.dataset import PreparedDataset
from ssl_bio.metrics import metric_text
from ssl_bio.models.onnx import ExportedNetwork
from ssl_bio.results.card import ModelCard
from ssl_bio.results.evaluation import Evaluation, Table
from ssl_bio.runs.checkpoint import CheckpointMetadata
from ssl_bio.runs.folder import RunFolder
from ssl_bio.runs.inputs import InputSpec
from ssl_bio.tasks.base import AnyTask


class ExportedRun(NamedTuple):
    """A finished run with its network as other programs run it; its evaluation, as far as its predictions are there."""

    run: RunFolder
    metadata: CheckpointMetadata
    recipe: Recipe
    task: AnyTask
    spec: InputSpec
    network: ExportedNetwork
    summary: str
    evaluation: Evaluation | None


def model_card(
    loaded: ExportedRun, dataset: PreparedDataset | None, differences: Mapping[str, float], *, file_name: str
) -> ModelCard:
    """Return the card of an exported run.

    `dataset`: the one that it learnt from, if it is at hand; `differences`: from torch, by what was compared.
    """
    metadata, network, recipe = loaded.metadata, loaded.network, loaded.recipe
    title = f"{dataset.info.title} (" if dataset else ""
    fit_on = recipe.finetune.fit_on if metadata.target else recipe.pretrain.fit_on
    return ModelCard(
        title=f"{recipe.model_name or recipe.name}: {_run_name(loaded.run)}",
        summary=loaded.summary,
        model_file=file_name,
        channels=metadata.channels,
        unit=metadata.unit,
        sampling_rate=metadata.sampling_rate,
        length=network.length,
        outputs=network.outputs,
        dataset=f"{title}`{metadata.dataset}`, fingerprint {metadata.fingerprint}{')' if dataset else ''}; learnt from "
        f"{metadata.n_train} windows ({fit_on}); split scheme {recipe.data.split_scheme!r}"
        + (f": {dataset.info.schemes[recipe.data.split_scheme]}." if dataset else "."),
        preparation=toml_lines({"dataset": recipe.data.dataset, **metadata.windows}),
        people=_people(loaded, dataset),
        metrics=_metrics(loaded),
        limits=_limits(loaded, dataset),
        differences=differences,
        origin={
            "run": f"{loaded.run.path} ({metadata.run_id})",
            "started from": metadata.origin,
            "finished": metadata.finished_at,
            "epochs": f"{metadata.epochs}, of which number {metadata.best_epoch} was kept" if metadata.epochs else "",
            "versions": ", ".join(f"{name} {version}" for name, version in metadata.versions.items()),
        },
    )


def _run_name(run: RunFolder) -> str:
    """Return a run's name, of a part of a cross-validation with that of the whole."""
    home = run.path.absolute()
    return f"{home.parent.name}, {home.name}" if RunFolder(home.parent).folds() else home.name


def _people(loaded: ExportedRun, dataset: PreparedDataset | None) -> Table:
    """Return how many windows and people each split has, as far as that is known."""
    columns = ["split", "windows", "people"]
    if dataset is not None:
        parts = dataset.splits[loaded.recipe.data.split_scheme]
        rows = [[name, str(len(rows)), str(len(np.unique(dataset.subjects[rows])))] for name, rows in parts.items()]
        return Table("", columns, rows)
    if loaded.evaluation is None:
        return Table("", columns, [])
    n_people = len(np.unique(loaded.evaluation.predictions.arrays["subject"]))
    return Table("", columns, [[loaded.metadata.split, str(loaded.evaluation.n), str(n_people)]])


def _metrics(loaded: ExportedRun) -> Table:
    """Return a run's metrics beside what needs no learning."""
    metadata, evaluation = loaded.metadata, loaded.evaluation
    baselines = evaluation.baselines if evaluation else {}
    rows = [
        [name, metric_text(name, value) if metadata.target else f"{value:.6g}"]
        + [metric_text(name, theirs[name]) if name in theirs else "" for theirs in baselines.values()]
        for name, value in metadata.metrics.items()
        if not name.startswith("lr_") and name != "seconds"
    ]
    n = f", {evaluation.n} windows" if evaluation else ""
    where = f"{metadata.split}{n}" if metadata.target else "of pretraining, at the epoch that was kept"
    return Table(where, ["metric", "this network", *baselines], rows)


def _limits(loaded: ExportedRun, dataset: PreparedDataset | None) -> list[str]:
    """Return what the figures do not say and the file does not do."""
    metadata, network, recipe = loaded.metadata, loaded.network, loaded.recipe
    seconds = network.length / metadata.sampling_rate
    lines = [
        f"Windows have exactly {network.length} samples ({seconds:g} s at {metadata.sampling_rate:g} Hz): resample and "
        "cut before; samples that are missing (NaN) must be filled.",
        f"All figures are of dataset `{metadata.dataset}`, one split and one seed ({recipe.seed}): other devices, "
        "places and people may differ.",
    ]
    if metadata.selected_on == "test":
        lines.append("The epoch was chosen on test: the metrics flatter the network.")
    if metadata.grid:
        lines.append(f"It is one of {metadata.grid} combinations, compared on {metadata.split}.")
    if metadata.trials:
        lines.append(f"Its settings are the best of {metadata.trials} trials on validation.")
    rates = recipe.evaluate.model_dump().get("tta_rates", [1.0])
    if metadata.target and list(rates) != [1.0]:
        lines.append(f"The metrics are of predictions averaged over speeds {rates}; this file knows one.")
    overlap = dataset.info.overlap.get(recipe.data.split_scheme, {}) if dataset else {}
    lines += [
        f"Of {pair}, {one.subjects} people and {one.windows} identical windows stand in both."
        for pair, one in overlap.items()
        if one.subjects or one.windows
    ]
    return [*lines, "It is a result of research and no medical device."]
