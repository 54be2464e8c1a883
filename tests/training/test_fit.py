"""The loop: a resumed run is bit-exact, the best epoch is kept, a lost loss stops the run."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_bio.data.loader import FeatureDataset, Loader
from ssl_bio.errors import CheckpointError, TrainingError
from ssl_bio.models.heads import Predictor
from ssl_bio.models.timemae import TimeMAE, TimeMAEBackbone
from ssl_bio.pretexts.timemae import TimeMAEObjective
from ssl_bio.runs.folder import RunFolder
from ssl_bio.tasks.classification import ClassTarget
from ssl_bio.tasks.windows import WindowObjective
from ssl_bio.training.fit import FitResult, FitSettings, History, RunContext, Validate, fit
from ssl_bio.training.objective import BaseObjective, Objective, StepOutput, TensorBatch
from ssl_bio.training.optim import ParameterGroup

SETTINGS = FitSettings(epochs=4, seed=0, weight_decay=0.01, schedule="cosine", warmup_epochs=1)
N, CHANNELS, LENGTH = 40, 3, 64


class Stopped(Exception):  # noqa: N818  # it stands for a machine that goes down
    """Stands for a machine that goes down."""


def batches() -> Loader:
    rng = np.random.default_rng(0)
    signals = rng.standard_normal((N, CHANNELS, LENGTH)).astype(np.float32)
    return Loader(source=FeatureDataset(values=signals, targets=np.arange(N) % 3), batch_size=16)


def pretext() -> Objective:
    torch.manual_seed(0)
    backbone = TimeMAEBackbone(n_channels=CHANNELS, length=LENGTH, d_model=16, n_layers=2)
    model = TimeMAE(backbone=backbone, decoder_layers=1, vocab_size=8)
    return TimeMAEObjective(model, lr=1e-3, mask_ratio=0.6, momentum=0.9, alpha=5, beta=1, label_smoothing=0.2)


def classify() -> Objective:
    torch.manual_seed(0)
    backbone = TimeMAEBackbone(n_channels=CHANNELS, length=LENGTH, d_model=16, n_layers=1, stem="conv")
    model = Predictor(backbone=backbone, n_outputs=3, dropout=0.1)
    return WindowObjective(model, ClassTarget(names=("a", "b", "c")), lr=1e-3, backbone_lr=1e-4, mixup=0.4)


def context(name: str, *, resume: bool = False, identity: str = "") -> RunContext:
    run = RunFolder(Path(name))
    run.path.mkdir(exist_ok=True)
    return RunContext(run=run, device=torch.device("cpu"), resume=resume, identity=identity)


def train(
    objective: Objective,
    name: str,
    *,
    settings: FitSettings = SETTINGS,
    validate: Validate | None = None,
    resume: bool = False,
    identity: str = "",
) -> FitResult:
    where = context(name, resume=resume, identity=identity)
    return fit(objective, loader=batches(), settings=settings, context=where, validate=validate)


def stopping_after(epoch: int, objective: Objective) -> Validate:
    """Return a validation that scores the weights, and stops everything after an epoch."""

    def validate(history: History) -> dict[str, float]:
        if len(history) >= epoch:
            raise Stopped
        return {"val_loss": float(sum(p.detach().double().sum() for p in objective.module.parameters()))}

    return validate


def saying(name: str, *values: float | None) -> Validate:
    """Return a validation that says these values, one an epoch; None: nothing."""
    following = iter(values)

    def validate(history: History) -> dict[str, float]:
        value = next(following)
        return {} if value is None else {name: value}

    return validate


def assert_same(first: FitResult, second: FitResult) -> None:
    assert first.tensors.keys() == second.tensors.keys()
    for name, tensor in first.tensors.items():
        assert torch.equal(tensor, second.tensors[name]), name


@pytest.mark.parametrize("make", [pretext, classify])
@pytest.mark.parametrize("stop", [1, 3])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(make: Callable[[], Objective], stop: int) -> None:
    settings = replace(
        SETTINGS,
        ema_decay=0.9 if make is classify else 0,
        optimizer="sgd" if stop == 3 else "adamw",
        monitor="val_loss",
        max_grad_norm=1.0,
    )
    objective = make()
    whole = train(objective, "whole", settings=settings, validate=stopping_after(99, objective))
    broken = make()
    with pytest.raises(Stopped):
        train(broken, "broken", settings=settings, validate=stopping_after(stop, broken))
    torch.manual_seed(12345)  # a new process starts with other generators
    again = make()
    resumed = train(again, "broken", settings=settings, validate=stopping_after(99, again), resume=True)
    assert_same(whole, resumed)
    assert whole.best_epoch == resumed.best_epoch

    def rows(folder: str) -> list[str]:
        return [line.rpartition(",")[0] for line in Path(folder, "history.csv").read_text().splitlines()]

    assert rows("whole") == rows("broken")


def test_a_state_of_other_data_is_refused() -> None:
    objective = pretext()
    with pytest.raises(Stopped):
        train(objective, "a", validate=stopping_after(1, objective), identity="dataset a")
    with pytest.raises(CheckpointError, match="learnt from dataset a, now there is dataset b"):
        train(pretext(), "a", resume=True, identity="dataset b")


def test_resuming_nothing_starts_from_the_beginning() -> None:
    assert_same(train(pretext(), "a", resume=True), train(pretext(), "b"))


def test_lost_weights_stop_the_run() -> None:
    settings = replace(SETTINGS, schedule="constant", warmup_epochs=0, weight_decay=1e38)
    with pytest.raises(TrainingError, match=r"no longer finite.* epoch [12]"):
        train(classify(), "a", settings=settings)


def test_same_seed_same_weights_and_another_seed_others() -> None:
    first, second = train(pretext(), "a"), train(pretext(), "b")
    other = train(pretext(), "c", settings=replace(SETTINGS, seed=1))
    assert_same(first, second)
    assert any(not torch.equal(first.tensors[name], other.tensors[name]) for name in first.tensors)


def test_best_epoch_by_monitor_and_patience() -> None:
    settings = replace(SETTINGS, epochs=5, monitor="val_loss", patience=2)
    result = train(classify(), "a", settings=settings, validate=saying("val_loss", 3.0, 1.0, 2.0, 2.0, 0.5))
    assert (result.best_epoch, result.epochs) == (2, 4)
    assert result.metrics["val_loss"] == 1.0


def test_a_score_is_best_when_high_and_of_equal_ones_the_first_counts() -> None:
    settings = replace(SETTINGS, monitor="val_Accuracy")
    result = train(classify(), "a", settings=settings, validate=saying("val_Accuracy", 0.3, 0.9, 0.5, 0.9))
    assert result.best_epoch == 2


def test_epochs_without_the_monitored_metric_choose_nothing() -> None:
    settings = replace(SETTINGS, monitor="probe_Accuracy")
    some = saying("probe_Accuracy", None, 0.5, None, 0.25)
    assert train(classify(), "a", settings=settings, validate=some).best_epoch == 2
    none = saying("probe_Accuracy", None, None, None, None)
    with pytest.raises(TrainingError, match="no epoch has a probe_Accuracy"):
        train(classify(), "b", settings=settings, validate=none)


def test_without_a_monitor_the_last_epoch_is_kept() -> None:
    objective = classify()
    result = train(objective, "a", validate=saying("val_loss", 1.0, 0.5, 2.0, 3.0))
    assert result.best_epoch == 4
    assert all(torch.equal(tensor, objective.module.state_dict()[name]) for name, tensor in result.tensors.items())


class Diverging(BaseObjective):
    """Loses the loss in its second epoch."""

    def __init__(self) -> None:
        self.inner = classify()
        self.module = self.inner.module
        self.steps = 0

    def step(self, batch: TensorBatch) -> StepOutput:
        self.steps += 1
        output = self.inner.step(batch)
        if self.steps < 5:
            return output
        lost = output.loss * float("nan")
        return StepOutput(lost, {**output.sums, "mse": lost.detach()})

    def parameter_groups(self) -> list[ParameterGroup]:
        return self.inner.parameter_groups()


def test_a_lost_loss_names_epoch_step_and_term_and_keeps_the_last_state() -> None:
    with pytest.raises(TrainingError, match=r"no longer finite \(in mse\) at epoch 2, step 2"):
        train(Diverging(), "a")
    saved = RunFolder(Path("a")).load_state()
    assert saved is not None
    assert saved[1]["epoch"] == 1
    assert all(torch.isfinite(tensor).all() for tensor in saved[0].values())


def test_rates_follow_the_schedule() -> None:
    train(classify(), "a")
    rates = RunFolder(Path("a")).read_history()["lr_head"]
    assert rates[0] == pytest.approx(1e-3)
    assert rates == sorted(rates, reverse=True)


def test_every_epoch_is_told_also_those_before_an_interruption() -> None:
    told: list[int] = []

    def after_epoch(row: Mapping[str, float]) -> None:
        told.append(int(row["epoch"]))
        if told == [1, 2]:
            raise Stopped

    def run(*, resume: bool) -> FitResult:
        where = replace(context("run", resume=resume), after_epoch=after_epoch)
        return fit(classify(), loader=batches(), settings=SETTINGS, context=where)

    with pytest.raises(Stopped):
        run(resume=False)
    assert run(resume=True).epochs == 4
    assert told == [1, 2, 1, 2, 3, 4]
