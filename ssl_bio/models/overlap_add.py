"""Denoising signals of any length in overlapping, cross-faded segments, so that memory does not grow with them."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from ssl_bio.models.denoiser import Denoiser

Segment = NDArray[np.float32]  # (batch, n_channels, samples)
#: (start, end) -> samples from the start to before the end.
ReadSegment = Callable[[int, int], Segment]

SEGMENT_LENGTH = 65_536  # samples, where the network takes any number


@torch.no_grad()
def denoise_stream(
    model: Denoiser, read: ReadSegment, *, n_samples: int, device: torch.device, segment_length: int = SEGMENT_LENGTH
) -> Iterator[Segment]:
    """Yield the denoised signal of `n_samples` samples, part by part in order, from a model in evaluation mode.

    Every segment has margins that show the network what surrounds it; before the beginning and after the end the signal
    is mirrored. Neighbours are cross-faded in the inner half of their margins, where a convolutional network gives the
    same output in both: the result is then that of a single pass.
    """
    field, multiple = model.receptive_field, model.length_multiple
    margin = field if model.window else _up_to_multiple(2 * field, multiple)
    length = model.window or _up_to_multiple(max(segment_length, 4 * margin), multiple)
    if not model.window and n_samples + 2 * margin <= length:  # one segment: what is mirrored at its ends tells little
        margin = min(margin, _up_to_multiple(n_samples // 8, multiple))
        length = _up_to_multiple(n_samples + 2 * margin, multiple)
    hop, half = length - 2 * margin, margin // 2
    fade_in = (np.arange(2 * half, dtype=np.float32) + 0.5) / max(2 * half, 1)
    before: Segment | None = None
    for start in range(0, n_samples, hop):
        noisy = _read_mirrored(read, start=start - margin, end=start - margin + length, n_samples=n_samples)
        clean = model(torch.from_numpy(noisy).to(device)).cpu().numpy()
        first = margin
        if before is not None:
            yield before * (1 - fade_in) + clean[..., margin - half : margin + half] * fade_in
            first = margin + half
        if start + hop + half >= n_samples:
            yield clean[..., first : margin + n_samples - start]
            return
        yield clean[..., first : margin + hop - half]
        before = clean[..., margin + hop - half : margin + hop + half]


def _up_to_multiple(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


def _read_mirrored(read: ReadSegment, *, start: int, end: int, n_samples: int) -> Segment:
    """Return samples from `start` to before `end`, of which some may lie outside of the signal."""
    inside = read(max(start, 0), min(end, n_samples))
    outside = (max(-start, 0), max(end - n_samples, 0))
    padding = [(0, 0)] * (inside.ndim - 1) + [outside]
    return np.pad(inside, padding, mode="reflect" if inside.shape[-1] > 1 else "edge").astype(np.float32)
