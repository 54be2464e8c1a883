"""How far a cleaned signal is from the clean one."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

_N_SCALES = 36
_SNR_FLOOR = 1e-4  # 40 dB under signals of deviation 1: no need to be better
_CYCLES = 5.0  # the Morlet wavelet's central frequency times its deviation


def waveform_loss(answers: Tensor, clean: Tensor, loss: str, peak_weight: float) -> Tensor:
    """The loss of each signal `(batch, n_channels, length)`, `(batch,)`: terms joined by "+", summed.

    "l1" and "mse" are means over samples; "snr" is the natural logarithm of the latter, which counts a dB the same in
    easy windows and hard ones; "peak" is l1 in which the highest sample of a channel weighs
    `1 + peak_weight`, one at zero 1, those between in proportion; "wavelet" is the mean magnitude of the error's
    coefficients in 36 Morlet wavelets, from a period of 4 samples to one of a quarter of the signal.
    """
    terms = [_term(name, answers - clean, clean, peak_weight) for name in loss.split("+")]
    return torch.stack(terms).sum(dim=0)


def _term(name: str, error: Tensor, clean: Tensor, peak_weight: float) -> Tensor:
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
    """The continuous wavelet transform of signals `(..., length)` by Morlet wavelets (Torrence and Compo 1998, equation
    4 with a central frequency of 5), each scaled so that a sine of height 1 gives magnitudes of 1: `(..., 36, length)`,
    complex, the fastest first."""
    length = signals.shape[-1]
    padded = 2 * length  # so that the end does not meet the beginning
    periods = torch.logspace(math.log10(4), math.log10(max(length / 4, 5)), _N_SCALES, device=signals.device)
    frequency = torch.fft.rfftfreq(padded, device=signals.device)
    bells = 2 * torch.exp(-0.5 * (_CYCLES * (frequency * periods[:, None] - 1)) ** 2)
    spectrum = torch.fft.rfft(signals, padded)[..., None, :] * bells
    analytic = F.pad(spectrum, (0, padded - spectrum.shape[-1]))  # of negative frequencies there is nothing
    found: Tensor = torch.fft.ifft(analytic)
    return found[..., :length]
