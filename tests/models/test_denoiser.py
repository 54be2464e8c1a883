"""Denoisers around networks of signals and around token backbones."""

import numpy as np
import torch

from ssl_bio.models.denoiser import SignalDenoiser, TokenDenoiser
from ssl_bio.models.diffusion import Diffusion
from ssl_bio.models.timemae import TimeMAEBackbone
from ssl_bio.models.wave_unet import WaveUNet


def test_a_network_of_signals_denoises_as_it_is() -> None:
    torch.manual_seed(0)
    network = WaveUNet(n_channels=2, width=4, n_layers=2)
    model = SignalDenoiser(backbone=network).eval()
    x = torch.randn(3, 2, 100)
    assert torch.equal(model(x), network(x))
    assert (model.window, model.decoder) == (0, None)
    assert (model.length_multiple, model.receptive_field) == (network.length_multiple, network.receptive_field)
    assert set(model.state_dict()) == {f"backbone.{name}" for name in network.state_dict()}


def test_diffusion_learns_a_single_step() -> None:
    torch.manual_seed(0)
    network = Diffusion(n_channels=1, width=4, n_layers=1, stride=1, sampling_steps=3)
    model, calls = SignalDenoiser(backbone=network).eval(), []
    network.network.register_forward_hook(lambda *_: calls.append(1))
    x = torch.randn(2, 1, 64)
    model.predict_x0(x, x)
    assert len(calls) == 1
    model(x)
    assert len(calls) == 1 + 3


def test_a_token_backbone_has_a_decoder_and_a_window() -> None:
    torch.manual_seed(0)
    backbone = TimeMAEBackbone(n_channels=2, length=61, d_model=8, n_layers=1, n_heads=2, normalize="channel")
    backbone.input_norm.set_statistics(mean=np.array([3.0, 4.0]), std=np.array([5.0, 6.0]))
    model = TokenDenoiser(backbone=backbone, window=61).eval()
    x = torch.randn(3, 2, 61)
    assert model(x).shape == x.shape
    assert torch.equal(model.predict_x0(x, x), model(x))
    assert (model.window, model.length_multiple, model.receptive_field) == (61, 1, 15)
    assert torch.equal(backbone.input_norm(x), x), "signals are scaled before they come"
    assert {name.partition(".")[0] for name in model.state_dict()} == {"backbone", "decoder"}
