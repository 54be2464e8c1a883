"""The room around the quantisation library: shapes, gradients, counts, revival."""

import pytest
import torch

from ssl_bio.models.quantizer import Quantizer


def tokens(batch: int = 4, n: int = 50, width: int = 16) -> torch.Tensor:
    return torch.randn(batch, n, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
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
def test_every_kind_gives_tokens_codes_and_a_gradient(options: dict[str, object], n_codebooks: int, size: int) -> None:
    torch.manual_seed(0)
    quantizer = Quantizer(16, 32, **options)  # type: ignore[arg-type]  # a table of mixed options
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
    quantizer = Quantizer(16, 32)
    quantizer(tokens())
    quantizer.eval()
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    first, second = quantizer(tokens()), quantizer(tokens())
    assert torch.equal(first.codes, second.codes)
    assert first.commitment == 0
    assert all(torch.equal(before[name], value) for name, value in quantizer.state_dict().items())


def test_nearest_code_is_taken() -> None:
    torch.manual_seed(0)
    quantizer = Quantizer(16, 32).train()
    quantizer(tokens())
    quantizer.eval()
    codebook = quantizer.inner.codebook
    assert isinstance(codebook, torch.Tensor)
    found = quantizer(tokens())
    expected = torch.cdist(tokens().flatten(0, 1), codebook).argmin(dim=1)
    assert torch.equal(found.codes.flatten(), expected)
    torch.testing.assert_close(found.tokens.flatten(0, 1), codebook[expected])


def test_more_codes_than_tokens_start_as_copies_and_revival_spreads_them() -> None:
    torch.manual_seed(0)
    quantizer = Quantizer(16, 64, revive_below=0.5, decay=0.5)
    quantizer(tokens(1, 20))
    assert torch.isfinite(quantizer.inner.codebook).all()  # type: ignore[arg-type]  # a buffer
    for seed in range(30):
        generator = torch.Generator().manual_seed(seed)
        found = quantizer(torch.randn(8, 50, 16, generator=generator))
    assert (quantizer.counts(found.codes) > 0).float().mean() > 0.9


def test_combinations_that_do_not_exist() -> None:
    with pytest.raises(ValueError, match="kind 'vq'"):
        Quantizer(16, 32, kind="simvq", levels=2)
    with pytest.raises(ValueError, match="multiple"):
        Quantizer(16, 32, groups=3)
