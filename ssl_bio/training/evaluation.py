"""The one evaluation loop: batches in order, in evaluation mode, without gradients."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from ssl_bio.console import progress
from ssl_bio.data.loader import Batch, Loader
from ssl_bio.training.runtime import evaluation_mode

ResultT = TypeVar("ResultT")


def map_batches(
    module: nn.Module,
    loader: Loader,
    function: Callable[[int, Batch], ResultT],
    *,
    device: torch.device,
    title: str,
) -> list[ResultT]:
    """Return what a function makes of each batch of a loader, given its number and itself, in order.

    The module is moved to the device; afterwards every part of it is in training or evaluation mode as before.
    """
    results = []
    with evaluation_mode(module.to(device)), progress(title, len(loader)) as tick:
        for index, batch in enumerate(loader.ordered()):
            results.append(function(index, batch))
            tick(index + 1)
    return results
