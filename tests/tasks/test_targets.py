"""Targets: losses by hand, predictions in their unit, scores as scikit-learn has them."""

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from ssl_bio.metrics import metrics_of
from ssl_bio.results.evaluation import Evaluation, Predictions
from ssl_bio.tasks.base import expect, load_task
from ssl_bio.tasks.classification import ClassTarget
from ssl_bio.tasks.multilabel import LabelTarget
from ssl_bio.tasks.regression import ValueTarget
from ssl_bio.tasks.windows import WindowTarget, WindowTask
from tests.tasks.small_recipes import small_recipe

THREE = ClassTarget(names=("a", "b", "c"))
PRESSURE = ValueTarget(
    names=("sbp", "dbp"), units=("mmHg", "mmHg"), mean=(120.0, 70.0), std=(20.0, 10.0), median=(118.0, 71.0), error="l1"
)


def rate(**changes: object) -> ValueTarget:
    facts = {"names": ("hr",), "units": ("beats/min",), "mean": (70.0,), "std": (10.0,), "median": (69.0,)}
    return ValueTarget.model_validate({**facts, **changes})


def scored(target: WindowTarget, outputs: torch.Tensor, targets: np.ndarray) -> Evaluation:
    """Return what the target's task says of a network's outputs."""
    task = expect(WindowTask, load_task(small_recipe({"finetune": {"task": target.task}})))
    encoded = target.encode(torch.from_numpy(targets)).double()
    arrays = {
        "target": targets,
        task.prediction_array: target.predictions(outputs).numpy(),
        "loss": target.loss(outputs.double(), encoded, mean=False).numpy(),
    }
    return task.score(target, Predictions(arrays=arrays, constants={"classes": np.array(target.names)}))


class TestClasses:
    def test_probabilities_and_metrics(self) -> None:
        outputs, codes = torch.randn(30, 3), torch.arange(30) % 3
        np.testing.assert_allclose(THREE.predictions(outputs).sum(dim=1), 1)
        found = scored(THREE, outputs, codes.numpy())
        assert found.loss == pytest.approx(float(THREE.loss(outputs, THREE.encode(codes))), rel=1e-5)
        assert set(found.metrics) == set(metrics_of("classes"))

    def test_label_smoothing_is_torchs(self) -> None:
        outputs, codes = torch.randn(6, 3), torch.randint(3, (6,))
        ours = THREE.loss(outputs, THREE.encode(codes), label_smoothing=0.2)
        torch.testing.assert_close(ours, torch.nn.functional.cross_entropy(outputs, codes, label_smoothing=0.2))


class TestLabels:
    TARGET = LabelTarget(names=("x", "y"))

    def test_the_loss_is_binary_cross_entropy(self) -> None:
        outputs = torch.tensor([[2.0, -1.0]])
        loss = self.TARGET.loss(outputs, self.TARGET.encode(torch.tensor([[1, 0]])))
        assert float(loss) == pytest.approx((np.log1p(np.exp(-2)) + np.log1p(np.exp(-1))) / 2, rel=1e-5)

    def test_smoothing_moves_both_sides_to_the_middle(self) -> None:
        outputs, labels = torch.randn(5, 2), torch.randint(2, (5, 2))
        encoded = self.TARGET.encode(labels)
        smooth = self.TARGET.loss(outputs, encoded, label_smoothing=0.2)
        by_hand = torch.nn.functional.binary_cross_entropy_with_logits(outputs, encoded * 0.8 + 0.1)
        torch.testing.assert_close(smooth, by_hand)

    def test_scores(self) -> None:
        outputs, labels = torch.randn(40, 2), np.random.default_rng(0).integers(0, 2, (40, 2))
        found = scored(self.TARGET, outputs, labels)
        assert found.metrics["Accuracy"] == pytest.approx(((outputs.numpy() >= 0) == labels).mean())
        assert set(found.metrics) == set(metrics_of("labels"))


