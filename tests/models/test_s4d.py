"""S4D against its own recurrence, its initialisations, its gradients, its cache."""

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from ssl_bio.models.s4d import S4D, Discretisation, Initialisation, S4DBlock, S4DKernel

KINDS = list(product(("lin", "inv"), ("zoh", "bilinear")))


def recurrence(kernel: S4DKernel, u: Tensor) -> Tensor:
    """x' = A x + u discretised by the textbook, one sample at a time: u `(channels, length)` -> the same."""
    a = torch.complex(-kernel.log_decay.exp(), kernel.frequency)
    c = torch.view_as_complex(kernel.output)
    step = kernel.log_step.exp()[:, None]
    if kernel.discretisation == "zoh":
        a_bar = torch.exp(step * a)
        b_bar = (a_bar - 1) / a
    else:
        a_bar = (1 + step * a / 2) / (1 - step * a / 2)
        b_bar = step / (1 - step * a / 2)
    state, outputs = torch.zeros_like(a), []
    for sample in u.T:
        state = a_bar * state + b_bar * sample[:, None]
        outputs.append(2 * (c * state).sum(dim=1).real)
    return torch.stack(outputs, dim=1)


@pytest.mark.parametrize(("init", "discretisation"), KINDS)
@pytest.mark.parametrize("length", [1, 2, 97, 300])
def test_layer_equals_the_recurrence(init: Initialisation, discretisation: Discretisation, length: int) -> None:
    torch.manual_seed(0)
    layer = S4D(n_channels=3, d_state=16, init=init, discretisation=discretisation).double()
    u = torch.randn(2, 3, length, dtype=torch.float64)
    kernel = layer.kernels[0]
    assert isinstance(kernel, S4DKernel)
    with torch.no_grad():
        expected = torch.stack([recurrence(kernel, one) for one in u]) + u * layer.skip[:, None]
        error = (layer(u) - expected).norm() / expected.norm()
    assert error < 1e-6


def test_single_precision_stays_close_at_length_4096() -> None:
    torch.manual_seed(0)
    layer = S4D(n_channels=4, d_state=64)
    u = torch.randn(1, 4, 4096)
    with torch.no_grad():
        single, double = layer(u).double(), layer.double()(u.double())
    assert (single - double).norm() / double.norm() < 1e-3


@pytest.mark.parametrize(("init", "discretisation"), KINDS)
def test_gradients(init: Initialisation, discretisation: Discretisation) -> None:
    torch.manual_seed(0)
    layer = S4D(n_channels=2, d_state=4, init=init, discretisation=discretisation, bidirectional=True).double()
    u = torch.randn(1, 2, 7, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in layer.named_parameters()]

    def run(u: Tensor, *values: Tensor) -> Tensor:
        out = torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (u,))
        assert isinstance(out, Tensor)
        return out

    assert torch.autograd.gradcheck(run, (u, *layer.parameters()))


def test_causal_unless_bidirectional() -> None:
    torch.manual_seed(0)
    u = torch.randn(1, 2, 50)
    later = u.clone()
    later[..., 30:] += 1
    for bidirectional in (False, True):
        layer = S4D(n_channels=2, d_state=8, bidirectional=bidirectional).eval()
        with torch.no_grad():
            changed = (layer(u) - layer(later)).abs()[..., :30].max()
        assert (changed > 1e-4) == bidirectional


def test_backward_kernel_mirrors_the_forward_one() -> None:
    torch.manual_seed(0)
    layer = S4D(n_channels=2, d_state=8, bidirectional=True).double()
    forward, backward = layer.kernels
    backward.load_state_dict(forward.state_dict())
    u = torch.randn(1, 2, 40, dtype=torch.float64)
    one_way = S4D(n_channels=2, d_state=8).double()
    one_way.kernels[0].load_state_dict(forward.state_dict())
    one_way.skip.data.copy_(layer.skip)
    # The backward kernel starts one sample back, at lag -1.
    expected = one_way(u)
    mirrored = one_way(u.flip(-1)).flip(-1) - u * layer.skip[:, None]
    expected = expected + torch.nn.functional.pad(mirrored, (0, 1))[..., 1:]
    torch.testing.assert_close(layer(u), expected)


def test_initial_poles() -> None:
    lin, inv = S4DKernel(n_channels=2, d_state=8, init="lin"), S4DKernel(n_channels=2, d_state=8, init="inv")
    torch.testing.assert_close(lin.frequency[0], math.pi * torch.arange(4.0))
    torch.testing.assert_close(inv.frequency[1], torch.tensor([8 / math.pi * (8 / (2 * n + 1) - 1) for n in range(4)]))
    torch.testing.assert_close(-lin.log_decay.exp(), torch.full((2, 4), -0.5))
    with pytest.raises(ValueError, match="even"):
        S4DKernel(n_channels=2, d_state=7)
    with pytest.raises(ValueError, match="lin"):
        S4DKernel(n_channels=2, d_state=8, init="legs")  # type: ignore[arg-type]  # what the test is about
    with pytest.raises(ValueError, match="zoh"):
        S4DKernel(n_channels=2, d_state=8, discretisation="euler")  # type: ignore[arg-type]  # what the test is about


def test_kernel_is_kept_in_evaluation_until_a_weight_changes() -> None:
    kernel = S4DKernel(n_channels=2, d_state=8).eval()
    with torch.no_grad():
        first = kernel(30)
        assert kernel(30) is first
        assert kernel(31).shape == (2, 31)
        kernel.log_step.add_(0.1)
        assert not torch.equal(kernel(30), first)
    kernel.train()
    with torch.no_grad():
        assert kernel(30) is not kernel(30)
    kernel.eval()
    assert kernel(30).requires_grad


def test_kernel_needs_little_memory() -> None:
    """No tensor of n_channels x d_state x length numbers is ever made."""
    kernel, length = S4DKernel(n_channels=16, d_state=64), 4096
    largest = 0

    def look(tensor: Tensor) -> Tensor:
        nonlocal largest
        largest = max(largest, tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(look, look):
        kernel(length)
    assert largest <= 16 * length


def test_block_keeps_shape_at_odd_lengths() -> None:
    block = S4DBlock(S4D(n_channels=4, d_state=8, bidirectional=True), width=4, dropout=0.1)
    for length in (1, 2, 33):
        assert block(torch.randn(3, 4, length)).shape == (3, 4, length)


def test_kept_kernel_is_dropped_by_training() -> None:
    """The fused optimiser changes weights without counting it as a new version."""
    kernel = S4DKernel(n_channels=2, d_state=8)
    optimizer = torch.optim.AdamW(kernel.parameters(), lr=0.1, fused=True)
    with torch.no_grad():
        before = kernel.eval()(30)
    kernel.train()(30).square().sum().backward()
    optimizer.step()
    with torch.no_grad():
        after, fresh = kernel.eval()(30), kernel.train()(30)
    assert torch.equal(after, fresh)
    assert not torch.equal(after, before)
