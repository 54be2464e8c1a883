"""The only place where a recipe becomes objects: views of datasets, backbones, tasks. Plain tables of names."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ssl_bio import runtime
from ssl_bio.checkpoint import Checkpoint, Facts, load
from ssl_bio.data.store import DatasetInfo, PreparedDataset, Rows
from ssl_bio.data.transforms import channel_statistics
from ssl_bio.data.view import View, check_missing, draw_labelled
from ssl_bio.errors import CheckpointError, DataError, RecipeError
from ssl_bio.models.bert import bert_encoder
from ssl_bio.models.contrast import MaskedContrast
from ssl_bio.models.convnet import ConvBackbone
from ssl_bio.models.heads import Classifier
from ssl_bio.models.quantizer import Quantizer
from ssl_bio.models.timemae import TimeMAE, TimeMAEBackbone
from ssl_bio.models.vqvae import VQVAE, Bridge, FrozenCodes, VQVAEBackbone
from ssl_bio.recipe import complete
from ssl_bio.schema import DataSection, Recipe
from ssl_bio.tasks import ClassifyTask, ContrastTask, Task, TimeMAETask, VQVAETask

BACKBONE = "backbone."


def view(data: PreparedDataset, section: DataSection, rows: Rows, sampling_rate: float, length: int) -> View:
    """Rows of a dataset with the recipe's target and treatment, at the run's rate and length."""
    check_missing(data, section.missing)
    return View(data, rows, _codes(data, section.target)[rows], section.missing, sampling_rate, length)


def training_rows(data: PreparedDataset, recipe: Recipe, split: str) -> Rows:
    """Labelled rows of "train", "val" or "train+val": all of them, or the recipe's stratified share."""
    classes = class_names(data, recipe.data.target)
    codes = _codes(data, recipe.data.target)
    rows = _union(data, recipe, split)
    rng = runtime.stream(recipe.seed, f"labels of {split}")
    if split == "val":
        present = [code for code in range(len(classes)) if (codes[rows] == code).any()]
        relabelled = np.searchsorted(present, codes) if present else codes
        names = [classes[code] for code in present]
        return draw_labelled(rows, relabelled, names, recipe.finetune.label_fraction, rng)
    return draw_labelled(rows, codes, classes, recipe.finetune.label_fraction, rng)


def pretraining_view(data: PreparedDataset, recipe: Recipe, split: str) -> View:
    """Unlabelled rows of "train", "val" or "train+val"."""
    info = data.info
    return View(data, _union(data, recipe, split), None, recipe.data.missing, info.sampling_rate, info.length)


def backbone(recipe: Recipe, n_channels: int, length: int, will_load: bool = False) -> nn.Module:
    """The recipe's backbone with random weights, drawn from torch's global generator.

    `will_load`: a checkpoint's weights come next, so a folder of BERT weights need not be there any more.
    """
    model, normalize = recipe.model, recipe.data.normalize
    try:
        if model.kind == "convnet":
            return ConvBackbone(n_channels, length, model.d_model, model.wave_length, normalize)
        if model.kind == "vqvae":
            return VQVAEBackbone(
                n_channels,
                length,
                model.d_model,
                model.width,
                model.n_layers,
                model.wave_length,
                Bridge(model.bridge, model.batch_norm),
                model.dropout,
                normalize,
                _state_space(recipe),
                model.stride,
            )
        encoder = None
        if model.encoder == "bert":
            encoder = bert_encoder(
                model.d_model, model.n_layers, model.n_heads, model.dropout, "" if will_load else model.bert_weights
            )
        return TimeMAEBackbone(
            n_channels,
            length,
            model.d_model,
            model.n_layers,
            model.n_heads,
            model.wave_length,
            model.dropout,
            model.stem,
            model.encoder,
            normalize,
            encoder,
        )
    except ValueError as error:
        raise RecipeError(f"model: {error}") from error


