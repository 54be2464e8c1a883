"""Pooling and the classifier."""

import pytest
import torch

from ssl_bio.models.dilated import DilatedBackbone
from ssl_bio.models.heads import Pooling, Predictor
from ssl_bio.models.timemae import TimeMAEBackbone


def test_pooling_by_hand() -> None:
    tokens = torch.tensor([[[1.0, 4.0], [3.0, 4.0]]])
    pooled = Pooling(["mean", "max", "std"])(tokens)
    torch.testing.assert_close(pooled, torch.tensor([[2.0, 4.0, 3.0, 4.0, 1.0, 1e-4]]))
    with pytest.raises(ValueError, match="mean, max, std, middle or attention"):
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
    backbone = TimeMAEBackbone(n_channels=2, length=64, d_model=16, n_layers=2, stem=stem)
    classifier = Predictor(backbone=backbone, n_outputs=4, pooling=["mean", "max"], layers="all")
    x = torch.randn(3, 2, 64)
    assert classifier.features(x).shape == (3, n_features)
    assert classifier(x).shape == (3, 4)
    last = Predictor(backbone=backbone, n_outputs=4, pooling=["mean", "max"]).eval()
    torch.testing.assert_close(last.features(x), classifier.eval().features(x)[:, -32:])


def test_feature_scaling_is_part_of_the_network() -> None:
    classifier = Predictor(
        backbone=TimeMAEBackbone(n_channels=2, length=64, d_model=16, n_layers=1), n_outputs=4
    ).eval()
    x = torch.randn(3, 2, 64)
    classifier.feature_mean.fill_(1.0)
    classifier.feature_std.fill_(2.0)
    torch.testing.assert_close(classifier(x), classifier.head((classifier.features(x) - 1) / 2))


def test_segments_of_a_window_are_pooled_apart() -> None:
    backbone = TimeMAEBackbone(n_channels=2, length=64, d_model=16, n_layers=1).eval()
    x = torch.randn(3, 2, 64)
    tokens = backbone(x)
    pooled = Predictor(backbone=backbone, n_outputs=4, pooling=["mean", "max"], pool_segments=2).features(x)
    expected = [tokens[:, :4].mean(1), tokens[:, :4].amax(1), tokens[:, 4:].mean(1), tokens[:, 4:].amax(1)]
    torch.testing.assert_close(pooled, torch.cat(expected, dim=1))


def test_attention_pooling_is_a_weighted_mean() -> None:
    tokens = torch.randn(2, 5, 3)
    pool = Pooling(["attention"], 3)
    first, _, last = pool.score
    assert isinstance(first, torch.nn.Linear)
    assert isinstance(last, torch.nn.Linear)
    torch.nn.init.zeros_(last.weight)
    torch.testing.assert_close(pool(tokens), tokens.mean(dim=1))
    with torch.no_grad():
        first.weight.copy_(10 * torch.eye(3))
        first.bias.zero_()
        last.weight.copy_(torch.tensor([[100.0, 0, 0]]))
    marked = tokens.clone()
    marked[:, :, 0], marked[:, 2, 0] = -1, 1
    torch.testing.assert_close(pool(marked), marked[:, 2])


def test_head_of_two_layers() -> None:
    model = Predictor(
        backbone=TimeMAEBackbone(n_channels=2, length=64, d_model=16, n_layers=1), n_outputs=4, head="mlp", head_width=7
    )
    assert [tuple(p.shape) for p in model.head.parameters()] == [(7, 16), (7,), (4, 7), (4,)]
    with pytest.raises(ValueError, match="linear"):
        Predictor(backbone=TimeMAEBackbone(n_channels=2, length=64, d_model=16, n_layers=1), n_outputs=4, head="deep")


@pytest.mark.parametrize("stem", ["patch", "conv"])
def test_stages_go_from_the_input_to_the_tokens(stem: str) -> None:
    backbone = TimeMAEBackbone(n_channels=2, length=64, d_model=16, n_layers=3, stem=stem)
    stages = backbone.stages()
    assert any(parameter is backbone.position for parameter in stages[0].parameters())
    assert stages[-3:] == [backbone.get_submodule(f"encoder.blocks.{layer}") for layer in range(3)]
    assert len(stages) == 1 + 3 + (2 if stem == "conv" else 0)


def test_the_middle_token_answers_as_it_does_among_all() -> None:
    model = Predictor(
        backbone=DilatedBackbone(n_channels=1, length=40, d_model=8, n_layers=2), n_outputs=3, pooling=("middle",)
    ).eval()
    x = torch.randn(4, 1, 40)
    per_token = model.predict_per_token(x)
    assert per_token.shape == (4, 20, 3)
    torch.testing.assert_close(model(x), per_token[:, 10])
