"""Features that are computed once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ssl_bio.data.recording import Signals
from ssl_bio.tasks.baselines import kept
from tests.tasks.baselines.signals import windows_of

SIGNALS = np.random.default_rng(0).standard_normal((150, 2, 20)).astype(np.float32)


class Counting:
    """Means of channels, and how often they were asked for."""

    def __init__(self) -> None:
        self.times = 0

    def features(self, folder: Path, *facts: object) -> NDArray[Any]:
        """Return kept means."""
        windows = windows_of(SIGNALS, folder=folder)
        return kept.features(windows, name="Means", facts=facts, dtype=np.float32, extractor=self._extractor)

    def _extractor(self) -> kept.Extract:
        self.times += 1
        return _means


def _means(signals: Signals) -> NDArray[np.float32]:
    return np.asarray(signals.mean(axis=-1), np.float32)


def test_they_are_computed_once_for_the_same_facts(tmp_path: Path) -> None:
    counting = Counting()
    for _ in range(2):
        np.testing.assert_array_equal(counting.features(tmp_path, 1), SIGNALS.mean(axis=-1))
    assert counting.times == 1
    counting.features(tmp_path, 2)
    assert counting.times == 2
    assert len(list((tmp_path / "features").iterdir())) == 2


def test_a_broken_file_is_made_anew(tmp_path: Path) -> None:
    counting = Counting()
    counting.features(tmp_path, 1)
    (path,) = (tmp_path / "features").iterdir()
    path.write_bytes(path.read_bytes()[:200])
    np.testing.assert_array_equal(counting.features(tmp_path, 1), SIGNALS.mean(axis=-1))


def test_nothing_is_left_of_what_failed(tmp_path: Path) -> None:
    def fail() -> kept.Extract:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        kept.features(windows_of(SIGNALS, folder=tmp_path), name="x", facts=[], dtype=np.float32, extractor=fail)
    assert list((tmp_path / "features").iterdir()) == []