def fit_input_scaling(module: nn.Module, data: PreparedDataset, recipe: Recipe) -> None:
    """Give a backbone the training split's channel statistics.

    Raises DataError when samples are missing and nothing says how to fill them.
    """
    check_missing(data, recipe.data.missing)
    rows = data.rows(recipe.data.validation, "train")
    info = data.info
    whole = View(data, rows, None, recipe.data.missing, info.sampling_rate, info.length)
    module.input_norm.set_statistics(*channel_statistics(whole.read(slice(None))))  # type: ignore[operator, union-attr]


def pretext_task(recipe: Recipe, module: nn.Module) -> Task:
    """The recipe's pretext task around a backbone.

    Raises RecipeError when they do not go together, and CheckpointError when the codewords' run is broken.
    """
    settings, model = recipe.pretrain, recipe.model
    if isinstance(module, VQVAEBackbone) and settings.pretext in ("auto", "vqvae"):
        return VQVAETask(
            vqvae(recipe, module), settings.lr, settings.reconstruction, settings.input_noise, settings.input_mask
        )
    if not isinstance(module, TimeMAEBackbone) or settings.pretext == "vqvae":
        raise RecipeError(
            f"model.kind {model.kind!r} and pretrain.pretext {settings.pretext!r} do not go together: 'timemae' has "
            "'timemae' and 'contrast', 'vqvae' has 'vqvae', 'convnet' none"
        )
    if module.n_tokens < 2:
        raise RecipeError(f"model.wave_length {model.wave_length} leaves {module.n_tokens} token: nothing to mask")
    if settings.pretext == "contrast":
        return ContrastTask(
            MaskedContrast(module), settings.lr, settings.mask_ratio, settings.momentum, settings.temperature
        )
    return TimeMAETask(
        TimeMAE(
            module, model.decoder_layers, model.n_heads, model.vocab_size, model.dropout, _codewords(recipe, module)
        ),
        settings.lr,
        settings.mask_ratio,
        settings.momentum,
        settings.alpha,
        settings.beta,
        settings.label_smoothing,
        settings.straight_through,
        settings.mask_per_sample,
    )


def vqvae(recipe: Recipe, module: VQVAEBackbone) -> VQVAE:
    """The autoencoder around a backbone: quantizer and decoder."""
    model = recipe.model

    def quantizer() -> Quantizer:
        return Quantizer(model.d_model, **model.quantizer.model_dump())

    try:
        return VQVAE(
            module,
            quantizer(),
            model.n_layers,
            Bridge(model.bridge, model.batch_norm),
            model.dropout,
            _state_space(recipe),
            model.coarse,
            quantizer() if model.coarse > 1 else None,
        )
    except ValueError as error:
        raise RecipeError(f"model.quantizer: {error}") from error


def trained_vqvae(checkpoint: Checkpoint) -> VQVAE:
    """The whole autoencoder of a pretraining run, in evaluation mode.

    Raises CheckpointError when the run is of another kind.
    """
    facts = checkpoint.facts
    plan = complete(facts.recipe, str(checkpoint.path))
    module = backbone(plan, len(facts.channels), facts.length, will_load=True)
    if facts.kind != "pretrain" or not isinstance(module, VQVAEBackbone):
        raise CheckpointError(f"{checkpoint.path}: not a VQ-VAE's pretraining run")
    whole = vqvae(plan, module)
    load_into(whole, checkpoint)
    return whole.eval()


def _codewords(recipe: Recipe, module: TimeMAEBackbone) -> FrozenCodes | None:
    """The frozen VQ-VAE whose codes are TimeMAE's codewords, if the recipe names one."""
    if not recipe.model.codewords:
        return None
    checkpoint = load(Path(recipe.model.codewords))
    codes = FrozenCodes(trained_vqvae(checkpoint))
    theirs = codes.vqvae.backbone
    if (theirs.n_channels, theirs.wave_length) != (module.n_channels, module.wave_length):
        raise RecipeError(
            f"model.codewords {recipe.model.codewords}: its codes stand for {theirs.wave_length} samples of "
            f"{theirs.n_channels} channels, this model's tokens for {module.wave_length} of {module.n_channels}"
        )
    return codes


