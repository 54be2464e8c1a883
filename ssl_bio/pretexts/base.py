"""The contract of a pretext task, and what all of them share: unlabelled windows, validation, a probe on the way."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from ssl_bio.config import PretextConfig, Recipe
from ssl_bio.config.kinds import PRETEXTS
from ssl_bio.data.augmentations import check_augmentations, even_crops
from ssl_bio.data.dataset import PreparedDataset
from ssl_bio.data.loader import Batch, Loader, SignalDataset
from ssl_bio.errors import SslBioError
from ssl_bio.metrics.embeddings import rankme
from ssl_bio.models.base import Backbone, SignalNetwork
from ssl_bio.runs.inputs import InputSpec
from ssl_bio.tasks.base import AnyTask, expect, load_task
from ssl_bio.training import runtime
from ssl_bio.training.evaluation import map_batches
from ssl_bio.training.fit import FitSettings, History
from ssl_bio.training.objective import Objective, TensorBatch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ConfigT = TypeVar("ConfigT", bound=PretextConfig)


class Pretext(ABC, Generic[ConfigT]):
    """What a backbone learns without labels, as one recipe asks it.

    `shows_pairs`: training batches hold another view of each window as its target. `always_validates`: the pretext
    task's metrics on validation windows are worth an epoch's time even where they choose nothing. `leading_metrics`:
    those whose curves are drawn beside the loss.
    """

    Config: type[ConfigT]
    shows_pairs: ClassVar[bool] = False
    always_validates: ClassVar[bool] = False
    leading_metrics: ClassVar[tuple[str, ...]] = ()  # as in a history, without "val_"

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.config = expect(self.Config, recipe.pretrain)
        self.task: AnyTask = load_task(recipe)

    @abstractmethod
    def build(self, backbone: Backbone | SignalNetwork, spec: InputSpec) -> Objective:
        """Return the pretext model around a backbone, and what training minimises.

        Raises RecipeError when they do not go together.
        """

    @property
    def neighbours(self) -> int:
        """Return how many rows away the other view of a window may be."""
        return 0

    def check_data(self, dataset: PreparedDataset) -> list[str]:
        """Return what the dataset alone can tell is wrong with the recipe, beyond what all pretext tasks check."""
        return []

    def notes(self, backbone: Backbone | SignalNetwork, dataset: PreparedDataset) -> list[str]:
        """Return what a person should know before training."""
        return []

    def after_validation(self, metrics: Mapping[str, float], history: History) -> dict[str, float]:
        """Return more metrics of an epoch, from those on validation windows and the epochs before."""
        return {}

    def figures(self, objective: Objective, dataset: PreparedDataset, device: torch.device) -> "dict[str, Figure]":
        """Return pictures of what was learnt by name, beside the curves that every run has."""
        return {}

    @classmethod
    def curves(cls) -> tuple[str, ...]:
        """Return the metrics whose curves are drawn beside the loss: the task's own, and the rank of embeddings."""
        return *cls.leading_metrics, "rankme"

    def signals(self, dataset: PreparedDataset, split: str) -> SignalDataset:
        """Return the unlabelled windows of "train", "val" or "train+val"."""
        info = dataset.info
        return SignalDataset(
            dataset=self.task.pretraining_dataset(dataset),
            rows=self.task.pretraining_rows(dataset, split),
            targets=None,
            missing=self.recipe.data.missing,
            sampling_rate=info.sampling_rate,
            length=info.length,
        )

    @property
    def learns_from(self) -> str:
        """Return what besides the dataset a run learns from; a resumed run must find the same. Empty: nothing."""
        return ""

    def training_loader(self, dataset: PreparedDataset, spec: InputSpec, device: torch.device) -> Loader:
        """Return the batches that training draws. `device`: where targets are computed that come from a network."""
        config = self.config
        return Loader(
            source=self.signals(dataset.with_channels(config.draw_channels), config.fit_on),
            batch_size=config.batch_size,
            augment=config.augment,
            augment_strength=config.augment_strength,
            pairs=self.shows_pairs,
            neighbours=self.neighbours,
            draw_channel=bool(config.draw_channels),
            window=spec.window,
        )

    def validation_loader(self, dataset: PreparedDataset, device: torch.device) -> Loader:
        """Return validation windows in order. `device`: where targets are computed that come from a network."""
        return Loader(source=self.signals(dataset, "val"), batch_size=self.recipe.evaluate.batch_size)

    def has_unseen_windows(self, dataset: PreparedDataset) -> bool:
        """Return whether there are validation windows that training does not see."""
        return self.config.fit_on == "train" and len(self.signals(dataset, "val")) > 0

    def validates(self, dataset: PreparedDataset) -> bool:
        """Return whether the pretext task's metrics are measured on validation windows."""
        wanted = self.config.select == "val_loss" or self.always_validates
        return wanted and self.has_unseen_windows(dataset)

    def probes(self) -> bool:
        """Return whether linear probes show on the way what was learnt."""
        return self.config.select == "probe" or self.config.probe_every > 0

    def check(self, dataset: PreparedDataset) -> list[str]:
        """Return all that only the dataset can tell is wrong with the recipe, before anything is trained."""
        config, name, problems = self.config, dataset.info.name, []
        steps: list[Callable[[], object]] = [
            lambda: dataset.with_channels(config.draw_channels),
            lambda: check_augmentations(config.augment, len(dataset.info.channels)),
        ]
        if self.probes():
            steps.append(lambda: self.task.as_probe().training_rows(dataset, "train"))
        for step in steps:
            try:
                step()
            except SslBioError as error:
                problems.append(str(error))
        if config.draw_channels and len(dataset.info.channels) > 1:
            problems.append("pretrain.draw_channels shows one channel at a time: name one in data.channels")
        if not len(self.signals(dataset, config.fit_on)):
            problems.append(f"dataset {name} has no window in pretrain.fit_on {config.fit_on!r}")
        if config.select == "val_loss" and not len(self.signals(dataset, "val")):
            problems.append(f"dataset {name} has no window in split 'val' for pretrain.select \"val_loss\"")
        return problems + self.check_data(dataset)

    def fit_settings(self) -> FitSettings:
        """Return how the recipe has the network trained."""
        config = self.config
        monitor = {"last": "", "val_loss": "val_loss"}.get(config.select, self.probe_column())
        return FitSettings(
            epochs=config.epochs,
            seed=self.recipe.seed,
            weight_decay=config.weight_decay,
            optimizer=config.optimizer,
            schedule=config.schedule,
            warmup_epochs=config.warmup_epochs,
            max_grad_norm=config.max_grad_norm,
            monitor=monitor,
        )

    def probe_column(self) -> str:
        """Return the history's column of probes."""
        return f"probe_{self.task.leading_metrics[0]}"


