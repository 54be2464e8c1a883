"""Losses of waveforms, against what they are by definition."""

import math

import numpy as np
import pytest
import torch

from ssl_bio.models.waveform_loss import morlet, waveform_loss


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 2, 200, generator=generator), torch.randn(3, 2, 200, generator=generator)


def test_means_over_samples() -> None:
    predictions, clean = pair()
    error = (predictions - clean).flatten(1)
    torch.testing.assert_close(waveform_loss(predictions, clean, loss="l1", peak_weight=0.0), error.abs().mean(dim=1))
    torch.testing.assert_close(
        waveform_loss(predictions, clean, loss="mse", peak_weight=0.0), error.square().mean(dim=1)
    )
    decibels = 10 * math.log10(math.e) * waveform_loss(predictions, clean, loss="snr", peak_weight=0.0)
    torch.testing.assert_close(decibels, 10 * torch.log10(error.square().mean(dim=1)), atol=1e-3, rtol=1e-3)


def test_an_error_at_a_peak_weighs_more() -> None:
    clean = torch.zeros(1, 1, 100)
    clean[..., 50] = 2.0
    at_peak, elsewhere = clean.clone(), clean.clone()
    at_peak[..., 50] += 1
    elsewhere[..., 10] += 1
    ratio = waveform_loss(at_peak, clean, loss="peak", peak_weight=4.0) / waveform_loss(
        elsewhere, clean, loss="peak", peak_weight=4.0
    )
    assert float(ratio) == pytest.approx(5)
    torch.testing.assert_close(
        waveform_loss(at_peak, clean, loss="peak", peak_weight=0.0),
        waveform_loss(at_peak, clean, loss="l1", peak_weight=0.0),
    )


def test_terms_are_summed() -> None:
    predictions, clean = pair()
    both = waveform_loss(predictions, clean, loss="peak+wavelet", peak_weight=2.0)
    apart = waveform_loss(predictions, clean, loss="peak", peak_weight=2.0) + waveform_loss(
        predictions, clean, loss="wavelet", peak_weight=2.0
    )
    torch.testing.assert_close(both, apart)


def test_a_sine_shows_in_the_wavelet_of_its_period() -> None:
    length, period = 800, 40
    sine = torch.from_numpy(np.sin(2 * np.pi * np.arange(length) / period)).float()
    strength = morlet(sine)[:, 200:600].abs().mean(dim=1)
    periods = np.geomspace(4, length / 4, 36)
    assert periods[int(strength.argmax())] == pytest.approx(period, rel=0.1)
    assert float(strength.max()) == pytest.approx(1, abs=0.1)
    assert float(strength[0]) < 0.01


def test_it_has_gradients_even_for_flat_signals() -> None:
    predictions = torch.zeros(2, 1, 64, requires_grad=True)
    waveform_loss(predictions, torch.zeros(2, 1, 64), loss="l1+mse+snr+peak+wavelet", peak_weight=4.0).sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    assert predictions.grad is not None
    assert torch.isfinite(predictions.grad).all()
