"""The embedded series."""

from pathlib import Path

import numpy as np
import pytest

from ssl_bio.data.readers import series
from tests.data.reading import open_ready


def repetition(signal: np.ndarray, longest: int) -> int:
    """The shift, from a fifth of a second on, at which the series correlates most with itself."""
    shifts = range(10, longest)
    return shifts[int(np.argmax([np.corrcoef(signal[n:], signal[:-n])[0, 1] for n in shifts]))]


@pytest.mark.parametrize("name", series.PATTERNS)
def test_series_repeat_themselves(name: str) -> None:
    data = open_ready(series.generate(name), Path("data/s"))
    assert data.signals.shape == (series.N_SERIES, 1, series.LENGTH)
    assert {part: len(rows) for part, rows in data.splits["subject"].items()} == {"train": 16, "val": 4, "test": 4}
    assert all(overlap.subjects == 0 for overlap in data.info.overlap["subject"].values())
    n = round(series.PATTERNS[name].period)
    for signal, height in zip(data.signals[:, 0], np.asarray(data.targets["height"]), strict=True):
        assert np.corrcoef(signal[n:], signal[:-n])[0, 1] > 0.9
        assert repetition(signal, 3 * n // 2) == pytest.approx(n, abs=1)
        assert signal.max() == pytest.approx(100 * height, rel=0.2)
    assert np.array_equal(data.signals, series.generate(name).signals)
