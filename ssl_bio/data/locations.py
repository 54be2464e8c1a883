"""Where prepared datasets live, and the right to write there, which one process has at a time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs
from filelock import FileLock

from ssl_bio.errors import DataError

ENVIRONMENT_VARIABLE = "SSL_BIO_DATA"


def data_root(root: str = "") -> Path:
    """Return the folder of prepared datasets: `root`, else $SSL_BIO_DATA, else one in the user's cache folder."""
    chosen = root or os.environ.get(ENVIRONMENT_VARIABLE, "")
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("ssl-bio")) / "data"


@contextmanager
def preparing(folder: Path, *, complete: str) -> Iterator[bool]:
    """Hold the right to prepare `folder`, which one process has at a time; others wait for it.

    `complete` is the file in it that is there once it is whole. Yields whether another process has prepared the folder
    since this call began.

    Raises DataError when the folder's parent cannot be written.
    """
    before = _state(folder / complete)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.parent / f".{folder.name}.lock")
        lock.acquire()
    except OSError as error:
        raise DataError(f"{folder.parent}: cannot be written: {error.strerror or error}") from error
    try:
        after = _state(folder / complete)
        yield after is not None and after != before
    finally:
        lock.release()


def _state(path: Path) -> tuple[int, int] | None:
    """Tell one preparation of a folder from the next; None while it is not prepared."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_mtime_ns
