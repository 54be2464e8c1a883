"""Forecasting: which forecasts are learnt, what disturbs the history, what needs no learning."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ssl_bio.errors import CheckpointError, DataError
from ssl_bio.models.base import StreamingBackbone
from ssl_bio.models.forecaster import Forecaster, LastTokenForecaster, PatchForecaster, Scaling, StreamingForecaster
from ssl_bio.models.lstm import LSTMBackbone
from ssl_bio.results.evaluation import Predictions
from ssl_bio.tasks.base import expect, load_task
from ssl_bio.tasks.forecasting import ForecastObjective, SeriesTarget, naive_forecasts, season
from ssl_bio.training.objective import TensorBatch
from tests.runs.checkpoints import metadata
from tests.tasks.small_recipes import backbone_of, prepared, task_recipe

STEPS = 6
TARGET = SeriesTarget(names=("value",), unit="", mean=0.0, std=1.0, season=3, time_steps=STEPS)


class Echo(StreamingBackbone[None]):
    """A backbone that repeats what it sees."""

    layer_widths = (1,)

    def __init__(self) -> None:
        super().__init__()
        self.length = STEPS
        self.unused = nn.Parameter(torch.zeros(1))

    def hidden_states(self, signals: Tensor) -> list[Tensor]:
        self.seen = signals[:, 0]
        return [signals.transpose(1, 2)]

    def stages(self) -> list[nn.Module]:
        return [self]

    def prefill(self, signals: Tensor) -> tuple[Tensor, None]:
        return self(signals), None

    def step(self, sample: Tensor, state: None) -> tuple[Tensor, None]:
        return sample[:, None], None


def objective(
    *, own_scale: bool = False, dense: bool = True, scheduled_sampling: float = 0.0, input_noise: float = 0.0
) -> ForecastObjective:
    """Return a forecaster whose forecast is its last sample plus 100."""
    model = StreamingForecaster(backbone=Echo(), time_steps=STEPS, scaling=Scaling(own=own_scale))
    nn.init.ones_(model.head.weight)
    nn.init.constant_(model.head.bias, 100.0)
    return ForecastObjective(
        model,
        TARGET,
        lr=1e-3,
        backbone_lr=1e-4,
        dense=dense,
        input_noise=input_noise,
        scheduled_sampling=scheduled_sampling,
    )


def loss_of(learner: ForecastObjective, series: Tensor) -> float:
    return float(learner.step(TensorBatch(series[:, None])).loss.detach())


def seen(learner: ForecastObjective) -> Tensor:
    found = learner.module.backbone.seen
    assert isinstance(found, Tensor)
    return found


class TestObjective:
    """The next samples from the ones before."""

    def test_which_forecasts_are_learnt(self) -> None:
        series = torch.zeros(1, 2 * STEPS + 1)
        series[0, 3] = 1000.0
        assert loss_of(objective(dense=False), series) == pytest.approx(100**2)
        assert loss_of(objective(), series) > 1e5, "the sample that stands out is one to forecast"
        torch.manual_seed(0)
        learner = objective(own_scale=True)
        series = torch.randn(2, 2 * STEPS + 1)
        scaled = learner.module.scale(series).standardised(series)
        errors = scaled[:, STEPS - 1 : -1] + 100 - scaled[:, STEPS:]
        by_hand = float(errors.square().mean())
        assert loss_of(learner, series) == pytest.approx(by_hand, rel=1e-5), "none among those that set the scale"

    @pytest.mark.parametrize(("share", "fewest", "most"), [(0.95, 0.9, 1.0), (0.5, 0.4, 0.6)])
    def test_forecasts_replace_what_follows_the_first_history(self, share: float, fewest: float, most: float) -> None:
        torch.manual_seed(0)
        learner = objective(scheduled_sampling=share)
        series = torch.randn(500, 2 * STEPS + 1)
        loss_of(learner, series)
        shown = seen(learner)
        torch.testing.assert_close(shown[:, :STEPS], series[:, :STEPS])
        own = (shown[:, STEPS:] - (series[:, STEPS - 1 : -2] + 100)).abs() < 1e-3
        assert fewest < float(own.float().mean()) < most
        torch.testing.assert_close(shown[:, STEPS:][~own], series[:, STEPS:-1][~own])
        learner.module.eval()
        loss_of(learner, series)
        torch.testing.assert_close(seen(learner), series[:, :-1])

    def test_noise_disturbs_the_history_in_training_alone(self) -> None:
        torch.manual_seed(0)
        learner, series = objective(input_noise=0.5), torch.zeros(200, 2 * STEPS + 1)
        loss_of(learner, series)
        assert float(seen(learner).std()) == pytest.approx(0.5, rel=0.05)
        learner.module.eval()
        assert loss_of(learner, series) == pytest.approx(100**2)
        assert not seen(learner).any()

    def test_a_pretrained_backbone_learns_at_its_own_rate(self) -> None:
        model = StreamingForecaster(
            backbone=LSTMBackbone(n_channels=1, length=STEPS, d_model=4, n_layers=1), time_steps=STEPS
        )
        rates = {}
        for backbone_lr in (1e-4, 1e-3):
            learner = ForecastObjective(model, TARGET, lr=1e-3, backbone_lr=backbone_lr, dense=True)
            rates[backbone_lr] = {group.name: group.lr for group in learner.parameter_groups()}
        assert rates == {1e-4: {"head": 1e-3, "backbone": 1e-4}, 1e-3: {"head": 1e-3}}


class TestScores:
    """Errors beside those of what needs no learning."""

    SERIES = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])

    def test_naive_forecasts_by_hand(self) -> None:
        naive = naive_forecasts(self.SERIES, time_steps=3, season=2)
        assert {name: array.tolist() for name, array in naive.items()} == {
            "last_value_free_running": [[3, 3, 3]],
            "last_value_one_step": [[3, 4, 5]],
            "seasonal_naive_free_running": [[2, 3, 2]],
            "seasonal_naive_one_step": [[2, 3, 4]],
        }

    @pytest.mark.parametrize(("error", "loss"), [("mse", 1 / 4), ("l1", 1 / 2)])
    def test_scores_by_hand(self, error: str, loss: float) -> None:
        target = TARGET.model_copy(update={"std": 2.0, "season": 2, "time_steps": 3, "error": error})
        naive = naive_forecasts(self.SERIES, time_steps=3, season=2)
        forecasts = {"free_running": naive["last_value_free_running"], "one_step": naive["last_value_one_step"]}
        arrays = {"target": self.SERIES[:, 3:], **forecasts, **naive}
        found = load_task(task_recipe("forecasting", "lstm")).score(target, Predictions(arrays=arrays))
        assert found.metrics == {"mse_regressive": (1 + 4 + 9) / 3, "mse_batch": 1.0}
        assert found.baselines["last value"] == found.metrics
        assert found.baselines["seasonal naive"]["mse_batch"] == 4.0
        assert found.loss == loss, "the error that is trained, of standardised samples"

    def test_the_season_of_a_wave_and_of_none(self) -> None:
        time = np.arange(300)
        assert season(np.sin(2 * np.pi * time / 25)[None], 100) == 25
        assert season(np.sin(2 * np.pi * time / 25)[None], 20) == 20, "no peak among so few"


class TestTask:
    """What the recipe, the network's kind and the series make possible."""

    @pytest.mark.parametrize(
        ("backbone", "model", "forecaster", "prediction_length"),
        [
            ("lstm", {}, StreamingForecaster, 1),
            ("attention", {}, StreamingForecaster, 1),
            ("attention", {"causal": False}, LastTokenForecaster, 1),
            ("timemae", {}, PatchForecaster, 16),
        ],
    )
    def test_the_backbone_decides_how_forecasts_are_made(
        self, backbone: str, model: dict[str, Any], forecaster: type, prediction_length: int
    ) -> None:
        recipe = task_recipe("forecasting", backbone)
        recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update=model)})
        task, dataset = load_task(recipe), prepared(recipe)
        spec = task.input_spec(dataset.info)
        assert spec.window == 60
        target = task.target(dataset, task.training_rows(dataset, "train"))
        built = expect(Forecaster, task.build(backbone_of(recipe, spec), target, spec))
        assert type(built) is forecaster
        assert built.prediction_length == prediction_length

    def test_season_mean_and_deviation_are_the_training_series_own(self) -> None:
        recipe = task_recipe("forecasting", "lstm")
        task, dataset = load_task(recipe), prepared(recipe)
        rows = task.training_rows(dataset, "train")
        target = task.target(dataset, rows)
        assert target.mean == pytest.approx(dataset.signals[rows].mean(), rel=1e-3)
        assert target.std == pytest.approx(dataset.signals[rows].std(), rel=1e-3)
        assert target.season in (55, 56), "two peaks take 55.7 samples"

    def test_several_channels_and_short_series_are_refused(self) -> None:
        recipe = task_recipe("forecasting", "lstm")
        task, dataset = load_task(recipe), prepared(recipe)
        two = dataset.info.model_copy(update={"channels": ("a", "b")})
        rows = task.training_rows(dataset, "train")
        with pytest.raises(DataError, match=r"forecasts are of one channel: set data\.channels to one of a, b"):
            task.target(replace(dataset, info=two), rows)
        long = recipe.model_copy(update={"finetune": recipe.finetune.model_copy(update={"time_steps": 2400})})
        assert any("fewer than finetune.time_steps 2400" in problem for problem in load_task(long).check(dataset))
        horizon = recipe.model_copy(update={"evaluate": recipe.evaluate.model_copy(update={"horizon": 9999})})
        assert any("evaluate.horizon 9999" in problem for problem in load_task(horizon).check(dataset))

    @pytest.mark.parametrize(
        ("backbone", "finetune", "model", "message"),
        [
            ("lstm", {"mode": "full"}, {}, "lstm starts from random weights"),
            ("lstm", {}, {"window": 1.0}, "lstm sees series as they are"),
            ("timemae", {"dense": True}, {}, "timemae sees all of a window"),
            (
                "attention",
                {"dense": True},
                {"causal": False},
                "attention with model.causal = false sees all of a window",
            ),
        ],
    )
    def test_what_cannot_be(self, backbone: str, finetune: dict[str, Any], model: dict[str, Any], message: str) -> None:
        recipe = task_recipe("forecasting", backbone, **finetune)
        recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update=model)})
        (problem,) = load_task(recipe).check(prepared(recipe))
        assert message in problem

    def test_a_pretraining_run_at_another_rate_or_of_shorter_windows_is_refused(self) -> None:
        recipe = task_recipe("forecasting", "timemae")
        task, info = load_task(recipe), prepared(recipe).info
        task.check_start(metadata(channels=("value",), sampling_rate=50.0, window=60), info)
        with pytest.raises(CheckpointError, match="takes signals at 25 Hz"):
            task.check_start(metadata(sampling_rate=25.0), info)
        with pytest.raises(CheckpointError, match=r"finetune\.time_steps 60: the checkpoint has positions for 59"):
            task.check_start(metadata(window=59), info)
