"""Reconstruction: the denoising loss of signals without noise."""

import pytest
import torch

from ssl_bio.models.denoiser import SignalDenoiser
from ssl_bio.models.wave_unet import WaveUNet
from ssl_bio.pretexts.reconstruction import ReconstructionObjective
from ssl_bio.tasks.denoising.task import DenoisingObjective
from ssl_bio.training.objective import TensorBatch


@torch.no_grad()
@pytest.mark.parametrize("loss", ["mse", "l1"])
def test_it_is_denoising_without_noise(loss: str) -> None:
    torch.manual_seed(0)
    model = SignalDenoiser(backbone=WaveUNet(n_channels=1, width=4, n_layers=1, stride=1)).eval()
    signals = torch.randn(4, 1, 64)
    ours = ReconstructionObjective(model, lr=1e-3, backbone_lr=1e-3, loss=loss).step(TensorBatch(signals))
    theirs = DenoisingObjective(model, lr=1e-3, backbone_lr=1e-3, loss=loss).step(
        TensorBatch(signals, torch.zeros_like(signals))
    )
    assert torch.equal(ours.loss, theirs.loss)
    centred = signals - signals.mean(dim=-1, keepdim=True)
    scaled = centred / centred.std(dim=-1, keepdim=True)
    error = model(scaled) - scaled
    by_hand = error.square().mean() if loss == "mse" else error.abs().mean()
    torch.testing.assert_close(ours.loss, by_hand)
