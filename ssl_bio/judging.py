"""Judging a finetuned run: what it answers on one split, and the figures of that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ssl_bio import build, denoising, mixtures, samples, sources, weights
from ssl_bio.checkpoint import Checkpoint, Facts, RunFolder
from ssl_bio.data.store import DatasetInfo, PreparedDataset, Rows
from ssl_bio.data.transforms import even_crops, played
from ssl_bio.data.view import Batches, Features
from ssl_bio.denoising import Example, Trial
from ssl_bio.errors import CheckpointError, DataError
from ssl_bio.forecasts import forecast
from ssl_bio.models.denoiser import Denoiser
from ssl_bio.models.forecaster import Forecaster
from ssl_bio.models.heads import Predictor
from ssl_bio.outcome import STATISTICS, Answers, Classes, OfWindow, Outcome, Series, Signal, Values
from ssl_bio.samples import Form
from ssl_bio.schema import Recipe
from ssl_bio.terminal import progress

Network = Predictor | Forecaster | Denoiser


@dataclass(frozen=True)
class Judged:
    """A finetuned run's answers on one split."""

    outcome: Outcome
    targets: NDArray[Any]  # (n,) codes, or (n, n_outputs)
    answers: Answers  # (n, n_outputs)
    constants: Mapping[str, Answers]  # what needs no learning answers
    examples: Sequence[Example] = ()  # of a denoiser

    @property
    def n(self) -> int:
        """How many windows."""
        return len(self.targets)

    @cached_property
    def figures(self) -> dict[str, float]:
        """The metric columns."""
        return _columns_of(self.outcome, self.targets, self.answers)

    @cached_property
    def beside(self) -> dict[str, dict[str, float]]:
        """The same of what needs no learning."""
        return {name: _columns_of(self.outcome, self.targets, each) for name, each in self.constants.items()}

    def of_output(self, index: int) -> "Judged":
        """One value alone."""
        assert isinstance(self.outcome, Values)
        part = slice(index, index + 1)
        names = {key: getattr(self.outcome, key)[part] for key in ("names", "units", "mean", "std", "median", "bins")}
        constants = {name: each[:, part] for name, each in self.constants.items()}
        outcome = self.outcome.model_copy(update=names)
        return Judged(outcome, self.targets[:, part], self.answers[:, part], constants)

    def of_cell(self, index: int) -> "Judged":
        """One type of noise at one level alone."""
        assert isinstance(self.outcome, Signal)
        part = slice(index, index + 1)
        outcome = self.outcome.model_copy(update={"cells": self.outcome.cells[part]})
        constants = {name: each[:, part] for name, each in self.constants.items()}
        return Judged(outcome, self.targets[:, part], self.answers[:, part], constants)


def load_network(loaded: Checkpoint, plan: Recipe) -> Network:
    """The network of a finetuned run. Raises CheckpointError when its weights do not fit the recipe."""
    facts = loaded.facts
    if facts.outcome is None:
        raise CheckpointError(f"{loaded.path}: its header does not say what it answers; finetune again")
    form = samples.form_of(facts)
    backbone = build.backbone(plan, len(facts.channels), form.window, will_load=True)
    model = build.network(plan, backbone, facts.outcome, form)
    weights.load_into(model, loaded)
    return model


def pooled(parts: Sequence[Judged]) -> Judged:
    """Answers of several folds as one: every window is answered by the network that did not learn from its person."""
    first = parts[0]
    constants = {name: np.concatenate([part.constants[name] for part in parts]) for name in first.constants}
    return Judged(
        first.outcome,
        np.concatenate([part.targets for part in parts]),
        np.concatenate([part.answers for part in parts]),
        constants,
    )


@torch.no_grad()
def predict(
    model: Predictor, outcome: OfWindow, batches: Batches, device: torch.device, paces: Sequence[float] = (1.0,)
) -> tuple[Answers, NDArray[Any]]:
    """Answers `(n, n_outputs)` and targets of all batches, in order. A window longer than the network's is answered by
    the mean over crops that cover it evenly; rates by the mean over `paces` at which the window is played."""
    training = model.training
    model.to(device).eval()
    of_features = isinstance(batches.source, Features)
    answers, targets = [], []
    with progress("predict", len(batches)) as tick:
        for step, batch in enumerate(batches.ordered(), 1):
            if of_features:
                found = [outcome.answers(model.answer(torch.from_numpy(batch.inputs).to(device)))]
            else:
                found = []
                for part in even_crops(batch.inputs, model.window or batch.inputs.shape[-1]):
                    for pace in paces:
                        shown = part if pace == 1 else played(part, np.full((len(part), 1), pace))
                        found.append(outcome.answers(model(torch.from_numpy(shown).to(device))) / pace)
            answers.append(torch.stack(found).mean(dim=0).cpu().numpy())
            targets.append(np.asarray(batch.targets))
            tick(step)
    model.train(training)
    return np.concatenate(answers), np.concatenate(targets)


def figures_of(
    model: Predictor, outcome: OfWindow, batches: Batches, device: torch.device, paces: Sequence[float] = (1.0,)
) -> dict[str, float]:
    """The metric columns, and the loss as `loss`."""
    answers, targets = predict(model, outcome, batches, device, paces)
    return outcome.figures(targets, answers)


