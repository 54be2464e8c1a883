"""Linear probes: the same answer as scikit-learn, and a proof that the backbone stayed frozen."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.preprocessing import StandardScaler
from torch import nn

from ssl_bio.data.loader import FeatureDataset, Loader
from ssl_bio.errors import TrainingError
from ssl_bio.models.convnet import ConvBackbone
from ssl_bio.models.heads import Predictor, Unit
from ssl_bio.training import probe

CPU = torch.device("cpu")


def predictor(n_outputs: int, *, unit: Unit | None = None, head: str = "linear", window: int = 0) -> Predictor:
    torch.manual_seed(0)
    backbone = ConvBackbone(n_channels=2, length=64, d_model=16, wave_length=8)
    return Predictor(
        backbone=backbone,
        n_outputs=n_outputs,
        pooling=("mean", "max", "std"),
        layers="all",
        head=head,
        unit=unit,
        window=window,
    )


def signals(n: int, length: int = 64) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, 2, length)).astype(np.float32)


def loader(values: np.ndarray) -> Loader:
    return Loader(source=FeatureDataset(values=values, targets=np.zeros(len(values), int)), batch_size=32)


def scaled(model: Predictor, x: np.ndarray) -> np.ndarray:
    """Return standardised features, as the model's head sees them, having taught it how to scale them."""
    features = probe.extract_features(model, loader(x), CPU)
    probe.standardise_features(model, features)
    found = probe.scaled_features(model, features)
    np.testing.assert_allclose(found, StandardScaler().fit_transform(features), atol=1e-3)
    return found


@torch.no_grad()
def outputs(model: Predictor, x: np.ndarray) -> np.ndarray:
    return np.asarray(model.eval()(torch.from_numpy(x)))


@pytest.mark.parametrize("n_classes", [2, 4])
def test_a_solved_head_is_the_logistic_regression(n_classes: int) -> None:
    model, x = predictor(n_classes), signals(90)
    targets = np.arange(90) % n_classes
    features = scaled(model, x)
    head = probe.logistic_classifier(features, targets, 1.0)
    assert head.converged
    probe.set_head(model, head)
    reference = LogisticRegression(C=1.0, max_iter=1000).fit(features, targets)
    ours = torch.from_numpy(outputs(model, x)).softmax(1).numpy()
    np.testing.assert_allclose(ours, reference.predict_proba(features), atol=2e-3)


def test_a_solver_that_does_not_converge_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_MAX_ITERATIONS", 1)
    features, targets = scaled(predictor(2), signals(90)), np.arange(90) % 2
    assert not probe.logistic_classifier(features, targets, 1.0).converged
    assert not probe.logistic_labels(features, targets[:, None], 1.0).converged


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_solved_head_is_the_ridge_classifier(n_classes: int) -> None:
    model, x = predictor(n_classes), signals(90)
    targets = np.digitize(x[:, 0].mean(axis=1), [0.0, 0.1][: n_classes - 1])
    features = scaled(model, x)
    probe.set_head(model, probe.ridge_classifier(features, targets, 50.0))
    reference = RidgeClassifier(alpha=50.0).fit(features, targets).predict(features)
    assert len(set(reference.tolist())) == n_classes
    np.testing.assert_array_equal(outputs(model, x).argmax(axis=1), reference)


def test_solved_values_are_ridge_regression_in_their_unit() -> None:
    x = signals(60)
    targets = np.stack([70 + 10 * x[:, 0].mean(axis=1), x[:, 1].std(axis=1)], axis=1)
    mean, std = targets.mean(axis=0), targets.std(axis=0)
    model = predictor(2, unit=Unit(mean.tolist(), std.tolist()))
    features = scaled(model, x)
    probe.set_head(model, probe.ridge_regression(features, (targets - mean) / std, 3.0))
    reference = Ridge(alpha=3.0).fit(features, targets).predict(features)
    np.testing.assert_allclose(outputs(model, x), reference, rtol=1e-3)


def test_a_single_value_has_a_row_of_weights() -> None:
    x = signals(30)
    model = predictor(1)
    head = probe.ridge_regression(scaled(model, x), x[:, 0].mean(axis=1, keepdims=True).astype(float), 1.0)
    probe.set_head(model, head)
    assert outputs(model, x).shape == (30, 1)


@pytest.mark.parametrize("kind", ["logistic", "ridge"])
def test_solved_labels_one_of_which_nobody_has(kind: str) -> None:
    x, model = signals(80), predictor(3)
    targets = np.stack([x[:, 0].mean(axis=1) > 0, np.zeros(80, bool), x[:, 1].mean(axis=1) > 0], axis=1).astype(int)
    solve = probe.logistic_labels if kind == "logistic" else probe.ridge_classifier
    probe.set_head(model, solve(scaled(model, x), targets, 1.0))
    found = outputs(model, x) > 0
    assert not found[:, 1].any()
    assert (found == targets).mean() > 0.9


def test_a_label_that_everybody_has_is_predicted_always() -> None:
    head = probe.logistic_labels(signals(10)[:, 0], np.ones((10, 1), int), 1.0)
    assert head.converged
    assert not head.weight.any()
    assert head.bias > 0


def test_only_a_linear_head_can_be_solved_for() -> None:
    with pytest.raises(TypeError, match="only a linear head"):
        probe.set_head(predictor(2, head="mlp"), probe.LinearHead(np.zeros((2, 3)), np.zeros(2)))


def test_features_of_longer_windows_are_the_mean_over_crops() -> None:
    model, x = predictor(2, window=64), signals(5, length=128)
    crops = [probe.extract_features(model, loader(part), CPU) for part in (x[..., :64], x[..., 64:])]
    np.testing.assert_allclose(probe.extract_features(model, loader(x), CPU), np.mean(crops, axis=0), rtol=1e-5)


def test_extraction_leaves_batch_normalisation_alone() -> None:
    model = predictor(2).train()
    assert any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in model.modules())
    before = probe.digest(model.backbone)
    with probe.frozen(model.backbone) as digest:
        probe.extract_features(model, loader(signals(40)), CPU)
    assert digest == before == probe.digest(model.backbone)
    assert model.training


@pytest.mark.parametrize("harm", ["parameter", "buffer"])
def test_any_change_of_the_backbone_is_caught(harm: str) -> None:
    model = predictor(2)

    def change() -> None:
        with torch.no_grad():
            if harm == "parameter":
                next(model.backbone.parameters())[0] += 1e-7
            else:
                model.train()(torch.from_numpy(signals(8)))

    with pytest.raises(TrainingError, match="frozen backbone changed"), probe.frozen(model.backbone):
        change()