class TestValues:
    def test_scores_are_scikit_learns_and_best_constants_stand_beside(self) -> None:
        rng = np.random.default_rng(0)
        targets = rng.normal([120, 70], [20, 10], (50, 2)).astype(np.float32)
        predictions = (targets + rng.normal(0, 5, (50, 2))).astype(np.float32)
        found = scored(PRESSURE, torch.from_numpy(predictions), targets)
        assert found.metrics["MAE"] == pytest.approx(mean_absolute_error(targets, predictions))
        assert found.metrics["RMSE"] == pytest.approx(root_mean_squared_error(targets, predictions))
        assert found.metrics["R2"] == pytest.approx(r2_score(targets, predictions))
        assert found.loss == pytest.approx((np.abs(targets - predictions) / [20, 10]).mean())
        assert [group.name for group in found.groups] == ["sbp", "dbp"]
        of_sbp = found.groups[0]
        assert of_sbp.metrics["MAE"] == pytest.approx(mean_absolute_error(targets[:, 0], predictions[:, 0]))
        assert of_sbp.baselines["always the mean"]["MAE"] == pytest.approx(np.abs(targets[:, 0] - 120).mean())
        assert found.baselines["always the median"]["MAE"] == pytest.approx(np.abs(targets - [118, 71]).mean())

    @pytest.mark.parametrize(("error", "loss"), [("mse", 4.0), ("l1", 2.0), ("huber", 1.5)])
    def test_losses_are_in_training_standard_deviations(self, error: str, loss: float) -> None:
        target = rate(error=error)
        assert float(target.loss(torch.tensor([[90.0]]), torch.tensor([[70.0]]))) == pytest.approx(loss)

    @pytest.mark.parametrize("error", ["mse", "l1", "huber", "bins"])
    def test_the_loss_of_windows_has_the_mean_that_is_trained(self, error: str) -> None:
        bins = ((50.0, 60.0, 70.0, 80.0, 90.0),) if error == "bins" else ()
        target = rate(error=error, bins=bins)
        outputs = torch.randn(20, target.n_outputs, generator=torch.Generator().manual_seed(0))
        values = torch.linspace(50, 90, 20)[:, None]
        of_windows = target.loss(outputs, values, mean=False)
        assert of_windows.shape == (20,)
        torch.testing.assert_close(of_windows.mean(), target.loss(outputs, values))

    def test_histograms_predict_their_median(self) -> None:
        bins = tuple(np.linspace(40, 120, 41).tolist())
        target = rate(error="bins", bins=(bins,))
        assert target.n_outputs == 41
        wanted = torch.tensor([[63.0], [81.3], [100.0]])
        outputs = torch.zeros(3, 41, requires_grad=True)
        optimizer = torch.optim.Adam([outputs], lr=0.3)
        for _ in range(200):
            optimizer.zero_grad()
            target.loss(outputs, wanted).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()
        torch.testing.assert_close(target.predictions(outputs.detach()), wanted.double(), atol=0.2, rtol=0)
        facts = {"names": ("a", "b"), "units": ("", ""), "mean": (0, 0), "std": (1, 1), "median": (0, 0)}
        two = rate(error="bins", bins=(bins, bins), **facts)
        np.testing.assert_allclose(two.predictions(torch.zeros(5, 82)).numpy(), np.full((5, 2), 80.0))

    def test_levels_are_the_only_predictions(self) -> None:
        target = rate(error="bins", bins=((6.0, 12.0, 18.0),), levels=True)
        outputs = torch.log(torch.tensor([[0.2, 0.2, 0.6], [0.3, 0.4, 0.3], [0.6, 0.3, 0.1]]))
        assert target.predictions(outputs).tolist() == [[18.0], [12.0], [6.0]]
        exact = torch.tensor([[-50.0, -50.0, 50.0]])
        assert float(target.loss(exact, torch.tensor([[17.0]]))) == pytest.approx(0, abs=1e-6)

    def test_what_counts_in_time_is_a_rate(self) -> None:
        assert rate().rates == (True,)
        assert rate(units=("Hz",)).rates == (True,)
        assert PRESSURE.rates == (False, False)
