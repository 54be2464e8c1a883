"""RankMe against its definition."""

import pytest
import torch

from ssl_bio.metrics.embeddings import rankme


def test_it_is_the_exponential_of_the_entropy_of_singular_values() -> None:
    embeddings = torch.randn(200, 7, generator=torch.Generator().manual_seed(0)) * torch.logspace(0, -2, 7)
    share = torch.linalg.svdvals(embeddings) / torch.linalg.svdvals(embeddings).sum()
    assert rankme(embeddings.T @ embeddings) == pytest.approx(float(torch.exp(-(share * share.log()).sum())), rel=1e-4)


def test_its_ends() -> None:
    assert rankme(torch.eye(9)) == pytest.approx(9)
    line = torch.randn(50, 1, generator=torch.Generator().manual_seed(0)) * torch.ones(4)
    assert rankme(line.double().T @ line.double()) == pytest.approx(1, abs=1e-3)
    assert rankme(torch.zeros(3, 3)) == 0
