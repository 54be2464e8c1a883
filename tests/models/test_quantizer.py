"""The quantisation library behind one interface: shapes, gradients, counts, dead codes."""

from typing import Any

import pytest
import torch
from torch import nn

from ssl_bio.models.quantizer import Quantizer
from tests.models.repeatability import assert_backward_repeats


def tokens(batch: int = 4, n: int = 50, width: int = 16) -> torch.Tensor:
    return torch.randn(batch, n, width, generator=torch.Generator().manual_seed(1))


KINDS = pytest.mark.parametrize(
    ("options", "n_codebooks", "size"),
    [
        ({}, 1, 32),
        ({"code_dim": 4, "cosine": True, "rotation_trick": True}, 1, 32),
        ({"levels": 3}, 3, 32),
        ({"groups": 2}, 2, 32),
        ({"groups": 2, "levels": 2, "code_dim": 4}, 4, 32),
        ({"kind": "fsq", "fsq_levels": [4, 4]}, 1, 16),
        ({"kind": "simvq"}, 1, 32),
        ({"kind": "simvq", "code_dim": 4}, 1, 32),
        ({"diversity": 0.1}, 1, 32),
    ],
)


@KINDS
def test_every_kind_gives_tokens_codes_and_a_gradient(options: dict[str, Any], n_codebooks: int, size: int) -> None:
    torch.manual_seed(0)
    quantizer = Quantizer(d_model=16, codebook_size=32, **options)
    x = tokens().requires_grad_()
    found = quantizer(x)
    assert found.tokens.shape == x.shape
    assert found.codes.shape == (4, 50, n_codebooks)
    assert (quantizer.n_codebooks, quantizer.codebook_size) == (n_codebooks, size)
    assert found.codes.min() >= 0
    assert found.codes.max() < size
    (found.tokens.square().sum() + found.commitment).backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert x.grad.abs().sum() > 0
    counts = quantizer.counts(found.codes)
    assert counts.shape == (n_codebooks, size)
    assert (counts.sum(dim=1) == 200).all()


def test_codes_mean_the_same_in_evaluation_and_nothing_moves() -> None:
    torch.manual_seed(0)
    quantizer = Quantizer(d_model=16, codebook_size=32)
    quantizer(tokens())
    quantizer.eval()
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    first, second = quantizer(tokens()), quantizer(tokens())
    assert torch.equal(first.codes, second.codes)
    assert first.commitment == 0
    assert all(torch.equal(before[name], value) for name, value in quantizer.state_dict().items())


def test_nearest_code_is_taken() -> None:
    torch.manual_seed(0)
    quantizer = Quantizer(d_model=16, codebook_size=32).train()
    quantizer(tokens())
    quantizer.eval()
    codebook = quantizer.inner.codebook
    assert isinstance(codebook, torch.Tensor)
    found = quantizer(tokens())
    expected = torch.cdist(tokens().flatten(0, 1), codebook).argmin(dim=1)
    assert torch.equal(found.codes.flatten(), expected)
    torch.testing.assert_close(found.tokens.flatten(0, 1), codebook[expected])


def test_more_codes_than_tokens_start_as_copies_and_dead_ones_are_spread() -> None:
    torch.manual_seed(0)
    quantizer = Quantizer(d_model=16, codebook_size=64, dead_code_threshold=0.5, decay=0.5)
    quantizer(tokens(1, 20))
    assert torch.isfinite(quantizer.inner.codebook).all()  # type: ignore[arg-type]  # a buffer
    for seed in range(30):
        generator = torch.Generator().manual_seed(seed)
        found = quantizer(torch.randn(8, 50, 16, generator=generator))
    assert (quantizer.counts(found.codes) > 0).float().mean() > 0.9


def test_combinations_that_do_not_exist() -> None:
    with pytest.raises(ValueError, match="kind 'vq'"):
        Quantizer(d_model=16, codebook_size=32, kind="simvq", levels=2)
    with pytest.raises(ValueError, match="multiple"):
        Quantizer(d_model=16, codebook_size=32, groups=3)


@KINDS
def test_backward_repeats_with_two_threads(options: dict[str, Any], n_codebooks: int, size: int) -> None:
    torch.manual_seed(0)
    quantizer = Quantizer(d_model=16, codebook_size=32, **options)
    layers, x = nn.Sequential(nn.Linear(16, 16), quantizer), tokens(64)

    def loss() -> torch.Tensor:
        found = layers(x)
        total: torch.Tensor = found.tokens.square().mean() + found.commitment
        return total

    assert_backward_repeats(layers, loss)


@pytest.mark.parametrize("rotation_trick", [False, True])
def test_simvq_is_the_librarys_but_for_the_order_of_sums(rotation_trick: bool) -> None:
    torch.manual_seed(0)
    quantizer = Quantizer(d_model=16, codebook_size=32, kind="simvq", rotation_trick=rotation_trick)
    x = tokens().requires_grad_()
    gradients = []
    for quantize in (quantizer, quantizer.inner):
        quantized, codes, loss = quantize(x)
        gradients.append(torch.autograd.grad((quantized * x.detach()).sum() + loss, [x, *quantizer.parameters()]))
    torch.testing.assert_close(*gradients)
    assert torch.equal(quantizer(x).codes[..., 0], codes)
