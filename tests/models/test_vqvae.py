"""The VQ-VAE: lengths, disturbances of the input alone, bridges, coarse codes, frozen codes."""

import pytest
import torch

from ssl_bio.models.timemae import TimeMAEBackbone
from ssl_bio.models.vqvae import VQVAE, VQVAEBackbone
from tests.models.repeatability import assert_backward_repeats

S4D = {"d_state": 8, "bidirectional": True}


def model(length: int = 64, wave_length: int = 8, bridge: str = "conv1d", coarse: int = 1) -> VQVAE:
    torch.manual_seed(0)
    backbone = VQVAEBackbone(
        n_channels=2, length=length, d_model=16, width=8, n_layers=1, wave_length=wave_length, bridge=bridge, s4d=S4D
    )
    return VQVAE(backbone=backbone, quantizer={"codebook_size": 32}, coarse=coarse)


@pytest.mark.parametrize("bridge", ["conv1d", "linear", "mlp"])
@pytest.mark.parametrize(("length", "wave_length", "n_tokens"), [(64, 8, 8), (61, 8, 8), (90, 15, 6), (64, 1, 64)])
def test_every_length_comes_back(bridge: str, length: int, wave_length: int, n_tokens: int) -> None:
    whole = model(length, wave_length, bridge)
    found = whole(torch.randn(3, 2, length))
    assert found.signals.shape == found.target.shape == (3, 2, length)
    assert found.codes[0].shape == (3, n_tokens, 1)
    assert whole.backbone.n_tokens == n_tokens
    assert whole.backbone(torch.randn(3, 2, length)).shape == (3, n_tokens, 16)


def test_other_lengths_than_the_trained_one() -> None:
    whole = model().eval()
    whole.train()(torch.randn(8, 2, 64))
    assert whole.eval()(torch.randn(1, 2, 333)).signals.shape == (1, 2, 333)


def test_disturbed_input_clean_target() -> None:
    whole = model()
    whole(torch.randn(8, 2, 64))
    whole.eval()
    x = torch.randn(3, 2, 64)
    torch.manual_seed(3)
    plain, disturbed = whole(x), whole(x, noise=0.5, mask_ratio=0.5)
    assert torch.equal(plain.target, disturbed.target)
    assert torch.equal(plain.target, x)
    assert not torch.equal(plain.signals, disturbed.signals)


def test_masking_blanks_whole_tokens() -> None:
    whole = model()
    seen = []
    whole.backbone.get_submodule("enter").register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    torch.manual_seed(0)
    whole(torch.ones(50, 2, 64), mask_ratio=0.25)
    blocks = seen[0].view(50, 2, 8, 8)
    assert ((blocks == 0).all(dim=-1) | (blocks == 1).all(dim=-1)).all()
    assert 0.15 < (blocks[:, 0, :, 0] == 0).float().mean() < 0.35


@pytest.mark.parametrize("length", [64, 40])
def test_hierarchical_decoder_has_coarse_codes(length: int) -> None:
    whole = model(length, coarse=4)
    found = whole(torch.randn(8, 2, length))
    assert found.signals.shape == (8, 2, length)
    coarse, fine = found.codes
    assert coarse.shape == (8, -(-length // 32), 1)
    assert fine.shape == (8, length // 8, 1)
    assert [quantizer.codebook_size for quantizer in whole.quantizers] == [32, 32]
    assert whole.quantizers[0] is whole.coarse_quantizer
    found.signals.sum().backward()
    assert all(p.grad is not None for p in whole.parameters())


def test_what_cannot_be_built() -> None:
    with pytest.raises(ValueError, match="shorter than one token"):
        VQVAEBackbone(n_channels=1, length=7, wave_length=8)
    with pytest.raises(ValueError, match="window"):
        VQVAEBackbone(n_channels=1, length=64, normalize="window")
    with pytest.raises(ValueError, match="bridge"):
        VQVAEBackbone(n_channels=1, length=64, bridge="rope")
    with pytest.raises(ValueError, match="stride 3 does not divide"):
        VQVAEBackbone(n_channels=1, length=64, wave_length=8, stride=3)


@pytest.mark.parametrize("length", [64, 60])
@pytest.mark.parametrize("stem", ["patch", "conv"])
def test_a_transformer_of_patches_is_an_encoder_and_brings_its_decoder(stem: str, length: int) -> None:
    torch.manual_seed(0)
    backbone = TimeMAEBackbone(n_channels=2, length=length, d_model=16, n_layers=2, stem=stem, normalize="window")
    whole = VQVAE(backbone=backbone, quantizer={"codebook_size": 8})
    found = whole(torch.randn(6, 2, length))
    assert found.signals.shape == found.target.shape == (6, 2, length)
    assert found.codes[0].shape == (6, 8, 1), "one code for both channels"
    (found.signals.square().sum() + found.commitment).backward()
    assert all(p.grad is not None for p in whole.parameters())


def test_only_its_own_backbone_has_a_hierarchical_decoder() -> None:
    with pytest.raises(ValueError, match="hierarchical decoder needs a VQ-VAE's backbone, not TimeMAEBackbone"):
        VQVAE(backbone=TimeMAEBackbone(n_channels=1, length=64), coarse=2)


@pytest.mark.parametrize("coarse", [1, 4])
def test_backward_repeats_with_two_threads(coarse: int) -> None:
    whole, signals = model(coarse=coarse), torch.randn(64, 2, 64)

    def loss() -> torch.Tensor:
        found = whole(signals, noise=0.1, mask_ratio=0.2)
        total: torch.Tensor = (found.signals - found.target).square().mean() + found.commitment
        return total

    assert_backward_repeats(whole, loss)
