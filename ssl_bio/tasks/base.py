"""The contract of a downstream task, and what all tasks share: which rows they learn from and are evaluated on."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import nn

from ssl_bio.config import EvaluateConfig, Recipe, TaskConfig
from ssl_bio.config.kinds import TASKS
from ssl_bio.data.augmentations import check_augmentations
from ssl_bio.data.dataset import DatasetInfo, PreparedDataset, Rows
from ssl_bio.data.loader import BatchSource, Loader, SignalDataset, check_missing
from ssl_bio.data.splits import draw_labelled, draw_people, draw_share
from ssl_bio.errors import CheckpointError, DataError, RecipeError, SslBioError
from ssl_bio.models.base import Backbone, SignalNetwork
from ssl_bio.models.onnx import ExportedNetwork
from ssl_bio.results.evaluation import Evaluation, Predictions, Table
from ssl_bio.runs.checkpoint import CheckpointMetadata
from ssl_bio.runs.inputs import InputSpec, input_spec
from ssl_bio.training import runtime
from ssl_bio.training.objective import Objective

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class TargetSpec(BaseModel):
    """What a run learns to answer, measured on its training rows and stored with its weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    names: tuple[str, ...]

    @property
    def n_outputs(self) -> int:
        """Return the number of outputs of the network."""
        return len(self.names)


class LabelledRows(NamedTuple):
    """Codes of all rows and the names of the classes that each drawn share must hold."""

    codes: NDArray[np.int64]
    classes: Sequence[str]


class EvaluationRequest(NamedTuple):
    """Rows of a split of a dataset to be predicted, in what form they come to the network, and on which device.

    `validating`: after an epoch of training, to choose one.
    """

    dataset: PreparedDataset
    rows: Rows
    split: str
    spec: InputSpec
    device: torch.device
    validating: bool


class ScoredPredictions(NamedTuple):
    """The kind of predictions that metrics are declared on, targets and predictions, `(n, ...)` each."""

    kind: str
    targets: NDArray[Any]
    predictions: NDArray[Any]


ConfigT = TypeVar("ConfigT", bound=TaskConfig)
EvaluateT = TypeVar("EvaluateT", bound=EvaluateConfig)
TargetT = TypeVar("TargetT", bound=TargetSpec)
ModelT = TypeVar("ModelT", bound=nn.Module)
ExpectedT = TypeVar("ExpectedT")


def expect(kind: type[ExpectedT], value: object) -> ExpectedT:
    """Return a value that must be of this class. Raises TypeError otherwise."""
    if not isinstance(value, kind):
        raise TypeError(f"{type(value).__name__} where {kind.__name__} is expected")
    return value


