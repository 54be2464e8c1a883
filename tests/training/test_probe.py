"""Probes: the same answer as scikit-learn, and a proof that the backbone stayed frozen."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.preprocessing import StandardScaler

from ssl_bio import probe
from ssl_bio.data.view import Batches, Features
from ssl_bio.errors import TrainingError
from ssl_bio.models.convnet import ConvBackbone
from ssl_bio.models.heads import Predictor, Unit
from ssl_bio.outcome import Classes, Labels, Values

CPU = torch.device("cpu")


def model(n_classes: int) -> Predictor:
    torch.manual_seed(0)
    return Predictor(ConvBackbone(2, 64, d_model=16, wave_length=8), n_classes, ("mean", "max", "std"), "all")


def signals(n: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, 2, 64)).astype(np.float32)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_solved_head_is_the_logistic_regression(n_classes: int) -> None:
    classifier, x = model(n_classes), signals(90)
    targets = np.arange(90) % n_classes
    features = probe.extract(classifier, Batches(Features(x, targets), 32), CPU)
    probe.standardise(classifier, features)
    outcome = Classes(names=("a", "b", "c", "d")[:n_classes])
    assert probe.solve(classifier, outcome, features, targets, "logistic", 1.0, 100.0)
    scaler = StandardScaler().fit(features)
    reference = LogisticRegression(C=1.0, max_iter=1000).fit(scaler.transform(features), targets)
    with torch.no_grad():
        ours = classifier.eval()(torch.from_numpy(x)).softmax(1).numpy()
    np.testing.assert_allclose(ours, reference.predict_proba(scaler.transform(features)), atol=2e-3)


def test_extraction_leaves_batch_normalisation_alone() -> None:
    classifier = model(2).train()
    before = probe.digest(classifier.backbone)
    with probe.frozen(classifier.backbone) as digest:
        probe.extract(classifier, Batches(Features(signals(40), np.zeros(40, int)), 16), CPU)
    assert digest == before == probe.digest(classifier.backbone)
    assert classifier.training


@pytest.mark.parametrize("n_classes", [2, 3])
def test_solved_head_is_the_ridge_classifier(n_classes: int) -> None:
    classifier, x = model(n_classes), signals(90)
    targets = np.digitize(x[:, 0].mean(axis=1), [0.0, 0.1][: n_classes - 1])
    features = probe.extract(classifier, Batches(Features(x, targets), 32), CPU)
    probe.standardise(classifier, features)
    outcome = Classes(names=("a", "b", "c")[:n_classes])
    assert probe.solve(classifier, outcome, features, targets, "ridge", 1.0, 50.0)
    scaled = StandardScaler().fit_transform(features)
    reference = RidgeClassifier(alpha=50.0).fit(scaled, targets).predict(scaled)
    assert len(set(reference.tolist())) == n_classes
    with torch.no_grad():
        np.testing.assert_array_equal(classifier.eval()(torch.from_numpy(x)).argmax(1).numpy(), reference)


def test_solved_values_are_ridge_regression_in_their_unit() -> None:
    x = signals(60)
    targets = np.stack([70 + 10 * x[:, 0].mean(axis=1), x[:, 1].std(axis=1)], axis=1).astype(np.float32)
    outcome = Values(
        names=("hr", "spread"),
        units=("beats/min", "mV"),
        mean=tuple(targets.mean(axis=0).tolist()),
        std=tuple(targets.std(axis=0).tolist()),
        median=(70.0, 1.0),
    )
    torch.manual_seed(0)
    backbone = ConvBackbone(2, 64, d_model=16, wave_length=8)
    regressor = Predictor(backbone, 2, ("mean", "std"), unit=Unit(outcome.mean, outcome.std))
    features = probe.extract(regressor, Batches(Features(x, targets), 32), CPU)
    probe.standardise(regressor, features)
    assert probe.solve(regressor, outcome, features, targets, "logistic", 1.0, 3.0)
    scaled = StandardScaler().fit_transform(features)
    reference = Ridge(alpha=3.0).fit(scaled, targets).predict(scaled)
    with torch.no_grad():
        np.testing.assert_allclose(regressor.eval()(torch.from_numpy(x)).numpy(), reference, rtol=1e-3)


@pytest.mark.parametrize("kind", ["logistic", "ridge"])
def test_solved_labels_one_of_which_nobody_has(kind: str) -> None:
    x = signals(80)
    targets = np.stack([x[:, 0].mean(axis=1) > 0, np.zeros(80, bool), x[:, 1].mean(axis=1) > 0], axis=1).astype(int)
    labeller = Predictor(ConvBackbone(2, 64, d_model=16, wave_length=8), 3, ("mean", "std"), "all")
    features = probe.extract(labeller, Batches(Features(x, targets), 32), CPU)
    probe.standardise(labeller, features)
    assert probe.solve(labeller, Labels(names=("a", "b", "c")), features, targets, kind, 1.0, 1.0)
    with torch.no_grad():
        found = labeller.eval()(torch.from_numpy(x)).numpy() > 0
    assert not found[:, 1].any()
    assert (found == targets).mean() > 0.9


@pytest.mark.parametrize("harm", ["parameter", "buffer"])
def test_any_change_of_the_backbone_is_caught(harm: str) -> None:
    classifier = model(2)

    def change() -> None:
        with torch.no_grad():
            if harm == "parameter":
                next(classifier.backbone.parameters())[0] += 1e-7
            else:
                classifier.train()(torch.from_numpy(signals(8)))

    with pytest.raises(TrainingError, match="frozen backbone changed"), probe.frozen(classifier.backbone):
        change()
