"""Runs a reader on a publisher's files as `data prepare` does, and windows what it gives."""

from pathlib import Path
from tempfile import mkdtemp

from ssl_bio.data.dataset import PreparedDataset
from ssl_bio.data.ingest.archive import open_archive
from ssl_bio.data.ingest.ingest import Origin, ingest
from ssl_bio.data.options import WindowOptions
from ssl_bio.data.recording_store import RecordingStore
from ssl_bio.data.registry import Dataset, load_dataset
from ssl_bio.data.window_store import open_windows
from ssl_bio.data.windowing import ReadyWindows, WindowingFactory, ready_windowing

NO_OPTIONS = WindowOptions()


def read_store(dataset: Dataset, source: Path, max_skipped: float = 0.0) -> RecordingStore:
    """Return the recordings, in a folder of their own below the current one."""
    assert dataset.read
    with open_archive(source) as files:
        return ingest(_new_folder(), dataset.read(files), max_skipped=max_skipped)


def read_with(
    dataset: Dataset, source: Path, options: WindowOptions = NO_OPTIONS, max_skipped: float = 0.0
) -> PreparedDataset:
    """Return the windows of the recordings."""
    store = read_store(dataset, source, max_skipped)
    return windows_of(store, dataset.windowing, options)


def windows_of(
    store: RecordingStore, windowing: WindowingFactory, options: WindowOptions = NO_OPTIONS
) -> PreparedDataset:
    """Return the windows of a store."""
    return open_windows(store, windowing(store, options), label=options.label("data"))


def ingest_ready(windows: ReadyWindows, folder: Path | None = None, *, reader: str = "synthetic") -> RecordingStore:
    """Return the store of ready-made windows, as though an embedded dataset had generated them."""
    origin = Origin(reader=reader, reader_version=load_dataset(reader).version)
    return ingest(folder or _new_folder(), windows.as_ingest(), origin=origin, max_skipped=0)


def open_ready(windows: ReadyWindows, folder: Path | None = None) -> PreparedDataset:
    """Return ready-made windows as a prepared dataset."""
    return windows_of(ingest_ready(windows, folder), ready_windowing)


def _new_folder() -> Path:
    return Path(mkdtemp(dir=".")) / "data"
