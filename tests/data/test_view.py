"""What a run sees: order from the stream alone, honest draws of labels, neighbours of the same person."""

from pathlib import Path

import numpy as np
import pytest

from ssl_bio.data import convert
from ssl_bio.data.synthetic import generate
from ssl_bio.data.view import Batches, View, check_missing, draw_labelled
from ssl_bio.errors import DataError


def streams(purpose: str, *position: int) -> np.random.Generator:
    return np.random.default_rng([len(purpose), *position])


def view(rows: np.ndarray | None = None) -> View:
    data = convert.write(Path("data/s"), generate(6, 8, 0))
    rows = np.arange(48) if rows is None else rows
    return View(data, rows, data.targets["rhythm"][rows], "reject", data.info.sampling_rate, data.info.length)


def test_epoch_holds_every_window_once_with_its_own_target() -> None:
    source = view()
    batches = list(Batches(source, 10).shuffled(streams))
    assert [len(batch.inputs) for batch in batches] == [10, 10, 10, 10, 8]
    seen = np.concatenate([batch.inputs for batch in batches])
    targets = np.concatenate([batch.targets for batch in batches if batch.targets is not None])
    pairs = zip(source.dataset.signals, source.dataset.targets["rhythm"], strict=True)
    by_bytes = {window.tobytes(): int(label) for window, label in pairs}
    assert len({window.tobytes() for window in seen}) == 48
    assert [by_bytes[window.tobytes()] for window in seen] == targets.tolist()


def test_ordered_keeps_order() -> None:
    source = view(np.array([5, 3, 40]))
    inputs = np.concatenate([batch.inputs for batch in Batches(source, 2).ordered()])
    np.testing.assert_array_equal(inputs, source.dataset.signals[[5, 3, 40]])


def test_neighbours_are_near_of_the_same_person_and_in_the_view() -> None:
    source = view(np.arange(0, 40))
    positions = np.repeat(np.arange(40), 50)
    found = source.neighbours(positions, 2, np.random.default_rng(0))
    assert np.abs(found - positions).max() == 2
    subjects = source.dataset.subjects
    assert (subjects[source.rows[found]] == subjects[source.rows[positions]]).all()
    np.testing.assert_array_equal(source.neighbours(positions, 0, np.random.default_rng(0)), positions)


def test_pairs_are_two_views_of_one_moment() -> None:
    batch = next(Batches(view(), 16, ["scale"], pairs=True).shuffled(streams))
    assert batch.targets is not None
    ratio = batch.inputs / batch.targets
    assert batch.targets.shape == batch.inputs.shape
    assert np.nanstd(ratio, axis=(1, 2)).max() < 1e-3
    assert np.abs(np.nanmean(ratio, axis=(1, 2)) - 1).max() > 0.05


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5, 1.0])
def test_draw_is_stratified(fraction: float) -> None:
    labels = np.repeat([0, 1, 2], [500, 300, 30])
    rows = np.random.default_rng(0).permutation(830)
    drawn = draw_labelled(rows, labels, ("a", "b", "c"), fraction, np.random.default_rng(0))
    assert np.bincount(labels[drawn]).tolist() == [max(1, round(fraction * n)) for n in (500, 300, 30)]
    assert len(set(drawn.tolist())) == len(drawn)


def test_class_missing_from_training_is_named() -> None:
    with pytest.raises(DataError, match="class 'b' is missing from training"):
        draw_labelled(np.arange(3), np.array([0, 0, 2]), ("a", "b", "c"), 1.0, np.random.default_rng(0))


def test_missing_samples_are_refused_or_filled() -> None:
    made = generate(6, 4, 0)
    made.signals[3, 0, 5] = np.nan
    data = convert.write(Path("data/n"), made)
    with pytest.raises(DataError, match=r"1 NaN or infinite samples, the first in window 3 .*data\.missing"):
        check_missing(data, "reject")
    check_missing(data, "zero")
    filled = View(data, np.array([3]), None, "zero", data.info.sampling_rate, data.info.length).read(slice(None))
    assert filled[0, 0, 5] == 0


def test_drawn_channels_are_channels_of_the_same_window() -> None:
    source = view()
    batch = next(iter(Batches(source, 48, draw_channel=True).shuffled(streams)))
    order = streams("order").permutation(48)
    assert batch.inputs.shape == (48, 1, source.length)
    matches = (batch.inputs == source.dataset.signals[order]).all(axis=-1)
    assert matches.any(axis=1).all()
    assert 10 < matches[:, 0].sum() < 38


def test_rates_go_with_the_pace_and_other_values_stay() -> None:
    data = convert.write(Path("data/s"), generate(6, 8, 0))
    rows = np.flatnonzero(np.isfinite(data.targets["heart_rate"]))
    values = np.stack([data.targets["heart_rate"][rows], np.full(len(rows), 120, np.float32)], axis=1)
    source = View(data, rows, values, "reject", 50.0, 500)
    plain = next(iter(Batches(source, 36).shuffled(streams)))
    batch = next(iter(Batches(source, 36, ["stretch:0.5"], rates=(True, False)).shuffled(streams)))
    assert plain.targets is not None
    assert batch.targets is not None
    pace = batch.targets[:, 0] / plain.targets[:, 0]
    assert (np.abs(np.log(pace)) <= 0.5 * np.log(1.5) + 1e-6).all()
    assert pace.std() > 0.05
    assert (batch.targets[:, 1] == 120).all()
    for window, stretched, factor in zip(plain.inputs, batch.inputs, pace, strict=True):
        if abs(np.log(factor)) > 0.1:
            assert not np.allclose(window, stretched)


def test_crops_are_drawn_from_anywhere() -> None:
    source = view()
    batch = next(iter(Batches(source, 48, window=100).shuffled(streams)))
    assert batch.inputs.shape == (48, 2, 100)
    order = streams("order").permutation(48)
    starts = []
    for window, row in zip(batch.inputs, order, strict=True):
        whole = source.dataset.signals[row]
        starts += [start for start in range(401) if (whole[:, start : start + 100] == window).all()]
    assert len(starts) == 48
    assert max(starts) - min(starts) > 300


def test_an_epoch_draws_by_weight() -> None:
    source = view()
    weights = np.where(source.targets == 2, 1.0, 0.0)
    batches = Batches(source, 48, weights=weights / weights.sum())
    drawn = next(iter(batches.shuffled(streams))).targets
    assert drawn is not None
    assert set(drawn.tolist()) == {2}
