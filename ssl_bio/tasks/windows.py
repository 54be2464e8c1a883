"""What the tasks share that ask something of a window: pooled tokens, a head, training by gradient or by a solver."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ssl_bio.config import EvaluateConfig, Recipe, WindowTaskConfig
from ssl_bio.config.kinds import TASKS
from ssl_bio.console import warn
from ssl_bio.data.augmentations import even_crops, time_stretch
from ssl_bio.data.dataset import DatasetInfo, PreparedDataset, Rows
from ssl_bio.data.loader import Batch, BatchSource, FeatureDataset, Loader
from ssl_bio.data.targets import TargetInfo
from ssl_bio.errors import DataError, RecipeError
from ssl_bio.metrics import compute, metrics_of
from ssl_bio.models.base import Backbone, SignalNetwork
from ssl_bio.models.heads import Predictor, Unit
from ssl_bio.models.onnx import ExportedNetwork
from ssl_bio.results.evaluation import Evaluation, Group, Predictions
from ssl_bio.runs.inputs import InputSpec
from ssl_bio.tasks.base import EvaluationRequest, ScoredPredictions, TargetSpec, Task, expect, ordered_loader
from ssl_bio.training import probe
from ssl_bio.training.evaluation import map_batches
from ssl_bio.training.objective import BaseObjective, Objective, StepOutput, TensorBatch, mean_loss
from ssl_bio.training.optim import ParameterGroup, groups_of
from ssl_bio.training.runtime import evaluation_mode


class WindowTarget(TargetSpec):
    """What is asked of a window, and how a network's outputs answer it."""

    @abstractmethod
    def encode(self, targets: Tensor) -> Tensor:
        """Return targets as the loss takes them, `(batch, ...)`, so that mixup can mix them."""

    @abstractmethod
    def loss(self, outputs: Tensor, encoded: Tensor, *, label_smoothing: float = 0.0, mean: bool = True) -> Tensor:
        """Return the loss of a batch, or, without `mean`, of each window, `(batch,)`."""

    @abstractmethod
    def predictions(self, outputs: Tensor) -> Tensor:
        """Return what outputs `(batch, n_outputs)` mean: probabilities, or values in their units."""

    @property
    def meaning(self) -> str:
        """Return in words what stands in the columns of predictions."""
        return ", ".join(self.names)


ConfigT = TypeVar("ConfigT", bound=WindowTaskConfig)
EvaluateT = TypeVar("EvaluateT", bound=EvaluateConfig)
TargetT = TypeVar("TargetT", bound=WindowTarget)


