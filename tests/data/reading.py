"""Runs a reader on a publisher's files as `data prepare` does."""

from pathlib import Path
from tempfile import mkdtemp

from ssl_bio.data.ingest.archive import open_archive
from ssl_bio.data.ingest.ingest import ingest
from ssl_bio.data.registry import Reader
from ssl_bio.data.store import PreparedDataset, ReadOptions

NO_OPTIONS = ReadOptions()


def read_with(
    reader: Reader, source: Path, options: ReadOptions = NO_OPTIONS, max_skipped: float = 0.0
) -> PreparedDataset:
    """Return the prepared dataset, in a folder of its own below the current one."""
    with open_archive(source) as files:
        return ingest(Path(mkdtemp(dir=".")) / "data", reader(files, options), max_skipped)