def judge(
    model: Network,
    run: RunFolder,
    facts: Facts,
    plan: Recipe,
    data: PreparedDataset,
    device: torch.device,
    external: bool = False,
) -> Judged:
    """Predict the recipe's split, write `predictions*.npz` and compute the figures. Windows whose target is not known
    are left out.

    An external dataset is judged on its own split of that name if it has one under its first scheme. Its
    labels are matched by name.

    Raises DataError when its labels are not the run's.
    """
    outcome = facts.outcome
    assert outcome is not None
    if external:
        plan = with_scheme(plan, next(iter(data.info.schemes)))
        _check_same_question(data.info, plan, outcome)
    rows = judged_rows(data, plan, plan.evaluate.split)
    weights.check_channels(facts, data.info)
    suffix = "" if plan.evaluate.split == "test" and not external else f"-{data.info.name}-{plan.evaluate.split}"
    whose = {"row": rows, "subject": data.subjects[rows]}
    if isinstance(model, Denoiser):
        assert isinstance(outcome, Signal)
        asked = trial(data, plan, rows, plan.evaluate.split, samples.form_of(facts))
        found = denoising.fared(model, outcome, asked, device)
        outcome = outcome.model_copy(update={"cells": asked.cells})
        fares = {"noisy": found.noisy, **found.answers}
        arrays: dict[str, NDArray[Any]] = {
            f"statistics_{name}": each.astype(np.float32) for name, each in fares.items()
        }
        labels = {"cells": np.array([cell.label for cell in asked.cells]), "statistics": np.array(STATISTICS)}
        run.write_arrays(f"predictions{suffix}.npz", {**whose, **labels, **arrays})
        ours = fares.pop(denoising.OURS)
        return Judged(outcome, found.noisy, ours, fares, found.examples)
    view = samples.view(data, plan, rows, samples.form_of(facts))
    batches = Batches(view, plan.evaluate.batch_size)
    if isinstance(model, Forecaster):
        assert isinstance(outcome, Series)
        ahead = forecast(model, outcome, batches, device, plan.evaluate.horizon)
        free, one_step = ahead.answers.astype(np.float32).swapaxes(0, 1)
        arrays = {"target": ahead.targets, "free_running": free, "one_step": one_step}
        run.write_arrays(f"predictions{suffix}.npz", {**whose, **arrays})
        return Judged(outcome, ahead.targets, ahead.answers, ahead.naive)
    assert not isinstance(outcome, Series | Signal)
    answers, targets = predict(model, outcome, batches, device, plan.evaluate.paces)
    if external and not isinstance(outcome, Values):
        targets = _recoded(targets, data.info.targets[plan.data.target].classes, outcome, data.info.name)
    run.write_arrays(
        f"predictions{suffix}.npz",
        {
            **whose,
            "target": targets,
            "value" if isinstance(outcome, Values) else "probability": answers.astype(np.float32),
            "classes": np.array(outcome.names),
        },
    )
    return Judged(outcome, targets, answers, outcome.constants(len(rows)))


def judged_rows(data: PreparedDataset, plan: Recipe, split: str) -> Rows:
    """The windows of a split that the recipe judges by."""
    return samples.spread(samples.labelled_rows(data, plan, split), data.subjects, plan.evaluate.per_subject)


def trial(data: PreparedDataset, plan: Recipe, rows: Rows, split: str, form: Form, validating: bool = False) -> Trial:
    """What a denoiser is judged by: rows of a split, with noise of the same split. `validating`: under noise as it was
    learnt, and with neither beats nor a classical answer.

    Raises DataError for noise that is not there.
    """
    source, levels = sources.noise(plan), plan.evaluate.levels
    types = plan.noise.types if validating else plan.evaluate.noises
    if validating:
        low, high = plan.noise.between
        levels = [level for level in levels if low <= level <= high] or [(low + high) / 2]
    mixtures.check_levels(plan)
    clean = mixtures.clean_view(data, plan, rows, form)
    noise = mixtures.noise_for(source, plan, split, form, types, form.length) if source else None
    asked = Trial(clean, noise, denoising.cells_of(noise, levels))
    if validating:
        return asked
    return asked._replace(beats=mixtures.beats(data, rows, form), classical_band=plan.evaluate.classical_band)


def _check_same_question(info: DatasetInfo, plan: Recipe, outcome: Outcome) -> None:
    """Raise DataError when another dataset's target of the same name is of another kind or in another unit."""
    if isinstance(outcome, Series | Signal):
        return  # signals are their own target
    kind = {"class": "classes", "labels": "labels", "value": "values"}[samples.target_kind(info, plan)]
    units = [info.targets[name].unit for name in samples.target_names(plan)]
    if kind != outcome.kind or (isinstance(outcome, Values) and units != list(outcome.units)):
        ours = f"{outcome.kind} in {', '.join(outcome.units)}" if isinstance(outcome, Values) else outcome.kind
        raise DataError(
            f"dataset {info.name}: its {plan.data.target!r} holds {kind} {', '.join(units)}".rstrip()
            + f", and this run answers {ours}: choose another --data"
        )


def with_scheme(plan: Recipe, scheme: str) -> Recipe:
    """The recipe under another split scheme."""
    return plan.model_copy(update={"data": plan.data.model_copy(update={"validation": scheme})})


def _columns_of(outcome: Outcome, targets: NDArray[Any], answers: Answers) -> dict[str, float]:
    figures = outcome.figures(targets, answers)
    return {name: value for name, value in figures.items() if name != "loss"}


def _recoded(targets: NDArray[Any], theirs: Sequence[str], outcome: Outcome, name: str) -> NDArray[Any]:
    """Another dataset's classes or labels in this run's order."""
    unknown = [label for label in theirs if label not in outcome.names]
    if unknown:
        raise DataError(
            f"dataset {name} has labels that this run does not know: {', '.join(unknown)}; "
            f"it knows {', '.join(outcome.names)}"
        )
    place = np.array([outcome.names.index(label) for label in theirs])
    if isinstance(outcome, Classes):
        return np.asarray(place[targets])
    recoded = np.zeros((len(targets), outcome.n_outputs), targets.dtype)
    recoded[:, place] = targets
    return recoded
