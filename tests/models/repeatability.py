"""Repeated backward passes with two threads."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tests.training.steps import two_threads


def assert_backward_repeats(module: nn.Module, loss: Callable[[], Tensor], n_passes: int = 4) -> None:
    """Fail unless passes with the same seed and weights give the same gradients and buffers, bit for bit."""
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    first: dict[str, Tensor] = {}
    with two_threads():
        for _ in range(n_passes):
            module.load_state_dict(state)
            module.zero_grad()
            torch.manual_seed(3)
            loss().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            found = {f"gradient of {name}": p.grad for name, p in module.named_parameters() if p.grad is not None}
            assert found, "no parameter takes a gradient"
            found |= {name: buffer.clone() for name, buffer in module.named_buffers()}
            first = first or found
            differing = [name for name, tensor in found.items() if not torch.equal(tensor, first[name])]
            assert not differing, f"does not repeat: {differing}"
    module.load_state_dict(state)
