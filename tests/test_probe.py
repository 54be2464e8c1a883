"""Probes: the same answer as scikit-learn, and a proof that the backbone stayed frozen."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from ssl_bio import probe
from ssl_bio.data.view import Batches, Features
from ssl_bio.errors import TrainingError
from ssl_bio.models.convnet import ConvBackbone
from ssl_bio.models.heads import Classifier

CPU = torch.device("cpu")


def model(n_classes: int) -> Classifier:
    torch.manual_seed(0)
    return Classifier(ConvBackbone(2, 64, d_model=16, wave_length=8), n_classes, ("mean", "max", "std"), "all")


def signals(n: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, 2, 64)).astype(np.float32)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_solved_head_is_the_logistic_regression(n_classes: int) -> None:
    classifier, x = model(n_classes), signals(90)
    targets = np.arange(90) % n_classes
    features = probe.extract(classifier, Batches(Features(x, targets), 32), CPU)
    probe.standardise(classifier, features)
    assert probe.solve_logistic(classifier, features, targets, 1.0)
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
