"""Stateless randomness, devices and evaluation mode."""

import numpy as np
import pytest
import torch
from torch import nn

from ssl_bio.errors import RecipeError
from ssl_bio.training import runtime


def test_streams_are_functions_of_their_position() -> None:
    def draw(*key: object) -> float:
        return runtime.stream(*key).random()  # type: ignore[arg-type]  # any key

    assert draw(0, "order", 3) == draw(0, "order", 3)
    keys = [(0, "order", 3), (1, "order", 3), (0, "augment", 3), (0, "order", 4), (0, "order", 3, 0), (0, "order")]
    assert len({draw(*key) for key in keys}) == len(keys)


def test_torch_draws_are_functions_of_their_position() -> None:
    runtime.seed_torch(0, "step", 2, 5)
    first = torch.rand(4)
    torch.rand(100)
    runtime.seed_torch(0, "step", 2, 5)
    assert torch.equal(torch.rand(4), first)
    runtime.seed_torch(0, "step", 2, 6)
    assert not torch.equal(torch.rand(4), first)
    assert isinstance(runtime.stream(0, "x"), np.random.Generator)


def test_devices() -> None:
    assert runtime.pick_device("cpu").type == "cpu"
    assert runtime.pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(RecipeError, match="auto, cpu or cuda"):
        runtime.pick_device("tpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_gpu_that_is_not_there() -> None:
    with pytest.raises(RecipeError, match="use --device cpu"):
        runtime.pick_device("cuda")


def test_evaluation_mode_is_left_as_it_was_found() -> None:
    frozen = nn.Dropout(0.5).eval()
    module = nn.Sequential(nn.Linear(2, 2), frozen)
    assert module.training
    with runtime.evaluation_mode(module):
        assert not any(part.training for part in module.modules())
        assert not module(torch.ones(1, 2)).requires_grad
    with pytest.raises(RuntimeError, match="cannot be multiplied"), runtime.evaluation_mode(module):
        module(torch.ones(1, 3))
    assert [part.training for part in module.modules()] == [True, True, False]
    assert module(torch.ones(1, 2)).requires_grad
