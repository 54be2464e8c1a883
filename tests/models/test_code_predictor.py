"""The predictor of codes: which tokens make the score of a code."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ssl_bio.models.code_predictor import CodePredictor, overlap_shares
from ssl_bio.models.timemae import TimeMAEBackbone


@given(length=st.integers(1, 200), fine=st.integers(1, 40), factor=st.integers(1, 5))
def test_tokens_that_divide_a_code_count_alike(length: int, fine: int, factor: int) -> None:
    shares = overlap_shares(length=length, coarse=fine * factor, fine=fine)
    assert shares.shape == (-(-length // (fine * factor)), -(-length // fine))
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(len(shares)))
    whole = length // (fine * factor)  # codes that no end cuts
    expected = torch.eye(len(shares)).repeat_interleave(factor, dim=1)[:whole, : shares.shape[1]] / factor
    torch.testing.assert_close(shares[:whole], expected)


@given(length=st.integers(1, 200), coarse=st.integers(1, 60), fine=st.integers(1, 60))
def test_shares_are_those_of_samples(length: int, coarse: int, fine: int) -> None:
    shares = overlap_shares(length=length, coarse=coarse, fine=fine)
    counted = torch.zeros_like(shares)
    for sample in range(length):
        counted[sample // coarse, sample // fine] += 1
    torch.testing.assert_close(shares, counted / counted.sum(dim=1, keepdim=True))


@pytest.mark.parametrize(("wave_length", "code_length"), [(8, 8), (8, 16), (8, 30)])
def test_a_score_for_every_code(wave_length: int, code_length: int) -> None:
    backbone = TimeMAEBackbone(n_channels=1, length=60, d_model=16, n_layers=1, wave_length=wave_length)
    model = CodePredictor(backbone=backbone, vocab_size=5, code_length=code_length)
    assert model(torch.randn(3, 1, 60)).shape == (3, -(-60 // code_length), 5)
    assert not any(name.startswith("shares") for name in model.state_dict())


def test_tokens_longer_than_codes_are_refused() -> None:
    backbone = TimeMAEBackbone(n_channels=1, length=64, wave_length=16)
    with pytest.raises(ValueError, match="a token stands for 16 samples, a code for 8"):
        CodePredictor(backbone=backbone, vocab_size=5, code_length=8)