AnyPretext = Pretext[Any]


def load_pretext(recipe: Recipe) -> AnyPretext:
    """Return the recipe's pretext task. Raises RecipeError for an unknown one and for a broken plugin."""
    return pretext_class(recipe.pretrain.pretext)(recipe)


def pretext_class(name: str) -> type[AnyPretext]:
    """Return a pretext task's class. Raises RecipeError for an unknown one and for a broken plugin."""
    found = PRETEXTS.load(name)
    if not (isinstance(found, type) and issubclass(found, Pretext)):
        raise PRETEXTS.broken(name, "it does not derive from ssl_bio.pretexts.base.Pretext")
    return found


def validation_metrics(
    objective: Objective, loader: Loader, *, window: int, device: torch.device, seed: int
) -> dict[str, float]:
    """Return an objective's metrics over batches in order, in evaluation mode, of windows cut evenly into what the
    network sees. Targets are of whole windows. Masks and noise are drawn anew from `seed`, the same after every
    epoch."""

    def sums_of(index: int, batch: Batch) -> list[Mapping[str, Tensor]]:
        runtime.seed_torch(seed, "validation", index)
        targets = None if batch.targets is None else torch.from_numpy(batch.targets).to(device)
        crops = even_crops(batch.inputs, window)
        return [objective.step(TensorBatch(torch.from_numpy(crop).to(device), targets)).sums for crop in crops]

    totals: dict[str, Tensor] = {}
    for sums in map_batches(objective.module, loader, sums_of, device=device, title="validate"):
        for one in sums:
            for name, value in one.items():
                totals[name] = totals[name] + value if name in totals else value
    return objective.metrics(totals)


def embedding_rank(backbone: Backbone, loader: Loader, *, window: int, device: torch.device) -> float:
    """Return RankMe of the mean token of every window of a loader, or of each crop that the network sees of it."""

    def products(index: int, batch: Batch) -> Tensor:
        pooled = [
            backbone(torch.from_numpy(crop).to(device)).mean(dim=1).double()
            for crop in even_crops(batch.inputs, window)
        ]
        embeddings = torch.cat(pooled)
        return embeddings.T @ embeddings

    return rankme(torch.stack(map_batches(backbone, loader, products, device=device, title="validate")).sum(dim=0))


def probe_metrics(
    pretext: AnyPretext,
    backbone: Backbone | SignalNetwork,
    *,
    dataset: PreparedDataset,
    spec: InputSpec,
    device: torch.device,
) -> dict[str, float]:
    """Return what a linear probe on training people predicts of validation people."""
    task = pretext.task.as_probe()
    rows = task.training_rows(dataset, "train")
    target = task.target(dataset, rows)
    model = task.build(backbone, target, spec).to(device)
    with task.training_scope(model):
        loader = task.training_loader(dataset, rows, model=model, target=target, spec=spec)
        task.solve(model, target, loader)
        found = task.evaluate(
            model,
            target,
            dataset=dataset,
            rows=task.labelled_rows(dataset, "val"),
            split="val",
            spec=spec,
            device=device,
            validating=True,
        )
    return {pretext.probe_column(): found.metrics[task.leading_metrics[0]]}
