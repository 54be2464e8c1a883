"""Finished runs in use: what they answer about recordings without labels, and how they see them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from ssl_bio.config.resolve import recipe_of
from ssl_bio.data.augmentations import even_crops
from ssl_bio.data.dataset import PreparedDataset
from ssl_bio.data.loader import Batch, Loader, SignalDataset
from ssl_bio.data.new_recordings import Preprocessing, dataset_of
from ssl_bio.data.options import WindowOptions
from ssl_bio.errors import CheckpointError, DataError
from ssl_bio.models.base import Backbone
from ssl_bio.models.heads import Pooling
from ssl_bio.runs.checkpoint import CheckpointMetadata, load_checkpoint
from ssl_bio.runs.folder import RunFolder
from ssl_bio.runs.inputs import InputSpec, stored_input_spec
from ssl_bio.runs.transfer import backbone_weights, load_tensors_into
from ssl_bio.tasks.load import FinetunedRun, load_finetuned, recipe_backbone
from ssl_bio.training.evaluation import map_batches

POOLINGS = ("mean", "max", "std", "middle", "tokens")


def check_pooling(kinds: Sequence[str]) -> None:
    """Raise DataError for an unknown way to pool tokens, or for tokens beside another."""
    unknown = [kind for kind in kinds if kind not in POOLINGS]
    if unknown or not kinds:
        raise DataError(f"pooling {', '.join(unknown) or 'none'}: one of {', '.join(POOLINGS)} is wanted")
    if "tokens" in kinds and len(kinds) > 1:
        raise DataError("pooling: tokens are as they are, and nothing can stand beside them")


def preprocessing_of(metadata: CheckpointMetadata) -> Preprocessing:
    """Return how recordings become what a run takes.

    Of a run of an older version, which does not say, windows follow one another as long as they were, at the rate that
    the network takes.
    """
    if metadata.windows:
        options = WindowOptions(**metadata.windows)  # type: ignore[arg-type]  # fields checked when they were written
    else:
        window = metadata.length / metadata.sampling_rate
        options = WindowOptions(
            sampling_rate=metadata.sampling_rate, window=window, stride=window, highpass=0.0, standardize="none"
        )
    return Preprocessing(metadata.channels, metadata.unit, options)


def run_folders(paths: Sequence[Path]) -> list[Path]:
    """Return the folders of runs; of a cross-validation those of its parts."""
    found = []
    for path in paths:
        folds = RunFolder(path).folds() if path.is_dir() else []
        found += [fold.path for fold in folds] or [path]
    return found


@dataclass(frozen=True)
class Ensemble:
    """Finetuned runs that answer the same question about the same kind of recording: several seeds or folds, or one.

    Answers are the mean over runs; `spread` is their standard deviation.
    """

    runs: Sequence[FinetunedRun]
    preprocessing: Preprocessing

    @classmethod
    def load(cls, paths: Sequence[Path]) -> Self:
        """Load runs from their folders, or from folders of cross-validations.

        Raises CheckpointError when there is none, or when they differ in question, channels or windows.
        """
        folders = run_folders(paths)
        runs = [load_finetuned(load_checkpoint(path)) for path in folders]
        if not runs:
            raise CheckpointError("no run: give --checkpoint RUN")
        first = runs[0]
        for path, run in zip(folders[1:], runs[1:], strict=True):
            for what, theirs, ours in (
                ("answers", run.target.names, first.target.names),
                ("task", run.recipe.finetune.task, first.recipe.finetune.task),
                ("channels", run.metadata.channels, first.metadata.channels),
                ("windows", preprocessing_of(run.metadata).options, preprocessing_of(first.metadata).options),
            ):
                if theirs != ours:
                    raise CheckpointError(f"{path}: its {what} are not those of {folders[0]}: they cannot be averaged")
        return cls(runs, preprocessing_of(first.metadata))

    def answer(self, windows: PreparedDataset, device: torch.device) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the answers about all windows and their spread over the runs, `(n, n_answers)` each."""
        found = np.stack(
            [run.task.answer(run.model, run.target, dataset=windows, spec=run.spec, device=device) for run in self.runs]
        )
        return found.mean(axis=0), found.std(axis=0, ddof=min(1, len(found) - 1))  # as tables count it over seeds

    def columns(self, answers: NDArray[np.float64], spread: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
        """Return answers, and of several runs their spread, as the columns of a table, `(n,)` each."""
        first = self.runs[0]
        columns = first.task.answer_columns(first.target, answers)
        if len(self.runs) > 1:
            numbers = [name for name, values in columns.items() if values.dtype.kind == "f"]
            columns |= {f"std {name}": spread[:, place] for place, name in enumerate(numbers)}
        return columns


@dataclass(frozen=True)
class TrainedEncoder:
    """The backbone of a run, pretrained or finetuned, which turns windows into embeddings."""

    backbone: Backbone
    spec: InputSpec
    preprocessing: Preprocessing
    batch_size: int
    missing: str

    @classmethod
    def load(cls, path: Path) -> Self:
        """Load the backbone of a run from its folder.

        Raises CheckpointError when there is none, or when the run's network gives no tokens.
        """
        checkpoint = load_checkpoint(path)
        metadata = checkpoint.metadata
        recipe, spec = recipe_of(metadata.recipe, str(checkpoint.path)), stored_input_spec(metadata)
        backbone = recipe_backbone(recipe, spec, weights_follow=True)
        if not isinstance(backbone, Backbone):
            raise CheckpointError(f"{path}: its network gives no tokens: nothing to embed with")
        load_tensors_into(backbone, backbone_weights(checkpoint), checkpoint.path)
        return cls(backbone, spec, preprocessing_of(metadata), recipe.evaluate.batch_size, recipe.data.missing)

    def embed(self, windows: PreparedDataset, *, pooling: Sequence[str], device: torch.device) -> NDArray[np.float32]:
        """Return the embeddings of all windows: `(n, width)`, or with "tokens" `(n, n_tokens, width)`.

        Of a window longer than the network's it is the mean over crops.
        """
        parts: list[NDArray[np.float32]] = []
        self.embed_each(windows, parts.append, pooling=pooling, device=device)
        return np.concatenate(parts) if parts else np.empty((0, len(pooling) * self.backbone.d_model), np.float32)

    def embed_each(
        self,
        windows: PreparedDataset,
        take: Callable[[NDArray[np.float32]], None],
        *,
        pooling: Sequence[str],
        device: torch.device,
    ) -> None:
        """Hand the embeddings of windows to `take`, a batch at a time."""
        signals = SignalDataset(
            dataset=windows,
            rows=np.arange(len(windows.signals)),
            targets=None,
            missing=self.missing,
            sampling_rate=self.spec.sampling_rate,
            length=self.spec.length,
        )
        if not len(signals):
            return
        pool: Callable[[torch.Tensor], torch.Tensor] = (
            (lambda tokens: tokens) if "tokens" in pooling else Pooling(pooling)
        )

        def embed_batch(index: int, batch: Batch) -> None:
            crops = even_crops(batch.inputs, self.spec.crop or batch.inputs.shape[-1])
            found = [pool(self.backbone(torch.from_numpy(crop).to(device))) for crop in crops]
            take(np.asarray(torch.stack(found).mean(dim=0).cpu().numpy(), np.float32))

        loader = Loader(source=signals, batch_size=self.batch_size)
        map_batches(self.backbone, loader, embed_batch, device=device, title="embed")


def windows_in_memory(signals: NDArray[Any], preprocessing: Preprocessing) -> PreparedDataset:
    """Return windows `(n, n_channels, length)`, cut and treated as the run's were, as a dataset.

    Raises DataError for another shape.
    """
    options = preprocessing.options
    margin = round(max(options.context, 0) * options.sampling_rate)
    length = round(options.window * options.sampling_rate) + 2 * margin
    if signals.ndim != 3 or signals.shape[1:] != (len(preprocessing.channels), length):
        raise DataError(
            f"windows of shape {signals.shape}, not (n, {len(preprocessing.channels)}, {length}): "
            f"{', '.join(preprocessing.channels)} at {options.sampling_rate:g} Hz"
        )
    starts = np.zeros(len(signals))
    return dataset_of(np.asarray(signals, np.float32), preprocessing, name="windows", starts=starts)
