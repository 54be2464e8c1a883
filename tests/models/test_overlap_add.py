"""A recording denoised in segments is what a single pass gives, and never read far at once."""

import numpy as np
import pytest
import torch
from torch import Tensor

from ssl_bio.models.base import SignalNetwork
from ssl_bio.models.denoiser import Denoiser, SignalDenoiser, TokenDenoiser
from ssl_bio.models.overlap_add import denoise_stream
from ssl_bio.models.timemae import TimeMAEBackbone
from ssl_bio.models.wave_unet import PixelShuffle, WaveUNet

CPU = torch.device("cpu")


def in_segments(model: Denoiser, signals: np.ndarray, segment_length: int) -> np.ndarray:
    parts = denoise_stream(
        model.eval(),
        lambda start, end: signals[..., start:end],
        n_samples=signals.shape[-1],
        device=CPU,
        segment_length=segment_length,
    )
    return np.concatenate(list(parts), -1)


def recording(length: int, n_channels: int = 1) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1, (2, n_channels, length)).astype(np.float32)


@pytest.mark.parametrize(
    "network",
    [
        WaveUNet(n_channels=1, width=6, n_layers=3, stride=2),
        WaveUNet(n_channels=1, width=4, n_layers=2, stride=1, bottleneck_layers=1, n_heads=2),
        PixelShuffle(n_channels=1, width=6, n_layers=2, stride=2),
    ],
    ids=["wave", "transformer", "pixel shuffle"],
)
def test_no_seams(network: SignalNetwork) -> None:
    model = SignalDenoiser(backbone=network).eval()
    signals = recording(16 * model.receptive_field + 77)
    stitched = in_segments(model, signals, 1)  # as short as its receptive field allows
    with torch.no_grad():
        single: Tensor = model(torch.from_numpy(signals))
    inner = slice(model.receptive_field, -model.receptive_field)
    np.testing.assert_allclose(stitched[..., inner], single.numpy()[..., inner], atol=1e-3)
    whole = in_segments(model, signals, 10**6)
    np.testing.assert_allclose(stitched[..., inner], whole[..., inner], atol=1e-4)
    assert np.abs(stitched).max() < 10  # the ends do not blow up


@pytest.mark.parametrize("length", [1, 2, 39, 40, 41, 100, 401])
def test_a_network_of_fixed_windows_covers_any_length(length: int) -> None:
    torch.manual_seed(0)
    backbone = TimeMAEBackbone(n_channels=2, length=40, d_model=8, n_layers=1, n_heads=2, wave_length=8)
    model = TokenDenoiser(backbone=backbone, window=40)
    found = in_segments(model, recording(length, 2), 10**6)
    assert found.shape == (2, 2, length)
    assert np.isfinite(found).all()


class PassThrough(SignalNetwork):
    """Returns its input."""

    n_channels, length_multiple, receptive_field = 1, 4, 10

    def forward(self, noisy: Tensor) -> Tensor:
        return noisy


@pytest.mark.parametrize("length", [1, 5, 79, 80, 81, 159, 160, 161, 1000])
def test_what_passes_through_comes_out_whole_and_in_order(length: int) -> None:
    signals = recording(length)
    np.testing.assert_allclose(
        in_segments(SignalDenoiser(backbone=PassThrough()), signals, 80), signals, rtol=1e-5, atol=1e-6
    )


def test_only_a_segment_is_read_at_once() -> None:
    longest, signals = 0, recording(20_000)

    def read(start: int, end: int) -> np.ndarray:
        nonlocal longest
        longest = max(longest, end - start)
        return signals[..., start:end]

    model = SignalDenoiser(backbone=PassThrough())
    for part in denoise_stream(model, read, n_samples=20_000, device=CPU, segment_length=200):
        assert part.shape[-1] <= 200
    assert longest <= 200
