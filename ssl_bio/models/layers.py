"""Layers that all networks share: dropout and input scaling."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

Statistics = NDArray[np.float32] | NDArray[np.float64]


class Dropout(nn.Module):
    """Dropout whose masks come from random bytes.

    On CPUs the serial Bernoulli generator behind `torch.nn.Dropout` takes longer than the layer it
    follows; one byte an element from a counter of 64-bit words is about ten times faster. The rate is
    therefore a multiple of 1/256, and kept values are scaled by exactly that rate. Masks depend on
    torch's global seed alone. Other devices use torch's own dropout.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0.0 <= p <= 0.95:
            raise ValueError(f"dropout must lie in [0, 0.95], got {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        threshold = round(self.p * 256)
        if not self.training or threshold == 0:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.p)
        return x * _keep_mask(x.shape, threshold)

    def extra_repr(self) -> str:
        return f"p={self.p}"


def _keep_mask(shape: torch.Size, threshold: int) -> Tensor:
    """Return a float mask: 0 with probability threshold/256, else the factor that keeps the mean.

    One draw from torch's global generator seeds it. NumPy makes it because its comparison and its
    conversion of small integers are vectorised, and torch's on the CPU are not (0.1 against 0.4 ms
    for 128 x 7 x 256).
    """
    seed = int(torch.randint(2**62, ()).item())
    n = math.prod(shape)
    words = np.random.SFC64(seed).random_raw(-(-n // 8))
    mask = (words.view(np.uint8)[:n] >= threshold).astype(np.float32)
    mask *= 256 / (256 - threshold)
    return torch.from_numpy(mask).view(shape)


class InputNorm(nn.Module):
    """Scaling of raw signals as the first layer, so that a saved network can never be fed unscaled input.

    `normalize`: "none" passes signals on; "channel" standardises each channel with the statistics set from a training
    split; "window" standardises each channel of each window with its own; "channel+window" stacks both along the
    channels, which shows a network the small sway of a person who stands still beside the swings of one who walks.
    Shapes: `(batch, n_channels, length)` -> `(batch, out_channels, length)`.

    `visible`, `(batch, 1, length)` of booleans, restricts a window's own statistics to the samples that a masked
    autoencoder may see: those of masked samples would tell what it has to predict.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, n_channels: int, normalize: str = "none") -> None:
        super().__init__()
        if normalize not in ("none", "channel", "window", "channel+window"):
            raise ValueError(f"normalize must be none, channel, window or channel+window, not {normalize!r}")
        self.normalize = normalize
        self.out_channels = 2 * n_channels if normalize == "channel+window" else n_channels
        self.register_buffer("mean", torch.zeros(n_channels, 1))
        self.register_buffer("std", torch.ones(n_channels, 1))

    def set_statistics(self, *, mean: Statistics, std: Statistics) -> None:
        """Take the training split's mean and standard deviation, `(n_channels,)` each."""
        self.mean.copy_(torch.from_numpy(mean)[:, None])
        self.std.copy_(torch.from_numpy(std)[:, None])

    def forward(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        views = []
        if "channel" in self.normalize:
            views.append((x - self.mean) / self.std)
        if "window" in self.normalize:
            weight = torch.ones_like(x[:, :1]) if visible is None else visible.to(x.dtype)
            weight = weight / weight.sum(dim=-1, keepdim=True)
            centred = x - (x * weight).sum(dim=-1, keepdim=True)
            deviation = (centred.square() * weight).sum(dim=-1, keepdim=True).sqrt()
            # The floor, a thousandth of the channel's usual deviation, keeps a flat signal flat.
            views.append(centred / (deviation + 1e-3 * self.std))
        return torch.cat(views, dim=1) if views else x

    def extra_repr(self) -> str:
        return self.normalize
