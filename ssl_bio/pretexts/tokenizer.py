"""Pretrained VQ-VAEs as tokenizers: their codes are what another pretext task predicts (CM-SSL; HuBERT's idea).

The tokenizer never trains and is no part of the network that does. It reads each window once before training, all the
channels that it was trained on, whichever of them the encoder sees.
"""

import os
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ssl_bio.config.pretexts import VQVAEPretextConfig
from ssl_bio.config.resolve import recipe_of
from ssl_bio.data.augmentations import TIME_AUGMENTATIONS, parse_augmentation
from ssl_bio.data.loader import Batch, Loader, SignalDataset
from ssl_bio.data.store import DatasetInfo, PreparedDataset
from ssl_bio.errors import CheckpointError, DataError, SslBioError
from ssl_bio.models.base import Backbone, SignalNetwork
from ssl_bio.models.vqvae import VQVAE
from ssl_bio.pretexts.base import ConfigT, Pretext, other_splits_note
from ssl_bio.pretexts.vqvae import VQVAEPretext
from ssl_bio.runs.checkpoint import MODEL_FILE, CheckpointMetadata, load_checkpoint, load_metadata
from ssl_bio.runs.folder import pretraining_run
from ssl_bio.runs.inputs import InputSpec, stored_input_spec
from ssl_bio.runs.transfer import load_into
from ssl_bio.tasks.load import recipe_backbone
from ssl_bio.training.evaluation import map_batches

Codes = NDArray[np.int64]

#: Keys of [data] that change the signals that a tokenizer reads.
_PREPARED = ("highpass", "standardize", "derive")


@dataclass(frozen=True, kw_only=True)
class Tokenizer:
    """A finished pretraining run of a VQ-VAE. `key`: the recipe's key that names it."""

    key: str
    path: Path
    metadata: CheckpointMetadata

    @property
    def name(self) -> str:
        """Return how messages call it."""
        return f"{self.key} {self.path}"

    @cached_property
    def model(self) -> VQVAE:
        """Return the network, in evaluation mode and without gradients.

        Raises CheckpointError when the run is broken or of another kind.
        """
        checkpoint = load_checkpoint(self.path)
        recipe = recipe_of(checkpoint.metadata.recipe, str(checkpoint.path))
        if checkpoint.metadata.kind != "pretrain" or not isinstance(recipe.pretrain, VQVAEPretextConfig):
            raise CheckpointError(f"{self.key}: {checkpoint.path}: not a VQ-VAE's pretraining run")
        spec = stored_input_spec(checkpoint.metadata)
        with torch.random.fork_rng(devices=[]):  # its weights follow: what they are drawn from stays for others
            objective = VQVAEPretext(recipe).build(recipe_backbone(recipe, spec, weights_follow=True), spec)
        load_into(objective.module, checkpoint)
        return objective.module.requires_grad_(False).eval()

    @property
    def wave_length(self) -> int:
        """Return how many samples a code stands for."""
        return self.model.backbone.wave_length

    @property
    def vocab_size(self) -> int:
        """Return how many codes there are."""
        return self.model.quantizer.codebook_size

    def channels(self, info: DatasetInfo, stored: Sequence[str]) -> tuple[str, ...]:
        """Return the channels of a dataset that it reads, of those that are stored: the ones it was trained on.

        Instead of its only one it reads the only one that the encoder sees.

        Raises DataError when they are not there.
        """
        wanted = self.metadata.channels
        if set(wanted) <= set(stored):
            return wanted
        if len(wanted) == len(info.channels) == 1:
            return info.channels
        raise DataError(
            f"{self.name} reads the channels {', '.join(wanted)}; dataset {info.name} has {', '.join(stored)}"
        )

    def check(self, dataset: PreparedDataset, *, window: int) -> list[str]:
        """Return why its codes do not stand beside windows of a dataset, of which a network sees `window` samples."""
        info, problems = dataset.info, []
        try:
            self.channels(info, dataset.stored_channels or info.channels)
        except DataError as error:
            problems.append(str(error))
        theirs = self.metadata.sampling_rate
        if theirs != info.sampling_rate:
            problems.append(
                f"{self.name} reads signals at {theirs:g} Hz, dataset {info.name} has {info.sampling_rate:g} Hz: set "
                f"data.sampling_rate to {theirs:g}"
            )
        longest = self.model.backbone.max_length
        if longest is not None and longest < info.length:
            problems.append(
                f"{self.name} takes windows of {longest} samples, dataset {info.name} has windows of {info.length}: "
                f"set data.window to {longest / theirs:g}"
            )
        if window != info.length:
            problems.append(
                f"{self.key}: codes are of whole windows, and model.window crops them: cut shorter windows with "
                "data.window instead"
            )
        return problems

    def codes(self, signals: SignalDataset, device: torch.device) -> Codes:
        """Return the code of every token of every window, `(n, n_tokens)`; of several codebooks the first counts."""
        dataset = signals.dataset
        channels = self.channels(dataset.info, dataset.stored_channels or dataset.info.channels)
        loader = Loader(source=replace(signals, dataset=dataset.with_channels(channels)), batch_size=256)

        def encode(index: int, batch: Batch) -> Codes:
            found = self.model.codes(torch.from_numpy(batch.inputs).to(device))
            return np.asarray(found[..., 0].cpu().numpy())

        return np.concatenate(map_batches(self.model, loader, encode, device=device, title="tokenize"))


