"""The only place where a recipe becomes objects: datasets, backbones, tasks. Plain tables of names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ssl_bio import runtime
from ssl_bio.checkpoint import Checkpoint, Facts
from ssl_bio.data import archive, har, store, synthetic
from ssl_bio.data.store import DatasetInfo, PreparedDataset, Recording, Rows
from ssl_bio.data.transforms import channel_statistics
from ssl_bio.data.view import View, check_missing, draw_labelled
from ssl_bio.errors import CheckpointError, DataError, RecipeError
from ssl_bio.models.bert import bert_encoder
from ssl_bio.models.contrast import MaskedContrast
from ssl_bio.models.convnet import ConvBackbone
from ssl_bio.models.heads import Classifier
from ssl_bio.models.timemae import TimeMAE, TimeMAEBackbone
from ssl_bio.recipe import DataSection, Recipe
from ssl_bio.tasks import ClassifyTask, ContrastTask, Task, TimeMAETask
from ssl_bio.terminal import note

BACKBONE = "backbone."


class Source(NamedTuple):
    """A publisher's dataset: how to read it and where it comes from."""

    title: str
    read: Callable[[Path], Recording]
    url: str
    sha256: str
    homepage: str


SOURCES: dict[str, Source] = {"har": Source(har.TITLE, har.read, har.URL, har.SHA256, har.HOMEPAGE)}


def dataset(section: DataSection) -> PreparedDataset:
    """Open the recipe's dataset; make the synthetic one, or download and prepare a published one, when absent.

    Raises DataError when it can be neither found nor had.
    """
    root, name = store.data_root(section.root), section.dataset
    if name == "synthetic":
        return _synthetic(root, section)
    folder = root / name
    if store.is_prepared(folder):
        return store.open_dataset(folder)
    source = _source(name)
    note(f"{name} is not prepared under {root}: downloading it from {source.homepage}")
    try:
        return prepare(name, source.url, root)
    except DataError as error:
        raise DataError(
            f"{error}. Get it from {source.homepage} on any machine, then: "
            f"ssl-bio data prepare {name} --from PATH_OF_THE_ZIP_OR_FOLDER"
        ) from error


def prepare(name: str, origin: str, root: Path) -> PreparedDataset:
    """Prepare a published dataset from a folder, a zip or a URL, whether it was prepared before or not."""
    source = _source(name)
    if origin.startswith(("http://", "https://")):
        path = archive.download(origin, root / "downloads", source.sha256 if origin == source.url else None)
    else:
        path = Path(origin).expanduser()
    with store.preparing(root / name):
        return store.write(root / name, source.read(path))


def external(name_or_path: str, run: Recipe, root: Path) -> PreparedDataset:
    """Another dataset for validation: a prepared one by name or folder, or a publisher's archive that is
    read by the reader of the run's own dataset.

    Raises DataError.
    """
    path = Path(name_or_path).expanduser()
    for folder in (path, root / name_or_path):
        if store.is_prepared(folder):
            return store.open_dataset(folder)
    if name_or_path == "synthetic":
        return _synthetic(root, run.data)
    if not path.exists():
        prepared = sorted(entry.parent.name for entry in root.glob("*/dataset.json"))
        raise DataError(
            f"--data {name_or_path}: neither a prepared dataset ({', '.join(prepared) or 'none is prepared'}) "
            "nor a file or folder"
        )
    recording = _source(run.data.dataset).read(path)
    folder = root / f"{run.data.dataset}-external-{path.stem.replace(' ', '-').lower()}"
    with store.preparing(folder):
        return store.write(folder, recording)


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
    """The recipe's pretext task around a backbone."""
    settings, model = recipe.pretrain, recipe.model
    if not isinstance(module, TimeMAEBackbone):
        raise RecipeError(f"model.kind {model.kind!r} has no pretext task: pretrain needs 'timemae'")
    if module.n_tokens < 2:
        raise RecipeError(f"model.wave_length {model.wave_length} leaves {module.n_tokens} token: nothing to mask")
    if settings.pretext == "contrast":
        return ContrastTask(
            MaskedContrast(module), settings.lr, settings.mask_ratio, settings.momentum, settings.temperature
        )
    return TimeMAETask(
        TimeMAE(module, model.decoder_layers, model.n_heads, model.vocab_size, model.dropout),
        settings.lr,
        settings.mask_ratio,
        settings.momentum,
        settings.alpha,
        settings.beta,
        settings.label_smoothing,
        settings.straight_through,
        settings.mask_per_sample,
    )


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
    """Raise CheckpointError unless a checkpoint's network takes this dataset's windows as they are."""
    check_channels(facts, info)
    if (facts.length, facts.sampling_rate) != (info.length, info.sampling_rate):
        raise CheckpointError(
            f"the checkpoint takes {facts.length} samples at {facts.sampling_rate:g} Hz, dataset {info.name} "
            f"has {info.length} at {info.sampling_rate:g} Hz: pretrain on this dataset, or choose another run"
        )


def check_channels(facts: Facts, info: DatasetInfo) -> None:
    """Raise CheckpointError unless a checkpoint's network takes this dataset's channels."""
    if facts.channels != info.channels:
        raise CheckpointError(
            f"the checkpoint takes {len(facts.channels)} channels ({', '.join(facts.channels)}), dataset {info.name} "
            f"has {len(info.channels)} ({', '.join(info.channels)}): pretrain on this dataset, or choose another run"
        )


def n_parameters(module: nn.Module) -> int:
    """How many numbers a network has."""
    return sum(parameter.numel() for parameter in module.parameters())


def _source(name: str) -> Source:
    if name == "synthetic":
        raise DataError("the synthetic dataset has no files to read: it is made when a recipe asks for it")
    if name not in SOURCES:
        raise DataError(f"data.dataset: no dataset {name!r}; there are {', '.join(['synthetic', *SOURCES])}")
    return SOURCES[name]


def _synthetic(root: Path, section: DataSection) -> PreparedDataset:
    size = section.synthetic
    if size.windows_per_subject < 4:
        raise DataError("data.synthetic.windows_per_subject: four rhythms need at least 4 windows a person")
    folder = root / f"synthetic-{size.n_subjects}x{size.windows_per_subject}-seed{size.seed}-v{synthetic.VERSION}"
    if store.is_prepared(folder):  # a shared root may be read-only
        return store.open_dataset(folder)
    with store.preparing(folder):
        if store.is_prepared(folder):
            return store.open_dataset(folder)
        return store.write(folder, synthetic.generate(size.n_subjects, size.windows_per_subject, size.seed))


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
