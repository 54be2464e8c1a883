"""Features of all windows of a dataset, computed once and kept beside its recordings."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray

from ssl_bio.console import progress
from ssl_bio.data.loader import SignalDataset
from ssl_bio.data.recording import Signals
from ssl_bio.results.output_table import writing

FEATURES_FOLDER = "features"
_BATCH = 64  # windows at a time

#: Windows `(batch, n_channels, length)` -> features `(batch, n_features)`.
Extract = Callable[[Signals], NDArray[Any]]


def features(
    windows: SignalDataset,
    *,
    name: str,
    facts: Sequence[object],
    dtype: type[np.floating[Any]],
    extractor: Callable[[], Extract],
) -> NDArray[Any]:
    """Return the features `(n, n_features)` of windows, from the file that keeps them or computed now.

    `facts`: what decides them besides the windows. They stand in `features/` beside the recordings, or, where that
    folder cannot be written, in the user's cache folder. Raises DataError when neither can.
    """
    info, home = windows.dataset.info, windows.dataset.folder
    key = json.dumps([info.fingerprint, info.channels, windows.sampling_rate, windows.length, *facts])
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    folder = home if os.access(home, os.W_OK) else Path(platformdirs.user_cache_dir("ssl-bio"))
    path = folder / FEATURES_FOLDER / f"{name}-{digest}.npy"
    found = _load(path, len(windows))
    if found is not None:
        return found
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path) as temporary:
        _write(temporary, windows, extract=extractor(), dtype=dtype, title=f"features of {name}")
    return _open(path)


def _load(path: Path, n: int) -> NDArray[Any] | None:
    """Return what a file keeps; None where it is not there, or broken."""
    try:
        found = _open(path)
    except (OSError, ValueError, EOFError):
        return None
    return found if len(found) == n else None


def _open(path: Path) -> NDArray[Any]:
    found: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return found


def _write(
    path: Path,
    windows: SignalDataset,
    *,
    extract: Extract,
    dtype: type[np.floating[Any]],
    title: str,
) -> None:
    n, first = len(windows), extract(windows.read(slice(0, 1)))
    kept = np.lib.format.open_memmap(path, "w+", dtype=dtype, shape=(n, first.shape[1]))
    with progress(title, n) as tick:
        for start in range(0, n, _BATCH):
            kept[start : start + _BATCH] = extract(windows.read(slice(start, start + _BATCH)))
            tick(min(start + _BATCH, n))
    kept.flush()
