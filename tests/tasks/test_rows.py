"""Which windows and labels a recipe learns from and is evaluated on."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ssl_bio.config import Recipe, parse_overrides, resolve
from ssl_bio.data.dataset import PreparedDataset
from ssl_bio.errors import DataError, RecipeError
from ssl_bio.tasks.base import AnyTask, evenly_spaced, expect, load_task
from ssl_bio.tasks.multilabel import LabelTarget
from ssl_bio.tasks.regression import ValueTarget
from ssl_bio.tasks.windows import WindowTask
from tests.config.recipe_layers import layer
from tests.tasks.small_recipes import prepared, small_recipe


@pytest.fixture
def data() -> PreparedDataset:
    return prepared(small_recipe({}))


def recipe(*overrides: str) -> Recipe:
    values: dict[str, Any] = {"data": {"target": "heart_rate"}, "finetune": {"task": "regression"}}
    return resolve([layer("r", **values), parse_overrides(list(overrides))]).recipe


def task(*overrides: str) -> AnyTask:
    return load_task(recipe(*overrides))


def test_windows_without_a_known_value_are_left_out(data: PreparedDataset) -> None:
    regression = task()
    rows = regression.labelled_rows(data, "train")
    assert np.isfinite(data.targets["heart_rate"][rows]).all()
    assert len(rows) == 36, "a quarter of 48 is noise"
    target = regression.target(data, rows)
    assert isinstance(target, ValueTarget)
    assert target.mean[0] == pytest.approx(data.targets["heart_rate"][rows].mean())
    assert target.std[0] == pytest.approx(data.targets["heart_rate"][rows].std(), rel=1e-5)
    assert target.median[0] == pytest.approx(np.median(data.targets["heart_rate"][rows]))
    assert target.units == ("beats/min",)


def test_several_values_at_once(data: PreparedDataset) -> None:
    both = expect(WindowTask, task("data.target=heart_rate+respiration_rate"))
    rows = both.labelled_rows(data, "train")
    target = both.target(data, rows)
    assert both.encoded_targets(data, rows, target).shape == (36, 2)
    assert target.names == ("heart_rate", "respiration_rate")
    assert both.task_name() == "synthetic"


def test_labels(data: PreparedDataset) -> None:
    multilabel = expect(WindowTask, task("finetune.task=multilabel", "data.target=findings"))
    target = multilabel.target(data, multilabel.training_rows(data, "train"))
    assert isinstance(target, LabelTarget)
    assert multilabel.encoded_targets(data, np.arange(80), target).shape == (80, 4)
    assert multilabel.task_name() == "synthetic_findings"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["data.target=rhythm+heart_rate"],
            "'rhythm' holds classes, and finetune.task 'regression' needs values; "
            'set finetune.task to "classification"; it has rhythm (classes)',
        ),
        (["finetune.task=classification"], "holds values, and finetune.task 'classification' needs classes; set"),
        (["finetune.task=multilabel"], 'needs labels; set finetune.task to "regression"'),
        (["finetune.task=classification", "data.target=clean"], "'clean' holds signals, and finetune.task"),
        (["finetune.task=classification", "data.target=a+b"], "no target 'a+b'; it has rhythm, heart_rate"),
        (["data.target=mood"], "no target 'mood'"),
    ],
)
def test_targets_that_cannot_be_learnt(data: PreparedDataset, overrides: list[str], message: str) -> None:
    wrong = task(*overrides)
    with pytest.raises(DataError) as caught:
        wrong.target(data, data.rows("subject", "train"))
    assert message in str(caught.value)
    assert str(caught.value) in wrong.check(data)


@pytest.mark.parametrize(
    ("name", "target"), [("classification", "rhythm"), ("regression", "heart_rate"), ("multilabel", "findings")]
)
def test_without_a_name_the_first_target_of_the_tasks_kind(data: PreparedDataset, name: str, target: str) -> None:
    assert task(f"finetune.task={name}").default_target(data.info) == target


def test_a_dataset_without_such_a_target_names_the_task_for_what_it_has() -> None:
    series = prepared(small_recipe({"data": {"dataset": "two-peaks"}}))
    with pytest.raises(DataError, match=r"no target for task 'classification'; it has height \(values\)"):
        task("finetune.task=classification").default_target(series.info)


def test_a_share_of_the_people(data: PreparedDataset) -> None:
    some = task("finetune.label_fraction=0.34", "finetune.label_draw=subjects")
    rows = some.training_rows(data, "train")
    assert len(np.unique(data.subjects[rows])) == 2
    whole = some.labelled_rows(data, "train")
    assert set(rows) == {row for row in whole if data.subjects[row] in set(data.subjects[rows])}
    assert len(task("finetune.label_fraction=0.5").training_rows(data, "train")) == 18


def test_a_share_of_classes_holds_each_and_depends_on_the_seed(data: PreparedDataset) -> None:
    few = ["finetune.task=classification", "data.target=rhythm", "finetune.label_fraction=0.1"]
    rows = task(*few).training_rows(data, "train")
    assert set(data.targets["rhythm"][rows]) == {0, 1, 2, 3}
    assert rows.tolist() == task(*few).training_rows(data, "train").tolist()
    assert rows.tolist() != task(*few, "seed=1").training_rows(data, "train").tolist()


def test_rare_classes_are_drawn_more_often(data: PreparedDataset) -> None:
    balanced = task("finetune.task=classification", "data.target=rhythm", "finetune.class_balance=1")
    rows = data.rows("subject", "train")[:30]
    weights = balanced.drawing_weights(data, rows)
    assert weights is not None
    codes = data.targets["rhythm"][rows]
    np.testing.assert_allclose([weights[codes == code].sum() for code in range(4)], 0.25)
    with pytest.raises(RecipeError, match="'heart_rate' has none"):
        task("finetune.class_balance=1").drawing_weights(data, rows)
    assert task().drawing_weights(data, rows) is None


def test_people_with_few_windows_are_drawn_as_often_as_others(data: PreparedDataset) -> None:
    rows = data.rows("subject", "train")[2:]
    weights = task("finetune.class_balance=1", "finetune.balance_by=subject").drawing_weights(data, rows)
    assert weights is not None
    people = np.unique(data.subjects[rows])
    np.testing.assert_allclose([weights[data.subjects[rows] == who].sum() for who in people], 1 / len(people))


def test_so_many_windows_of_each_person_are_evaluated(data: PreparedDataset) -> None:
    rows = task("evaluate.per_subject=2").evaluated_rows(data, "test")
    assert np.unique(data.subjects[rows], return_counts=True)[1].tolist() == [2, 2]
    assert len(task().evaluated_rows(data, "test")) == 12
    subjects = np.array(["a"] * 9 + ["b"])
    assert evenly_spaced(np.arange(10), subjects, 1).tolist() == [4, 9]
    assert evenly_spaced(np.arange(10), subjects, 0).tolist() == list(range(10))


def test_a_split_without_a_known_target_is_refused(data: PreparedDataset) -> None:
    nobody = {**data.targets, "heart_rate": np.full(80, np.nan, np.float32)}
    unknown = replace(data, targets=nobody)
    with pytest.raises(DataError, match="'heart_rate' is known of none of its 16 windows"):
        task().labelled_rows(unknown, "test")
    with pytest.raises(DataError, match="no split 'dev'"):
        task().split_rows(data, "dev")


def test_all_that_is_wrong_is_said_at_once(data: PreparedDataset) -> None:
    wrong = task("data.target=mood", "finetune.monitor=AUROC", 'finetune.augment=["rotate"]')
    one_channel = data.with_channels(["ecg"])
    problems = wrong.check(one_channel)
    assert any("no target 'mood'" in problem for problem in problems)
    assert any("finetune.monitor 'AUROC'" in problem for problem in problems)
    assert any("rotate" in problem for problem in problems)


def test_stretching_needs_units_and_tta_rates_need_rates(data: PreparedDataset) -> None:
    info = data.info.targets["heart_rate"].model_copy(update={"unit": ""})
    targets = {**data.info.targets, "heart_rate": info}
    unitless = replace(data, info=data.info.model_copy(update={"targets": targets}))
    (stretched,) = task('finetune.augment=["stretch"]').check(unitless)
    assert "nothing says whether 'heart_rate' is one" in stretched
    (played,) = task("evaluate.tta_rates=[1.0,1.1]").check(unitless)
    assert "evaluate.tta_rates is for rates" in played
    assert task('finetune.augment=["stretch"]', "evaluate.tta_rates=[1.0,1.1]").check(data) == []