def _state_space(recipe: Recipe) -> dict[str, Any]:
    """Arguments of `S4D`."""
    settings = recipe.model.s4d
    return {**settings.model_dump(exclude={"lr"}), "state_space_lr": settings.lr}


def classifier(recipe: Recipe, module: nn.Module, n_classes: int) -> Classifier:
    """A backbone with the recipe's pooling and head."""
    settings = recipe.finetune
    return Classifier(module, n_classes, settings.pooling, settings.layers, settings.dropout)


def classify_task(recipe: Recipe, model: Classifier, frozen_features: bool) -> ClassifyTask:
    """The recipe's downstream task."""
    settings = recipe.finetune
    # Random weights have nothing to keep: they learn at the head's rate.
    backbone_lr = settings.lr if settings.mode == "scratch" else settings.backbone_lr
    return ClassifyTask(model, settings.lr, backbone_lr, settings.label_smoothing, settings.mixup, frozen_features)


def load_into(module: nn.Module, checkpoint: Checkpoint, prefix: str = "") -> None:
    """Load a checkpoint's tensors below `prefix` into a module.

    Raises CheckpointError that names the first tensors that are missing, unknown or of another shape.
    """
    tensors = {k.removeprefix(prefix): tensor for k, tensor in checkpoint.tensors.items() if k.startswith(prefix)}
    wanted = module.state_dict()
    problems = [f"{name} is missing" for name in wanted if name not in tensors]
    problems += [f"{name} is unknown" for name in tensors if name not in wanted]
    problems += [
        f"{name} has shape {tuple(tensors[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    if problems:
        shown = "; ".join(problems[:3]) + (f" and {len(problems) - 3} more" if len(problems) > 3 else "")
        raise CheckpointError(f"{checkpoint.path}: weights do not fit the recipe's network: {shown}")
    module.load_state_dict(tensors)


def check_fit(facts: Facts, info: DatasetInfo) -> None:
    """Raise CheckpointError unless a checkpoint's network takes this dataset's windows as they are: its channels
    and sampling rate, and, where tokens have learnt positions, its length."""
    check_channels(facts, info)
    any_length = facts.recipe["model"]["kind"] != "timemae"
    if facts.sampling_rate != info.sampling_rate or not (any_length or facts.length == info.length):
        raise CheckpointError(
            f"the checkpoint takes {facts.length} samples at {facts.sampling_rate:g} Hz, dataset {info.name} "
            f"has {info.length} at {info.sampling_rate:g} Hz: pretrain on this dataset, or choose another run"
        )


def check_channels(facts: Facts, info: DatasetInfo) -> None:
    """Raise CheckpointError unless a checkpoint's network takes this dataset's channels: the same names, or, of a
    single channel, any."""
    if facts.channels != info.channels and not len(facts.channels) == len(info.channels) == 1:
        raise CheckpointError(
            f"the checkpoint takes {len(facts.channels)} channels ({', '.join(facts.channels)}), dataset {info.name} "
            f"has {len(info.channels)} ({', '.join(info.channels)}): pretrain on this dataset, or choose another run"
        )


def n_parameters(module: nn.Module) -> int:
    """How many numbers a network has."""
    return sum(parameter.numel() for parameter in module.parameters())


def class_names(data: PreparedDataset, target: str) -> tuple[str, ...]:
    """The classes of a target, by code. Raises DataError when it holds no classes."""
    info, _ = data.target(target)
    if info.kind != "class":
        classes = [name for name, other in data.info.targets.items() if other.kind == "class"]
        raise DataError(
            f"data.target: {target!r} holds {info.kind}s, and finetune.task 'classify' needs classes: "
            f"{', '.join(classes) or 'this dataset has none'}"
        )
    return info.classes


def _codes(data: PreparedDataset, target: str) -> NDArray[Any]:
    class_names(data, target)
    return np.asarray(data.targets[target])


def _union(data: PreparedDataset, recipe: Recipe, split: str) -> Rows:
    parts = [data.rows(recipe.data.validation, part) for part in split.split("+")]
    return np.unique(np.concatenate(parts))
