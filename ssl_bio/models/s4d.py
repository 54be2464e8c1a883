"""S4D: diagonal state spaces as long convolutions (Gu, Gupta, Goel and Ré 2022, arXiv 2206.11893).

Each channel is a linear system x' = A x + B u, y = Re(C x) + D u with a diagonal complex A, discretised with
its own step and applied as a convolution with the kernel K[l] = 2 Re(sum_n C_n B_n A_n^l), where conjugate
pairs are kept once and B = 1 is absorbed into C.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_bio.models.base import OwnLearningRate, ParameterOverrides
from ssl_bio.models.layers import Dropout

Initialisation = Literal["lin", "inv"]
Discretisation = Literal["zoh", "bilinear"]


class S4DKernel(nn.Module, OwnLearningRate):
    """The convolution kernel of one diagonal state space for each channel.

    `init`: "lin" A_n = -1/2 + i pi n, "inv" A_n = -1/2 + i N/pi (N/(2n+1) - 1) for n < N/2 (equations 8 and
    9 of the paper). Steps start log-uniformly between `step_min` and `step_max`, in samples^-1.

    A and the step train at the rate `lr` and without weight decay: they move the poles, and decaying those towards 0
    would lengthen the memory (as Gu et al. 2022 train S4D).
    """

    def __init__(
        self,
        *,
        n_channels: int,
        d_state: int = 64,
        init: Initialisation = "lin",
        discretisation: Discretisation = "zoh",
        step_min: float = 1e-3,
        step_max: float = 1e-1,
        lr: float = 1e-3,
    ) -> None:
        super().__init__()
        if d_state < 2 or d_state % 2:
            raise ValueError(f"d_state counts conjugate pairs, so it must be even, not {d_state}")
        if discretisation not in ("zoh", "bilinear"):
            raise ValueError(f"discretisation must be 'zoh' or 'bilinear', not {discretisation!r}")
        self.discretisation = discretisation
        self.lr = lr
        n = d_state // 2
        low, high = math.log(step_min), math.log(step_max)
        self.log_step = nn.Parameter(torch.rand(n_channels) * (high - low) + low)
        self.log_decay = nn.Parameter(torch.full((n_channels, n), math.log(0.5)))
        self.frequency = nn.Parameter(_frequencies(n, init).repeat(n_channels, 1))
        self.output = nn.Parameter(torch.randn(n_channels, n, 2) * math.sqrt(0.5))
        self._cached: tuple[tuple[object, ...], Tensor] | None = None
        self._fixed: Tensor | None = None

    def parameter_overrides(self) -> ParameterOverrides:
        """Return A and the step."""
        return ParameterOverrides("state_space", [self.log_step, self.log_decay, self.frequency], self.lr)

    def discretise(self) -> tuple[Tensor, Tensor]:
        """Return log of the discrete A, and C times the discrete B: complex, `(n_channels, d_state / 2)` each."""
        a = torch.complex(-self.log_decay.exp(), self.frequency)
        step = self.log_step.exp()[:, None]
        c = torch.view_as_complex(self.output)
        if self.discretisation == "zoh":
            log_a = step * a
            return log_a, c * (log_a.exp() - 1) / a
        half = step * a / 2
        return torch.log((1 + half) / (1 - half)), c * step / (1 - half)

    def forward(self, length: int) -> Tensor:
        """Return the first `length` samples of the kernels, `(n_channels, length)`.

        In evaluation without gradients the last one is kept and given again, until a parameter's version or the
        mode changes (fused optimisers change weights without a new version, but not between two evaluations).
        """
        if self._fixed is not None and self._fixed.shape[-1] == length:
            return self._fixed
        if self.training or torch.is_grad_enabled():
            return self._kernel(length)
        state = (length, *((p.data_ptr(), p._version) for p in self.parameters()))
        if self._cached is None or self._cached[0] != state:
            self._cached = (state, self._kernel(length))
        return self._cached[1]

    def train(self, mode: bool = True) -> "S4DKernel":
        """Set the mode, and drop the kept kernel."""
        self._cached = self._fixed = None
        return super().train(mode)

    def fix(self) -> None:
        """Take the kernel of the last evaluation for a constant, whatever becomes of the parameters, until the mode is
        set: for an export, which knows neither complex numbers nor other lengths."""
        self._fixed = self._cached[1].clone() if self._cached else None

    def _kernel(self, length: int) -> Tensor:
        # A^(a S + b) = A^(a S) A^b: the Vandermonde product becomes a product of two thin matrices, and
        # memory grows with n_channels x d_state x sqrt(length) instead of n_channels x d_state x length.
        log_a, cb = self.discretise()
        stride = math.isqrt(max(length - 1, 0)) + 1
        n_rows = -(-length // stride)
        rows = torch.arange(n_rows, device=log_a.device) * stride
        columns = torch.arange(stride, device=log_a.device)
        left = cb[:, None] * torch.exp(log_a[:, None] * rows[:, None])  # (n_channels, n_rows, n)
        right = torch.exp(log_a[..., None] * columns)  # (n_channels, n, stride)
        real = torch.cat([left.real, -left.imag], dim=2) @ torch.cat([right.real, right.imag], dim=1)
        return 2 * real.flatten(1)[:, :length]


class S4D(nn.Module):
    """The S4D layer: signals `(batch, n_channels, length)` of any length -> the same shape.

    Causal, or, with a second kernel that runs backwards in time, bidirectional. The convolution is
    computed by FFT over twice the length, so nothing wraps around.
    """

    def __init__(
        self,
        *,
        n_channels: int,
        d_state: int = 64,
        init: Initialisation = "lin",
        discretisation: Discretisation = "zoh",
        bidirectional: bool = False,
        lr: float = 1e-3,
    ) -> None:
        super().__init__()
        self.kernels = nn.ModuleList(
            S4DKernel(n_channels=n_channels, d_state=d_state, init=init, discretisation=discretisation, lr=lr)
            for _ in range(2 if bidirectional else 1)
        )
        self.skip = nn.Parameter(torch.randn(n_channels))

    def forward(self, u: Tensor) -> Tensor:
        length = u.shape[-1]
        forward, *backward = (kernel(length) for kernel in self.kernels)
        kernel = F.pad(forward, (0, length))
        if backward:  # lag -1 - l stands at position 2 length - 1 - l of the circle
            kernel = kernel + F.pad(backward[0].flip(-1), (length, 0))
        size = 2 * length
        spectrum = torch.fft.rfft(u, size) * torch.fft.rfft(kernel, size)
        y: Tensor = torch.fft.irfft(spectrum, size)[..., :length] + u * self.skip[:, None]
        return y


class S4DBlock(nn.Module):
    """Batch normalisation, S4D over time, GELU, a gated linear map over channels, residual; `(batch, width, length)`.

    Batch normalisation in place of the paper's layer normalisation: the loss is calmer with it.
    """

    def __init__(self, s4d: S4D, *, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)
        self.s4d = s4d
        self.mix = nn.Conv1d(width, 2 * width, 1)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        y = self.dropout(F.gelu(self.s4d(self.norm(x))))
        output: Tensor = x + self.dropout(F.glu(self.mix(y), dim=1))
        return output


def _frequencies(n: int, init: Initialisation) -> Tensor:
    """Return the imaginary parts of A for n conjugate pairs."""
    order = torch.arange(n, dtype=torch.float32)
    if init == "lin":
        return math.pi * order
    if init == "inv":
        return 2 * n / math.pi * (2 * n / (2 * order + 1) - 1)
    raise ValueError(f"init must be 'lin' or 'inv', not {init!r}")
