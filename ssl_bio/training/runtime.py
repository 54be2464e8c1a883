"""Device, evaluation mode, randomness and versions.

Randomness is stateless: every stream is a function of (seed, purpose, epoch, step), so nothing about generators is
ever stored and a resumed run draws what an uninterrupted one would have drawn.
"""

import platform
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

import ssl_bio
from ssl_bio.errors import RecipeError


def pick_device(name: str) -> torch.device:
    """Return the device "auto" (a GPU when there is one), "cpu" or "cuda". Raises RecipeError when there is none."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise RecipeError("--device cuda: this machine or this build of torch has no CUDA; use --device cpu")
    if name not in ("cpu", "cuda"):
        raise RecipeError(f"--device {name}: choose auto, cpu or cuda")
    return torch.device(name)


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode without gradients inside the block.

    After it every submodule is in the mode that it was in: a frozen one in evaluation mode stays there.
    """
    training = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, flag in training.items():
            part.training = flag


def stream(seed: int, purpose: str, *position: int) -> np.random.Generator:
    """Return the NumPy generator for a purpose ("order", "augment", "labels", ...) at a position (epoch, step)."""
    return np.random.Generator(np.random.SFC64(_entropy(seed, purpose, *position)))


def seed_torch(seed: int, purpose: str, *position: int) -> None:
    """Set torch's global generators, from which masks, dropout and Gumbel noise are drawn."""
    torch.manual_seed(int(_entropy(seed, purpose, *position).generate_state(1, np.uint64)[0] >> np.uint64(1)))


def versions() -> dict[str, str]:
    """Return what a result depends on besides the recipe and the data."""
    return {
        "ssl-bio": ssl_bio.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": str(torch.get_num_threads()),
    }


def _entropy(seed: int, purpose: str, *position: int) -> np.random.SeedSequence:
    # The length goes in too: SeedSequence takes (3,) and (3, 0) for the same.
    return np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), len(position), *position])
