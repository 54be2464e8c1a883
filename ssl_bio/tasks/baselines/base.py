"""The contract of a baseline, and what all of them share that put ridge regression on features of windows."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ssl_bio.config.kinds import BASELINES
from ssl_bio.data.dataset import PreparedDataset, Rows
from ssl_bio.data.loader import SignalDataset
from ssl_bio.metrics import lower_is_better
from ssl_bio.results.evaluation import Evaluation, Predictions
from ssl_bio.tasks.base import AnyTask, expect, located
from ssl_bio.tasks.baselines import kept, ridge
from ssl_bio.tasks.baselines.kept import Extract
from ssl_bio.tasks.windows import WindowTarget, WindowTask
from ssl_bio.training.probe import LinearHead

AnyWindowTask = WindowTask[Any, Any, Any]


@dataclass(frozen=True)
class Question:
    """What a baseline is asked: a task of windows, on a dataset that has been checked."""

    task: AnyWindowTask
    dataset: PreparedDataset

    @staticmethod
    def of(task: AnyTask, dataset: PreparedDataset) -> "Question":
        """Return what a recipe's task asks. Raises RecipeError for a task that asks nothing of windows."""
        return Question(expect(WindowTask, task.for_baselines()), dataset)

    @cached_property
    def fit_rows(self) -> Rows:
        """Return the labelled rows that may be learnt from."""
        return self.task.training_rows(self.dataset, self.task.config.fit_on)

    @cached_property
    def evaluated_rows(self) -> Rows:
        """Return the rows that are evaluated."""
        return self.task.evaluated_rows(self.dataset, self.task.evaluate_config.split)

    @cached_property
    def target(self) -> WindowTarget:
        """Return what is asked, measured on the rows that may be learnt from."""
        return expect(WindowTarget, self.task.target(self.dataset, self.fit_rows))

    def targets(self, rows: Rows) -> NDArray[Any]:
        """Return the targets of rows, as the task encodes them."""
        return self.task.encoded_targets(self.dataset, rows, self.target)

    def signals(self, rows: Rows) -> SignalDataset:
        """Return the windows of rows. Raises DataError for missing samples nobody fills."""
        return self.task.signals(self.dataset, rows, spec=self.task.input_spec(self.dataset.info))

    def answer(self, outputs: NDArray[Any], rows: Rows) -> "Answer":
        """Return what the outputs of a linear head `(n, n_outputs)` on rows mean."""
        found, unit = torch.from_numpy(np.asarray(outputs, np.float32)), self.task.unit(self.target)
        found = unit(found) if unit else found
        encoded = self.target.encode(torch.from_numpy(np.asarray(self.targets(rows))))
        loss = self.target.loss(found.double(), encoded.double(), mean=False)
        return Answer(self.target.predictions(found).numpy(), loss.numpy())

    def score(self, answer: "Answer", rows: Rows) -> Evaluation:
        """Return the metrics of an answer on rows."""
        arrays = {
            "target": self.targets(rows),
            self.task.prediction_array: answer.predictions,
            "loss": answer.loss,
        }
        found = Predictions(arrays=arrays, constants={"classes": np.array(self.target.names)})
        return self.task.score(self.target, located(found, self.dataset, rows))

    def ranking_loss(self, answer: "Answer", rows: Rows) -> float:
        """Return how bad an answer on rows is by the metric that ranks; infinite where that is not defined."""
        name = self.task.leading_metrics[0]
        value = self.score(answer, rows).metrics.get(name, np.nan)
        return np.inf if np.isnan(value) else value if lower_is_better(name) else -value

    def solve(self, x: NDArray[np.float32], rows: Rows, *, alpha: float) -> LinearHead | None:
        """Return the head that ridge regression finds on standardised features `(n, n_features)` of rows; None where
        not every class is among them."""
        strata = self.task.strata(self.dataset, rows, "train")
        if strata is not None and len(np.unique(strata.codes[rows])) < len(strata.classes):
            return None
        task = self.task.with_solved_head(probe="ridge", probe_alpha=alpha)
        # In double precision: a weak penalty on many features that are alike is lost in single.
        return task.solve_head(x.astype(np.float64), self.targets(rows), self.target)


class Answer(NamedTuple):
    """Predictions of windows (probabilities `(n, n_classes)` or values `(n, n_values)`) and the loss of each `(n,)`,
    NaN where there is none; how many numbers were learnt for it, from how many features, and with which penalty."""

    predictions: NDArray[np.float64]
    loss: NDArray[np.float64]
    n_parameters: int = 0
    n_features: int = 0
    alpha: float | None = None


class Baseline(ABC):
    """What answers windows with little or no learning."""

    @abstractmethod
    def answer(self, question: Question) -> Answer:
        """Return predictions of the rows that are evaluated."""

    def refusal(self, question: Question) -> str:
        """Return why this baseline cannot answer; empty if it can."""
        return ""


class FeatureBaseline(Baseline):
    """Ridge regression on features of windows, which are computed once and kept beside the dataset.

    `version` is raised when other features come of the same windows. `kept_as`: in which type they are kept.
    `fitted`: whether they depend on the windows that may be learnt from.
    """

    version: ClassVar[int]
    kept_as: ClassVar[type[np.floating[Any]]] = np.float32
    fitted: ClassVar[bool] = False

    @abstractmethod
    def extractor(self, training: SignalDataset) -> Extract:
        """Return what computes features, fitted to training windows where that is needed; labels are not looked at."""

    def answer(self, question: Question) -> Answer:
        """Return predictions of a ridge regression, whose penalty is chosen among the people it learns from."""
        features, fit_rows, rows = self._features(question), question.fit_rows, question.evaluated_rows
        head = ridge.fit(
            np.asarray(features[fit_rows], np.float32),
            subjects=question.dataset.subjects[fit_rows],
            solve=lambda x, places, alpha: question.solve(x, fit_rows[places], alpha=alpha),
            loss=lambda outputs, places: question.ranking_loss(
                question.answer(outputs, fit_rows[places]), fit_rows[places]
            ),
        )
        answer = question.answer(head.outputs(np.asarray(features[rows], np.float32)), rows)
        return answer._replace(n_parameters=head.n_parameters, n_features=features.shape[1], alpha=head.alpha)

    def _features(self, question: Question) -> NDArray[Any]:
        """Return the features of all windows of the dataset."""
        dataset, task, name = question.dataset, question.task, type(self).__name__
        windows = question.signals(np.arange(dataset.info.n))
        training_rows = task.split_rows(dataset, task.config.fit_on)
        return kept.features(
            windows,
            name=name,
            facts=[name, self.version, windows.missing, training_rows.tolist() if self.fitted else None],
            dtype=self.kept_as,
            extractor=lambda: self.extractor(question.signals(training_rows)),
        )


def load_baseline(name: str) -> Baseline:
    """Return a baseline by name. Raises RecipeError for an unknown one and for a broken plugin."""
    found = BASELINES.load(name)
    if not (isinstance(found, type) and issubclass(found, Baseline)):
        raise BASELINES.broken(name, "it does not derive from ssl_bio.tasks.baselines.base.Baseline")
    return found()
