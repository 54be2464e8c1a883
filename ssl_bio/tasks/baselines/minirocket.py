"""MiniRocket: 84 fixed kernels at many dilations, and how often each exceeds thresholds (Dempster et al. 2021)."""

from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ssl_bio.data.loader import SignalDataset
from ssl_bio.data.recording import Signals
from ssl_bio.tasks.baselines.base import FeatureBaseline, Question
from ssl_bio.tasks.baselines.kept import Extract

_LENGTH = 9  # of a kernel
#: Kernels `(84, 9)`: three weights of 2, six of -1, so that they add up to 0.
_KERNELS = np.array(
    [[2.0 if place in chosen else -1.0 for place in range(_LENGTH)] for chosen in combinations(range(_LENGTH), 3)],
    np.float32,
)
_FEATURES = 9996  # 84 kernels x 119
_MOST_DILATIONS = 32
_MOST_CHANNELS = 9  # that a kernel sees at once
_AT_ONCE = 2**21  # samples of convolutions: what fits into a processor's cache takes a fifth of the time
_SEED = 0  # of its draws, fixed so that features are computed once


class MiniRocket(FeatureBaseline):
    """Shares of each window at which a convolution lies above a threshold: 9,996 features.

    Thresholds are quantiles of the convolutions of training windows. A kernel sees a random set of channels, as in the
    authors' multivariate variant.
    """

    version: ClassVar = 1
    kept_as: ClassVar = np.float16  # shares in steps of 1 / length: the rest is below 0.05 %
    fitted: ClassVar = True

    def refusal(self, question: Question) -> str:
        """Return that windows are shorter than a kernel."""
        length = question.dataset.info.length
        return f"windows of {length} samples are shorter than its kernels of {_LENGTH}" if length < _LENGTH else ""

    def extractor(self, training: SignalDataset) -> Extract:
        """Return the transformation with thresholds from these windows."""
        return fit(training)


class _Dilation(NamedTuple):
    """What happens at one dilation: kernels on their channels `(84, n_channels, 9)`, and thresholds `(84, n)`."""

    dilation: int
    weight: Tensor
    thresholds: Tensor
    first: int  # kernel whose convolution runs over the padded window; every second one from there does

    def convolve(self, signals: Tensor) -> Tensor:
        """Return convolutions `(batch, 84, length)` of windows padded with zeros."""
        return F.conv1d(signals, self.weight, padding=self.margin, dilation=self.dilation)

    @property
    def margin(self) -> int:
        """Return the samples on either side at which a kernel reaches beyond the window."""
        return _LENGTH // 2 * self.dilation


@dataclass(frozen=True)
class Transform:
    """MiniRocket with its thresholds: windows `(batch, n_channels, length)` -> features `(batch, n_features)`."""

    dilations: list[_Dilation]

    def __call__(self, signals: Signals) -> NDArray[np.float32]:
        windows = torch.from_numpy(np.ascontiguousarray(signals, np.float32))
        step = max(1, _AT_ONCE // (len(_KERNELS) * windows.shape[-1]))
        parts = [windows[start : start + step] for start in range(0, len(windows), step)]
        return np.concatenate(
            [np.concatenate([_shares(one, part) for one in self.dilations], axis=1) for part in parts]
        )


def fit(training: SignalDataset) -> Transform:
    """Return MiniRocket with thresholds from training windows: for each kernel and dilation quantiles of its
    convolution with one of them, drawn at random."""
    rng = np.random.default_rng(_SEED)
    quantile, dilations = 1, []
    for index, (dilation, n) in enumerate(_dilations(training.length)):
        examples = training.read(rng.integers(len(training), size=len(_KERNELS)))
        one = _Dilation(dilation, _on_channels(rng, examples.shape[1]), torch.empty(0), index % 2)
        # Multiples of the golden ratio spread evenly, however many are taken.
        golden = (np.arange(quantile, quantile + len(_KERNELS) * n) * (np.sqrt(5) + 1) / 2) % 1
        found = one.convolve(torch.from_numpy(examples)).numpy()
        thresholds = np.empty((len(_KERNELS), n), np.float32)
        for kernel, levels in enumerate(golden.reshape(len(_KERNELS), n)):
            thresholds[kernel] = np.quantile(_seen(one, found[kernel, kernel], kernel), levels)
        dilations.append(one._replace(thresholds=torch.from_numpy(thresholds)))
        quantile += golden.size
    return Transform(dilations)


def _dilations(length: int) -> list[tuple[int, int]]:
    """Return dilations, from 1 exponentially to where a kernel spans the window, and how many thresholds a kernel has
    at each."""
    per_kernel = _FEATURES // len(_KERNELS)
    longest = np.log2((length - 1) / (_LENGTH - 1))
    spread = np.logspace(0, longest, min(per_kernel, _MOST_DILATIONS), base=2).astype(np.int64)
    dilations, counts = np.unique(spread, return_counts=True)
    shares = counts * per_kernel // counts.sum()
    for extra in range(per_kernel - int(shares.sum())):
        shares[extra % len(shares)] += 1
    return [(int(dilation), int(n)) for dilation, n in zip(dilations, shares, strict=True)]


def _on_channels(rng: np.random.Generator, n_channels: int) -> Tensor:
    """Return kernels `(84, n_channels, 9)`, each on as many random channels as 2 to a random power."""
    weight = np.zeros((len(_KERNELS), n_channels, _LENGTH), np.float32)
    for kernel, values in enumerate(_KERNELS):
        n = int(2 ** rng.uniform(0, np.log2(min(n_channels, _MOST_CHANNELS) + 1)))
        weight[kernel, rng.choice(n_channels, n, replace=False)] = values
    return torch.from_numpy(weight)


def _seen(one: _Dilation, convolution: NDArray[np.float32], kernel: int) -> NDArray[np.float32]:
    """Return the part of a kernel's convolution that counts: all, or, of every second kernel, what needs no padding."""
    padded = kernel % 2 == one.first
    return convolution if padded else convolution[one.margin : len(convolution) - one.margin]


def _shares(one: _Dilation, windows: Tensor) -> NDArray[np.float32]:
    """Return the shares of windows above each threshold, `(batch, 84 n_thresholds)`."""
    convolved = one.convolve(windows)
    found = np.empty((len(windows), *one.thresholds.shape), np.float32)
    inside = slice(one.margin, convolved.shape[-1] - one.margin)
    for first, part in ((one.first, slice(None)), (1 - one.first, inside)):
        kernels = slice(first, None, 2)
        seen = convolved[:, kernels, part].contiguous()
        above = torch.empty_like(seen)  # used again and again: to allocate it takes ten times as long as to fill it
        for place in range(one.thresholds.shape[1]):
            torch.gt(seen, one.thresholds[kernels, place, None], out=above)
            found[:, kernels, place] = above.mean(dim=-1)
    return found.reshape(len(windows), -1)
