"""An S4D layer, forward and backward at length 4096 with 128 channels, beside a plain FFT rewrite and an LSTM.

Run: make bench.
"""

from typing import cast

import torch
from torch import Tensor, nn

from benchmarks.timing import Step, race
from ssl_bio.console import note, table
from ssl_bio.models.s4d import S4D, S4DKernel

LENGTH, N_CHANNELS, D_STATE, BATCH = 4096, 128, 64, 4


class PlainS4D(nn.Module):
    """The textbook: the whole Vandermonde matrix, `(channels, states, length)`, then an FFT convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = S4DKernel(n_channels=N_CHANNELS, d_state=D_STATE)
        self.skip = nn.Parameter(torch.randn(N_CHANNELS))

    def forward(self, u: Tensor) -> Tensor:
        log_a, cb = self.kernel.discretise()
        powers = torch.exp(log_a[..., None] * torch.arange(u.shape[-1]))
        kernel = 2 * torch.einsum("hn,hnl->hl", cb, powers).real
        size = 2 * u.shape[-1]
        y = torch.fft.irfft(torch.fft.rfft(u, size) * torch.fft.rfft(kernel, size), size)[..., : u.shape[-1]]
        return cast(Tensor, y + u * self.skip[:, None])


class Recurrent(nn.Module):
    """`torch.nn.LSTM` of the same width, channels first."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(N_CHANNELS, N_CHANNELS, batch_first=True)

    def forward(self, u: Tensor) -> Tensor:
        return cast(Tensor, self.lstm(u.transpose(1, 2))[0].transpose(1, 2))


def main() -> None:
    """Measure and print."""
    torch.manual_seed(0)
    modules = {
        "torch.nn.LSTM": Recurrent(),
        "plain FFT rewrite": PlainS4D(),
        "ssl-bio S4D": S4D(n_channels=N_CHANNELS, d_state=D_STATE),
    }
    times = race({name: _stepper(module) for name, module in modules.items()}, n_blocks=3, steps_in_block=2)
    slowest = times["torch.nn.LSTM"]
    note(
        f"batch {BATCH}, {N_CHANNELS} channels x {LENGTH} samples, {D_STATE} states, {torch.get_num_threads()} threads"
    )
    rows = [[name, f"{1000 * t:.0f}", f"{slowest / t:.1f}"] for name, t in times.items()]
    table("a layer, forward and backward", ["", "ms", "speed"], rows)


def _stepper(module: nn.Module) -> Step:
    signals = torch.randn(BATCH, N_CHANNELS, LENGTH)

    def step() -> None:
        module.zero_grad()
        module(signals).square().mean().backward()

    return step


if __name__ == "__main__":
    main()
