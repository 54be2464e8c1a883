"""The loop: resume is bit-exact, the best epoch is kept, a lost loss stops the run."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ssl_bio.runs.folder import RunFolder
from ssl_bio.data.view import Batches, Features
from ssl_bio.errors import CheckpointError, TrainingError
from ssl_bio.models.heads import Predictor
from ssl_bio.models.timemae import TimeMAE, TimeMAEBackbone
from ssl_bio.outcome import Classes
from ssl_bio.pretexts import TimeMAETask
from ssl_bio.tasks import DownstreamTask, StepResult, Task
from ssl_bio.train import Fitted, History, Settings, Validate, fit

CPU = torch.device("cpu")
SETTINGS = Settings(epochs=4, seed=0, weight_decay=0.01, schedule="cosine", warmup_epochs=1)
N, CHANNELS, LENGTH = 40, 3, 64


class Stopped(Exception):  # noqa: N818  # it plays the part of a pulled plug
    """Stands for a machine that goes down."""


def batches() -> Batches:
    rng = np.random.default_rng(0)
    signals = rng.standard_normal((N, CHANNELS, LENGTH)).astype(np.float32)
    return Batches(Features(signals, np.arange(N) % 3), batch_size=16)


def pretext() -> Task:
    torch.manual_seed(0)
    model = TimeMAE(TimeMAEBackbone(CHANNELS, LENGTH, d_model=16, n_layers=2), decoder_layers=1, vocab_size=8)
    return TimeMAETask(model, lr=1e-3, mask_ratio=0.6, momentum=0.9, alpha=5, beta=1, label_smoothing=0.2)


def classify() -> Task:
    torch.manual_seed(0)
    model = Predictor(TimeMAEBackbone(CHANNELS, LENGTH, d_model=16, n_layers=1, stem="conv"), 3, dropout=0.1)
    return DownstreamTask(model, Classes(names=("a", "b", "c")), lr=1e-3, backbone_lr=1e-4, mixup=0.4)


def run_folder(name: str) -> RunFolder:
    run = RunFolder(Path(name))
    run.path.mkdir(exist_ok=True)
    return run


def stopping_after(epoch: int) -> Validate:
    def validate(model: nn.Module, history: History) -> dict[str, float]:
        if len(history) >= epoch:
            raise Stopped
        return {"val_loss": float(sum(p.detach().double().sum() for p in model.parameters()))}

    return validate


def same(first: Fitted, second: Fitted) -> None:
    assert first.tensors.keys() == second.tensors.keys()
    for name, tensor in first.tensors.items():
        assert torch.equal(tensor, second.tensors[name]), name


@pytest.mark.parametrize("make", [pretext, classify])
@pytest.mark.parametrize("stop", [1, 3])
def test_resumed_run_equals_uninterrupted_run_bit_for_bit(make: Callable[[], Task], stop: int) -> None:
    settings = replace(
        SETTINGS, average=0.9 if make is classify else 0, optimizer="sgd" if stop == 3 else "adamw", monitor="val_loss"
    )
    whole = fit(make(), batches(), settings, run_folder("whole"), CPU, stopping_after(99))
    with pytest.raises(Stopped):
        fit(make(), batches(), settings, run_folder("broken"), CPU, stopping_after(stop))
    torch.manual_seed(12345)  # a new process starts with other generators
    resumed = fit(make(), batches(), settings, run_folder("broken"), CPU, stopping_after(99), resume=True)
    same(whole, resumed)
    assert whole.best_epoch == resumed.best_epoch

    def rows(folder: str) -> list[str]:
        return [line.rpartition(",")[0] for line in Path(folder, "history.csv").read_text().splitlines()]

    assert rows("whole") == rows("broken")


def test_state_of_other_data_is_refused() -> None:
    run = run_folder("a")
    with pytest.raises(Stopped):
        fit(pretext(), batches(), SETTINGS, run, CPU, stopping_after(1), identity="dataset a")
    with pytest.raises(CheckpointError, match="learnt from dataset a, now there is dataset b"):
        fit(pretext(), batches(), SETTINGS, run, CPU, resume=True, identity="dataset b")


def test_lost_weights_stop_the_run() -> None:
    with pytest.raises(TrainingError, match=r"no longer finite.* epoch [12]"):
        fit(
            classify(),
            batches(),
            replace(SETTINGS, schedule="constant", warmup_epochs=0, weight_decay=1e38),
            run_folder("a"),
            CPU,
        )


def test_same_seed_same_weights_and_another_seed_others() -> None:
    first = fit(pretext(), batches(), SETTINGS, run_folder("a"), CPU)
    second = fit(pretext(), batches(), SETTINGS, run_folder("b"), CPU)
    other = fit(pretext(), batches(), replace(SETTINGS, seed=1), run_folder("c"), CPU)
    same(first, second)
    assert any(not torch.equal(first.tensors[name], other.tensors[name]) for name in first.tensors)


def test_best_epoch_by_monitor_and_patience() -> None:
    scores = iter([3.0, 1.0, 2.0, 2.0, 0.5])
    settings = replace(SETTINGS, epochs=5, monitor="val_loss", patience=2)
    fitted = fit(classify(), batches(), settings, run_folder("a"), CPU, lambda *_: {"val_loss": next(scores)})
    assert (fitted.best_epoch, fitted.epochs) == (2, 4)
    assert fitted.figures["val_loss"] == 1.0


def test_monitor_of_a_score_wants_more() -> None:
    scores = iter([0.3, 0.9, 0.5, 0.9])
    settings = replace(SETTINGS, monitor="val_Accuracy")
    fitted = fit(classify(), batches(), settings, run_folder("a"), CPU, lambda *_: {"val_Accuracy": next(scores)})
    assert fitted.best_epoch == 2


class Diverging:
    """A task whose loss is lost in its second epoch."""

    def __init__(self) -> None:
        self.inner = classify()
        self.model = self.inner.model
        self.steps = 0

    def step(self, inputs: Tensor, targets: Tensor | None) -> StepResult:
        self.steps += 1
        result = self.inner.step(inputs, targets)
        if self.steps < 5:
            return result
        broken = result.loss * float("nan")
        return StepResult(broken, {**result.sums, "mse": broken.detach()})

    parameter_groups = property(lambda self: self.inner.parameter_groups)
    after_step = property(lambda self: self.inner.after_step)
    begin_epoch = property(lambda self: self.inner.begin_epoch)
    figures = property(lambda self: self.inner.figures)


def test_lost_loss_names_epoch_step_and_term_and_keeps_the_last_state() -> None:
    run = run_folder("a")
    with pytest.raises(TrainingError, match=r"no longer finite \(in mse\) at epoch 2, step 2"):
        fit(Diverging(), batches(), SETTINGS, run, CPU)
    saved = run.load_state()
    assert saved is not None
    assert saved[1]["epoch"] == 1
    assert all(torch.isfinite(tensor).all() for tensor in saved[0].values())


def test_rates_follow_the_schedule() -> None:
    fit(classify(), batches(), SETTINGS, run_folder("a"), CPU)
    header, *lines = Path("a/history.csv").read_text().splitlines()
    column = header.split(",").index("lr_head")
    rates = [float(line.split(",")[column]) for line in lines]
    assert rates[0] == pytest.approx(1e-3)
    assert rates == sorted(rates, reverse=True)
