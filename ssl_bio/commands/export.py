"""`ssl-bio export`: the network of a finished run as a file for other programs, with a model card beside it."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ssl_bio.commands.card import ExportedRun, model_card
from ssl_bio.commands.plan import plan_export
from ssl_bio.commands.result import predictions_file
from ssl_bio.config.resolve import recipe_of
from ssl_bio.console import note
from ssl_bio.data.dataset import PreparedDataset
from ssl_bio.errors import CheckpointError, DataError
from ssl_bio.models.base import Backbone
from ssl_bio.models.onnx import ExportedNetwork, Floats, check_onnx, largest_difference, onnx_model
from ssl_bio.results.evaluation import Predictions
from ssl_bio.runs.checkpoint import Checkpoint
from ssl_bio.runs.files import entries_of, write_bytes, write_text
from ssl_bio.runs.finished import stored_predictions
from ssl_bio.runs.folder import EXPORT_FOLDER, RunFolder
from ssl_bio.tasks.base import load_task
from ssl_bio.tasks.datasets import open_recipe_dataset
from ssl_bio.tasks.inference import TrainedEncoder
from ssl_bio.tasks.load import load_finetuned

MODEL_NAME, CARD_NAME = "model.onnx", "README.md"
MOST_DIFFERENCE = 1e-4  # from torch; of outputs above 1 a share of them
_N_RANDOM, _N_REAL = 8, 64  # windows that are compared


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
    card = model_card(loaded, dataset, differences, file_name=MODEL_NAME)
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


def _load(run: RunFolder) -> ExportedRun:
    checkpoint = run.load()
    return _load_finetuned(run, checkpoint) if checkpoint.metadata.target else _load_pretrained(run, checkpoint)


def _load_finetuned(run: RunFolder, checkpoint: Checkpoint) -> ExportedRun:
    recipe, metadata, task, target, model, spec = load_finetuned(checkpoint)
    file, evaluation = run.path / predictions_file(metadata.split), None
    if file.is_file():
        stored = stored_predictions(run, file.name)
        evaluation = task.score(target, Predictions(arrays=stored.arrays, constants=stored.constants))
    return ExportedRun(
        run=run,
        metadata=metadata,
        recipe=recipe,
        task=task,
        spec=spec,
        network=task.exported(model, target, spec),
        summary=f"From windows of signals to `{task.task_name()}`: {task.config.task}, trained as {task.config.mode}.",
        evaluation=evaluation,
    )


def _load_pretrained(run: RunFolder, checkpoint: Checkpoint) -> ExportedRun:
    encoder, metadata = TrainedEncoder.load(run.path), checkpoint.metadata
    backbone, spec, recipe = encoder.backbone, encoder.spec, recipe_of(metadata.recipe, str(checkpoint.path))
    n_tokens, width = backbone.count_tokens(spec.window), backbone.d_model
    outputs = {
        "tokens": f"(batch, {n_tokens}, {width}): a token for every {backbone.wave_length} samples",
        "embedding": f"(batch, {width}): the mean of the tokens",
    }
    return ExportedRun(
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


def _dataset_at_hand(loaded: ExportedRun) -> PreparedDataset | None:
    """Return the prepared dataset that a run learnt from; None where it is not there, or is another one by now."""
    try:
        dataset = open_recipe_dataset(loaded.recipe.data, download=False)
    except DataError:
        dataset = None
    if dataset is None or dataset.info.fingerprint != loaded.metadata.fingerprint:
        note(f"dataset {loaded.metadata.dataset} is not at hand: compared on simulated windows alone")
        return None
    return dataset


def _examples(loaded: ExportedRun, dataset: PreparedDataset | None) -> dict[str, Floats]:
    """Return windows to compare on: white noise and random walks, as strong as real ones, and real ones, where they are
    at hand."""
    rng, shape = np.random.default_rng(0), (_N_RANDOM, loaded.network.n_channels, loaded.network.length)
    noise = rng.standard_normal(shape)
    walks = _standardised(noise.cumsum(axis=-1))
    if dataset is None:
        return {"random windows": _single(noise), "random walks": _single(walks)}
    rows = loaded.task.split_rows(dataset, _test_split(loaded, dataset))
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), _N_REAL)).round().astype(int)]
    real = loaded.task.signals(dataset, rows, spec=loaded.spec).read(slice(None))[..., : loaded.network.length]
    mean, std = real.mean(axis=(0, 2))[:, None], real.std(axis=(0, 2))[:, None]
    return {
        "random windows": _single(noise * std + mean),
        "random walks": _single(walks * std + mean),
        f"{len(real)} windows of {dataset.info.name}": _single(real),
    }


def _standardised(signals: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = signals - signals.mean(axis=-1, keepdims=True)
    return np.asarray(centred / centred.std(axis=-1, keepdims=True))


def _single(signals: NDArray[np.floating]) -> Floats:
    return np.ascontiguousarray(signals, np.float32)


def _test_split(loaded: ExportedRun, dataset: PreparedDataset) -> str:
    parts = dataset.splits[loaded.recipe.data.split_scheme]
    return "test" if len(parts.get("test", ())) else next(iter(parts))


def _properties(loaded: ExportedRun) -> dict[str, str]:
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
