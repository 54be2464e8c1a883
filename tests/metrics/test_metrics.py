"""Figures of merit against hand-computed cases and scikit-learn."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, ndcg_score, roc_auc_score

from ssl_bio import metrics


def test_ndcg_by_hand() -> None:
    scores = torch.tensor([[0.9, 0.1, 0.5, 0.3], [0.1, 0.9, 0.5, 0.3], [0.4, 0.3, 0.2, 0.1]])
    # Ranks of the targets from 0: item 0 first; item 3 third; item 3 last.
    targets = torch.tensor([0, 3, 3])
    expected = (1 + 1 / math.log2(4) + 1 / math.log2(5)) / 3
    assert metrics.ndcg(scores, targets, k=10).item() == pytest.approx(expected)
    cut = (1 + 1 / math.log2(4) + 0) / 3
    assert metrics.ndcg(scores, targets, k=3).item() == pytest.approx(cut)


def test_ndcg_agrees_with_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(200, 30, generator=generator)
    targets = torch.randint(30, (200,), generator=generator)
    relevance = np.eye(30)[targets.numpy()]
    assert metrics.ndcg(scores, targets).item() == pytest.approx(ndcg_score(relevance, scores.numpy(), k=10), abs=1e-6)


def test_ties_count_against_the_target() -> None:
    assert metrics.ndcg(torch.zeros(1, 4), torch.tensor([0])).item() == pytest.approx(1 / math.log2(5))


def test_perplexity() -> None:
    assert metrics.perplexity(torch.tensor([5.0, 5.0, 0.0, 0.0])).item() == pytest.approx(2)
    assert metrics.perplexity(torch.tensor([7.0, 0.0])).item() == pytest.approx(1)
    assert metrics.perplexity(torch.ones(192)).item() == pytest.approx(192, rel=1e-5)


def test_classification_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 4, 300)
    probabilities = rng.dirichlet(np.ones(4), 300)
    ours = metrics.classification(targets, probabilities)
    assert ours["AUROC"] == pytest.approx(roc_auc_score(targets, probabilities, multi_class="ovr"))
    assert ours["AUC_PR"] == pytest.approx(average_precision_score(np.eye(4)[targets], probabilities))
    assert ours["Accuracy"] == pytest.approx((probabilities.argmax(1) == targets).mean())


def test_absent_and_single_classes_do_not_break_it() -> None:
    probabilities = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1]])
    two = metrics.classification(np.array([0, 1, 0]), probabilities)
    assert two["Accuracy"] == two["AUROC"] == 1.0
    one = metrics.classification(np.array([0, 0, 0]), probabilities)
    assert one["Accuracy"] == pytest.approx(2 / 3)
    assert "AUROC" not in one


def test_confusion_rows_are_true_classes() -> None:
    counts = metrics.confusion(np.array([0, 0, 2]), np.array([[0.1, 0.9, 0], [1, 0, 0], [0, 0, 1.0]]))
    assert counts.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]


def test_codebook_use_of_each_codebook() -> None:
    counts = torch.tensor([[5.0, 5.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    assert metrics.perplexity(counts).tolist() == pytest.approx([2, 4, 1])
    assert metrics.codes_used(counts).tolist() == [0.5, 1.0, 0.0]
