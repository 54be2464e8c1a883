"""Metrics of codes against hand-computed cases and scikit-learn."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import ndcg_score

from ssl_bio.metrics.codes import codes_used, ndcg, perplexity


def test_ndcg_by_hand() -> None:
    scores = torch.tensor([[0.9, 0.1, 0.5, 0.3], [0.1, 0.9, 0.5, 0.3], [0.4, 0.3, 0.2, 0.1]])
    # Ranks of the targets from 0: item 0 first; item 3 third; item 3 last.
    targets = torch.tensor([0, 3, 3])
    expected = (1 + 1 / math.log2(4) + 1 / math.log2(5)) / 3
    assert ndcg(scores, targets, k=10).item() == pytest.approx(expected)
    cut_off = (1 + 1 / math.log2(4) + 0) / 3
    assert ndcg(scores, targets, k=3).item() == pytest.approx(cut_off)


def test_ndcg_agrees_with_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(200, 30, generator=generator)
    targets = torch.randint(30, (200,), generator=generator)
    relevance = np.eye(30)[targets.numpy()]
    assert ndcg(scores, targets).item() == pytest.approx(ndcg_score(relevance, scores.numpy(), k=10), abs=1e-6)


def test_ties_count_against_the_target() -> None:
    assert ndcg(torch.zeros(1, 4), torch.tensor([0])).item() == pytest.approx(1 / math.log2(5))


def test_perplexity() -> None:
    assert perplexity(torch.tensor([5.0, 5.0, 0.0, 0.0])).item() == pytest.approx(2)
    assert perplexity(torch.tensor([7.0, 0.0])).item() == pytest.approx(1)
    assert perplexity(torch.ones(192)).item() == pytest.approx(192, rel=1e-5)


def test_use_of_each_codebook() -> None:
    counts = torch.tensor([[5.0, 5.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    assert perplexity(counts).tolist() == pytest.approx([2, 4, 1])
    assert codes_used(counts).tolist() == [0.5, 1.0, 0.0]
