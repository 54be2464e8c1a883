"""Long signals in chunks: another rate and filled gaps are those of the whole."""

from pathlib import Path

import numpy as np
import pytest

from ssl_bio.data.chunks import interpolate_gaps, resample_chunks
from ssl_bio.data.filters import rate_ratio


@pytest.mark.parametrize(
    ("rate", "wanted"), [(1000.0, 360.0), (360.0, 1000.0), (173.61, 360.0), (250.0, 125.0), (9600.0, 5.0)]
)
def test_chunks_at_another_rate_are_those_of_the_whole(rate: float, wanted: float) -> None:
    ratio = rate_ratio(rate, wanted)
    time = np.arange(round(40 * rate) + 7) / rate
    wave = np.sin(2 * np.pi * 0.3 * time)[None].astype(np.float32)
    read, total = resample_chunks(lambda first, last: wave[:, first:last], wave.shape[1], ratio)
    whole = read(0, total)
    true = np.sin(2 * np.pi * 0.3 * np.arange(total) / wanted)
    np.testing.assert_allclose(whole[0, 40:-40], true[40:-40], atol=0.01)
    parts = [read(first, min(first + 777, total)) for first in range(0, total, 777)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-4)
    back, n = resample_chunks(lambda first, last: whole[:, first:last], total, 1 / ratio)
    assert n >= wave.shape[1]
    edge = round(20 * max(1, rate / wanted))
    np.testing.assert_allclose(back(0, wave.shape[1])[0, edge:-edge], wave[0, edge:-edge], atol=0.02)


@pytest.mark.parametrize("chunk", [7, 50, 1000])
def test_gaps_are_filled_linearly_wherever_they_are(
    chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ssl_bio.data.chunks.CHUNK_SAMPLES", chunk)
    ramp = np.tile(np.arange(200, dtype=np.float32), (3, 1))
    broken = ramp.copy()
    broken[0, 40:95] = broken[0, 100] = broken[1, :20] = broken[1, 180:] = broken[2] = np.nan
    found = interpolate_gaps(lambda first, last: broken[:, first:last], broken.shape, tmp_path)(0, 200)
    np.testing.assert_allclose(found[0], ramp[0])
    np.testing.assert_allclose(found[1], np.clip(ramp[1], 20, 179))
    np.testing.assert_array_equal(found[2], 0)