class Task(ABC, Generic[ConfigT, EvaluateT, TargetT, ModelT]):
    """A question that labels answer, as one recipe asks it.

    A subclass says what its sections of the recipe and its target look like, which metrics it has (`leading_metrics`:
    those that tables lead with; the first one ranks), how a network answers, and how its predictions are scored.
    """

    Config: type[ConfigT]
    EvaluateConfig: type[EvaluateT]
    Target: type[TargetT]
    Model: type[ModelT]
    leading_metrics: ClassVar[tuple[str, ...]]

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.config = expect(self.Config, recipe.finetune)
        self.evaluate_config = expect(self.EvaluateConfig, recipe.evaluate)

    # What a task has to say.

    @property
    @abstractmethod
    def metrics(self) -> Sequence[str]:
        """Return the names of the metrics that an evaluation may have."""

    @abstractmethod
    def target(self, dataset: PreparedDataset, rows: Rows) -> TargetT:
        """Return what is asked, with what standardises it measured on training rows.

        Raises DataError or RecipeError when the dataset cannot be asked that.
        """

    @abstractmethod
    def build(self, backbone: Backbone | SignalNetwork, target: TargetT, spec: InputSpec) -> ModelT:
        """Return a backbone with what makes it answer."""

    @abstractmethod
    def objective(self, model: ModelT, target: TargetT) -> Objective:
        """Return what training minimises."""

    @abstractmethod
    def training_loader(
        self, dataset: PreparedDataset, rows: Rows, *, model: ModelT, target: TargetT, spec: InputSpec
    ) -> BatchSource:
        """Return the batches that training draws."""

    @abstractmethod
    def predict(self, model: ModelT, target: TargetT, request: EvaluationRequest) -> Predictions:
        """Return what a model predicts on the rows of a request."""

    @abstractmethod
    def score(self, target: TargetT, predictions: Predictions) -> Evaluation:
        """Return the metrics of predictions: of one run, or of the parts of a cross-validation together."""

    def check_data(self, dataset: PreparedDataset) -> Iterator[str]:
        """Yield what the dataset alone can tell is wrong with the recipe, beyond what all tasks check."""
        yield from ()

    def check_start(self, start: CheckpointMetadata, info: DatasetInfo) -> None:
        """Raise CheckpointError when the task cannot go on from a pretraining run."""

    def tables(self, target: TargetT, evaluations: Sequence[Evaluation]) -> list[Table]:
        """Return tables that show where the errors are, of one evaluation or of several seeds."""
        return []

    def figures(self, target: TargetT, evaluation: Evaluation, *, sampling_rate: float) -> "dict[str, Figure]":
        """Return pictures of an evaluation by name, from its predictions alone. `sampling_rate`: Hz of the windows."""
        return {}

    def scored(self, predictions: Predictions) -> "ScoredPredictions | None":
        """Return what the metrics of predictions are computed from; None for a task that has no function for them."""
        return None

    def task_name(self) -> str:
        """Return the task's name in the sheet."""
        return self.recipe.task_name or f"{self.recipe.data.dataset}_{self.recipe.data.target}"

    def default_target(self, info: DatasetInfo) -> str:
        """Return the label to learn where the recipe names none; empty: none is needed."""
        return ""

    def has_known_target(self, dataset: PreparedDataset, rows: Rows) -> NDArray[np.bool_]:
        """Return for each row whether its target is known."""
        return np.ones(len(rows), bool)

    def check_same_question(self, target: TargetT, info: DatasetInfo) -> None:
        """Raise DataError when another dataset's target of the same name asks something else."""

    def pretraining_dataset(self, dataset: PreparedDataset) -> PreparedDataset:
        """Return the dataset whose signals pretraining sees."""
        return dataset

    def pretraining_rows(self, dataset: PreparedDataset, split: str) -> Rows:
        """Return the unlabelled rows of a split that pretraining sees."""
        return self.split_rows(dataset, split)

    def as_probe(self) -> "AnyTask":
        """Return the task as a linear probe asks it during pretraining.

        Raises RecipeError for a task that a probe cannot answer.
        """
        raise RecipeError(
            f"finetune.task {self.config.task!r}: a probe during pretraining asks something of windows: set "
            "pretrain.probe_every to 0"
        )

    def for_baselines(self) -> "AnyTask":
        """Return the task as simple baselines of windows are asked it.

        Raises RecipeError for a task that asks nothing of windows.
        """
        raise RecipeError(
            f"finetune.task {self.config.task!r} asks nothing of windows that simple baselines answer; what needs no "
            "learning stands beside its metrics in every run"
        )

    def exported(self, model: ModelT, target: TargetT, spec: InputSpec) -> ExportedNetwork:
        """Return a network as other programs run it: from windows as the dataset has them to answers.

        Raises CheckpointError for a task that has no such form.
        """
        raise CheckpointError(f"finetune.task {self.config.task!r}: its network has no form for other programs")

    # What comes of a solver instead of training.

    @contextmanager
    def training_scope(self, model: ModelT) -> Iterator[None]:
        """Surround training; the place for a proof that frozen weights stay frozen."""
        yield

    def answer(
        self, model: ModelT, target: TargetT, *, dataset: PreparedDataset, spec: InputSpec, device: torch.device
    ) -> NDArray[np.float64]:
        """Return what a model predicts on all windows of a dataset without labels, `(n, n_answers)`.

        Raises RecipeError for a task whose question is not asked of windows.
        """
        raise RecipeError(
            f"a run of finetune.task {self.config.task!r} answers no windows: choose one that was finetuned for "
            "classification, multilabel or regression"
        )

    def answer_columns(self, target: TargetT, answers: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
        """Return answers `(n, n_answers)` as the columns of a table, `(n,)` each."""
        raise TypeError(f"task {self.config.task!r} answers no windows")

    def solve(self, model: ModelT, target: TargetT, loader: BatchSource) -> None:
        """Fit the head by a solver, where `config.solved`."""
        raise TypeError(f"task {self.config.task!r} has no solver")

    # What all tasks share.

    def evaluate(
        self,
        model: ModelT,
        target: TargetT,
        *,
        dataset: PreparedDataset,
        rows: Rows,
        split: str,
        spec: InputSpec,
        device: torch.device,
        validating: bool = False,
    ) -> Evaluation:
        """Predict rows of a split and score the predictions, which say whose they are and where they were recorded.

        `validating`: after an epoch of training, to choose one.
        """
        found = self.predict(model, target, EvaluationRequest(dataset, rows, split, spec, device, validating))
        return self.score(target, located(found, dataset, rows))

    def pool(self, target: TargetT, parts: Sequence[Evaluation]) -> Evaluation:
        """Score the predictions of all parts of a cross-validation as one; `fold` says which part predicted a row."""
        arrays = {
            name: np.concatenate([part.predictions.arrays[name] for part in parts])
            for name in parts[0].predictions.arrays
        }
        arrays["fold"] = np.repeat(np.arange(len(parts)), [len(part.predictions.arrays["row"]) for part in parts])
        return self.score(target, Predictions(arrays=arrays, constants=parts[0].predictions.constants))

    def input_spec(self, info: DatasetInfo, start: CheckpointMetadata | None = None) -> InputSpec:
        """Return how the dataset's windows come to the network."""
        model = self.recipe.model
        return input_spec(info, window=model.window, start=start, learns_positions=model.learns_positions)

    def split_rows(self, dataset: PreparedDataset, split: str) -> Rows:
        """Return the rows of "train", "val", "test" or "train+val"."""
        scheme = self.recipe.data.split_scheme
        return np.unique(np.concatenate([dataset.rows(scheme, part) for part in split.split("+")]))

    def known_rows(self, dataset: PreparedDataset, split: str) -> Rows:
        """Return the rows of a split whose target is known; perhaps none."""
        rows = self.split_rows(dataset, split)
        known: Rows = rows[self.has_known_target(dataset, rows)]
        return known

    def labelled_rows(self, dataset: PreparedDataset, split: str) -> Rows:
        """Return the rows of a split whose target is known. Raises DataError when there is none."""
        known = self.known_rows(dataset, split)
        if not len(known):
            data, n = self.recipe.data, len(self.split_rows(dataset, split))
            why = f"{data.target!r} is known of none of its {n} windows" if n else "it has no window"
            raise DataError(
                f"dataset {dataset.info.name}: split {split!r} of scheme {data.split_scheme!r} cannot serve: {why}; "
                "choose another data.split_scheme, finetune.fit_on, finetune.selected_on or evaluate.split"
            )
        return known

    def evaluated_rows(self, dataset: PreparedDataset, split: str) -> Rows:
        """Return the rows of a split that are evaluated: all, or so many of each person."""
        rows = self.labelled_rows(dataset, split)
        return evenly_spaced(rows, dataset.subjects, self.evaluate_config.per_subject)

    def validation_rows(self, dataset: PreparedDataset, split: str) -> Rows:
        """Return the rows of a split that choose the epoch."""
        return self.training_rows(dataset, split)

    def training_rows(self, dataset: PreparedDataset, split: str) -> Rows:
        """Return the labelled rows of "train", "val" or "train+val": all of them, or the recipe's share."""
        rows, config = self.labelled_rows(dataset, split), self.config
        rng = runtime.stream(self.recipe.seed, f"labels of {split}")
        fraction = config.label_fraction
        if fraction < 1 and config.label_draw == "subjects":
            rows, fraction = draw_people(rows, dataset.subjects, fraction=fraction, rng=rng), 1.0
            if self.strata(dataset, rows, split) is None:
                return rows
        strata = self.strata(dataset, rows, split)
        if strata is None:
            return draw_share(rows, fraction, rng)
        return draw_labelled(rows, labels=strata.codes, classes=strata.classes, fraction=fraction, rng=rng)

    def strata(self, dataset: PreparedDataset, rows: Rows, split: str) -> LabelledRows | None:
        """Return the classes that a share of the labels must hold, where the task has classes."""
        return None

    def drawing_weights(self, dataset: PreparedDataset, rows: Rows) -> NDArray[np.float64] | None:
        """Return how often an epoch draws each row, by the rarity of its class or person; None: each once.

        Raises RecipeError for classes where there are none.
        """
        power = self.config.class_balance
        if not power:
            return None
        if self.config.balance_by == "subject":
            codes = np.unique(dataset.subjects[rows], return_inverse=True)[1]
        else:
            strata = self.strata(dataset, rows, "train")
            if strata is None:
                raise RecipeError(
                    f"finetune.class_balance draws by class, and {self.recipe.data.target!r} has none: "
                    'set finetune.balance_by to "subject"'
                )
            codes = strata.codes[rows]
        weights = (1 / np.bincount(codes)[codes]) ** power
        return np.asarray(weights / weights.sum())

    def signals(
        self, dataset: PreparedDataset, rows: Rows, *, spec: InputSpec, targets: NDArray[Any] | None = None
    ) -> SignalDataset:
        """Return rows of a dataset as the network takes them. Raises DataError for missing samples nobody fills."""
        missing = self.recipe.data.missing
        check_missing(dataset, missing)
        return SignalDataset(
            dataset=dataset,
            rows=rows,
            targets=targets,
            missing=missing,
            sampling_rate=spec.sampling_rate,
            length=spec.length,
        )

    def check(self, dataset: PreparedDataset) -> list[str]:
        """Return all that only the dataset can tell is wrong with the recipe, before anything is trained."""
        problems: list[str] = []
        steps: tuple[Callable[[], object], ...] = (
            lambda: check_augmentations(self.config.augment, len(dataset.info.channels)),
            lambda: self._check_rows_and_target(dataset),
            lambda: self.labelled_rows(dataset, self.recipe.evaluate.split),
        )
        for step in steps:
            try:
                step()
            except SslBioError as error:
                problems.append(str(error))
        if self.config.monitor not in ("loss", *self.metrics):
            problems.append(
                f"finetune.monitor {self.config.monitor!r} is no metric of task {self.config.task!r}: "
                f"choose loss, {', '.join(self.metrics)}"
            )
        if not problems:
            problems += self.check_data(dataset)
        return list(dict.fromkeys(problems))

    def _check_rows_and_target(self, dataset: PreparedDataset) -> None:
        rows = self.training_rows(dataset, self.config.fit_on)
        self.target(dataset, rows)
        self.drawing_weights(dataset, rows)
        if self.config.selected_on != "last" and not self.config.solved:
            self.labelled_rows(dataset, self.config.selected_on)

    def stored_target(self, stored: Mapping[str, Any]) -> TargetT:
        """Return a target as a checkpoint holds it."""
        return self.Target.model_validate(stored)


AnyTask = Task[Any, Any, Any, Any]


def load_task(recipe: Recipe) -> AnyTask:
    """Return the recipe's task. Raises RecipeError for an unknown one and for a broken plugin."""
    name = recipe.finetune.task
    found = TASKS.load(name)
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise TASKS.broken(name, "it does not derive from ssl_bio.tasks.base.Task")
    return found(recipe)


def located(found: Predictions, dataset: PreparedDataset, rows: Rows) -> Predictions:
    """Return predictions of rows with whose they are and where they were recorded."""
    recordings, starts = dataset.places(rows)
    whose = {"row": rows, "subject": dataset.subjects[rows], "recording": recordings, "start": starts}
    return Predictions(arrays={**whose, **found.arrays}, constants=found.constants)


def evenly_spaced(rows: Rows, subjects: NDArray[np.str_], most: int) -> Rows:
    """Return at most so many rows of each subject, evenly spaced; 0: all."""
    if not most:
        return rows
    chosen = []
    for subject in np.unique(subjects[rows]):
        group = rows[subjects[rows] == subject]
        if len(group) > most:
            group = group[np.linspace(0, len(group) - 1, most + 2)[1:-1].round().astype(int)]
        chosen.append(group)
    return np.unique(np.concatenate(chosen))


def ordered_loader(signals: SignalDataset, batch_size: int) -> Loader:
    """Return batches in order, for evaluation."""
    return Loader(source=signals, batch_size=batch_size)
