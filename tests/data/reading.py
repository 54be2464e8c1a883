"""Runs a reader on a publisher's files as `data prepare` does."""

from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp

from ssl_bio.data import archive, convert
from ssl_bio.data.archive import Files
from ssl_bio.data.convert import Conversion
from ssl_bio.data.store import PreparedDataset, ReadOptions

Reader = Callable[[Files, ReadOptions], Conversion]

CHOSEN = ReadOptions()


def read(reader: Reader, source: Path, options: ReadOptions = CHOSEN, max_skipped: float = 0.0) -> PreparedDataset:
    """The prepared dataset, in a folder of its own below the current one."""
    with archive.opened(source) as files:
        return convert.convert(Path(mkdtemp(dir=".")) / "data", reader(files, options), max_skipped)
