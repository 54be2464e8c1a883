"""Forecasters: a rollout feeds on itself, however it is computed."""

from collections.abc import Callable
from functools import partial

import pytest
import torch

from ssl_bio.models.attention import AttentionBackbone
from ssl_bio.models.base import Backbone
from ssl_bio.models.convnet import ConvBackbone
from ssl_bio.models.dilated import DilatedBackbone
from ssl_bio.models.forecaster import LastTokenForecaster, PatchForecaster, Scaling, StreamingForecaster
from ssl_bio.models.timemae import TimeMAEBackbone
from ssl_bio.models.vqvae import VQVAEBackbone

STEPS = 12


def attention(causal: bool = True) -> AttentionBackbone:
    return AttentionBackbone(length=STEPS, d_model=16, n_layers=2, n_heads=2, norm_query=True, causal=causal)


def test_only_a_streaming_backbone_streams() -> None:
    with pytest.raises(ValueError, match="keeps no state"):
        StreamingForecaster(backbone=attention(causal=False), time_steps=STEPS)


def test_a_rollout_feeds_on_itself() -> None:
    torch.manual_seed(0)
    model = StreamingForecaster(backbone=attention(), time_steps=STEPS, scaling=Scaling(5.0, 2.0)).eval()
    history = 5 + 2 * torch.randn(2, 20)
    with torch.no_grad():
        found = model.rollout(history, 30)
        series = history
        for step in range(30):
            following = model((series - 5) / 2)[:, -1:] * 2 + 5
            torch.testing.assert_close(found[:, step], following[:, 0], atol=1e-4, rtol=1e-4)
            series = torch.cat([series, following], dim=1)
        torch.testing.assert_close(model.one_step(series)[:, -30:], found, atol=1e-4, rtol=1e-4)


def test_without_a_causal_mask_a_rollout_reads_its_last_window_at_every_step() -> None:
    torch.manual_seed(0)
    backbone = attention(causal=False)
    model = LastTokenForecaster(backbone=backbone, time_steps=STEPS, scaling=Scaling(5.0, 2.0)).eval()
    series = 5 + 2 * torch.randn(2, 20)
    with torch.no_grad():
        found = model.rollout(series, 9)
        for step in range(9):
            window = (series[:, -STEPS:] - 5) / 2
            following = model.head(backbone(window[:, None])[:, -1]) * 2 + 5
            torch.testing.assert_close(found[:, step], following[:, 0], atol=1e-4, rtol=1e-4)
            series = torch.cat([series, following], dim=1)
        torch.testing.assert_close(model.one_step(series)[:, -9:], found, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "network",
    [
        partial(TimeMAEBackbone, d_model=16, n_layers=1, n_heads=2, wave_length=4),
        partial(ConvBackbone, d_model=16, wave_length=4),
        partial(DilatedBackbone, d_model=8, n_layers=2),
        partial(VQVAEBackbone, d_model=16, width=4, wave_length=4),
    ],
    ids=["timemae", "convnet", "dilated", "vqvae"],
)
def test_a_backbone_forecasts_patches_and_feeds_on_them(network: Callable[..., Backbone]) -> None:
    torch.manual_seed(0)
    backbone = network(n_channels=1, length=STEPS)
    model = PatchForecaster(backbone=backbone, time_steps=STEPS, prediction_length=4, scaling=Scaling(5.0, 2.0)).eval()
    series = 5 + 2 * torch.randn(2, STEPS)
    with torch.no_grad():
        found = model.rollout(series, 10)
        assert found.shape == (2, 10)
        for start in (0, 4, 8):
            tokens = backbone(series[:, None, -STEPS:])
            features = torch.cat([tokens.mean(dim=1), tokens[:, -1]], dim=1)
            following = model.head(features) * 2 + 5
            part = found[:, start : start + 4]
            torch.testing.assert_close(part, following[:, : part.shape[1]], atol=1e-4, rtol=1e-4)
            series = torch.cat([series, following], dim=1)
        # One step ahead a patch's first sample alone counts: elsewhere the true samples in between are known.
        one_step = model.one_step(series)
    torch.testing.assert_close(one_step[:, [0, 4, 8]], series[:, STEPS:][:, [0, 4, 8]], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(one_step[:, 1], series[:, STEPS + 1], atol=1e-4)


def test_a_series_of_its_own_scale_goes_on_at_that_scale() -> None:
    torch.manual_seed(0)
    model = StreamingForecaster(backbone=attention(), time_steps=STEPS, scaling=Scaling(5.0, 2.0, own=True)).eval()
    series = torch.randn(2, 20)
    with torch.no_grad():
        for method in (lambda x: model.rollout(x, 9), model.one_step):
            torch.testing.assert_close(method(100 + 7 * series), 100 + 7 * method(series), atol=1e-3, rtol=1e-4)
        still = model.rollout(torch.full((1, STEPS), 3.0), 9)
    assert (still - 3).abs().max() < 0.2, "a history that stands still is scaled by next to nothing"