def find_tokenizer(value: str, *, key: str, seed: int, folds: int, fold: int) -> Tokenizer:
    """Return the tokenizer that a recipe's key names.

    `value`: a run folder, in which {seed} and {fold} stand for the recipe's own, or the name of a recipe: then it is
    the run that `ssl-bio pretrain` makes of it with the same seed and the same part of a cross-validation, which has
    not seen the test people either.

    Raises CheckpointError that names the command that makes it, when it is not there.
    """
    named = os.sep not in value and "/" not in value and not (Path(value) / MODEL_FILE).is_file()
    if named:
        path = pretraining_run(value, seed=seed, folds=folds, fold=fold)
    else:
        path = Path(value.replace("{seed}", str(seed)).replace("{fold}", str(max(fold, 0))))
    try:
        return Tokenizer(key=key, path=path, metadata=load_metadata(path))
    except CheckpointError as error:
        options = (f" --folds {folds}" if folds else "") + (f" --seed {seed}" if seed else "")
        hint = f": `ssl-bio pretrain --recipe {value}.toml{options}` makes it" if named and not path.exists() else ""
        raise CheckpointError(f"{key}: {error}{hint}") from error


class TokenPretext(Pretext[ConfigT]):
    """A pretext task whose targets may be the codes of a tokenizer, one row of them for each window."""

    @property
    @abstractmethod
    def tokenizer_key(self) -> str:
        """Return the recipe's key that names the tokenizer."""

    @property
    @abstractmethod
    def tokenizer_name(self) -> str:
        """Return what the recipe says under that key; empty: there is no tokenizer."""

    @cached_property
    def tokenizer(self) -> Tokenizer | None:
        """Return the tokenizer, if the recipe names one."""
        if not self.tokenizer_name:
            return None
        data = self.recipe.data
        return find_tokenizer(
            self.tokenizer_name, key=self.tokenizer_key, seed=self.recipe.seed, folds=data.folds, fold=data.fold
        )

    @property
    def learns_from(self) -> str:
        """Return whose codes are learnt."""
        if self.tokenizer is None:
            return ""
        return f"{self.tokenizer.path} of {self.tokenizer.metadata.finished_at}"

    def check_data(self, dataset: PreparedDataset) -> list[str]:
        """Return why codes cannot be had, or would not belong to what the encoder sees."""
        try:
            if self.tokenizer is None:
                return []
            spec = self.task.input_spec(dataset.info)
            problems = self.tokenizer.check(dataset, window=spec.window)
        except SslBioError as error:
            return [str(error)]
        moving = [text for text in self.config.augment if parse_augmentation(text)[0] in TIME_AUGMENTATIONS]
        if moving:
            problems.append(
                f"pretrain.augment {', '.join(moving)}: codes stay where they are, while the encoder's window would "
                "move in time"
            )
        if self.config.draw_channels:
            problems.append(f"pretrain.draw_channels: {self.tokenizer_key} gives the codes of fixed channels")
        return problems

    def notes(self, backbone: Backbone | SignalNetwork, spec: InputSpec) -> list[str]:
        """Say when the tokenizer has seen other people, or signals that were prepared in another way."""
        if self.tokenizer is None:
            return []
        metadata, ours = self.tokenizer.metadata, self.recipe.data.model_dump(mode="json")
        theirs = metadata.recipe["data"]
        differ = [
            f"data.{name} {theirs[name]!r}, here {ours[name]!r}" for name in _PREPARED if theirs[name] != ours[name]
        ]
        lines = [f"{self.tokenizer.name} learnt from other signals: {'; '.join(differ)}"] if differ else []
        return lines + other_splits_note(f"the run in {self.tokenizer_key}", metadata, self.recipe)

    def training_loader(self, dataset: PreparedDataset, spec: InputSpec, device: torch.device) -> Loader:
        """Return the batches that training draws; the targets are codes `(batch, n_codes)`."""
        return self._with_codes(super().training_loader(dataset, spec, device), dataset, self.config.fit_on, device)

    def validation_loader(self, dataset: PreparedDataset, device: torch.device) -> Loader:
        """Return validation windows in order; the targets are codes `(batch, n_codes)`."""
        return self._with_codes(super().validation_loader(dataset, device), dataset, "val", device)

    def _with_codes(self, loader: Loader, dataset: PreparedDataset, split: str, device: torch.device) -> Loader:
        if self.tokenizer is None:
            return loader
        signals = self.signals(dataset, split)
        return replace(loader, source=replace(signals, targets=self.tokenizer.codes(signals, device)))
