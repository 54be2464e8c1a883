"""Reading and windowing shared between processes; what comes of it is the same, in the same order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from ssl_bio.console import silenced
from ssl_bio.data.ingest.archive import open_archive
from ssl_bio.data.ingest.ingest import Ingest, read_record
from ssl_bio.data.options import WindowOptions
from ssl_bio.data.recording import Recording
from ssl_bio.data.recording_store import RecordingStore, open_store
from ssl_bio.data.registry import load_dataset
from ssl_bio.data.windowing import LabelledWindows, Windowing

_AHEAD = 2  # pieces of work for each process that wait their turn: results of no more are held in memory

ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class ParallelReader:
    """Files that several processes read, each of which opens them on its own."""

    path: Path
    reader: str  # the dataset whose files they are
    workers: int

    def __call__(self, numbers: Iterable[int]) -> Iterator[list[Recording] | str]:
        """Yield the recordings of records, or why one is broken."""
        return _in_order(_read, numbers, workers=self.workers, begin=_begin_reading, given=(self.path, self.reader))


@dataclass(frozen=True)
class ParallelWindower:
    """A store whose recordings several processes window."""

    folder: Path
    options: WindowOptions
    workers: int

    def __call__(self, numbers: Iterable[int]) -> Iterator[LabelledWindows]:
        """Yield the windows of recordings."""
        given = (self.folder, self.options)
        return _in_order(_window, numbers, workers=self.workers, begin=_begin_windowing, given=given)


def _in_order(
    function: Callable[[int], ResultT],
    items: Iterable[int],
    *,
    workers: int,
    begin: Callable[..., None],
    given: tuple[Any, ...],
) -> Iterator[ResultT]:
    """Yield what a function makes of each item in processes that began with `begin(*given)`, in the items' order."""
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=begin, initargs=given)
    waiting: deque[Future[ResultT]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > _AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


# What a process of its own works on.
_opened = ExitStack()  # until the process ends
_source: Ingest
_store: RecordingStore
_windowing: Windowing


def _begin_reading(path: Path, reader: str) -> None:
    global _source
    read = load_dataset(reader).read
    if read is None:
        raise TypeError(f"{reader} has no files to read")
    files = _opened.enter_context(open_archive(path))
    with silenced():
        _source = read(files)


def _read(number: int) -> list[Recording] | str:
    return read_record(_source, number)


def _begin_windowing(folder: Path, options: WindowOptions) -> None:
    global _store, _windowing
    _store = open_store(folder)
    _windowing = load_dataset(_store.info.reader).windowing(_store, options)


def _window(number: int) -> LabelledWindows:
    return _windowing.window(_store.read(number))
