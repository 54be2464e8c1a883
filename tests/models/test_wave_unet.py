"""Networks that denoise: shapes, how far they see, and that they treat every moment alike."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from ssl_bio.models.diffusion import Diffusion
from ssl_bio.models.wave_unet import PixelShuffle, Shape, WaveUNet, _near_attention

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "wave": lambda: WaveUNet(2, 2, Shape(4, 2, 2)),
    "wave, one step": lambda: WaveUNet(2, 2, Shape(4, 1, 1)),
    "wave with transformer": lambda: WaveUNet(2, 2, Shape(4, 2, 1, bottleneck_layers=2, n_heads=2)),
    "pixel shuffle": lambda: PixelShuffle(2, 2, Shape(4, 2, 2)),
    "pixel shuffle with transformer": lambda: PixelShuffle(2, 2, Shape(4, 2, 1, 1, n_heads=2)),
    "diffusion": lambda: Diffusion(2, Shape(4, 1, 1), sampling_steps=2),
}


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return NETWORKS[request.param]().eval()


@pytest.mark.parametrize("length", [1, 7, 256, 1000])
def test_any_length_comes_out_as_it_went_in(network: nn.Module, length: int) -> None:
    assert network(torch.randn(3, 2, length)).shape == (3, 2, length)


def test_nothing_beyond_its_reach_is_seen(network: nn.Module) -> None:
    reach, multiple = int(network.reach), int(network.multiple)  # type: ignore[arg-type]
    length = -(-(2 * reach + 3 * multiple) // multiple) * multiple
    signals = torch.randn(1, 2, length, dtype=torch.float64, requires_grad=True)
    place = length // 2
    network.double()(signals)[0, :, place].sum().backward()
    assert signals.grad is not None
    seen = signals.grad.abs().amax(dim=(0, 1)).nonzero()[:, 0]
    assert place - reach <= int(seen.min())
    assert int(seen.max()) <= place + reach
    assert int(seen.max() - seen.min()) > 4


def test_a_delayed_signal_gives_the_same_answer_delayed(network: nn.Module) -> None:
    reach, multiple = int(network.reach), int(network.multiple)  # type: ignore[arg-type]
    signals = torch.randn(1, 2, -(-(2 * reach + 4 * multiple) // multiple) * multiple)
    with torch.no_grad():
        whole, later = network(signals), network(signals[..., multiple:])
    middle = slice(reach, -reach - multiple) if reach else slice(None)
    torch.testing.assert_close(whole[..., multiple:][..., middle], later[..., middle], rtol=1e-4, atol=1e-4)


def test_diffusion_repeats_itself_and_learns_from_any_level() -> None:
    model = Diffusion(1, Shape(4, 1, 1), sampling_steps=3).eval()
    noisy, clean = torch.randn(2, 1, 64), torch.randn(2, 1, 64)
    torch.testing.assert_close(model(noisy), model(noisy), rtol=0, atol=0)
    assert model.guess(noisy, clean).shape == clean.shape


def test_heads_must_divide_the_deepest_level() -> None:
    with pytest.raises(ValueError, match="not a multiple of n_heads 4"):
        WaveUNet(1, 1, Shape(3, 1, bottleneck_layers=1, n_heads=4))


@pytest.mark.parametrize("n", [1, 31, 32, 33, 64, 100])
def test_attention_in_blocks_is_attention_with_a_band(n: int) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, n, 4, generator=generator) for _ in range(3))
    bias = torch.randn(3, 65, generator=generator)
    place = torch.arange(n)
    distance = place - place[:, None]
    mask = bias[:, distance.clamp(-32, 32) + 32].masked_fill(distance.abs() > 32, -torch.inf)
    wanted = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    torch.testing.assert_close(_near_attention(q, k, v, bias), wanted)
