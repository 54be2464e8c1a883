"""Attention that reads series: how far each sample sees, positions, quantised values."""

from typing import Any

import pytest
import torch

from ssl_bio.models.attention import POSITIONS, AttentionBackbone
from ssl_bio.models.transformer import SlidingWindowAttention

STEPS = 12


def attention(n_layers: int = 2, **changes: Any) -> AttentionBackbone:
    torch.manual_seed(0)
    arguments: dict[str, Any] = {"d_model": 16, "n_heads": 2, "norm_query": True}
    return AttentionBackbone(length=STEPS, n_layers=n_layers, **{**arguments, **changes})


@pytest.mark.parametrize("positions", POSITIONS)
def test_a_layer_sees_time_steps_back_and_nothing_ahead(positions: str) -> None:
    backbone = attention(n_layers=1, positions=positions).eval()
    series = torch.randn(1, 1, 40, requires_grad=True)
    (gradient,) = torch.autograd.grad(backbone(series)[0, 30].square().sum(), series)
    seen = gradient[0, 0].nonzero().flatten()
    assert (int(seen.min()), int(seen.max())) == (30 - STEPS + 1, 30)


def test_rotary_positions_know_distances_alone() -> None:
    backbone = attention(positions="rotary").eval()
    end = torch.randn(2, 1, 25)
    # Two layers see 2 * 11 samples back: past those the beginning is out of sight.
    longer = torch.cat([torch.randn(2, 1, 30), end], dim=-1)
    shorter = torch.cat([torch.randn(2, 1, 9), end], dim=-1)
    torch.testing.assert_close(backbone(longer)[:, -1], backbone(shorter)[:, -1])


def test_training_begins_at_a_random_position() -> None:
    series = torch.randn(2, 1, 20)
    for positions, differs in (("sinusoidal", True), ("none", False)):
        backbone = attention(positions=positions).train()
        assert torch.allclose(backbone(series), backbone(series)) != differs
        assert torch.equal(backbone.eval()(series), backbone(series))


def test_without_a_mask_every_sample_sees_all_of_the_window() -> None:
    series = torch.randn(1, 1, STEPS, requires_grad=True)
    for causal, n_seen in ((False, STEPS), (True, 4)):
        backbone = attention(n_layers=1, causal=causal).eval()
        (gradient,) = torch.autograd.grad(backbone(series)[0, 3].square().sum(), series)
        assert len(gradient[0, 0].nonzero()) == n_seen


def test_quantised_values_are_codes_and_cost_a_commitment() -> None:
    backbone = attention(n_layers=1, values="vq", quantizer={"codebook_size": 8, "kmeans_init": False}).train()
    backbone(torch.randn(4, 1, 30))
    assert backbone.auxiliary_loss() > 0
    layer = next(module for module in backbone.modules() if isinstance(module, SlidingWindowAttention))
    values = layer._project(torch.randn(2, 9, 16), 0)[2].transpose(1, 2).flatten(2).detach()
    assert len(torch.unique(values.flatten(0, 1).round(decimals=4), dim=0)) <= 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"positions": "learnt"}, "positions must be one of none, sinusoidal"),
        ({"n_heads": 3}, "not a multiple"),
        ({"d_model": 6, "n_heads": 2}, "even width a head"),
        ({"d_model": 15, "n_heads": 3, "positions": "sinusoidal"}, "even d_model"),
        ({"values": "codes"}, "values must be"),
    ],
)
def test_what_cannot_be_built(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attention(**options)
