"""Schedules and averages."""

import pytest
import torch
from torch import nn

from ssl_bio import optim
from ssl_bio.models.heads import Predictor
from ssl_bio.models.quantizer import Quantizer
from ssl_bio.models.vqvae import VQVAE, VQVAEBackbone
from ssl_bio.outcome import Classes
from ssl_bio.pretexts import VQVAETask
from ssl_bio.tasks import DownstreamTask


def test_cosine_with_warmup() -> None:
    factors = [optim.schedule_factor("cosine", step, 100, 10) for step in range(100)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[10] == 1.0
    assert factors[55] == pytest.approx(0.5)
    assert factors == factors[:10] + sorted(factors[10:], reverse=True)
    assert factors[-1] < 1e-3


def test_constant_without_warmup() -> None:
    assert {optim.schedule_factor("constant", step, 10, 0) for step in range(10)} == {1.0}


def test_groups_keep_their_ratio() -> None:
    head, body = nn.Linear(2, 2), nn.Linear(2, 2)
    optimizer = optim.optimizer(
        "adamw",
        [optim.Group("head", list(head.parameters()), 1e-3), optim.Group("backbone", list(body.parameters()), 1e-5)],
        0.01,
    )
    optim.set_rates(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [5e-4, 5e-6]


def test_average_follows_and_gives_back() -> None:
    model = nn.BatchNorm1d(2)
    average = optim.WeightAverage(model, 0.9)
    with torch.no_grad():
        model.weight.fill_(2.0)
    own = model.weight.clone()
    average.update(step=10_000)
    with average.applied():
        torch.testing.assert_close(model.weight, torch.full((2,), 1.1))
    torch.testing.assert_close(model.weight, own)
    average.update(step=0)
    torch.testing.assert_close(average.state["weight"], torch.full((2,), 0.1 * 1.1 + 0.9 * 2.0))


def test_state_spaces_keep_their_own_rate_and_never_decay() -> None:
    backbone = VQVAEBackbone(1, 64, 16, 8, 2, 8, s4d={"d_state": 8, "state_space_lr": 3e-3})
    ordinary, apart = optim.groups_of("backbone", backbone, 2e-5)
    assert (apart.name, apart.lr, apart.decays) == ("backbone_state_space", 3e-3, False)
    assert len(apart.parameters) == 2 * 3
    assert {id(p) for group in (ordinary, apart) for p in group.parameters} == {id(p) for p in backbone.parameters()}
    optimizer = optim.optimizer("sgd", [ordinary, apart], 0.1)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    model = Predictor(backbone, 3)
    for task in (
        DownstreamTask(model, Classes(names=("a", "b", "c")), lr=1e-3, backbone_lr=2e-5),
        VQVAETask(VQVAE(backbone, Quantizer(16, 8), 1), 1e-4, "mse", 0, 0),
    ):
        rates = {id(p): group.lr for group in task.parameter_groups() for p in group.parameters}
        assert all(rates[id(p)] == 3e-3 for p in apart.parameters)
    backbone.requires_grad_(False)
    assert optim.groups_of("backbone", backbone, 2e-5) == [optim.Group("backbone", [], 2e-5)]
