"""Outcomes: losses by hand, answers in their unit, figures as scikit-learn has them."""

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)
from ssl_bio.outcome import Classes, Labels, Outcome, Series, Values, season

THREE = Classes(names=("a", "b", "c"))
PRESSURE = Values(
    names=("sbp", "dbp"), units=("mmHg", "mmHg"), mean=(120.0, 70.0), std=(20.0, 10.0), median=(118.0, 71.0), error="l1"
)


def rate(**changes: object) -> Values:
    facts = {"names": ("hr",), "units": ("beats/min",), "mean": (70.0,), "std": (10.0,), "median": (69.0,)}
    return Values.model_validate({**facts, **changes})


@pytest.mark.parametrize("outcome", [THREE, Labels(names=("x", "y")), PRESSURE, rate(error="bins", bins=((1.0, 2.0),))])
def test_an_outcome_comes_back_from_json(outcome: Classes | Labels | Values) -> None:
    adapter: TypeAdapter[Outcome] = TypeAdapter(Outcome)
    assert adapter.validate_json(adapter.dump_json(outcome)) == outcome


def test_classes_are_judged_as_before() -> None:
    outputs, codes = torch.randn(30, 3), torch.arange(30) % 3
    answers = THREE.answers(outputs).numpy()
    np.testing.assert_allclose(answers.sum(axis=1), 1)
    figures = THREE.figures(codes.numpy(), answers)
    assert figures["loss"] == pytest.approx(float(THREE.loss(outputs, THREE.wanted(codes))), rel=1e-5)
    assert set(THREE.columns) < set(figures)


def test_labels_are_scikit_learns_figures_and_accuracy_is_element_wise() -> None:
    rng = np.random.default_rng(0)
    targets = (rng.random((200, 6)) < 0.3).astype(np.int8)
    targets[:, 5] = 0  # a label that nobody has
    answers = np.clip(0.4 * targets + 0.6 * rng.random((200, 6)), 0, 1)
    figures = Labels(names=tuple("abcdef")).figures(targets, answers)
    assert figures["AUROC"] == pytest.approx(roc_auc_score(targets[:, :5], answers[:, :5], average="macro"))
    assert figures["AUC_PR"] == pytest.approx(average_precision_score(targets[:, :5], answers[:, :5], average="macro"))
    assert figures["Accuracy"] == pytest.approx(((answers >= 0.5) == targets).mean())
    weighted = f1_score(targets[:, :5], answers[:, :5] >= 0.5, average="weighted")
    assert figures["F1_weighted"] == pytest.approx(weighted)
    assert set(Labels.columns) < set(figures)


def test_label_loss_is_binary_cross_entropy() -> None:
    outcome, outputs = Labels(names=("x", "y")), torch.tensor([[2.0, -1.0]])
    loss = outcome.loss(outputs, outcome.wanted(torch.tensor([[1, 0]])))
    assert float(loss) == pytest.approx((np.log1p(np.exp(-2)) + np.log1p(np.exp(-1))) / 2, rel=1e-5)


def test_values_are_scikit_learns_figures() -> None:
    rng = np.random.default_rng(0)
    targets = rng.normal([120, 70], [20, 10], (50, 2))
    answers = targets + rng.normal(0, 5, (50, 2))
    figures = PRESSURE.figures(targets, answers)
    assert figures["MAE"] == pytest.approx(mean_absolute_error(targets, answers))
    assert figures["RMSE"] == pytest.approx(root_mean_squared_error(targets, answers))
    assert figures["R2"] == pytest.approx(r2_score(targets, answers))
    assert figures["loss"] == pytest.approx((np.abs(targets - answers) / [20, 10]).mean())
    constants = PRESSURE.constants(50)
    assert constants["always the mean"][7].tolist() == [120, 70]
    assert constants["always the median"][7].tolist() == [118, 71]


@pytest.mark.parametrize(("error", "loss"), [("mse", 4.0), ("l1", 2.0), ("huber", 1.5)])
def test_losses_are_in_training_deviations(error: str, loss: float) -> None:
    outcome = rate(error=error)
    assert float(outcome.loss(torch.tensor([[90.0]]), torch.tensor([[70.0]]))) == pytest.approx(loss)


def test_histograms_answer_with_their_median() -> None:
    bins = tuple(np.linspace(40, 120, 41).tolist())
    outcome = rate(error="bins", bins=(bins,))
    assert outcome.n_outputs == 41
    wanted = torch.tensor([[63.0], [81.3], [100.0]])
    outputs = torch.zeros(3, 41, requires_grad=True)
    optimizer = torch.optim.Adam([outputs], lr=0.3)
    for _ in range(200):
        optimizer.zero_grad()
        outcome.loss(outputs, wanted).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
    answers = outcome.answers(outputs.detach())
    torch.testing.assert_close(answers, wanted.double(), atol=0.2, rtol=0)
    two = Values(
        names=("a", "b"), units=("", ""), mean=(0, 0), std=(1, 1), median=(0, 0), error="bins", bins=(bins, bins)
    )
    np.testing.assert_allclose(two.answers(torch.zeros(5, 82)).numpy(), np.full((5, 2), 80.0))


def test_what_counts_in_time_is_a_rate() -> None:
    assert rate().rates == (True,)
    assert rate(units=("Hz",)).rates == (True,)
    assert PRESSURE.rates == (False, False)


def test_levels_are_the_only_answers() -> None:
    outcome = rate(error="bins", bins=((6.0, 12.0, 18.0),), levels=True)
    outputs = torch.log(torch.tensor([[0.2, 0.2, 0.6], [0.3, 0.4, 0.3], [0.6, 0.3, 0.1]]))
    assert outcome.answers(outputs).tolist() == [[18.0], [12.0], [6.0]]
    exact = torch.tensor([[-50.0, -50.0, 50.0]])
    assert float(outcome.loss(exact, torch.tensor([[17.0]]))) == pytest.approx(0, abs=1e-6)


def test_forecasts_by_hand() -> None:
    outcome = Series(names=("x",), unit="mV", mean=0.0, std=2.0, season=2, time_steps=3)
    series = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
    naive = outcome.naive(series, 3)
    np.testing.assert_array_equal(naive["last value"], [[[3, 3, 3], [3, 4, 5]]])
    np.testing.assert_array_equal(naive["seasonal naive"], [[[2, 3, 2], [2, 3, 4]]])
    figures = outcome.figures(series[:, 3:], naive["last value"])
    assert figures == {"loss": 1 / 4, "mse_regressive": (1 + 4 + 9) / 3, "mse_batch": 1.0}


def test_the_season_of_a_wave_and_of_none() -> None:
    time = np.arange(300)
    assert season(np.sin(2 * np.pi * time / 25)[None], 100) == 25
    assert season(np.sin(2 * np.pi * time / 25)[None], 20) == 20, "no peak within reach"
