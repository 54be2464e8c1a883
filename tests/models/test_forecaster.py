"""Readers of series: a sample at a time is the same as all at once, and nothing looks ahead or too far back.
Forecasters: a rollout feeds on itself, however it is computed."""

import pytest
import torch

from ssl_bio.models.forecaster import PatchForecaster, Scaling, StepForecaster, UnmaskedForecaster
from ssl_bio.models.quantizer import Quantizer
from ssl_bio.models.readers import POSITIONS, AttentionReader, LookBack, LSTMReader
from ssl_bio.models.timemae import TimeMAEBackbone

STEPS = 12


def attention(positions: str = "rotary", n_layers: int = 2, quantised: bool = False) -> AttentionReader:
    quantizers = [Quantizer(16, 8, kmeans_init=False) for _ in range(n_layers)] if quantised else []
    return AttentionReader(16, n_layers, 2, STEPS, positions, norm_query=True, quantizers=quantizers)


READERS = [*(attention(name) for name in POSITIONS), attention(quantised=True), LSTMReader(16, 2)]


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: getattr(reader, "positions", "lstm"))
def test_a_sample_at_a_time_is_the_same_as_all_at_once(reader: AttentionReader | LSTMReader) -> None:
    reader.eval()
    series = torch.randn(3, 50)
    with torch.no_grad():
        whole = reader(series)
        tokens, state = reader.read(series[:, :7])
        torch.testing.assert_close(tokens, whole[:, :7], atol=1e-5, rtol=1e-4)
        for place in range(7, 50):
            token, state = reader.step(series[:, place], state)
            torch.testing.assert_close(token, whole[:, place], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("positions", POSITIONS)
def test_a_layer_sees_time_steps_back_and_nothing_ahead(positions: str) -> None:
    reader = attention(positions, n_layers=1).eval()
    series = torch.randn(1, 40, requires_grad=True)
    (gradient,) = torch.autograd.grad(reader(series)[0, 30].square().sum(), series)
    seen = gradient[0].nonzero().flatten()
    assert (int(seen.min()), int(seen.max())) == (30 - STEPS + 1, 30)


def test_rotary_positions_know_distances_alone() -> None:
    reader = attention("rotary").eval()
    series = torch.randn(2, 20)
    shifted = torch.cat([torch.randn(2, 5), series], dim=1)
    far = reader(shifted)[:, -1]
    # Two layers reach 2 * 11 samples back: past those the beginning is out of sight.
    long = torch.cat([torch.randn(2, 30), shifted], dim=1)
    torch.testing.assert_close(reader(long)[:, -1], reader(torch.cat([torch.randn(2, 9), long[:, -25:]], dim=1))[:, -1])
    assert far.shape == (2, 16)


def test_a_rollout_feeds_on_itself() -> None:
    torch.manual_seed(0)
    model = StepForecaster(attention(), STEPS, Scaling(5.0, 2.0)).eval()
    history = 5 + 2 * torch.randn(2, 20)
    with torch.no_grad():
        found = model.rollout(history, 30)
        series = history
        for step in range(30):
            following = model((series - 5) / 2)[:, -1:] * 2 + 5
            torch.testing.assert_close(found[:, step], following[:, 0], atol=1e-4, rtol=1e-4)
            series = torch.cat([series, following], dim=1)
        torch.testing.assert_close(model.one_step(series)[:, -30:], found, atol=1e-4, rtol=1e-4)


def test_without_a_mask_a_rollout_reads_its_last_window_at_every_step() -> None:
    torch.manual_seed(0)
    reader = AttentionReader(16, 2, 2, STEPS, causal=False)
    model = UnmaskedForecaster(reader, STEPS, Scaling(5.0, 2.0)).eval()
    series = 5 + 2 * torch.randn(2, 20)
    with torch.no_grad():
        found = model.rollout(series, 9)
        for step in range(9):
            window = (series[:, -STEPS:] - 5) / 2
            following = model.head(reader(window)[:, -1]) * 2 + 5
            torch.testing.assert_close(found[:, step], following[:, 0], atol=1e-4, rtol=1e-4)
            series = torch.cat([series, following], dim=1)
        torch.testing.assert_close(model.one_step(series)[:, -9:], found, atol=1e-4, rtol=1e-4)


def test_without_a_mask_every_sample_sees_all_of_the_window() -> None:
    series = torch.randn(1, STEPS, requires_grad=True)
    for causal, n_seen in ((False, STEPS), (True, 4)):
        reader = AttentionReader(16, 1, 2, STEPS, causal=causal).eval()
        (gradient,) = torch.autograd.grad(reader(series)[0, 3].square().sum(), series)
        assert len(gradient[0].nonzero()) == n_seen


def test_a_backbone_forecasts_patches_and_feeds_on_them() -> None:
    torch.manual_seed(0)
    backbone = TimeMAEBackbone(1, STEPS, 16, 1, 2, wave_length=4, dropout=0.0)
    model = PatchForecaster(backbone, STEPS, lead=4, scaling=Scaling(5.0, 2.0)).eval()
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
    assert not torch.allclose(one_step[:, 1], series[:, STEPS + 1], atol=1e-2)


def test_a_series_of_its_own_scale_goes_on_at_that_scale() -> None:
    torch.manual_seed(0)
    model = StepForecaster(attention(), STEPS, Scaling(5.0, 2.0, own=True)).eval()
    series = torch.randn(2, 20)
    with torch.no_grad():
        for method in (lambda x: model.rollout(x, 9), model.one_step):
            torch.testing.assert_close(method(100 + 7 * series), 100 + 7 * method(series), atol=1e-3, rtol=1e-4)
        still = model.rollout(torch.full((1, STEPS), 3.0), 9)
    assert (still - 3).abs().max() < 0.2, "a history that stands still is scaled by next to nothing"


def test_quantised_values_are_codes_and_cost_a_commitment() -> None:
    reader = attention(n_layers=1, quantised=True).train()
    reader(torch.randn(4, 30))
    assert reader.auxiliary_loss() > 0
    look = reader.blocks[0].look
    assert isinstance(look, LookBack)
    values = look._project(torch.randn(2, 9, 16), 0)[2].transpose(1, 2).flatten(2).detach()
    assert len(torch.unique(values.flatten(0, 1).round(decimals=4), dim=0)) <= 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"positions": "learnt"}, "positions must be one of none, sinusoidal"),
        ({"n_heads": 3}, "not a multiple"),
        ({"d_model": 6, "n_heads": 2}, "even width a head"),
    ],
)
def test_what_cannot_be_built(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AttentionReader(**{"d_model": 16, "n_heads": 2, **options})  # type: ignore[arg-type]
