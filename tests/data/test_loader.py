"""Batches: order from the generator alone, neighbours of the same person, targets that follow augmentation."""

from pathlib import Path

import numpy as np
import pytest

from ssl_bio.data.dataset import PreparedDataset
from ssl_bio.data.loader import Loader, SignalDataset, check_missing
from ssl_bio.data.readers.synthetic import generate
from ssl_bio.errors import DataError
from tests.data.reading import open_ready


def streams(purpose: str, *position: int) -> np.random.Generator:
    return np.random.default_rng([len(purpose), *position])


def of_rows(
    data: PreparedDataset, rows: np.ndarray, targets: np.ndarray | None, missing: str = "reject"
) -> SignalDataset:
    return SignalDataset(
        dataset=data,
        rows=rows,
        targets=targets,
        missing=missing,
        sampling_rate=data.info.sampling_rate,
        length=data.info.length,
    )


def signals(rows: np.ndarray | None = None) -> SignalDataset:
    data = open_ready(generate(n_subjects=6, windows_per_subject=8, seed=0), Path("data/s"))
    rows = np.arange(48) if rows is None else rows
    return of_rows(data, rows, data.targets["rhythm"][rows])


def test_epoch_holds_every_window_once_with_its_own_target() -> None:
    source = signals()
    batches = list(Loader(source=source, batch_size=10).shuffled(streams))
    assert [len(batch.inputs) for batch in batches] == [10, 10, 10, 10, 8]
    seen = np.concatenate([batch.inputs for batch in batches])
    targets = np.concatenate([batch.targets for batch in batches if batch.targets is not None])
    pairs = zip(source.dataset.signals[:], np.asarray(source.dataset.targets["rhythm"]), strict=True)
    by_bytes = {window.tobytes(): int(label) for window, label in pairs}
    assert len({window.tobytes() for window in seen}) == 48
    assert [by_bytes[window.tobytes()] for window in seen] == targets.tolist()


def test_ordered_keeps_order() -> None:
    source = signals(np.array([5, 3, 40]))
    inputs = np.concatenate([batch.inputs for batch in Loader(source=source, batch_size=2).ordered()])
    np.testing.assert_array_equal(inputs, source.dataset.signals[[5, 3, 40]])


def test_neighbours_are_near_of_the_same_person_and_in_the_signals() -> None:
    source = signals(np.arange(0, 40))
    positions = np.repeat(np.arange(40), 50)
    found = source.neighbours(positions, 2, np.random.default_rng(0))
    assert np.abs(found - positions).max() == 2
    subjects = source.dataset.subjects
    assert (subjects[source.rows[found]] == subjects[source.rows[positions]]).all()
    np.testing.assert_array_equal(source.neighbours(positions, 0, np.random.default_rng(0)), positions)


def test_pairs_are_two_views_of_one_window() -> None:
    batch = next(Loader(source=signals(), batch_size=16, augment=["scale"], pairs=True).shuffled(streams))
    assert batch.targets is not None
    ratio = batch.inputs / batch.targets
    assert batch.targets.shape == batch.inputs.shape
    assert np.nanstd(ratio, axis=(1, 2)).max() < 1e-3
    assert np.abs(np.nanmean(ratio, axis=(1, 2)) - 1).max() > 0.05


def test_missing_samples_are_refused_or_filled() -> None:
    made = generate(n_subjects=6, windows_per_subject=4, seed=0)
    made.signals[3, 0, 5] = np.nan
    data = open_ready(made, Path("data/n"))
    with pytest.raises(DataError, match=r"1 NaN or infinite samples, the first in window 3 .*data\.missing"):
        check_missing(data, "reject")
    check_missing(data, "zero")
    filled = of_rows(data, np.array([3]), None, missing="zero").read(slice(None))
    assert filled[0, 0, 5] == 0


def test_drawn_channels_are_channels_of_the_same_window() -> None:
    source = signals()
    batch = next(iter(Loader(source=source, batch_size=48, draw_channel=True).shuffled(streams)))
    order = streams("order").permutation(48)
    assert batch.inputs.shape == (48, 1, source.length)
    matches = (batch.inputs == source.dataset.signals[order]).all(axis=-1)
    assert matches.any(axis=1).all()
    assert 10 < matches[:, 0].sum() < 38


def test_rates_grow_with_the_speed_and_other_values_stay() -> None:
    data = open_ready(generate(n_subjects=6, windows_per_subject=8, seed=0), Path("data/s"))
    rows = np.flatnonzero(np.isfinite(data.targets["heart_rate"]))
    values = np.stack([data.targets["heart_rate"][rows], np.full(len(rows), 120, np.float32)], axis=1)
    source = of_rows(data, rows, values)
    plain = next(iter(Loader(source=source, batch_size=36).shuffled(streams)))
    batch = next(
        iter(Loader(source=source, batch_size=36, augment=["stretch:0.5"], rates=(True, False)).shuffled(streams))
    )
    assert plain.targets is not None
    assert batch.targets is not None
    speed = batch.targets[:, 0] / plain.targets[:, 0]
    assert (np.abs(np.log(speed)) <= 0.5 * np.log(1.5) + 1e-6).all()
    assert speed.std() > 0.05
    assert (batch.targets[:, 1] == 120).all()
    for window, stretched, factor in zip(plain.inputs, batch.inputs, speed, strict=True):
        if abs(np.log(factor)) > 0.1:
            assert not np.allclose(window, stretched)


def test_crops_are_drawn_from_anywhere() -> None:
    source = signals()
    batch = next(iter(Loader(source=source, batch_size=48, window=100).shuffled(streams)))
    assert batch.inputs.shape == (48, 2, 100)
    order = streams("order").permutation(48)
    starts = []
    for window, row in zip(batch.inputs, order, strict=True):
        whole = source.dataset.signals[row]
        starts += [start for start in range(401) if (whole[:, start : start + 100] == window).all()]
    assert len(starts) == 48
    assert max(starts) - min(starts) > 300


def test_an_epoch_draws_by_weight() -> None:
    source = signals()
    weights = np.where(source.targets == 2, 1.0, 0.0)
    loader = Loader(source=source, batch_size=48, weights=weights / weights.sum())
    drawn = next(iter(loader.shuffled(streams))).targets
    assert drawn is not None
    assert set(drawn.tolist()) == {2}
