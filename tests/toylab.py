"""A lab's own package: a dataset, a backbone, a pretext task, a downstream task, a metric and a baseline, none of them
known to ssl-bio. `tests/test_extending.py` installs it as a distribution of its own."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_bio.config.models import BackboneConfig
from ssl_bio.config.pretexts import PretextConfig
from ssl_bio.config.section import Count, Positive, key
from ssl_bio.config.tasks import EvaluateConfig, WindowTaskConfig
from ssl_bio.data.dataset import PreparedDataset, Rows
from ssl_bio.data.ingest.archive import Files
from ssl_bio.data.ingest.ingest import Ingest
from ssl_bio.data.options import WindowOptions
from ssl_bio.data.recording import Recording
from ssl_bio.data.recording_store import RecordingStore
from ssl_bio.data.registry import Dataset
from ssl_bio.data.splits import draw_subjects
from ssl_bio.data.targets import TargetInfo
from ssl_bio.data.windowing import LabelledWindows, Windowing
from ssl_bio.data.windows import Windower
from ssl_bio.metrics import Metric, compute
from ssl_bio.models.base import Backbone, SignalNetwork
from ssl_bio.models.layers import InputNorm
from ssl_bio.pretexts.base import Pretext
from ssl_bio.results.evaluation import Evaluation, Group, Predictions
from ssl_bio.runs.inputs import InputSpec
from ssl_bio.tasks.base import ScoredPredictions, expect
from ssl_bio.tasks.baselines.base import Answer, Baseline, Question
from ssl_bio.tasks.windows import WindowTarget, WindowTask
from ssl_bio.training import probe
from ssl_bio.training.objective import BaseObjective, StepOutput, TensorBatch, mean_loss
from ssl_bio.training.optim import ParameterGroup, groups_of

# A dataset: one text file of numbers a person, 10 Hz; the label of a window is how much it swings.

PROTOCOL = WindowOptions(sampling_rate=10.0, window=4.0, stride=4.0, highpass=0.0, standardize="none")


def read(files: Files) -> Ingest:
    """Read a folder of text files."""

    def read_one(name: str) -> list[Recording]:
        with files.borrowed(name) as (path,):
            signal = np.array(path.read_text().split(), np.float32)
        return [Recording(name=name, subject=name, arrays={"signals": signal[None]})]

    return Ingest(title="Strides of people", source=files.source.name, records=files.find(".txt"), read=read_one)


def windowing(store: RecordingStore, options: WindowOptions) -> Windowing:
    """Return windows with the target `swing`, their standard deviation."""
    windower = Windower(options.with_defaults(PROTOCOL))

    def label(recording: Recording) -> LabelledWindows:
        windows = windower.windows(recording.signals, 10.0, pad=False)
        swing = windows.signals.std(axis=(1, 2)).astype(np.float32)
        return LabelledWindows(record=windows, targets={"swing": swing})

    return Windowing(
        options=windower.options,
        channels=("x",),
        unit=windower.unit("g"),
        targets={"swing": TargetInfo(kind="value", unit="g")},
        window=label,
        split=lambda table: {"subject": draw_subjects(table.subjects)},
        schemes={"subject": "people are drawn 80 / 10 / 10"},
    )


DATASET = Dataset(title="Strides of people", homepage="https://example.org/strides", read=read, windowing=windowing)


# A backbone: one linear map of each patch.


class PatchConfig(BackboneConfig):
    """Keys of the toy backbone."""

    kind: Literal["toy-patches"] = key("toy-patches", "the backbone", architecture=True)
    d_model: Count = key(8, "width of a token", architecture=True)
    wave_length: Count = key(8, "what a token stands for", unit="samples", architecture=True)
    default_pretext: ClassVar[str] = "toy-means"


class PatchBackbone(Backbone):
    """Signals `(batch, n_channels, length)` -> tokens `(batch, length / wave_length, d_model)`."""

    Config = PatchConfig
    input_layers: ClassVar[tuple[str, ...]] = ("input_norm.", "project.")
    input_norm: InputNorm
    max_length = None
    receptive_field = None

    def __init__(self, *, n_channels: int, length: int, normalize: str, d_model: int, wave_length: int) -> None:
        super().__init__()
        self.n_channels, self.length, self.wave_length = n_channels, length, wave_length
        self.input_norm = InputNorm(n_channels, normalize)
        self.project = nn.Conv1d(self.input_norm.out_channels, d_model, wave_length, wave_length)
        self.layer_widths = (d_model,)

    def hidden_states(self, signals: Tensor) -> list[Tensor]:
        """Return the tokens."""
        padded = F.pad(self.input_norm(signals), (0, -signals.shape[-1] % self.wave_length))
        return [self.project(padded).transpose(1, 2)]

    def stages(self) -> list[nn.Module]:
        """Return the only layer there is."""
        return [self.project]


# A pretext task: the mean of each patch.


class MeansConfig(PretextConfig):
    """Keys of the toy pretext task."""

    pretext: Literal["toy-means"] = key("toy-means", "the pretext task")
    strength: Positive = key(1.0, "factor on the loss")


class MeansPretext(Pretext[MeansConfig]):
    """Predict the mean of each patch from its token."""

    Config = MeansConfig

    def build(self, backbone: Backbone | SignalNetwork, spec: InputSpec) -> "MeansObjective":
        """Return the objective around any backbone of tokens."""
        return MeansObjective(expect(Backbone, backbone), lr=self.config.lr, strength=self.config.strength)


class MeansModel(nn.Module):
    """A backbone and a linear head on each token."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone, self.head = backbone, nn.Linear(backbone.d_model, 1)

    def forward(self, signals: Tensor) -> Tensor:
        """Return a number for each token."""
        found: Tensor = self.head(self.backbone(signals))[..., 0]
        return found


