"""Losses between a denoised signal and the clean one."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

_N_SCALES = 36
_SNR_FLOOR = 1e-4  # 40 dB under signals of deviation 1: no need to be better
_CYCLES = 5.0  # the Morlet wavelet's central frequency times its deviation


def waveform_loss(predictions: Tensor, clean: Tensor, *, loss: str, peak_weight: float) -> Tensor:
    """Return the loss of each signal `(batch, n_channels, length)`, `(batch,)`: terms joined by "+", summed.

    "l1" and "mse" are means over samples; "snr" is the natural logarithm of the latter, which counts a dB the same in
    easy windows and hard ones; "peak" is l1 in which the highest sample of a channel weighs `1 + peak_weight`, one at
    zero 1, those between in proportion; "wavelet" is the mean magnitude of the error's coefficients in 36 Morlet
    wavelets, from a period of 4 samples to one of a quarter of the signal.
    """
    terms = [_term(name, predictions - clean, clean=clean, peak_weight=peak_weight) for name in loss.split("+")]
    return torch.stack(terms).sum(dim=0)


def _term(name: str, error: Tensor, *, clean: Tensor, peak_weight: float) -> Tensor:
    if name == "wavelet":
        return morlet(error).abs().flatten(1).mean(dim=1)
    if name in ("mse", "snr"):
        squared = error.square().flatten(1).mean(dim=1)
        return squared if name == "mse" else (squared + _SNR_FLOOR).log()
    weight = torch.ones_like(clean)
    if name == "peak":
        weight = 1 + peak_weight * clean.abs() / clean.abs().amax(dim=-1, keepdim=True).clamp(min=1e-12)
    return (error.abs() * weight).flatten(1).mean(dim=1)


def morlet(signals: Tensor) -> Tensor:
    """Return the continuous wavelet transform of signals `(..., length)`: `(..., 36, length)`, complex, fastest first.

    By Morlet wavelets (Torrence and Compo 1998, equation 4 with a central frequency of 5), each scaled so that a sine
    of height 1 gives magnitudes of 1.
    """
    length = signals.shape[-1]
    padded = 2 * length  # so that the end does not meet the beginning
    periods = torch.logspace(math.log10(4), math.log10(max(length / 4, 5)), _N_SCALES, device=signals.device)
    frequency = torch.fft.rfftfreq(padded, device=signals.device)
    filters = 2 * torch.exp(-0.5 * (_CYCLES * (frequency * periods[:, None] - 1)) ** 2)
    spectrum = torch.fft.rfft(signals, padded)[..., None, :] * filters
    analytic = F.pad(spectrum, (0, padded - spectrum.shape[-1]))  # no negative frequencies
    found: Tensor = torch.fft.ifft(analytic)
    return found[..., :length]
