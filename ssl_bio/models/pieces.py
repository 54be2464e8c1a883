"""Cleaning signals of any length in overlapping, cross-faded pieces, so that memory does not grow with them."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from ssl_bio.models.denoiser import Denoiser

Stretch = NDArray[np.float32]  # (batch, n_channels, samples)
#: (first, last) -> samples from the first to before the last.
Read = Callable[[int, int], Stretch]

PIECE = 65_536  # samples, where the network takes any number


@torch.no_grad()
def cleaned(model: Denoiser, read: Read, total: int, device: torch.device, piece: int = PIECE) -> Iterator[Stretch]:
    """The clean signal of `total` samples, in stretches one after the other, from a model in evaluation mode.

    Every piece has margins that show the network what surrounds it; before the beginning and after the end the signal
    is mirrored. Neighbours are cross-faded in the inner half of their margins, where a convolutional network gives the
    same answer in both: what comes out is then what a single pass would give.
    """
    margin = _up_to_multiple(2 * model.reach, model.multiple) if not model.window else model.reach
    length = model.window or _up_to_multiple(max(piece, 4 * margin), model.multiple)
    if not model.window and total + 2 * margin <= length:  # a single piece: what is mirrored at its ends tells little
        margin = min(margin, _up_to_multiple(total // 8, model.multiple))
        length = _up_to_multiple(total + 2 * margin, model.multiple)
    hop, half = length - 2 * margin, margin // 2
    rising = (np.arange(2 * half, dtype=np.float32) + 0.5) / max(2 * half, 1)
    before: Stretch | None = None
    for start in range(0, total, hop):
        shown = _mirrored(read, start - margin, start - margin + length, total)
        found = model(torch.from_numpy(shown).to(device)).cpu().numpy()
        first = margin
        if before is not None:
            yield before * (1 - rising) + found[..., margin - half : margin + half] * rising
            first = margin + half
        if start + hop + half >= total:
            yield found[..., first : margin + total - start]
            return
        yield found[..., first : margin + hop - half]
        before = found[..., margin + hop - half : margin + hop + half]


def _up_to_multiple(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


def _mirrored(read: Read, first: int, last: int, total: int) -> Stretch:
    """Samples from `first` to before `last`, of which some may lie outside of the signal."""
    inside = read(max(first, 0), min(last, total))
    outside = (max(-first, 0), max(last - total, 0))
    padding = [(0, 0)] * (inside.ndim - 1) + [outside]
    return np.pad(inside, padding, mode="reflect" if inside.shape[-1] > 1 else "edge").astype(np.float32)
