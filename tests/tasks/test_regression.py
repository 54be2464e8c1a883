"""Regression: histograms from training values, and counts of events around every token."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ssl_bio.data.events import EventTrack
from ssl_bio.errors import DataError, RecipeError
from ssl_bio.models.dilated import DilatedBackbone
from ssl_bio.models.heads import Predictor, Unit
from ssl_bio.tasks.base import expect, load_task
from ssl_bio.tasks.regression import DenseObjective, Regression, ValueTarget
from ssl_bio.tasks.windows import WindowObjective
from ssl_bio.training.objective import TensorBatch
from tests.tasks.small_recipes import backbone_of, prepared, task_recipe

BREATHS = ValueTarget(names=("x",), units=("/min",), mean=(12.0,), std=(4.0,), median=(12.0,))


class TestHistograms:
    """Bins that follow from the training values."""

    def test_they_cover_half_as_much_again_for_stretched_windows(self) -> None:
        task = load_task(task_recipe("regression", "convnet", loss="bins", bins=8))
        dataset = prepared(task.recipe)
        rows = task.training_rows(dataset, "train")
        values = dataset.targets["heart_rate"][rows]
        target = task.target(dataset, rows)
        (centres,) = target.bins
        assert len(centres) == target.n_outputs == 8
        assert (centres[0], centres[-1]) == pytest.approx((values.min() / 1.5, values.max() * 1.5))
        assert not target.levels

    def test_zero_bins_are_the_values_that_occur(self) -> None:
        recipe = task_recipe("regression", "convnet", loss="bins", bins=0)
        task, dataset = load_task(recipe), prepared(recipe)
        rows = task.training_rows(dataset, "train")
        counts = {**dataset.targets, "heart_rate": np.round(np.asarray(dataset.targets["heart_rate"]) / 20)}
        rounded = replace(dataset, targets=counts)
        target = task.target(rounded, rows)
        assert target.levels
        assert list(target.bins[0]) == sorted(set(counts["heart_rate"][rows].tolist()))
        one = {**counts, "heart_rate": np.zeros(len(counts["heart_rate"]))}
        constant = replace(dataset, targets=one)
        with pytest.raises(
            RecipeError, match=r"finetune\.bins 0 takes 2 to 256 values that occur, not 1 of heart_rate"
        ):
            task.target(constant, rows)

    def test_the_loss_of_validation_is_the_one_that_is_trained(self) -> None:
        task = expect(Regression, load_task(task_recipe("regression", "convnet", loss="bins", bins=8)))
        dataset = prepared(task.recipe)
        spec, rows = task.input_spec(dataset.info), task.training_rows(dataset, "val")
        target = task.target(dataset, rows)
        model = task.build(backbone_of(task.recipe, spec), target, spec).eval()
        batch = TensorBatch(
            torch.from_numpy(dataset.read(rows)), torch.from_numpy(task.encoded_targets(dataset, rows, target))
        )
        with torch.no_grad():
            trained = float(task.objective(model, target).step(batch).loss)
        found = task.evaluate(
            model,
            target,
            dataset=dataset,
            rows=rows,
            split="val",
            spec=spec,
            device=torch.device("cpu"),
            validating=True,
        )
        assert found.loss == pytest.approx(trained, rel=1e-5)
        errors = found.predictions.arrays["value"] - found.predictions.arrays["target"]
        assert found.loss != pytest.approx(np.abs(errors / target.std).mean(), rel=1e-2)


class TestDense:
    """Every token learns the count around it."""

    def objective(self) -> DenseObjective:
        torch.manual_seed(0)
        backbone = DilatedBackbone(n_channels=1, length=40, d_model=8, n_layers=1, wave_length=4, dropout=0.0)
        model = Predictor(backbone=backbone, n_outputs=1, pooling=("middle",), unit=Unit([12.0], [4.0]))
        return DenseObjective(WindowObjective(model, BREATHS, lr=1e-3, backbone_lr=1e-4))

    def test_the_loss_is_of_tokens_whose_count_is_known(self) -> None:
        objective, signals = self.objective(), torch.randn(2, 1, 40)
        counts = torch.arange(80.0).view(2, 40)
        counts[0, :13] = torch.nan
        counts[1, 20] = torch.nan
        outputs = objective.module.predict_per_token(signals)[..., 0]
        wanted = counts[:, ::4]
        known = wanted.isfinite()
        assert known.sum() == 20 - 4 - 1
        by_hand = ((outputs[known] - wanted[known]) / 4).square().mean()
        torch.testing.assert_close(objective.step(TensorBatch(signals, counts)).loss, by_hand)

    def test_a_batch_of_which_nothing_is_known_teaches_nothing(self) -> None:
        objective = self.objective()
        output = objective.step(TensorBatch(torch.randn(2, 1, 40), torch.full((2, 40), torch.nan)))
        output.loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        assert output.loss == 0
        assert all(p.grad is None or not p.grad.any() for p in objective.module.parameters())

    def test_what_trains_at_which_rate_is_as_for_windows(self) -> None:
        objective = self.objective()
        assert [(group.name, group.lr) for group in objective.parameter_groups()] == [
            ("head", 1e-3),
            ("backbone", 1e-4),
        ]

    def test_the_loader_counts_events(self) -> None:
        track = EventTrack(np.eye(1, 40, 20, dtype=np.int8), 10, 6.0)
        counts = track.count_around(np.array([0]), start=np.zeros((1, 1)), speed=np.ones((1, 1)))
        assert counts[0, 20] == 6.0
        assert np.isnan(counts[0, 0])

    def test_a_value_that_counts_nothing_is_refused(self) -> None:
        recipe = task_recipe("regression", "dilated", dense=True, pooling=["middle"])
        (problem, *_) = load_task(recipe).check(prepared(recipe))
        assert "finetune.dense learns counts of events, and 'heart_rate' is none" in problem


def test_another_unit_is_another_question() -> None:
    recipe = task_recipe("regression", "convnet")
    task, info = load_task(recipe), prepared(recipe).info
    with pytest.raises(DataError, match="its 'heart_rate' is in beats/min, and this run predicts /min"):
        task.check_same_question(BREATHS, info)
    task.check_same_question(BREATHS.model_copy(update={"units": ("beats/min",)}), info)
