"""Pooling and the classifier."""

import pytest
import torch

from ssl_bio.models.heads import Pooling, Predictor
from ssl_bio.models.timemae import TimeMAEBackbone


def test_pooling_by_hand() -> None:
    tokens = torch.tensor([[[1.0, 4.0], [3.0, 4.0]]])
    pooled = Pooling(["mean", "max", "std"])(tokens)
    torch.testing.assert_close(pooled, torch.tensor([[2.0, 4.0, 3.0, 4.0, 1.0, 1e-4]]))
    with pytest.raises(ValueError, match="mean, max, std or attention"):
        Pooling(["median"])


def test_gradient_is_finite_where_all_tokens_agree() -> None:
    tokens = torch.ones(2, 5, 3, requires_grad=True)
    Pooling(["std"])(tokens).sum().backward()
    assert tokens.grad is not None
    assert torch.isfinite(tokens.grad).all()


@pytest.mark.parametrize(
    ("stem", "n_features"), [("patch", 2 * 16 * 3), ("conv", 2 * (32 * 0 + 16 + 16 + 16 + 2 * 16))]
)
def test_all_layers_are_pooled(stem: str, n_features: int) -> None:
    backbone = TimeMAEBackbone(2, 64, d_model=16, n_layers=2, stem=stem)
    classifier = Predictor(backbone, 4, ["mean", "max"], layers="all")
    x = torch.randn(3, 2, 64)
    assert classifier.features(x).shape == (3, n_features)
    assert classifier(x).shape == (3, 4)
    last = Predictor(backbone, 4, ["mean", "max"]).eval()
    torch.testing.assert_close(last.features(x), classifier.eval().features(x)[:, -32:])


def test_feature_scaling_is_part_of_the_network() -> None:
    classifier = Predictor(TimeMAEBackbone(2, 64, d_model=16, n_layers=1), 4).eval()
    x = torch.randn(3, 2, 64)
    classifier.feature_mean.fill_(1.0)
    classifier.feature_std.fill_(2.0)
    torch.testing.assert_close(classifier(x), classifier.head((classifier.features(x) - 1) / 2))
