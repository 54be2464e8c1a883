"""`ssl-bio export`: the network of a finished run as a file for other programs, with a model card beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from ssl_bio.commands.plan import plan_export
from ssl_bio.commands.result import predictions_file
from ssl_bio.config import Recipe
from ssl_bio.config.load import toml_lines
from ssl_bio.config.recipe import chosen_values
from ssl_bio.console import note
from ssl_bio.data.store import PreparedDataset
from ssl_bio.errors import CheckpointError, DataError
from ssl_bio.metrics import metric_text
from ssl_bio.models.base import Backbone
from ssl_bio.models.onnx import ExportedNetwork, Floats, check_onnx, largest_difference, onnx_model
from ssl_bio.results.card import ModelCard
from ssl_bio.results.evaluation import Evaluation, Predictions, Table
from ssl_bio.runs.checkpoint import Checkpoint, CheckpointMetadata
from ssl_bio.runs.files import entries_of, write_bytes, write_text
from ssl_bio.runs.folder import EXPORT_FOLDER, RunFolder
from ssl_bio.runs.inputs import InputSpec
from ssl_bio.tasks.base import AnyTask, load_task
from ssl_bio.tasks.datasets import open_recipe_dataset
from ssl_bio.tasks.load import load_finetuned, load_pretrained

MODEL_NAME, CARD_NAME = "model.onnx", "README.md"
MOST_DIFFERENCE = 1e-4  # from torch; of outputs above 1 a share of them
_N_RANDOM, _N_REAL = 8, 64  # windows that are compared
#: Keys of `[data]` that do not say how recordings become windows; `normalize` is part of the network.
_NOT_ABOUT_WINDOWS = ("target", "normalize", "split_scheme", "folds", "fold", "root")


class _Loaded(NamedTuple):
    """A finished run as it is exported: its network, and what its card tells."""

    run: RunFolder
    metadata: CheckpointMetadata
    recipe: Recipe
    task: AnyTask
    spec: InputSpec
    network: ExportedNetwork
    summary: str
    evaluation: Evaluation | None  # as far as the run's predictions are there


def export(checkpoint: str, *, out: Path | None, overwrite: bool) -> Path:
    """Write a run's network as ONNX and its card into a folder; return the folder.

    Raises CheckpointError, before anything is written, for a run that is not there or not complete, a network that
    cannot be exported, and one that onnxruntime computes otherwise than torch.
    """
    check_onnx()
    run = plan_export(checkpoint)
    folder = out or run.path / EXPORT_FOLDER
    _check_folder(folder, overwrite)
    loaded = _load(run)
    dataset = _dataset_at_hand(loaded)
    model = onnx_model(loaded.network, _properties(loaded))
    differences = {
        what: largest_difference(model, loaded.network, signals) for what, signals in _examples(loaded, dataset).items()
    }
    for what, difference in differences.items():
        note(f"{what}: differs from torch by {difference:.1e} at most")
        if not difference <= MOST_DIFFERENCE:
            raise CheckpointError(
                f"{run.path}: onnxruntime computes otherwise than torch ({difference:.1e} on {what}, "
                f"{MOST_DIFFERENCE:.0e} is allowed): nothing is written"
            )
    card = _card(loaded, dataset, differences)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be written: {error.strerror or error}") from error
    write_text(folder / CARD_NAME, card.text())
    write_bytes(folder / MODEL_NAME, model)
    note(f"network in {folder / MODEL_NAME} ({len(model) / 1e6:.2f} MB), its card in {folder / CARD_NAME}")
    return folder


def _check_folder(folder: Path, overwrite: bool) -> None:
    """Raise CheckpointError when a folder holds something that must not be replaced."""
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"{folder}: a file, not a folder: choose another with --out")
    entries = entries_of(folder)
    foreign = sorted(entries - {MODEL_NAME, CARD_NAME})
    if foreign:
        raise CheckpointError(f"{folder} holds other files ({', '.join(foreign[:3])}): choose another with --out")
    if entries and not overwrite:
        raise CheckpointError(f"{folder} holds an export: --overwrite replaces it, --out DIR writes elsewhere")


def _load(run: RunFolder) -> _Loaded:
    checkpoint = run.load()
    return _load_finetuned(run, checkpoint) if checkpoint.metadata.target else _load_pretrained(run, checkpoint)


def _load_finetuned(run: RunFolder, checkpoint: Checkpoint) -> _Loaded:
    recipe, metadata, task, target, model, spec = load_finetuned(checkpoint)
    file, evaluation = run.path / predictions_file(metadata.split), None
    if file.is_file():
        arrays = run.read_arrays(file.name)
        evaluation = task.score(target, Predictions(arrays=arrays, constants=arrays))
    return _Loaded(
        run=run,
        metadata=metadata,
        recipe=recipe,
        task=task,
        spec=spec,
        network=task.exported(model, target, spec),
        summary=f"From windows of signals to `{task.task_name()}`: {task.config.task}, trained as {task.config.mode}.",
        evaluation=evaluation,
    )


def _load_pretrained(run: RunFolder, checkpoint: Checkpoint) -> _Loaded:
    recipe, metadata, backbone, spec = load_pretrained(checkpoint)
    if not isinstance(backbone, Backbone):
        raise CheckpointError(f"{run.path}: a pretrained network of signals has no embeddings: export a finetuned run")
    n_tokens, width = backbone.count_tokens(spec.window), backbone.d_model
    outputs = {
        "tokens": f"(batch, {n_tokens}, {width}): a token for every {backbone.wave_length} samples",
        "embedding": f"(batch, {width}): the mean of the tokens",
    }
    return _Loaded(
        run=run,
        metadata=metadata,
        recipe=recipe,
        task=load_task(recipe),
        spec=spec,
        network=ExportedNetwork(Embedding(backbone).eval(), spec.n_channels, spec.window, outputs),
        summary=f"From windows of signals to embeddings, pretrained without labels as {recipe.pretrain.pretext}.",
        evaluation=None,
    )


class Embedding(nn.Module):
    """Signals `(batch, n_channels, length)` -> tokens `(batch, n_tokens, d_model)` and their mean."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, signals: Tensor) -> tuple[Tensor, Tensor]:
        tokens: Tensor = self.backbone(signals)
        return tokens, tokens.mean(dim=1)


