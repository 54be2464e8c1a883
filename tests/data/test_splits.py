"""Splits and draws: whole groups, the shares asked for, and exactly the rows that figures were measured on."""

import numpy as np
import pytest

from ssl_bio.data import splits
from ssl_bio.data.splits import Split, cut_validation
from ssl_bio.errors import DataError

PEOPLE = np.repeat([f"p{index}" for index in range(20)], 3)


def groups_of(split: Split, groups: np.ndarray) -> dict[str, list[str]]:
    return {name: sorted(set(groups[rows].tolist())) for name, rows in split.items()}


def test_subjects_are_kept_apart_and_all_used() -> None:
    split = splits.draw_subjects(PEOPLE)
    assert [len(split[name]) for name in ("train", "val", "test")] == [48, 6, 6]
    found = groups_of(split, PEOPLE)
    assert sum(len(names) for names in found.values()) == 20 == len(set().union(*found.values()))


def test_the_draw_of_subjects_never_changes() -> None:
    found = groups_of(splits.draw_subjects(PEOPLE), PEOPLE)
    assert (found["test"], found["val"]) == (["p17", "p5"], ["p15", "p4"])
    assert groups_of(splits.draw_subjects(PEOPLE, seed=1), PEOPLE) != found


def test_a_few_subjects_still_validate_and_test() -> None:
    split = splits.draw_subjects(np.array(["a", "b", "c"]))
    assert sorted(len(rows) for rows in split.values()) == [1, 1, 1]


def test_groups_are_drawn_in_the_order_of_the_counts() -> None:
    numbers = np.repeat(np.arange(10), 2)
    split = splits.draw_groups(numbers, counts={"test": 2, "val": 3}, rest="train", rng=np.random.default_rng(5))
    order = np.random.default_rng(5).permutation(10)
    assert sorted(order[:2]) == sorted(set(numbers[split["test"]]))
    assert sorted(order[2:5]) == sorted(set(numbers[split["val"]]))
    assert list(split) == ["train", "val", "test"], "the order is part of the fingerprint"


def test_groups_of_each_class_are_drawn_alike() -> None:
    groups = np.repeat([f"r{index:03d}" for index in range(60)], 2)
    labels = np.repeat(np.arange(60) % 3, 2)
    split = splits.draw_groups_by_class(groups, labels=labels)
    assert [len(split[name]) for name in ("train", "val", "test")] == [96, 12, 12]
    for rows in split.values():
        assert len(set(np.bincount(labels[rows]).tolist())) == 1
    assert groups_of(split, groups)["test"] == ["r023", "r025", "r027", "r038", "r045", "r055"]


def test_named_groups_and_rows_of_none() -> None:
    split = splits.assign_groups(np.array([5, 1, 9, 5, 7]), {"test": (5,), "train": range(1, 3)})
    assert {name: rows.tolist() for name, rows in split.items()} == {"train": [1], "test": [0, 3]}


def test_positions_and_times() -> None:
    order = [f"c{index}" for index in range(10)]
    groups = np.array(["c9", "c0", "c8", "c8", "c7"])
    split = splits.split_by_position(groups, order)
    assert {name: rows.tolist() for name, rows in split.items()} == {"train": [1, 4], "val": [2, 3], "test": [0]}
    split = splits.split_by_time(np.repeat(["a", "b"], 10))
    assert split["train"].tolist() == [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15]
    assert split["val"].tolist() == [6, 16]
    assert split["test"].tolist() == [7, 8, 9, 17, 18, 19]


def test_folds_test_everybody_once() -> None:
    rows = np.arange(6, 60)  # without two people
    tested = []
    for fold in range(4):
        split = splits.cross_validation_split(PEOPLE, rows, folds=4, fold=fold)
        found = groups_of(split, PEOPLE)
        assert sum(len(names) for names in found.values()) == 18 == len(set().union(*found.values()))
        assert len(found["val"]) == 2
        tested += found["test"]
    assert sorted(tested) == sorted(set(PEOPLE[rows].tolist()))


@pytest.mark.parametrize(
    ("folds", "fold", "message"),
    [(4, 4, "4 is not from 0 to 3"), (1, 0, "do not make 1 parts"), (20, 0, "20 people do not make 20 parts")],
)
def test_folds_that_cannot_be(folds: int, fold: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        splits.cross_validation_split(PEOPLE, np.arange(60), folds=folds, fold=fold)


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5, 1.0])
def test_draw_is_stratified(fraction: float) -> None:
    labels = np.repeat([0, 1, 2], [500, 300, 30])
    rows = np.random.default_rng(0).permutation(830)
    drawn = splits.draw_labelled(
        rows, labels=labels, classes=("a", "b", "c"), fraction=fraction, rng=np.random.default_rng(0)
    )
    assert np.bincount(labels[drawn]).tolist() == [max(1, round(fraction * n)) for n in (500, 300, 30)]
    assert len(set(drawn.tolist())) == len(drawn)


def test_class_missing_from_training_is_named() -> None:
    with pytest.raises(DataError, match="class 'b' is missing from training"):
        splits.draw_labelled(
            np.arange(3),
            labels=np.array([0, 0, 2]),
            classes=("a", "b", "c"),
            fraction=1.0,
            rng=np.random.default_rng(0),
        )


def test_a_draw_of_people_takes_all_their_rows() -> None:
    drawn = splits.draw_people(np.arange(60), PEOPLE, fraction=0.25, rng=np.random.default_rng(0))
    assert len(drawn) == 15
    assert np.unique(PEOPLE[drawn], return_counts=True)[1].tolist() == [3] * 5
    assert len(splits.draw_people(np.arange(60), PEOPLE, fraction=0.001, rng=np.random.default_rng(0))) == 3


def test_validation_people_are_cut_from_training() -> None:
    subjects = np.repeat([f"p{person}" for person in range(10)], 3)
    split = {"train": np.arange(24), "test": np.arange(24, 30)}
    made = cut_validation(split, subjects, share=0.25)
    assert list(made) == ["train", "val", "test"]
    assert len(np.unique(subjects[made["val"]])) == 2
    assert not set(subjects[made["val"]]) & set(subjects[made["train"]])
    assert sorted([*made["train"], *made["val"]]) == list(range(24))
    np.testing.assert_array_equal(made["test"], split["test"])
    with pytest.raises(DataError, match=r"data\.val_share: 0.9 of 1 training people leaves nobody"):
        cut_validation({"train": np.arange(3)}, subjects, share=0.9)
