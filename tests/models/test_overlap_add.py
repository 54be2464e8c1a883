"""A recording cleaned in pieces is what a single pass gives, and never read far at once."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ssl_bio.models.denoiser import Denoiser, TokenDecoder
from ssl_bio.models.pieces import cleaned
from ssl_bio.models.timemae import TimeMAEBackbone
from ssl_bio.models.wave_unet import PixelShuffle, Shape, WaveUNet

CPU = torch.device("cpu")


def in_pieces(model: Denoiser, signals: np.ndarray, piece: int) -> np.ndarray:
    return np.concatenate(
        list(cleaned(model.eval(), lambda a, b: signals[..., a:b], signals.shape[-1], CPU, piece)), -1
    )


def recording(length: int, n_channels: int = 1) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1, (2, n_channels, length)).astype(np.float32)


@pytest.mark.parametrize(
    "network",
    [
        WaveUNet(1, 1, Shape(6, 3, 2)),
        WaveUNet(1, 1, Shape(4, 2, 1, 1, n_heads=2)),
        PixelShuffle(1, 1, Shape(6, 2, 2)),
    ],
    ids=["wave", "transformer", "pixel shuffle"],
)
def test_no_seams(network: nn.Module) -> None:
    model = Denoiser(network).eval()
    signals = recording(16 * model.reach + 77)
    stitched = in_pieces(model, signals, 1)  # as short as its reach allows
    with torch.no_grad():
        single: Tensor = model(torch.from_numpy(signals))
    inner = slice(model.reach, -model.reach)
    np.testing.assert_allclose(stitched[..., inner], single.numpy()[..., inner], atol=1e-3)
    whole = in_pieces(model, signals, 10**6)
    np.testing.assert_allclose(stitched[..., inner], whole[..., inner], atol=1e-4)
    assert np.abs(stitched).max() < 10  # the ends do not blow up


@pytest.mark.parametrize("length", [1, 2, 39, 40, 41, 100, 401])
def test_a_network_of_fixed_windows_covers_any_length(length: int) -> None:
    torch.manual_seed(0)
    backbone = TimeMAEBackbone(2, 40, d_model=8, n_layers=1, n_heads=2, wave_length=8, dropout=0.0)
    model = Denoiser(backbone, TokenDecoder(8, 2, 8), window=40)
    found = in_pieces(model, recording(length, 2), 10**6)
    assert found.shape == (2, 2, length)
    assert np.isfinite(found).all()


class Passing(nn.Module):
    """Answers what it is shown."""

    multiple, reach = 4, 10

    def forward(self, signals: Tensor) -> Tensor:
        return signals


@pytest.mark.parametrize("length", [1, 5, 79, 80, 81, 159, 160, 161, 1000])
def test_what_passes_through_comes_out_whole_and_in_order(length: int) -> None:
    signals = recording(length)
    np.testing.assert_allclose(in_pieces(Denoiser(Passing()), signals, 80), signals, rtol=1e-5, atol=1e-6)


def test_only_a_piece_is_read_at_once() -> None:
    longest, signals = 0, recording(20_000)

    def read(first: int, last: int) -> np.ndarray:
        nonlocal longest
        longest = max(longest, last - first)
        return signals[..., first:last]

    for stretch in cleaned(Denoiser(Passing()), read, 20_000, CPU, piece=200):
        assert stretch.shape[-1] <= 200
    assert longest <= 200
