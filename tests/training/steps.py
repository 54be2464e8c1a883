"""Single training steps of an objective, as the loop does them."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from ssl_bio.data.loader import BatchSource
from ssl_bio.training import optim, runtime
from ssl_bio.training.objective import Objective, StepOutput, TensorBatch

_LARGE = 64  # windows


def first_batch(loader: BatchSource) -> TensorBatch:
    """Return the first batch of an epoch."""
    batch = next(iter(loader.shuffled(lambda purpose, *position: runtime.stream(0, purpose, 0, *position))))
    targets = None if batch.targets is None else torch.from_numpy(np.asarray(batch.targets))
    return TensorBatch(torch.from_numpy(batch.inputs), targets)


def take_step(objective: Objective, batch: TensorBatch, *, seed: int = 3) -> tuple[StepOutput, dict[str, Tensor]]:
    """Return the output of one optimizer step from the present weights, and all gradients, weights and buffers after
    it; the objective's module is as before."""
    module = objective.module
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    optimizer = optim.optimizer("adamw", objective.parameter_groups(), 0.01)
    torch.manual_seed(seed)
    module.train()
    objective.on_epoch_start(0)
    output = objective.step(batch)
    optimizer.zero_grad()
    output.loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    optimizer.step()
    objective.after_step()
    after = {f"gradient of {name}": p.grad for name, p in module.named_parameters() if p.grad is not None}
    after |= {name: tensor.clone() for name, tensor in module.state_dict().items()}
    module.load_state_dict(before)
    module.zero_grad()
    return output, after


def assert_gradients_in_every_group(objective: Objective, batch: TensorBatch) -> None:
    """Fail unless the loss is finite, every group has a gradient somewhere, and no gradient is lost."""
    torch.manual_seed(3)
    objective.module.train()
    objective.on_epoch_start(0)
    output = objective.step(batch)
    assert output.loss.shape == ()
    assert torch.isfinite(output.loss)
    output.loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    groups = objective.parameter_groups()
    assert groups
    assert len({group.name for group in groups}) == len(groups)
    for group in groups:
        gradients = [p.grad for p in group.parameters if p.grad is not None]
        assert any(gradient.any() for gradient in gradients), group.name
        assert all(torch.isfinite(gradient).all() for gradient in gradients), group.name
    objective.module.zero_grad()


def assert_takes_a_batch_of_one(objective: Objective, batch: TensorBatch) -> None:
    """Fail unless the first window alone gives a finite loss and finite gradients."""
    output = objective.step(TensorBatch(batch.inputs[:1], None if batch.targets is None else batch.targets[:1]))
    output.loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    assert torch.isfinite(output.loss)
    gradients = [p.grad for p in objective.module.parameters() if p.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def assert_steps_repeat(objective: Objective, batch: TensorBatch, n_steps: int = 4) -> None:
    """Fail unless steps from the same weights with the same seed agree bit for bit, with two threads.

    The batch is repeated until it is so large that torch divides its work.
    """
    n = -(-_LARGE // len(batch.inputs))
    targets = None if batch.targets is None else torch.cat([batch.targets] * n)
    batch = TensorBatch(torch.cat([batch.inputs] * n), targets)
    with two_threads():
        _, first = take_step(objective, batch)
        for _ in range(n_steps - 1):
            _, again = take_step(objective, batch)
            assert again.keys() == first.keys()
            assert [name for name, tensor in again.items() if not torch.equal(tensor, first[name])] == []


@contextmanager
def two_threads() -> Iterator[None]:
    """Have torch use two threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        yield
    finally:
        torch.set_num_threads(before)
