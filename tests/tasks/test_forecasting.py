"""What a forecaster learns from: which forecasts count, and what disturbs its history."""

import pytest
import torch
from ssl_bio.models.readers import LSTMReader
from ssl_bio.outcome import Series
from torch import Tensor, nn

from ssl_bio.models.forecaster import Scaling, StepForecaster
from ssl_bio.tasks import ForecastTask

STEPS = 6
OUTCOME = Series(names=("value",), unit="", mean=0.0, std=1.0, season=3, time_steps=STEPS)


class Echo(nn.Module):
    """A reader that repeats what it sees."""

    d_model = 1

    def forward(self, series: Tensor) -> Tensor:
        self.seen = series
        return series[..., None]


def task(own_scale: bool = False, dense: bool = True, feed_back: float = 0.0, noise: float = 0.0) -> ForecastTask:
    """A forecaster whose forecast is its last sample plus 100."""
    model = StepForecaster(Echo(), STEPS, Scaling(own=own_scale))
    nn.init.ones_(model.head.weight)
    nn.init.constant_(model.head.bias, 100.0)
    return ForecastTask(model, OUTCOME, 1e-3, 1e-4, dense, noise, feed_back)


def loss_of(learner: ForecastTask, series: Tensor) -> float:
    return float(learner.step(series[:, None]).loss.detach())


def test_which_forecasts_count() -> None:
    series = torch.zeros(1, 2 * STEPS + 1)
    series[0, 3] = 1000.0
    assert loss_of(task(dense=False), series) == pytest.approx(100**2)
    assert loss_of(task(), series) > 1e5, "the sample that stands out is one to forecast"
    torch.manual_seed(0)
    learner = task(own_scale=True)
    series = torch.randn(2, 2 * STEPS + 1)
    scaled = learner.model.scale(series).standardised(series)
    errors = scaled[:, STEPS - 1 : -1] + 100 - scaled[:, STEPS:]
    assert loss_of(learner, series) == pytest.approx(float(errors.square().mean()), rel=1e-5), "none within the scale's"


@pytest.mark.parametrize(("share", "fewest", "most"), [(0.95, 0.9, 1.0), (0.5, 0.4, 0.6)])
def test_forecasts_replace_what_follows_the_first_history(share: float, fewest: float, most: float) -> None:
    torch.manual_seed(0)
    learner = task(feed_back=share)
    series = torch.randn(500, 2 * STEPS + 1)
    loss_of(learner, series)
    seen = learner.model.backbone.seen
    assert isinstance(seen, Tensor)
    torch.testing.assert_close(seen[:, :STEPS], series[:, :STEPS])
    own = (seen[:, STEPS:] - (series[:, STEPS - 1 : -2] + 100)).abs() < 1e-3
    assert fewest < float(own.float().mean()) < most
    torch.testing.assert_close(seen[:, STEPS:][~own], series[:, STEPS:-1][~own])
    learner.model.eval()
    loss_of(learner, series)
    torch.testing.assert_close(learner.model.backbone.seen, series[:, :-1])


def test_a_pretrained_backbone_learns_at_its_own_rate() -> None:
    model = StepForecaster(LSTMReader(4), STEPS)
    rates = {g.name: g.lr for g in ForecastTask(model, OUTCOME, 1e-3, 1e-4, dense=True).parameter_groups()}
    assert rates == {"head": 1e-3, "backbone": 1e-4}
    alike = ForecastTask(model, OUTCOME, 1e-3, 1e-3, dense=True).parameter_groups()
    assert [group.name for group in alike] == ["head"]
