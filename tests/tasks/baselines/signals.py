"""Windows in memory, as baselines see those of a dataset."""

from pathlib import Path

import numpy as np

from ssl_bio.data.dataset import DatasetInfo, PreparedDataset
from ssl_bio.data.loader import SignalDataset
from ssl_bio.data.recording import Signals


def windows_of(signals: Signals, *, sampling_rate: float = 1.0, folder: Path = Path()) -> SignalDataset:
    """Return windows `(n, n_channels, length)`, each of a person of its own."""
    n, n_channels, length = signals.shape
    info = DatasetInfo(
        name="memory",
        title="memory",
        source="memory",
        sampling_rate=sampling_rate,
        channels=tuple(f"ch{index}" for index in range(n_channels)),
        unit="",
        n=n,
        length=length,
        targets={},
        schemes={},
        fingerprint="0123456789abcdef",
    )
    rows = np.arange(n)
    dataset = PreparedDataset(
        folder=folder,
        info=info,
        signals=signals,
        subjects=rows.astype(np.str_),
        targets={},
        splits={},
        recordings=rows,
        starts=np.zeros(n),
        names=rows.astype(np.str_),
    )
    return SignalDataset(
        dataset=dataset, rows=rows, targets=None, missing="reject", sampling_rate=sampling_rate, length=length
    )
