"""Masks over tokens and moving averages."""

from functools import partial

import pytest
import torch
from torch import nn

from ssl_bio.models.masking import ema_update, gather_tokens, random_mask


@pytest.mark.parametrize(("n_tokens", "ratio", "expected"), [(16, 0.6, 9), (16, 0.01, 1), (16, 0.99, 15), (2, 0.5, 1)])
def test_number_of_masked_tokens(n_tokens: int, ratio: float, expected: int) -> None:
    for per_sample in (False, True):
        masked = random_mask(n_tokens=n_tokens, mask_ratio=ratio, batch_size=5, per_sample=per_sample)
        assert masked.shape == (5, expected)
        assert all(len(set(row.tolist())) == expected for row in masked)


def test_one_mask_a_step_or_one_a_window() -> None:
    torch.manual_seed(0)
    draw = partial(random_mask, n_tokens=16, mask_ratio=0.6)
    assert len({tuple(row.tolist()) for row in draw(batch_size=50, per_sample=False)}) == 1
    assert len({tuple(row.tolist()) for row in draw(batch_size=50, per_sample=True)}) > 40
    first, second = (draw(batch_size=1, per_sample=False) for _ in range(2))
    assert first.tolist() != second.tolist(), "drawn afresh each step"


def test_tokens_are_gathered_at_positions() -> None:
    tokens = torch.arange(12.0).view(2, 3, 2)
    gathered = gather_tokens(tokens, torch.tensor([[2, 0], [1, 1]]))
    assert gathered.tolist() == [[[4, 5], [0, 1]], [[8, 9], [8, 9]]]


def test_target_follows_parameters_and_copies_buffers() -> None:
    target, online = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    with torch.no_grad():
        online.weight.fill_(3.0)
    online(torch.randn(8, 2))
    ema_update(target=target, online=online, momentum=0.75)
    torch.testing.assert_close(target.weight, torch.full((2,), 1.5))
    assert target.num_batches_tracked == 1
    torch.testing.assert_close(target.running_var, online.running_var, rtol=0, atol=0)
