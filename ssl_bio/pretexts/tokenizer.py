"""Pretrained VQ-VAEs as tokenizers: their codes are what another pretext task predicts (CM-SSL; HuBERT's idea).

The tokenizer never trains and is no part of the network that does. It reads each window once before training, all the
channels that it was trained on, whichever of them the encoder sees.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ssl_bio.config import Recipe
from ssl_bio.config.pretexts import VQVAEPretextConfig
from ssl_bio.config.resolve import recipe_of
from ssl_bio.data.augmentations import TIME_AUGMENTATIONS, parse_augmentation
from ssl_bio.data.dataset import DatasetInfo, PreparedDataset
from ssl_bio.data.loader import Batch, Loader, SignalDataset
from ssl_bio.errors import CheckpointError, DataError, SslBioError
from ssl_bio.models.base import Backbone, SignalNetwork
from ssl_bio.models.vqvae import VQVAE
from ssl_bio.pretexts.base import ConfigT, Pretext
from ssl_bio.pretexts.sources import seen_test_people, tokenizer_of
from ssl_bio.pretexts.vqvae import VQVAEPretext
from ssl_bio.runs.checkpoint import CheckpointMetadata, load_checkpoint
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

    @property
    def recipe(self) -> Recipe:
        """Return the recipe that it was made by. Raises CheckpointError when it is not valid any more."""
        return recipe_of(self.metadata.recipe, str(self.path))

    @cached_property
    def model(self) -> VQVAE:
        """Return the network, in evaluation mode and without gradients.

        Raises CheckpointError when the run is broken or of another kind.
        """
        checkpoint, recipe = load_checkpoint(self.path), self.recipe
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

        Where its only one is not there, it reads the only one that the encoder sees.

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
        expected = self.model.backbone.length
        if expected != info.length:
            problems.append(
                f"{self.name} takes windows of {expected} samples, dataset {info.name} has windows of {info.length}: "
                f"set data.window to {expected / theirs:g}"
            )
        if window != info.length:
            problems.append(
                f"{self.key}: codes are of whole windows, and model.window crops them: cut shorter windows with "
                "data.window instead"
            )
        return problems

    def notes(self, dataset: PreparedDataset, recipe: Recipe) -> list[str]:
        """Return what a person should know who has its codes learnt on a dataset."""
        lines, model = [], self.model
        if model.coarse > 1:
            lines.append(f"{self.name}: its fine codes are learnt, not those for {model.coarse} of them together")
        if model.quantizer.n_codebooks > 1:
            lines.append(f"{self.name}: of its {model.quantizer.n_codebooks} codebooks the first is learnt")
        stored = dataset.stored_channels or dataset.info.channels
        channels = self.channels(dataset.info, stored)
        if channels != self.metadata.channels:
            lines.append(f"{self.name} learnt from {self.metadata.channels[0]} and reads {channels[0]} here")
        theirs, ours = self.recipe.data, recipe.data
        differ = [
            f"data.{name} {getattr(theirs, name)!r}, here {getattr(ours, name)!r}"
            for name in _PREPARED
            if getattr(theirs, name) != getattr(ours, name)
        ]
        if differ:
            lines.append(f"{self.name} learnt from other signals: {'; '.join(differ)}")
        return lines

    def codes(self, signals: SignalDataset, device: torch.device) -> Codes:
        """Return the code of every token of every window, `(n, n_tokens)`; of several codebooks the first counts."""
        dataset = signals.dataset
        channels = self.channels(dataset.info, dataset.stored_channels or dataset.info.channels)
        loader = Loader(source=replace(signals, dataset=dataset.with_channels(channels)), batch_size=256)

        def encode(index: int, batch: Batch) -> Codes:
            found = self.model.codes(torch.from_numpy(batch.inputs).to(device))
            return np.asarray(found[..., 0].cpu().numpy())

        return np.concatenate(map_batches(self.model, loader, encode, device=device, title="tokenize"))


class TokenPretext(Pretext[ConfigT]):
    """A pretext task whose targets may be the codes of a tokenizer, one row of them for each window."""

    @cached_property
    def tokenizer(self) -> Tokenizer | None:
        """Return the tokenizer, if the recipe names one. Raises CheckpointError when it is not there."""
        found = tokenizer_of(self.recipe)
        key = f"pretrain.{self.config.tokenizer_key}"
        return Tokenizer(key=key, path=found.path, metadata=found.metadata) if found else None

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
            problems.append(f"pretrain.draw_channels: {self.tokenizer.key} gives the codes of fixed channels")
        return problems

    def notes(self, backbone: Backbone | SignalNetwork, dataset: PreparedDataset) -> list[str]:
        """Say what of the tokenizer is not learnt, what it learnt from other signals, and whom of the test people."""
        if self.tokenizer is None:
            return []
        seen = seen_test_people(
            f"the run in {self.tokenizer.key}", self.tokenizer.metadata, recipe=self.recipe, dataset=dataset
        )
        return [*self.tokenizer.notes(dataset, self.recipe), *seen]

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
