"""What tasks share that ask something of a window: parameter groups, mixup, gradual unfreezing, frozen features."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ssl_bio.data.dataset import PreparedDataset
from ssl_bio.errors import DataError, RecipeError, TrainingError
from ssl_bio.models.base import Backbone
from ssl_bio.models.convnet import ConvBackbone
from ssl_bio.models.heads import Predictor
from ssl_bio.models.timemae import TimeMAEBackbone
from ssl_bio.runs.folder import RunFolder
from ssl_bio.tasks.base import AnyTask, load_task
from ssl_bio.tasks.classification import ClassTarget, positions_of
from ssl_bio.tasks.train import train_task
from ssl_bio.tasks.windows import WindowObjective
from ssl_bio.training import probe
from ssl_bio.training.fit import FitResult, RunContext
from ssl_bio.training.objective import TensorBatch
from tests.tasks.small_recipes import backbone_of, prepared, task_recipe

FOUR = ClassTarget(names=("a", "b", "c", "d"))
CPU = torch.device("cpu")


def predictor(backbone: Backbone | None = None) -> Predictor:
    torch.manual_seed(0)
    tokens = backbone or TimeMAEBackbone(n_channels=3, length=64, d_model=16, n_layers=2, dropout=0.0)
    return Predictor(backbone=tokens, n_outputs=4)


def batch_norms(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]


class TestObjective:
    """The loss of windows and what trains at which rate."""

    def test_head_and_backbone_train_at_their_own_rates(self) -> None:
        objective = WindowObjective(predictor(), FOUR, lr=1e-3, backbone_lr=2e-5)
        groups = {group.name: group for group in objective.parameter_groups()}
        assert (groups["head"].lr, groups["backbone"].lr) == (1e-3, 2e-5)
        together = [id(p) for group in groups.values() for p in group.parameters]
        assert sorted(together) == sorted(id(p) for p in objective.module.parameters())
        frozen = WindowObjective(predictor(), FOUR, lr=1e-3, backbone_lr=2e-5, frozen_features=True)
        assert [group.name for group in frozen.parameter_groups()] == ["head"]

    def test_each_stage_further_from_the_head_learns_more_slowly(self) -> None:
        objective = WindowObjective(predictor(), FOUR, lr=1e-3, backbone_lr=1e-4, layer_decay=0.5, unfreeze_epochs=2)
        head, *stages = objective.parameter_groups()
        assert (head.name, head.unfreeze_epoch) == ("head", 0)
        assert [group.lr for group in stages] == pytest.approx([1e-4 * 0.5**k for k in range(len(stages))])
        assert [group.unfreeze_epoch for group in stages] == [2 * (k + 1) for k in range(len(stages))]
        parameters = [id(p) for group in stages for p in group.parameters]
        assert sorted(parameters) == sorted(id(p) for p in objective.module.backbone.parameters())

    def test_mixup_mixes_in_training_alone(self) -> None:
        objective = WindowObjective(predictor(), FOUR, lr=1e-3, backbone_lr=1e-3, mixup=1.0)
        inputs, targets = torch.randn(8, 3, 64), torch.arange(8) % 4
        plain = F.cross_entropy(objective.module.eval()(inputs), targets)
        torch.testing.assert_close(objective.step(TensorBatch(inputs, targets)).loss, plain)
        objective.module.train()
        assert objective.step(TensorBatch(inputs, targets)).loss.item() != pytest.approx(plain.item(), abs=1e-6)

    def test_labels_are_smoothed_in_training_alone(self) -> None:
        objective = WindowObjective(predictor(), FOUR, lr=1e-3, backbone_lr=1e-3, label_smoothing=0.3)
        batch = TensorBatch(torch.randn(8, 3, 64), torch.arange(8) % 4)
        outputs = objective.module(batch.inputs)
        assert batch.targets is not None
        smooth, plain = (F.cross_entropy(outputs, batch.targets, label_smoothing=share) for share in (0.3, 0.0))
        torch.testing.assert_close(objective.step(batch).loss, smooth)
        objective.module.eval()
        torch.testing.assert_close(objective.step(batch).loss, plain)

    def test_stages_that_do_not_train_yet_keep_their_batch_statistics(self) -> None:
        backbone = ConvBackbone(n_channels=3, length=64, d_model=16, wave_length=8)
        objective = WindowObjective(predictor(backbone), FOUR, lr=1e-3, backbone_lr=1e-3, unfreeze_epochs=1)
        batch = TensorBatch(torch.randn(8, 3, 64), torch.arange(8) % 4)
        stages = backbone.stages()
        assert sum(bool(batch_norms(stage)) for stage in stages) > 1
        for epoch in range(len(stages) + 1):
            objective.module.train()
            objective.on_epoch_start(epoch)
            before = [[buffer.clone() for buffer in stage.buffers()] for stage in stages]
            objective.step(batch)
            for distance, (stage, kept) in enumerate(zip(reversed(stages), reversed(before), strict=True)):
                trains = epoch > distance
                assert all(part.training == trains for part in batch_norms(stage))
                if batch_norms(stage):
                    same = all(torch.equal(a, b) for a, b in zip(stage.buffers(), kept, strict=True))
                    assert same != trains
        assert objective.module.head.training

    def test_without_gradual_unfreezing_all_statistics_move(self) -> None:
        backbone = ConvBackbone(n_channels=3, length=64, d_model=16, wave_length=8)
        objective = WindowObjective(predictor(backbone), FOUR, lr=1e-3, backbone_lr=1e-3)
        objective.module.train()
        objective.on_epoch_start(0)
        assert all(part.training for part in batch_norms(backbone))


def classification(**finetune: Any) -> tuple[AnyTask, PreparedDataset]:
    recipe = task_recipe("classification", "convnet", **finetune)
    return load_task(recipe), prepared(recipe)


def trained(task: AnyTask, dataset: PreparedDataset, name: str = "run") -> tuple[FitResult, Predictor]:
    run = RunFolder(Path(name))
    run.path.mkdir()
    spec = task.input_spec(dataset.info)
    target = task.target(dataset, task.training_rows(dataset, task.config.fit_on))
    model = task.build(backbone_of(task.recipe, spec), target, spec)
    context = RunContext(run=run, device=CPU, resume=False, identity="")
    return train_task(task, model=model, target=target, dataset=dataset, spec=spec, context=context), model


class TestFrozenBackbone:
    """A head alone learns, by a solver or by gradient, on features that are computed once."""

    @pytest.mark.parametrize(
        ("finetune", "epochs", "selected_on"),
        [
            ({"mode": "linear-probe"}, 0, "last"),
            ({"mode": "random-frozen", "probe": "ridge"}, 0, "last"),
            ({"mode": "linear-probe", "probe": "gradient", "lr": 0.01, "head": "mlp"}, 2, "val"),
        ],
    )
    def test_only_the_head_changes(self, finetune: dict[str, Any], epochs: int, selected_on: str) -> None:
        task, dataset = classification(**finetune)
        result, _ = trained(task, dataset)
        assert (result.epochs, result.selected_on, result.n_train) == (epochs, selected_on, 48)
        fresh = backbone_of(task.recipe, task.input_spec(dataset.info)).state_dict()
        after = {name.removeprefix("backbone."): tensor for name, tensor in result.tensors.items()}
        assert all(torch.equal(tensor, after[name]) for name, tensor in fresh.items())
        assert result.tensors["feature_std"].ne(1).any()

    def test_validation_on_features_is_that_on_signals(self) -> None:
        task, dataset = classification(mode="linear-probe", probe="gradient", lr=0.01, monitor="Accuracy", epochs=3)
        result, model = trained(task, dataset)
        model.load_state_dict(result.tensors)
        spec, rows = task.input_spec(dataset.info), task.validation_rows(dataset, "val")
        target = task.target(dataset, rows)
        found = task.evaluate(model, target, dataset=dataset, rows=rows, split="val", spec=spec, device=CPU)
        assert result.metrics["val_loss"] == pytest.approx(found.loss, rel=1e-5)
        assert result.metrics["val_Accuracy"] == found.metrics["Accuracy"]

    def test_a_backbone_that_changes_meanwhile_drops_the_result(self, monkeypatch: pytest.MonkeyPatch) -> None:
        task, dataset = classification(mode="linear-probe")
        solve = task.solve

        def harmful(model: Predictor, *arguments: Any) -> None:
            with torch.no_grad():
                next(model.backbone.parameters()).add_(1)
            solve(model, *arguments)

        monkeypatch.setattr(task, "solve", harmful)
        with pytest.raises(TrainingError, match="the frozen backbone changed"):
            trained(task, dataset)

    def test_a_solver_that_does_not_converge_is_said(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(probe, "_MAX_ITERATIONS", 1)
        trained(*classification(mode="linear-probe"))
        assert "a smaller finetune.probe_c helps" in " ".join(capsys.readouterr().out.split())


class TestEvaluation:
    """Predictions of windows, also of longer ones than the network sees."""

    def test_a_longer_window_is_answered_by_the_mean_over_crops(self) -> None:
        recipe = task_recipe("classification", "convnet")
        cropped = recipe.model_copy(update={"model": recipe.model.model_copy(update={"window": 5.0})})
        task, dataset = load_task(cropped), prepared(recipe)
        spec = task.input_spec(dataset.info)
        assert (spec.length, spec.window) == (500, 250)
        rows = task.evaluated_rows(dataset, "test")[:3]
        target = task.target(dataset, rows)
        model = task.build(backbone_of(cropped, spec), target, spec)
        found = task.evaluate(model, target, dataset=dataset, rows=rows, split="test", spec=spec, device=CPU)
        signals = torch.from_numpy(dataset.read(rows))
        with torch.no_grad():
            halves = [target.predictions(model.eval()(part)) for part in (signals[..., :250], signals[..., 250:])]
        expected = torch.stack(halves).mean(dim=0).numpy()
        np.testing.assert_allclose(found.predictions.arrays["probability"], expected, rtol=1e-5)

    def test_rates_are_the_mean_over_windows_played_faster(self) -> None:
        recipe = task_recipe("regression", "convnet")
        faster = recipe.model_copy(update={"evaluate": recipe.evaluate.model_copy(update={"tta_rates": [1.0, 1.25]})})
        plain, averaged = load_task(recipe), load_task(faster)
        dataset = prepared(recipe)
        spec, rows = plain.input_spec(dataset.info), plain.evaluated_rows(dataset, "test")[:3]
        target = plain.target(dataset, plain.training_rows(dataset, "train"))
        model = plain.build(backbone_of(recipe, spec), target, spec)
        values = [
            task.evaluate(model, target, dataset=dataset, rows=rows, split="test", spec=spec, device=CPU)
            .predictions.arrays["value"]
            .copy()
            for task in (plain, averaged)
        ]
        assert not np.allclose(values[0], values[1])
        played = 2 * values[1] - values[0]  # what the faster windows alone say, at their own speed
        np.testing.assert_allclose(played * 1.25, target.mean[0], rtol=0.2)

    def test_classes_of_another_dataset_are_matched_by_name(self) -> None:
        assert positions_of(("b", "a"), ("a", "b", "c"), "other").tolist() == [1, 0]
        with pytest.raises(DataError, match="labels that this run does not know: d; it knows a, b"):
            positions_of(("a", "d"), ("a", "b"), "other")

    def test_more_segments_than_tokens_are_refused(self) -> None:
        task, dataset = classification(pool_segments=99)
        spec = task.input_spec(dataset.info)
        with pytest.raises(RecipeError, match=r"finetune\.pool_segments 99: the backbone gives 32 tokens"):
            task.build(backbone_of(task.recipe, spec), FOUR, spec)


class TestProbeDuringPretraining:
    """The task as a linear probe asks it."""

    def test_it_is_solved_on_all_labels(self) -> None:
        task, dataset = classification(
            mode="full", head="mlp", pooling=["attention", "max"], probe="gradient", label_fraction=0.1
        )
        asked = task.as_probe()
        assert asked.config.solved
        assert (asked.config.head, asked.config.pooling, asked.config.probe) == ("linear", ["max"], "logistic")
        assert len(asked.training_rows(dataset, "train")) == 48

    def test_what_only_gradients_learn_is_dropped(self) -> None:
        recipe = task_recipe("regression", "convnet", dense=True, pooling=["middle"], loss="bins")
        asked = load_task(recipe).as_probe()
        assert (asked.config.dense, asked.config.loss, asked.config.solved) == (False, "mse", True)