def _dataset_at_hand(loaded: _Loaded) -> PreparedDataset | None:
    """Return the prepared dataset that a run learnt from; None where it is not there, or is another one by now."""
    try:
        dataset = open_recipe_dataset(loaded.recipe.data, download=False)
    except DataError:
        dataset = None
    if dataset is None or dataset.info.fingerprint != loaded.metadata.fingerprint:
        note(f"dataset {loaded.metadata.dataset} is not at hand: compared on simulated windows alone")
        return None
    return dataset


def _examples(loaded: _Loaded, dataset: PreparedDataset | None) -> dict[str, Floats]:
    """Return windows to compare on: noise, slow waves, and real ones where they are at hand."""
    rng, shape = np.random.default_rng(0), (_N_RANDOM, loaded.network.n_channels, loaded.network.length)
    found = {"random windows": rng.standard_normal(shape), "random walks": rng.standard_normal(shape).cumsum(axis=-1)}
    if dataset is not None:
        rows = loaded.task.split_rows(dataset, _test_split(loaded, dataset))
        rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), _N_REAL)).round().astype(int)]
        real = loaded.task.signals(dataset, rows, spec=loaded.spec).read(slice(None))[..., : loaded.network.length]
        found[f"{len(real)} windows of {dataset.info.name}"] = real
    return {what: np.ascontiguousarray(signals, np.float32) for what, signals in found.items()}


def _test_split(loaded: _Loaded, dataset: PreparedDataset) -> str:
    parts = dataset.splits[loaded.recipe.data.split_scheme]
    return "test" if len(parts.get("test", ())) else next(iter(parts))


def _properties(loaded: _Loaded) -> dict[str, str]:
    """Return what the ONNX file says about itself."""
    metadata = loaded.metadata
    return {
        "channels": ", ".join(metadata.channels),
        "unit": metadata.unit,
        "sampling_rate": f"{metadata.sampling_rate:g}",
        "outputs": "; ".join(f"{name} {text}" for name, text in loaded.network.outputs.items()),
        "run_id": metadata.run_id,
        "recipe": loaded.recipe.name,
    }


def _card(loaded: _Loaded, dataset: PreparedDataset | None, differences: Mapping[str, float]) -> ModelCard:
    metadata, network, recipe = loaded.metadata, loaded.network, loaded.recipe
    data = {"dataset": recipe.data.dataset, **chosen_values(recipe).get("data", {})}
    title = f"{dataset.info.title} (" if dataset else ""
    return ModelCard(
        title=f"{recipe.model_name or recipe.name}: {_run_name(loaded.run)}",
        summary=loaded.summary,
        model_file=MODEL_NAME,
        channels=metadata.channels,
        unit=metadata.unit,
        sampling_rate=metadata.sampling_rate,
        length=network.length,
        outputs=network.outputs,
        dataset=f"{title}`{metadata.dataset}`, fingerprint {metadata.fingerprint}{')' if dataset else ''}; learnt from "
        f"{metadata.n_train} windows; split scheme {recipe.data.split_scheme!r}"
        + (f": {dataset.info.schemes[recipe.data.split_scheme]}." if dataset else "."),
        preparation=toml_lines({name: value for name, value in data.items() if name not in _NOT_ABOUT_WINDOWS}),
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


def _people(loaded: _Loaded, dataset: PreparedDataset | None) -> Table:
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


def _metrics(loaded: _Loaded) -> Table:
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
    where = f"{metadata.split}{n}" if metadata.target else "of pretraining, at its last epoch"
    return Table(where, ["metric", "this network", *baselines], rows)


def _limits(loaded: _Loaded, dataset: PreparedDataset | None) -> list[str]:
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
