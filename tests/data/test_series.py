"""The embedded series."""

from pathlib import Path

import numpy as np
import pytest

from ssl_bio.data import convert, series
from ssl_bio.outcome import season


@pytest.mark.parametrize("name", series.PATTERNS)
def test_series_repeat_themselves(name: str) -> None:
    data = convert.write(Path("data/s"), series.generate(name))
    assert data.signals.shape == (series.N_SERIES, 1, series.LENGTH)
    assert {part: len(rows) for part, rows in data.splits["subject"].items()} == {"train": 16, "val": 4, "test": 4}
    assert all(overlap.subjects == 0 for overlap in data.info.overlap["subject"].values())
    n = round(series.PATTERNS[name][1])
    for signal, height in zip(data.signals[:, 0], data.targets["height"], strict=True):
        assert np.corrcoef(signal[n:], signal[:-n])[0, 1] > 0.9
        assert season(signal[None], 400) == pytest.approx(n, abs=1)
        assert signal.max() == pytest.approx(100 * height, rel=0.2)
    assert np.array_equal(data.signals, series.generate(name).signals)