class MeansObjective(BaseObjective):
    """Squared error of patch means."""

    def __init__(self, backbone: Backbone, *, lr: float, strength: float) -> None:
        self.module, self.lr, self.strength = MeansModel(backbone), lr, strength

    def step(self, batch: TensorBatch) -> StepOutput:
        """Return the loss of signals."""
        predicted = self.module(batch.inputs)
        wanted = F.adaptive_avg_pool1d(batch.inputs.mean(dim=1, keepdim=True), predicted.shape[1])[:, 0]
        return mean_loss(self.strength * F.mse_loss(predicted, wanted), len(batch.inputs))

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return everything at one rate."""
        return groups_of("pretext", self.module, self.lr)


# A downstream task: a value, by its logarithm.


class LogTarget(WindowTarget):
    """Positive values, learnt as logarithms."""

    task: Literal["toy-logs"] = "toy-logs"

    def encode(self, targets: Tensor) -> Tensor:
        """Return logarithms `(batch, 1)`."""
        return targets.float().clamp(min=1e-3).log()[:, None]

    def loss(self, outputs: Tensor, encoded: Tensor, *, label_smoothing: float = 0.0, mean: bool = True) -> Tensor:
        """Return the squared error of logarithms."""
        squared = (outputs - encoded).square()
        return squared.mean() if mean else squared.mean(dim=1)

    def predictions(self, outputs: Tensor) -> Tensor:
        """Return values."""
        return outputs.double().exp()


class LogConfig(WindowTaskConfig):
    """Keys of the toy task."""

    task: Literal["toy-logs"] = key("toy-logs", "the downstream task")
    loss: Literal["logs"] = key("logs", "what training minimises")


class LogTask(WindowTask[LogConfig, EvaluateConfig, LogTarget]):
    """A positive value, by its logarithm."""

    Config, EvaluateConfig, Target = LogConfig, EvaluateConfig, LogTarget
    leading_metrics: ClassVar[tuple[str, ...]] = ("ToyWithin", "MAE")
    target_kind, predictions_kind, prediction_array = "value", "values", "value"

    def target(self, dataset: PreparedDataset, rows: Rows) -> LogTarget:
        """Return the one value."""
        return LogTarget(names=(self.recipe.data.target,))

    def solve_head(
        self, features: NDArray[np.floating[Any]], targets: NDArray[Any], target: LogTarget
    ) -> probe.LinearHead:
        """Return the head of ridge regression onto logarithms."""
        logs = target.encode(torch.from_numpy(targets)).numpy()
        return probe.ridge_regression(features, logs, self.config.probe_alpha)

    def scored(self, predictions: Predictions) -> ScoredPredictions:
        """Return targets as a column beside predictions."""
        found = super().scored(predictions)
        return found._replace(targets=found.targets[:, None])

    def score(self, target: LogTarget, predictions: Predictions) -> Evaluation:
        """Return the metrics of values."""
        wanted = predictions.arrays["target"][:, None]
        found = compute("values", wanted, predictions.arrays["value"])
        loss = float(predictions.arrays["loss"].mean())
        groups: Sequence[Group] = [Group("", found)]
        return Evaluation(n=len(wanted), loss=loss, metrics=found, groups=groups, predictions=predictions)


# A metric.


def within(targets: NDArray[Any], predictions: NDArray[Any]) -> float:
    """Return the share of predictions within half of the truth."""
    return float((np.abs(predictions - targets) <= 0.5 * np.abs(targets)).mean())


WITHIN = Metric("ToyWithin", "share of predictions within half of the truth", functions={"values": within})


# A baseline.


class Swing(Baseline):
    """What the window's samples swing by, taken for the answer."""

    def answer(self, question: Question) -> Answer:
        """Return the standard deviation of each window."""
        signals = question.signals(question.evaluated_rows).read(slice(None))
        swing = signals.std(axis=(1, 2), dtype=np.float64)[:, None]
        return Answer(swing, np.full(len(swing), np.nan))


NOT_A_PLUGIN = 3
