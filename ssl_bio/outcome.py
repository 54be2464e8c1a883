"""What is asked of a window: one class, any of several labels, values, how it goes on, or what it is without noise.

An outcome knows its loss, how a network's outputs become answers (probabilities, or values in the target's
unit), and which figures judge them. It is stored with the weights, so a run says itself what its outputs mean.
"""

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F

from ssl_bio import metrics

Answers = NDArray[np.float64]  # (n, n_outputs)


class _Base(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    names: tuple[str, ...]

    @property
    def n_outputs(self) -> int:
        """Outputs of the network."""
        return len(self.names)


class Classes(_Base):
    """One class of several; targets are codes `(n,)`, answers probabilities `(n, n_classes)`."""

    kind: Literal["classes"] = "classes"
    columns: ClassVar = ("Accuracy", "BalancedAccuracy", "F1_weighted", "F1_macro", "CohenKappa", "AUROC", "AUC_PR")

    def wanted(self, targets: Tensor) -> Tensor:
        """Codes `(batch,)` -> one-hot `(batch, n_classes)`, which can be mixed."""
        return F.one_hot(targets, self.n_outputs).float()

    def loss(self, outputs: Tensor, wanted: Tensor, smoothing: float = 0.0) -> Tensor:
        """Cross entropy of logits, averaged over the batch."""
        return F.cross_entropy(outputs, wanted, label_smoothing=smoothing)

    def answers(self, outputs: Tensor) -> Tensor:
        """Probabilities."""
        return outputs.double().softmax(dim=1)

    def figures(self, targets: NDArray[Any], answers: Answers) -> dict[str, float]:
        """The metric columns, and the cross entropy as `loss`."""
        likelihood = answers[np.arange(len(targets)), targets]
        return {
            "loss": float(-np.log(np.maximum(likelihood, 1e-12)).mean()),
            **metrics.classification(targets, answers),
        }

    def constants(self, n: int) -> dict[str, Answers]:
        """No constant answer stands beside classes: their figures say what chance gives."""
        return {}


class Labels(_Base):
    """Any of several labels; targets are 0 or 1 `(n, n_labels)`, answers their probabilities."""

    kind: Literal["labels"] = "labels"

    columns: ClassVar = ("Accuracy", "F1_weighted", "F1_macro", "AUROC", "AUC_PR")

    def wanted(self, targets: Tensor) -> Tensor:
        """As they are, in floating point."""
        return targets.float()

    def loss(self, outputs: Tensor, wanted: Tensor, smoothing: float = 0.0) -> Tensor:
        """Binary cross entropy of logits, averaged over windows and labels."""
        return F.binary_cross_entropy_with_logits(outputs, wanted * (1 - smoothing) + smoothing / 2)

    def answers(self, outputs: Tensor) -> Tensor:
        """Probabilities."""
        return outputs.double().sigmoid()

    def figures(self, targets: NDArray[Any], answers: Answers) -> dict[str, float]:
        """The metric columns, and the binary cross entropy as `loss`."""
        likelihood = np.where(targets == 1, answers, 1 - answers)
        return {"loss": float(-np.log(np.maximum(likelihood, 1e-12)).mean()), **metrics.multilabel(targets, answers)}

    def constants(self, n: int) -> dict[str, Answers]:
        """No constant answer stands beside labels."""
        return {}


class Values(_Base):
    """Values in their units; targets and answers `(n, n_values)`. The loss sees them standardised by training.

    With "bins" the network gives, for each value, a histogram over `bins`, a row of evenly spaced centres: it learns
    a normal distribution around the value, one bin wide (Imani and White 2018), and answers with the median. With
    `levels` the bins are the only values there are, as for counts: it learns the nearest and answers with one of them.
    """

    kind: Literal["values"] = "values"
    units: tuple[str, ...]
    mean: tuple[float, ...]  # of the training windows, as are the others
    std: tuple[float, ...]
    median: tuple[float, ...]
    error: Literal["mse", "l1", "huber", "bins"] = "mse"
    bins: tuple[tuple[float, ...], ...] = ()
    levels: bool = False

    columns: ClassVar = ("MAE", "R2", "RMSE")

    @property
    def n_outputs(self) -> int:
        """Outputs of the network."""
        return sum(len(row) for row in self.bins) or len(self.names)

    @property
    def rates(self) -> tuple[bool, ...]:
        """Which of the values count something in time, and grow when a signal is played faster."""
        return tuple(unit == "Hz" or unit.endswith("/min") for unit in self.units)

    def wanted(self, targets: Tensor) -> Tensor:
        """As they are."""
        return targets.float()

    def loss(self, outputs: Tensor, wanted: Tensor, smoothing: float = 0.0) -> Tensor:
        """Squared, absolute or Huber's error in training deviations, or the histograms' cross entropy; averaged over
        windows and values."""
        if self.error == "bins":
            centres = self._centres(outputs)
            width = centres[:, 1:2] - centres[:, :1]
            near = (-0.5 * ((centres - wanted[..., None]) / width) ** 2).softmax(dim=-1)
            if self.levels:
                nearest = (centres - wanted[..., None]).abs().argmin(dim=-1)
                near = F.one_hot(nearest, centres.shape[1]).to(outputs.dtype)
            return -(near * self._histograms(outputs).log_softmax(dim=-1)).sum(dim=-1).mean()
        return self._error(outputs, wanted, self.error)

    def answers(self, outputs: Tensor) -> Tensor:
        """The outputs themselves, for the network's last layer puts the unit back; or the histograms' medians."""
        if self.error != "bins":
            return outputs.double()
        centres = self._centres(outputs.double())
        width = centres[:, 1:2] - centres[:, :1]
        share = self._histograms(outputs.double()).softmax(dim=-1)
        total = share.cumsum(dim=-1)
        middle = (total < 0.5).sum(dim=-1, keepdim=True).clamp(max=share.shape[-1] - 1)
        if self.levels:
            return centres.expand_as(share).gather(-1, middle)[..., 0]
        inside = (0.5 - (total - share).gather(-1, middle)) / share.gather(-1, middle)
        lower = centres.expand_as(share).gather(-1, middle) - width / 2
        return (lower + width * inside)[..., 0]

    def figures(self, targets: NDArray[Any], answers: Answers) -> dict[str, float]:
        """MAE, R2 and RMSE, means over the values where there are several, and the loss (absolute for bins)."""
        values = torch.from_numpy(answers), torch.from_numpy(np.asarray(targets, np.float64))
        loss = self._error(*values, "l1" if self.error == "bins" else self.error)
        return {"loss": float(loss), **metrics.regression(targets, answers)}

    def constants(self, n: int) -> dict[str, Answers]:
        """What the best constants answer: the training windows' mean, and their median."""
        both = {"always the mean": self.mean, "always the median": self.median}
        return {name: np.tile(np.array(value), (n, 1)) for name, value in both.items()}

    def _error(self, answers: Tensor, wanted: Tensor, error: str) -> Tensor:
        scale = torch.tensor(self.std, dtype=answers.dtype, device=answers.device)
        ours, theirs = answers / scale, wanted / scale
        if error == "mse":
            return F.mse_loss(ours, theirs)
        return F.l1_loss(ours, theirs) if error == "l1" else F.huber_loss(ours, theirs)

    def _centres(self, like: Tensor) -> Tensor:
        return torch.tensor(self.bins, dtype=like.dtype, device=like.device)  # (n_values, n_bins)

    def _histograms(self, outputs: Tensor) -> Tensor:
        return outputs.view(len(outputs), len(self.bins), -1)


class Series(_Base):
    """How a series goes on after its first `time_steps` samples. Targets are the samples that follow, `(n, horizon)`;
    answers `(n, 2, horizon)` are forecasts that feed on themselves and forecasts of each sample from the true ones
    before it. The loss sees samples standardised by training."""

    kind: Literal["series"] = "series"
    unit: str
    mean: float  # of the training windows, as are the others
    std: float
    season: int  # samples after which the series resembles itself most
    time_steps: int
    error: Literal["mse", "l1"] = "mse"

    columns: ClassVar = ("mse_regressive", "mse_batch")

    def loss(self, outputs: Tensor, wanted: Tensor, smoothing: float = 0.0) -> Tensor:
        """Squared or absolute error of standardised samples."""
        return F.mse_loss(outputs, wanted) if self.error == "mse" else F.l1_loss(outputs, wanted)

    def figures(self, targets: NDArray[Any], answers: Answers) -> dict[str, float]:
        """Mean squared errors in the squared unit: free-running over the whole horizon, and one step ahead; the loss is
        the latter, standardised."""
        regressive, batch = (float(np.square(answers[:, which] - targets).mean()) for which in (0, 1))
        return {"loss": batch / self.std**2, "mse_regressive": regressive, "mse_batch": batch}

    def naive(self, series: NDArray[np.float64], horizon: int) -> dict[str, Answers]:
        """What needs no learning, of series `(n, time_steps + horizon)`: the last value, and the value a season ago."""
        start = self.time_steps
        place = np.arange(horizon)
        ago = (start - self.season) + place % self.season
        return {
            "last value": np.stack(
                [np.repeat(series[:, start - 1 : start], horizon, axis=1), series[:, start - 1 : -1]], axis=1
            ),
            "seasonal naive": np.stack([series[:, ago], series[:, start - self.season + place]], axis=1),
        }


class Cell(BaseModel):
    """What signals are judged under: a type of noise at a level, or (`unit` empty) noise they were recorded with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    noise: str
    level: float = 0.0
    unit: Literal["dB", "x", ""] = "dB"

    @property
    def label(self) -> str:
        """ "ma -5 dB", "motor x0.5"."""
        level = {"dB": f" {self.level:g} dB", "x": f" x{self.level:g}", "": ""}[self.unit]
        return self.noise + level


#: Of a window: variance of the clean signal, mean squared error, correlation with it, the loss that was learnt; of its
#: beats how many were found, found where none is, and missed. NaN where there is nothing to say.
STATISTICS = ("power", "error", "correlation", "loss", "hits", "extra", "missed")


class Signal(_Base):
    """The signal without its noise, at each of `cells`. Targets say how the noisy signals fare, answers how the cleaned
    ones do: the `STATISTICS` of each, `(n, n_cells, n_statistics)`."""

    kind: Literal["signal"] = "signal"
    unit: str
    learnt: tuple[str, ...]  # types of noise that training showed
    error: str  # the loss
    peak_weight: float
    cells: tuple[Cell, ...] = ()

    columns: ClassVar = ("snr_gain", "RMSE", "correlation", "beat_F1", "beat_F1_noisy")

    def figures(self, targets: NDArray[Any], answers: Answers) -> dict[str, float]:
        """SNR gain in dB (mean over windows and cells), RMSE in the signal's unit, correlation, F1 of beats before and
        after, where beats are known; the loss is the one that was learnt."""
        power, error, correlation, loss, *beats = np.moveaxis(answers, -1, 0)
        known = (power > 0) & (targets[..., 1] > 0)
        gain = 10 * np.log10(targets[..., 1][known] / np.maximum(error[known], 1e-12 * power[known]))
        figures = {"loss": float(loss.mean()), "RMSE": float(np.sqrt(error.mean()))}
        if known.any():
            figures |= {"snr_gain": float(gain.mean()), "correlation": float(correlation[known].mean())}
        if np.isfinite(beats[0]).any():
            figures["beat_F1"] = metrics.f1_of_counts(*(float(np.nansum(part)) for part in beats))
            before = np.moveaxis(targets[..., 4:], -1, 0)
            figures["beat_F1_noisy"] = metrics.f1_of_counts(*(float(np.nansum(part)) for part in before))
        return figures


OfWindow = Classes | Labels | Values
Outcome = Annotated[OfWindow | Series | Signal, Field(discriminator="kind")]


def season(series: NDArray[np.floating], most: int) -> int:
    """After how many samples, 2 to `most`, series `(n, time)` resemble themselves: the first peak of their mean
    autocorrelation that is nearly as high as its highest, for every multiple of a period is one; `most` where it has
    none."""
    centred = series - series.mean(axis=1, keepdims=True)
    n = centred.shape[1]
    power = np.square(np.abs(np.fft.rfft(centred, 2 * n, axis=1))).mean(axis=0)
    reach = min(most + 2, n)
    likeness = np.fft.irfft(power)[:reach] / (n - np.arange(reach))  # per overlapping sample
    lags = np.arange(2, min(most, len(likeness) - 2) + 1)
    peaks = lags[(likeness[lags] >= likeness[lags - 1]) & (likeness[lags] >= likeness[lags + 1])]
    if not len(peaks):
        return most
    return int(peaks[likeness[peaks] >= _NEARLY * likeness[peaks].max()][0])


_NEARLY = 0.95
