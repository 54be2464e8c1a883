"""Parameter groups, schedules and averages."""

import pytest
import torch
from torch import Tensor, nn

from ssl_bio.models.vqvae import VQVAEBackbone
from ssl_bio.training import optim


def test_cosine_with_warmup() -> None:
    factors = [optim.schedule_factor("cosine", step=step, n_steps=100, warmup_steps=10) for step in range(100)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[10] == 1.0
    assert factors[55] == pytest.approx(0.5)
    assert factors == factors[:10] + sorted(factors[10:], reverse=True)
    assert factors[-1] < 1e-3


def test_constant_without_warmup() -> None:
    assert {optim.schedule_factor("constant", step=step, n_steps=10, warmup_steps=0) for step in range(10)} == {1.0}


def test_groups_keep_their_ratio_and_begin_when_they_should() -> None:
    head, body = nn.Linear(2, 2), nn.Linear(2, 2)
    groups = [
        optim.ParameterGroup("head", list(head.parameters()), 1e-3),
        optim.ParameterGroup("backbone", list(body.parameters()), 1e-5, unfreeze_epoch=2),
    ]
    optimizer = optim.optimizer("adamw", groups, 0.01)
    for epoch, backbone_lr in ((0, 0.0), (1, 0.0), (2, 5e-6)):
        optim.set_rates(optimizer, 0.5, epoch)
        assert [group["lr"] for group in optimizer.param_groups] == [5e-4, backbone_lr]


def test_state_spaces_keep_their_own_rate_and_never_decay() -> None:
    backbone = VQVAEBackbone(
        n_channels=1, length=64, d_model=16, width=8, n_layers=2, wave_length=8, s4d={"d_state": 8, "lr": 3e-3}
    )
    ordinary, apart = optim.groups_of("backbone", backbone, 2e-5)
    assert (apart.name, apart.lr, apart.decays) == ("backbone_state_space", 3e-3, False)
    assert len(apart.parameters) == 2 * 3
    assert {id(p) for group in (ordinary, apart) for p in group.parameters} == {id(p) for p in backbone.parameters()}
    optimizer = optim.optimizer("sgd", [ordinary, apart], 0.1)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    for stages in ([nn.ModuleList([backbone])], backbone.stages()):
        groups = [group for stage in stages for group in optim.groups_of("stage", stage, 1e-4)]
        rates = {id(p): group.lr for group in groups for p in group.parameters}
        assert all(rates[id(p)] == (3e-3 if p in set(apart.parameters) else 1e-4) for p in backbone.parameters())
    backbone.requires_grad_(False)
    assert optim.groups_of("backbone", backbone, 2e-5) == [optim.ParameterGroup("backbone", [], 2e-5)]


class TestExponentialAverage:
    """Averaged weights."""

    def test_it_follows_and_is_put_in_and_out(self) -> None:
        model = nn.BatchNorm1d(2)
        average = optim.ExponentialAverage(model, 0.9)
        with torch.no_grad():
            model.weight.fill_(2.0)
        own = model.weight.clone()
        average.update_parameters(model)
        with average.applied(model):
            torch.testing.assert_close(model.weight, torch.full((2,), 0.1 * 1.0 + 0.9 * 2.0))
        assert torch.equal(model.weight, own)

    def test_its_momentum_grows_to_its_decay(self) -> None:
        model, decay = nn.Linear(3, 3), 0.5
        average = optim.ExponentialAverage(model, decay)
        expected: dict[str, Tensor] = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        for step in range(20):
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(torch.randn_like(parameter))
            average.update_parameters(model)
            for name, tensor in model.state_dict().items():
                expected[name].lerp_(tensor, 1 - min(decay, (1 + step) / (10 + step)))
        assert all(torch.equal(expected[name], tensor) for name, tensor in average.averaged_state().items())

    def test_buffers_are_averaged_and_counters_copied(self) -> None:
        model = nn.BatchNorm1d(2)
        average = optim.ExponentialAverage(model, 0.9)
        for _ in range(3):
            model(torch.randn(8, 2) + 5)
            average.update_parameters(model)
        state = average.averaged_state()
        assert state["num_batches_tracked"] == 3
        assert 0 < state["running_mean"].mean() < model.state_dict()["running_mean"].mean()

    def test_it_goes_on_from_a_saved_state(self) -> None:
        torch.manual_seed(0)
        model = nn.Linear(3, 3)
        average, resumed = optim.ExponentialAverage(model, 0.99), optim.ExponentialAverage(nn.Linear(3, 3), 0.99)

        def train(average: optim.ExponentialAverage) -> None:
            torch.manual_seed(1)
            with torch.no_grad():
                model.weight.copy_(torch.randn(3, 3))
            average.update_parameters(model)

        for _ in range(4):
            train(average)
        resumed.load_averaged_state(average.averaged_state(), n_updates=4)
        train(average)
        train(resumed)
        theirs = resumed.averaged_state()
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in average.averaged_state().items())
