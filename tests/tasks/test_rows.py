"""Which windows and labels a recipe learns from."""

from pathlib import Path

import numpy as np
import pytest
from ssl_bio.checkpoint import Facts
from ssl_bio.data.synthetic import generate
from ssl_bio.outcome import Labels, Values
from ssl_bio.recipe import check, parse_overrides
from ssl_bio.resolve import resolve
from ssl_bio.schema import Recipe

from ssl_bio import samples
from ssl_bio.data import convert
from ssl_bio.data.store import PreparedDataset
from ssl_bio.errors import DataError, RecipeError


@pytest.fixture
def data() -> PreparedDataset:
    return convert.write(Path("data/s"), generate(10, 8, 0))


def plan(*overrides: str) -> Recipe:
    return resolve([check({"data": {"target": "heart_rate"}}, "r"), parse_overrides(list(overrides))]).recipe


def test_windows_without_a_known_value_are_left_out(data: PreparedDataset) -> None:
    rows = samples.labelled_rows(data, plan(), "train")
    assert np.isfinite(data.targets["heart_rate"][rows]).all()
    assert len(rows) == 36, "a quarter of 48 is noise"
    outcome = samples.outcome(data, plan(), rows)
    assert isinstance(outcome, Values)
    assert outcome.mean[0] == pytest.approx(data.targets["heart_rate"][rows].mean())
    assert outcome.units == ("beats/min",)


def test_several_values_at_once(data: PreparedDataset) -> None:
    both = plan("data.target=heart_rate+respiration_rate")
    rows = samples.labelled_rows(data, both, "train")
    assert samples.targets(data, both)[rows].shape == (36, 2)
    outcome = samples.outcome(data, both, rows)
    assert outcome.names == ("heart_rate", "respiration_rate")


def test_labels(data: PreparedDataset) -> None:
    labels = plan("data.target=findings")
    assert isinstance(samples.outcome(data, labels, samples.training_rows(data, labels, "train")), Labels)
    assert samples.targets(data, labels).shape == (80, 4)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.target=rhythm+heart_rate"], "only values can be joined"),
        (["data.target=clean"], "needs classes, labels or values: rhythm"),
        (["finetune.task=classify"], "holds values, and finetune.task 'classify' needs classes: rhythm"),
        (["finetune.task=multilabel"], "needs labels: findings"),
        (["data.target=mood"], "no target 'mood'"),
    ],
)
def test_targets_that_cannot_be_learnt(data: PreparedDataset, overrides: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message.replace("+", r"\+")):
        samples.targets(data, plan(*overrides))


def test_a_loss_of_another_kind_of_target(data: PreparedDataset) -> None:
    rows = data.rows("subject", "train")
    with pytest.raises(RecipeError, match="choose mse or l1 or huber or bins"):
        samples.outcome(data, plan("finetune.loss=cross-entropy"), rows)


def test_a_share_of_the_people(data: PreparedDataset) -> None:
    wanted = plan("finetune.label_fraction=0.34", "finetune.label_draw=subjects")
    rows = samples.training_rows(data, wanted, "train")
    assert len(np.unique(data.subjects[rows])) == 2
    whole = samples.labelled_rows(data, wanted, "train")
    assert set(rows) == {row for row in whole if data.subjects[row] in set(data.subjects[rows])}
    assert len(samples.training_rows(data, plan("finetune.label_fraction=0.5"), "train")) == 18


def test_rare_classes_are_drawn_more_often(data: PreparedDataset) -> None:
    balanced = plan("data.target=rhythm", "finetune.balance=1")
    rows = data.rows("subject", "train")[:30]
    weights = samples.drawing_weights(data, balanced, rows)
    assert weights is not None
    codes = data.targets["rhythm"][rows]
    per_class = [weights[codes == code].sum() for code in range(4)]
    np.testing.assert_allclose(per_class, 0.25)
    with pytest.raises(RecipeError, match="has none"):
        samples.drawing_weights(data, plan("finetune.balance=1"), rows)


def test_people_with_few_windows_are_drawn_as_often_as_others(data: PreparedDataset) -> None:
    rows = data.rows("subject", "train")[2:]
    weights = samples.drawing_weights(data, plan("finetune.balance=1", "finetune.balance_by=subject"), rows)
    assert weights is not None
    people = np.unique(data.subjects[rows])
    np.testing.assert_allclose([weights[data.subjects[rows] == who].sum() for who in people], 1 / len(people))


def facts(**changes: object) -> Facts:
    values = {"kind": "pretrain", "recipe": {}, "dataset": "d", "fingerprint": "f", "channels": ("ecg",)}
    return Facts.model_validate({**values, "length": 300, "sampling_rate": 100.0, **changes})


def test_the_form_of_signals(data: PreparedDataset) -> None:
    info = data.info  # 500 samples at 50 Hz
    assert samples.form(plan(), info) == (50.0, 500, 500)
    assert samples.form(plan("model.window=4"), info) == (50.0, 500, 200)
    assert samples.form(plan("model.window=40"), info) == (50.0, 500, 500)
    assert samples.form(plan(), info, facts()) == (100.0, 1000, 300), "learnt positions reach no further"
    assert samples.form(plan("model.kind=vqvae"), info, facts()) == (100.0, 1000, 1000)
    assert samples.form_of(facts(window=200)) == (100.0, 300, 200)


def test_folds_test_everybody_once(data: PreparedDataset) -> None:
    tested = []
    for fold in range(4):
        part = data.with_folds("subject", 4, fold)
        people = {name: set(data.subjects[part.rows("subject", name)].tolist()) for name in ("train", "val", "test")}
        assert not people["train"] & people["test"] | people["val"] & people["test"] | people["train"] & people["val"]
        assert sum(len(part.rows("subject", name)) for name in people) == 80
        tested += part.rows("subject", "test").tolist()
    assert sorted(tested) == list(range(80))
    with pytest.raises(DataError, match="not from 0 to 3"):
        data.with_folds("subject", 4, 4)
    with pytest.raises(DataError, match="10 people do not make 10 parts"):
        data.with_folds("subject", 10, 0)
