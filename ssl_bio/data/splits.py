"""Division of a dataset's rows into training, validation and test, and random draws of rows.

Everything that decides which rows a model learns from, and which it is tested on, is here; readers of datasets call
these functions with the constants of their protocols.

Every draw is a seeded permutation by `numpy.random.Generator`, in the order in which it is written here, and not one of
scikit-learn's splitters: published results were measured on exactly these rows, and another generator, or the same one
with its draws in another order, would choose others.

A split maps "train", "val" and "test" to ascending row numbers. A group is whatever must not be divided between two
splits: a person, or a recording where persons are unknown. `groups` gives the group of each row.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_bio.errors import DataError

SPLITS = ("train", "val", "test")
DEFAULT_SEED = 42

Rows = NDArray[np.int64]
Split = dict[str, Rows]
Splits = Mapping[str, Mapping[str, Rows]]  # scheme -> split -> rows
Groups = NDArray[Any]


def assign_groups(groups: Groups, members: Mapping[str, Collection[Any]]) -> Split:
    """Return the rows of each split, given the names of its groups; rows of other groups are in none."""
    return _in_order({split: np.flatnonzero(np.isin(groups, list(names))) for split, names in members.items()})


def draw_groups(groups: Groups, *, counts: Mapping[str, int], rest: str, rng: np.random.Generator) -> Split:
    """Draw whole groups at random: so many for each split of `counts`, in its order; the split `rest` gets the others.

    One permutation of the sorted names of all groups is drawn.
    """
    names = rng.permutation(np.unique(groups))
    drawn = np.split(names, np.cumsum(list(counts.values())))
    return assign_groups(groups, dict(zip([*counts, rest], drawn, strict=True)))


def draw_subjects(subjects: Groups, *, share: float = 0.1, seed: int = DEFAULT_SEED) -> Split:
    """Draw a share of the subjects for test and as many for validation, at least one each; the others train."""
    n = max(1, round(share * len(np.unique(subjects))))
    return draw_groups(subjects, counts={"test": n, "val": n}, rest="train", rng=np.random.default_rng(seed))


def draw_groups_by_class(
    groups: Groups, *, labels: NDArray[np.int64], share: float = 0.1, seed: int = DEFAULT_SEED
) -> Split:
    """Draw a share of the groups of each class for test and as many for validation; the others train.

    All rows of a group have the same label. One permutation is drawn for each class, in the order of the codes.
    """
    rng = np.random.default_rng(seed)
    names, first = np.unique(groups, return_index=True)
    drawn: dict[str, list[Groups]] = {"test": [], "val": [], "train": []}
    for code in np.unique(labels):
        members = rng.permutation(names[labels[first] == code])
        n = round(share * len(members))
        for split, part in zip(drawn, np.split(members, [n, 2 * n]), strict=True):
            drawn[split].append(part)
    return assign_groups(groups, {split: np.concatenate(parts).tolist() for split, parts in drawn.items()})


def split_by_position(groups: Groups, order: Sequence[str], *, val_from: float = 0.8, test_from: float = 0.9) -> Split:
    """Split groups by their relative position in `order` (0 to 1), which names all of them, without a draw."""
    position = {name: index / len(order) for index, name in enumerate(order)}
    place = np.array([position[group] for group in groups.tolist()])
    return {
        "train": np.flatnonzero(place < val_from),
        "val": np.flatnonzero((place >= val_from) & (place < test_from)),
        "test": np.flatnonzero(place >= test_from),
    }


def split_by_time(groups: Groups, *, val_from: float = 0.6, test_from: float = 0.7) -> Split:
    """Split the rows of every group by time, in which they follow one another: first train, then val, then test."""
    parts: dict[str, list[Rows]] = {split: [] for split in SPLITS}
    for group in dict.fromkeys(groups.tolist()):
        rows = np.flatnonzero(groups == group)
        edges = [round(val_from * len(rows)), round(test_from * len(rows))]
        for split, part in zip(SPLITS, np.split(rows, edges), strict=True):
            parts[split].append(part)
    return {split: np.concatenate(found) for split, found in parts.items()}


def cross_validation_split(subjects: Groups, rows: Rows, *, folds: int, fold: int) -> Split:
    """Split `rows` by subject for cross-validation; the seed is fixed, so that all runs have the same folds.

    Part `fold` (from 0) of `folds` tests; a tenth of all subjects, at least one of those who follow it, validates; the
    others train. `subjects` gives the subject of every row of the dataset.

    Raises DataError when there is no such part, or there are fewer subjects than parts and one more for validation.
    """
    people = np.random.default_rng(DEFAULT_SEED).permutation(np.unique(subjects[rows]))
    if not 0 <= fold < folds:
        raise DataError(f"data.fold: {fold} is not from 0 to {folds - 1}, as data.folds {folds} has it")
    if folds < 2 or len(people) <= folds:
        raise DataError(f"data.folds: {len(people)} people do not make {folds} parts and one to validate")
    parts = np.array_split(people, folds)
    others = np.concatenate([*parts[fold + 1 :], *parts[:fold]])
    n_val = max(1, round(len(people) / 10))
    members = {"train": others[n_val:], "val": others[:n_val], "test": parts[fold]}
    return {split: rows[np.isin(subjects[rows], names)] for split, names in members.items()}


def cut_validation(split: Mapping[str, Rows], subjects: Groups, *, share: float, seed: int = DEFAULT_SEED) -> Split:
    """Return a split whose validation people are a share of the training people, at least one, drawn at random; the
    others train. `subjects` gives the subject of every row of the dataset.

    Raises DataError when nobody would be left to train.
    """
    train = split["train"]
    people = np.random.default_rng(seed).permutation(np.unique(subjects[train]))
    n = max(1, round(share * len(people)))
    if n >= len(people):
        raise DataError(f"data.val_share: {share:g} of {len(people)} training people leaves nobody to train")
    is_val = np.isin(subjects[train], people[:n])
    return _in_order({**split, "train": train[~is_val], "val": train[is_val]})


def draw_rows(rows: Rows, n: int, rng: np.random.Generator) -> Rows:
    """Return `n` of `rows`, drawn at random without replacement."""
    return np.sort(rng.permutation(rows)[:n])


def draw_share(rows: Rows, fraction: float, rng: np.random.Generator) -> Rows:
    """Return a fraction of `rows`, at least one, drawn at random; all of them without a draw."""
    n = max(1, round(fraction * len(rows)))
    return rows if n == len(rows) else draw_rows(rows, n, rng)


def draw_by_class(rows: Rows, *, labels: NDArray[np.int64], fraction: float, rng: np.random.Generator) -> Rows:
    """Return a stratified fraction of `rows`: of each class that occurs, at least one row.

    `labels` are the class codes of all rows of the dataset.
    """
    drawn = [draw_share(rows[labels[rows] == code], fraction, rng) for code in np.unique(labels[rows])]
    return np.sort(np.concatenate(drawn))


def draw_labelled(
    rows: Rows, *, labels: NDArray[np.int64], classes: Sequence[str], fraction: float, rng: np.random.Generator
) -> Rows:
    """Return a stratified fraction of `rows` in which all of `classes` must occur; see `draw_by_class`.

    Raises DataError when a class has no row to draw from.
    """
    there = np.bincount(labels[rows], minlength=len(classes)) > 0
    for code, name in enumerate(classes):
        if not there[code]:
            raise DataError(f"class {name!r} is missing from training: its {len(rows)} windows hold none of it")
    return draw_by_class(rows, labels=labels, fraction=fraction, rng=rng)


def draw_people(rows: Rows, subjects: Groups, *, fraction: float, rng: np.random.Generator) -> Rows:
    """Return all rows of a fraction of the people in `rows`, at least one of them, drawn at random."""
    people = np.unique(subjects[rows])
    n = max(1, round(fraction * len(people)))
    return rows[np.isin(subjects[rows], rng.permutation(people)[:n])]


def _in_order(split: Mapping[str, Rows]) -> Split:
    """Sort by SPLITS: the order is part of a dataset's fingerprint."""
    return {name: split[name] for name in SPLITS if name in split}
