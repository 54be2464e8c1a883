"""Dropout and input scaling."""

import numpy as np
import pytest
import torch

from ssl_bio.models.layers import Dropout, InputNorm


def test_dropout_keeps_the_mean_and_drops_its_share() -> None:
    torch.manual_seed(0)
    y = Dropout(0.2)(torch.ones(1000, 1000))
    assert (y == 0).float().mean().item() == pytest.approx(51 / 256, abs=0.002)
    assert y.mean().item() == pytest.approx(1.0, abs=0.002)
    assert y.unique().tolist() == pytest.approx([0.0, 256 / 205])


def test_dropout_is_a_function_of_the_torch_seed() -> None:
    x, layer = torch.ones(7, 33), Dropout(0.5)
    torch.manual_seed(3)
    first, second = layer(x), layer(x)
    torch.manual_seed(3)
    assert torch.equal(layer(x), first)
    assert not torch.equal(first, second)


def test_dropout_passes_through_in_evaluation_and_gradients_follow_the_mask() -> None:
    x = torch.ones(50, requires_grad=True)
    assert Dropout(0.5).eval()(x) is x
    y = Dropout(0.5)(x)
    y.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, y.detach())


def test_dropout_refuses_what_is_no_rate() -> None:
    with pytest.raises(ValueError, match="dropout"):
        Dropout(1.0)


def test_input_scaling() -> None:
    signals = torch.randn(4, 2, 50) * 3 + 5
    scaling = InputNorm(2, "channel+window")
    scaling.set_statistics(mean=np.array([5.0, 5.0], np.float32), std=np.array([3.0, 3.0], np.float32))
    y = scaling(signals)
    assert y.shape == (4, scaling.out_channels, 50)
    torch.testing.assert_close(y[:, :2], (signals - 5) / 3)
    torch.testing.assert_close(y[:, 2:].mean(-1), torch.zeros(4, 2), atol=1e-5, rtol=0)
    torch.testing.assert_close(y[:, 2:].std(-1), torch.ones(4, 2), atol=1e-2, rtol=0)
    assert InputNorm(2, "none")(signals) is signals
    assert {"mean", "std"} <= set(scaling.state_dict()), "saved with the network"


def test_flat_channel_stays_flat() -> None:
    assert InputNorm(1, "window")(torch.full((1, 1, 20), 7.0)).abs().max() < 0.01


def test_unknown_scaling_is_refused() -> None:
    with pytest.raises(ValueError, match="normalize must be none, channel, window"):
        InputNorm(1, "x")