class WindowTask(Task[ConfigT, EvaluateT, TargetT, Predictor]):
    """A task that asks something of a window.

    `target_kind`: the kind of a dataset's target that it takes. `predictions_kind`: on what its metrics are defined.
    `prediction_array`: what predictions are called in `predictions.npz`.
    """

    Model = Predictor
    target_kind: ClassVar[str]
    settings_of_probes: ClassVar[dict[str, object]] = {}  # further keys as a probe during pretraining has them
    predictions_kind: ClassVar[str]
    prediction_array: ClassVar[str]

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self._validation_features: dict[str, FeatureDataset] = {}

    @abstractmethod
    def solve_head(
        self, features: NDArray[np.floating[Any]], targets: NDArray[Any], target: TargetT
    ) -> probe.LinearHead:
        """Return the head that a solver finds on standardised features `(n, n_features)`."""

    @property
    def metrics(self) -> Sequence[str]:
        """Return the metrics that are defined on the task's predictions."""
        return metrics_of(self.predictions_kind)

    @property
    def tta_rates(self) -> Sequence[float]:
        """Return how many times as fast windows are played in evaluation, whose predictions are averaged."""
        return (1.0,)

    @property
    def label_smoothing(self) -> float:
        """Return the label smoothing of training."""
        return 0.0

    def unit(self, target: TargetT) -> Unit | None:
        """Return what puts the target's unit back behind the head, where there is one."""
        return None

    def default_target(self, info: DatasetInfo) -> str:
        """Return the dataset's first target of the task's kind.

        Raises DataError when there is none.
        """
        fitting = [name for name, target in info.targets.items() if target.kind == self.target_kind]
        if not fitting:
            raise DataError(f"dataset {info.name} has no target for task {self.config.task!r}{_other_tasks(info)}")
        return fitting[0]

    def target_names(self) -> list[str]:
        """Return the names of the targets that the recipe asks for."""
        return [self.recipe.data.target]

    def target_infos(self, info: DatasetInfo) -> list[TargetInfo]:
        """Return what the recipe's targets mean.

        Raises DataError for a target that is not there or does not go with the task.
        """
        for name in self.target_names():
            if name not in info.targets:
                raise DataError(
                    f"data.target: dataset {info.name} has no target {name!r}; it has {', '.join(info.targets)}"
                )
            kind = info.targets[name].kind
            if kind != self.target_kind:
                raise DataError(
                    f"data.target: {name!r} holds {_PLURALS[kind]}, and finetune.task {self.config.task!r} needs "
                    f"{_PLURALS[self.target_kind]}{_other_tasks(info, name)}"
                )
        return [info.targets[name] for name in self.target_names()]

    def target_values(self, dataset: PreparedDataset) -> NDArray[Any]:
        """Return the recipe's target of every row: codes `(n,)`, labels `(n, n_labels)` or values `(n, n_values)`."""
        self.target_infos(dataset.info)
        return np.asarray(dataset.targets[self.target_names()[0]])

    def encoded_targets(self, dataset: PreparedDataset, rows: Rows, target: TargetT) -> NDArray[Any]:
        """Return the targets of rows in the order of the names in `target`."""
        return self.target_values(dataset)[rows]

    def build(self, backbone: Backbone | SignalNetwork, target: TargetT, spec: InputSpec) -> Predictor:
        """Return a backbone with the recipe's pooling and head."""
        config, tokens = self.config, expect(Backbone, backbone)
        if config.pool_segments > 1:
            shown = torch.zeros(1, spec.n_channels, spec.window, device=next(tokens.parameters()).device)
            with evaluation_mode(tokens):
                depths = tokens.hidden_states(shown)
            fewest = min(part.shape[1] for part in (depths if config.layers == "all" else depths[-1:]))
            if config.pool_segments > fewest:
                raise RecipeError(
                    f"finetune.pool_segments {config.pool_segments}: the backbone gives {fewest} tokens to a window: "
                    "fewer segments"
                )
        return Predictor(
            backbone=tokens,
            n_outputs=target.n_outputs,
            pooling=config.pooling,
            layers=config.layers,
            dropout=config.dropout,
            head=config.head,
            head_width=config.head_width,
            unit=self.unit(target),
            window=spec.crop,
            pool_segments=config.pool_segments,
        )

    def objective(self, model: Predictor, target: TargetT) -> Objective:
        """Return what training minimises."""
        return self.window_objective(model, target)

    def window_objective(self, model: Predictor, target: TargetT) -> "WindowObjective":
        """Return the task's loss with mixup, layer-wise rates and gradual unfreezing as the recipe says."""
        config = self.config
        return WindowObjective(
            model,
            target,
            lr=config.lr,
            # Random weights have nothing to keep: they learn at the head's rate.
            backbone_lr=config.backbone_lr if config.pretrained else config.lr,
            label_smoothing=self.label_smoothing,
            mixup=config.mixup,
            frozen_features=config.frozen,
            layer_decay=config.layer_decay,
            unfreeze_epochs=config.unfreeze_epochs,
        )

    def training_loader(
        self, dataset: PreparedDataset, rows: Rows, *, model: Predictor, target: TargetT, spec: InputSpec
    ) -> Loader:
        """Return shuffled windows, or, where the backbone is frozen, their standardised features."""
        config = self.config
        if config.frozen:
            features = self._features(dataset, rows, model=model, target=target, spec=spec)
            probe.standardise_features(model, features.values)
            return Loader(source=features, batch_size=config.batch_size)
        signals = self.signals(dataset, rows, spec=spec, targets=self.encoded_targets(dataset, rows, target))
        return Loader(
            source=signals,
            batch_size=config.batch_size,
            augment=config.augment,
            augment_strength=config.augment_strength,
            window=model.window,
            weights=self.drawing_weights(dataset, rows),
        )

    def _features(
        self, dataset: PreparedDataset, rows: Rows, *, model: Predictor, target: TargetT, spec: InputSpec
    ) -> FeatureDataset:
        targets = self.encoded_targets(dataset, rows, target)
        loader = ordered_loader(
            self.signals(dataset, rows, spec=spec, targets=targets), self.evaluate_config.batch_size
        )
        device = next(model.parameters()).device
        return FeatureDataset(values=probe.extract_features(model, loader, device), targets=targets)

    @contextmanager
    def training_scope(self, model: Predictor) -> Iterator[None]:
        """Prove that a frozen backbone stays as it is, and forget the features of validation windows afterwards."""
        if not self.config.frozen:
            yield
            return
        with probe.frozen(model.backbone):
            yield
        self._validation_features.clear()

    def solve(self, model: Predictor, target: TargetT, loader: BatchSource) -> None:
        """Fit the head by the recipe's solver on the features of the training windows."""
        features = expect(FeatureDataset, expect(Loader, loader).source)
        head = self.solve_head(probe.scaled_features(model, features.values), features.targets, target)
        probe.set_head(model, head)
        if not head.converged:
            warn("the logistic regression did not converge: a smaller finetune.probe_c helps")

    def predict(self, model: Predictor, target: TargetT, request: EvaluationRequest) -> Predictions:
        """Return targets, predictions and the loss of each window.

        A window longer than the network's is answered by the mean over crops that cover it evenly.
        """
        dataset, rows, split, spec, device, validating = request
        if validating and self.config.frozen:
            if split not in self._validation_features:
                self._validation_features[split] = self._features(dataset, rows, model=model, target=target, spec=spec)
            loader = Loader(source=self._validation_features[split], batch_size=self.evaluate_config.batch_size)
        else:
            targets = self.encoded_targets(dataset, rows, target)
            loader = ordered_loader(
                self.signals(dataset, rows, spec=spec, targets=targets), self.evaluate_config.batch_size
            )
        answer = self._of_features if isinstance(loader.source, FeatureDataset) else self._of_signals

        def predict_batch(index: int, batch: Batch) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            predictions, loss = answer(model, target, batch=batch, device=device)
            return predictions.cpu().numpy(), loss.cpu().numpy()

        found, losses = zip(*map_batches(model, loader, predict_batch, device=device, title="predict"), strict=True)
        return Predictions(
            arrays={
                "target": np.asarray(loader.source.targets),
                self.prediction_array: np.concatenate(found),
                "loss": np.concatenate(losses),
            },
            constants={"classes": np.array(target.names)},
        )

    def answer(
        self, model: Predictor, target: TargetT, *, dataset: PreparedDataset, spec: InputSpec, device: torch.device
    ) -> NDArray[np.float64]:
        """Return what a model predicts on all windows of a dataset without labels: probabilities, or values."""
        rows = np.arange(len(dataset.signals))
        if not len(rows):
            return np.empty((0, len(target.names)))
        loader = ordered_loader(self.signals(dataset, rows, spec=spec), self.evaluate_config.batch_size)

        def answer_batch(index: int, batch: Batch) -> NDArray[np.float64]:
            found = [
                target.predictions(outputs) / rate for outputs, rate in self._shown(model, batch.inputs, device=device)
            ]
            return np.asarray(torch.stack(found).mean(dim=0).cpu().numpy())

        return np.concatenate(map_batches(model, loader, answer_batch, device=device, title="predict"))

    def _of_features(
        self, model: Predictor, target: TargetT, *, batch: Batch, device: torch.device
    ) -> tuple[Tensor, Tensor]:
        outputs = model.apply_head(torch.from_numpy(batch.inputs).to(device))
        encoded = target.encode(torch.from_numpy(np.asarray(batch.targets)).to(device))
        return target.predictions(outputs), target.loss(outputs.double(), encoded.double(), mean=False)

    def _of_signals(
        self, model: Predictor, target: TargetT, *, batch: Batch, device: torch.device
    ) -> tuple[Tensor, Tensor]:
        encoded = target.encode(torch.from_numpy(np.asarray(batch.targets)).to(device)).double()
        found, losses = [], []
        for outputs, rate in self._shown(model, batch.inputs, device=device):
            found.append(target.predictions(outputs) / rate)
            wanted = encoded if rate == 1 else encoded * rate
            losses.append(target.loss(outputs.double(), wanted, mean=False))
        return torch.stack(found).mean(dim=0), torch.stack(losses).mean(dim=0)

    def _shown(
        self, model: Predictor, inputs: NDArray[np.float32], *, device: torch.device
    ) -> Iterator[tuple[Tensor, float]]:
        """Yield the outputs of a network that is shown windows `(batch, n_channels, length)` crop by crop, each played
        at all rates, and the rate."""
        for crop in even_crops(inputs, model.window or inputs.shape[-1]):
            for rate in self.tta_rates:
                shown = crop if rate == 1 else time_stretch(crop, np.full((len(crop), 1), rate))
                yield model(torch.from_numpy(shown).to(device)), rate

    def exported(self, model: Predictor, target: TargetT, spec: InputSpec) -> ExportedNetwork:
        """Return the network from windows to predictions, as `predict` has them without other speeds."""
        window = model.window or spec.length
        starts = [int(crop[0]) for crop in even_crops(np.arange(spec.length, dtype=np.float32), window)]
        answers = WindowAnswers(model, target, starts=starts, window=window)
        shape = f"(batch, {len(target.names)})"
        return ExportedNetwork(
            answers.eval(), spec.n_channels, spec.length, {self.prediction_array: f"{shape}: {target.meaning}"}
        )

    def score(self, target: TargetT, predictions: Predictions) -> Evaluation:
        """Return the metrics that are defined on the task's predictions."""
        arrays = predictions.arrays
        found = compute(self.predictions_kind, arrays["target"], arrays[self.prediction_array])
        return Evaluation(
            n=len(arrays["target"]),
            loss=float(arrays["loss"].mean()),
            metrics=found,
            groups=[Group("", found)],
            predictions=predictions,
        )

    def scored(self, predictions: Predictions) -> ScoredPredictions:
        """Return targets and predictions."""
        arrays = predictions.arrays
        return ScoredPredictions(self.predictions_kind, arrays["target"], arrays[self.prediction_array])

    def as_probe(self) -> Self:
        """Return the task as a linear probe asks it during pretraining: all training labels, a head that is solved."""
        probe_kind = "logistic" if self.config.probe == "gradient" else self.config.probe
        return self.with_solved_head(probe=probe_kind, label_fraction=1.0, fit_on="train")

    def for_baselines(self) -> Self:
        """Return the task as simple baselines are asked it: the recipe's labels, a head that is solved."""
        return self.with_solved_head(probe="ridge")

    def with_solved_head(self, **changes: object) -> Self:
        """Return the task with a linear head that a solver fits, and with changed keys of [finetune]."""
        pooling = [kind for kind in self.config.pooling if kind != "attention"] or ["mean"]
        defaults = type(self.config)(task=self.config.task)
        solved = {
            "mode": "linear-probe",
            "head": "linear",
            "pooling": pooling,
            "loss": defaults.model_dump()["loss"],
            **self.settings_of_probes,
            **changes,
        }
        finetune = self.config.model_copy(update=solved)
        return type(self)(self.recipe.model_copy(update={"finetune": finetune}))

    def check_same_question(self, target: TargetT, info: DatasetInfo) -> None:
        """Raise DataError when another dataset's target of the same name is of another kind."""
        self.target_infos(info)


