"""A recording treated in chunks is the recording treated at once."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ssl_bio.data import treatment, windows
from ssl_bio.data.options import WindowOptions
from ssl_bio.data.treatment import treat, treat_in_chunks
from ssl_bio.data.windows import Windower

PLAIN = WindowOptions(sampling_rate=100.0, window=2.0, stride=2.0, highpass=0.0, standardize="none")


def signals(samples: int = 5003, gaps: bool = False) -> np.ndarray:
    rng = np.random.default_rng(0)
    found = np.cumsum(rng.normal(size=(3, samples)), axis=1) + 50
    found[2] = 7.0
    if gaps:
        found[0, 700:1500] = found[1, :20] = found[1, -7:] = found[0, 3000] = np.nan
    return found


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        PLAIN,
        replace(PLAIN, sampling_rate=62.5),
        replace(PLAIN, highpass=0.5),
        replace(PLAIN, sampling_rate=40.0, highpass=0.7, standardize="record"),
    ],
)
def test_chunks_are_the_whole(
    options: WindowOptions, gaps: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ssl_bio.data.chunks.CHUNK_SAMPLES", 512)
    values = signals(gaps=gaps)
    whole = treat(values, 100.0, options)
    parts = treat_in_chunks(lambda a, b: values[:, a:b], values.shape, 100.0, options, scratch=tmp_path)
    np.testing.assert_allclose(parts.signals, whole.signals, rtol=1e-4, atol=2e-4)
    np.testing.assert_array_equal(parts.gap, whole.gap)
    np.testing.assert_array_equal(parts.constant, whole.constant)
    assert whole.constant.tolist() == [[False], [False], [True]]


def test_windows_of_a_long_file_are_those_of_a_short_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = signals(gaps=True)
    windower = Windower(replace(PLAIN, highpass=0.5, context=0.5))
    whole = windower.windows(values, 100.0)
    monkeypatch.setattr(windows, "LARGEST_AT_ONCE", 1000)
    monkeypatch.setattr("ssl_bio.data.chunks.CHUNK_SAMPLES", 512)
    parts = windower.windows_of_file(lambda a, b: values[:, a:b], values.shape, 100.0, scratch=tmp_path)
    assert isinstance(parts.track.values, np.memmap)
    np.testing.assert_array_equal(parts.starts, whole.starts)
    np.testing.assert_allclose(parts.signals, whole.signals, atol=2e-3)
    assert parts.dropped == whole.dropped


def test_what_fits_is_treated_at_once(tmp_path: Path) -> None:
    values = signals()
    windower = Windower(PLAIN)
    found = windower.windows_of_file(lambda a, b: values[:, a:b], values.shape, 100.0, scratch=tmp_path)
    np.testing.assert_array_equal(found.signals, windower.windows(values, 100.0).signals)
    assert values.size < treatment.LARGEST_AT_ONCE


def test_a_channel_that_is_never_there_is_no_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ssl_bio.data.chunks.CHUNK_SAMPLES", 512)
    values = signals()
    values[1] = np.nan
    whole = treat(values, 100.0, PLAIN)
    parts = treat_in_chunks(lambda a, b: values[:, a:b], values.shape, 100.0, PLAIN, scratch=tmp_path)
    for found in (whole, parts):
        assert not found.gap.any()
        assert not found.signals[1].any()
        assert found.constant.tolist() == [[False], [True], [True]]


def test_gaps_far_from_zero_are_filled_as_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ssl_bio.data.chunks.CHUNK_SAMPLES", 512)
    values = signals(gaps=True) + 1e6
    options = replace(PLAIN, highpass=0.5, standardize="record")
    whole = treat(values, 100.0, options)
    parts = treat_in_chunks(lambda a, b: values[:, a:b], values.shape, 100.0, options, scratch=tmp_path)
    np.testing.assert_allclose(parts.signals, whole.signals, atol=1e-3)