class WindowAnswers(nn.Module):
    """Windows `(batch, n_channels, length)` -> predictions `(batch, n)` in float32, means over the crops of `window`
    samples that begin at `starts`."""

    def __init__(self, model: Predictor, target: WindowTarget, *, starts: Sequence[int], window: int) -> None:
        super().__init__()
        self.model, self.target = model, target
        self.starts, self.window = tuple(starts), window

    def forward(self, signals: Tensor) -> Tensor:
        crops = [signals[..., start : start + self.window] for start in self.starts]
        return torch.stack([self.target.predictions(self.model(crop)) for crop in crops]).mean(dim=0).float()


class WindowObjective(BaseObjective):
    """A predictor that learns a target, optionally with mixup (Zhang et al. 2018).

    `frozen_features=True` takes pooled features in place of signals and trains the head alone. Below 1, `layer_decay`
    multiplies the backbone's rate once more for every stage further from the head (Clark et al. 2020); with
    `unfreeze_epochs` k, the deepest stage joins after k epochs, the next after 2 k, and so on (Howard and Ruder 2018);
    until then its batch normalisation keeps its statistics.
    """

    def __init__(
        self,
        model: Predictor,
        target: WindowTarget,
        *,
        lr: float,
        backbone_lr: float,
        label_smoothing: float = 0.0,
        mixup: float = 0.0,
        frozen_features: bool = False,
        layer_decay: float = 1.0,
        unfreeze_epochs: int = 0,
    ) -> None:
        self.module, self.target = model, target
        self.lr, self.backbone_lr = lr, backbone_lr
        self.label_smoothing, self.mixup = label_smoothing, mixup
        self.frozen_features = frozen_features
        self.layer_decay, self.unfreeze_epochs = layer_decay, unfreeze_epochs

    def on_epoch_start(self, epoch: int) -> None:
        """Put stages that do not train yet into evaluation mode."""
        if self.unfreeze_epochs and not self.frozen_features:
            for distance, stage in enumerate(reversed(self.module.backbone.stages())):
                stage.train(epoch >= self._unfreeze_epoch(distance))

    def step(self, batch: TensorBatch) -> StepOutput:
        """Return the loss of signals or features `(batch, ...)` and targets: codes `(batch,)`, labels or values
        `(batch, n)`."""
        inputs, encoded = batch.inputs, self.target.encode(expect(Tensor, batch.targets))
        if self.mixup and self.module.training:
            share = torch.distributions.Beta(self.mixup, self.mixup).sample().to(inputs.device)
            partner = torch.randperm(len(inputs), device=inputs.device)
            inputs = share * inputs + (1 - share) * inputs[partner]
            encoded = share * encoded + (1 - share) * encoded[partner]
        outputs = self.module.apply_head(inputs) if self.frozen_features else self.module(inputs)
        smoothing = self.label_smoothing if self.module.training else 0.0
        loss = self.target.loss(outputs, encoded, label_smoothing=smoothing)
        return mean_loss(loss, len(inputs))

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the head, with what pools, at `lr`; the backbone at `backbone_lr` unless features are frozen."""
        head = groups_of("head", nn.ModuleList([self.module.pooling, self.module.head]), self.lr)
        if self.frozen_features:
            return head
        if self.layer_decay == 1 and not self.unfreeze_epochs:
            return [*head, *groups_of("backbone", self.module.backbone, self.backbone_lr)]
        return [*head, *self._staged_groups()]

    def _staged_groups(self) -> list[ParameterGroup]:
        groups = []
        for distance, stage in enumerate(reversed(self.module.backbone.stages())):
            lr = self.backbone_lr * self.layer_decay**distance
            groups += [
                group._replace(unfreeze_epoch=self._unfreeze_epoch(distance))
                for group in groups_of(f"backbone_{distance}", stage, lr)
            ]
        return [group for group in groups if group.parameters]

    def _unfreeze_epoch(self, distance: int) -> int:
        return self.unfreeze_epochs * (distance + 1)


_PLURALS = {"class": "classes", "labels": "labels", "value": "values", "signal": "signals", "events": "events"}


def _other_tasks(info: DatasetInfo, name: str = "") -> str:
    """Return a hint at the task for a target, and at the targets for which there is one."""
    by_kind = {"class": "classification", "labels": "multilabel", "value": "regression"}
    task = by_kind.get(info.targets[name].kind) if name else None
    hint = f'; set finetune.task to "{task}"' if task in TASKS.builtin else ""
    fitting = [f"{other} ({_PLURALS[target.kind]})" for other, target in info.targets.items() if target.kind in by_kind]
    return f"{hint}; it has {', '.join(fitting) or 'no labels: it can serve to pretrain, to forecast and to denoise'}"
