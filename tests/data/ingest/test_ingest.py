"""Ingest record by record: resumed where it stopped, broken records counted, nothing half-written."""

import os
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ssl_bio.data.ingest import append_log
from ssl_bio.data.ingest import ingest as ingest_module
from ssl_bio.data.ingest.ingest import Ingest, Origin, ingest
from ssl_bio.data.recording import Recording
from ssl_bio.data.recording_store import ARRAYS_FILE, INDEX_FILE, RecordingStore, open_store, store_fingerprint
from ssl_bio.errors import DataError

FOLDER = Path("data/s")


class Reader:
    """Record "r<i>" gives i % 3 recordings of 4 samples and their codes; those in `broken` cannot be read."""

    def __init__(self, broken: Sequence[str] = (), unplugged_at: str = "") -> None:
        self.broken, self.unplugged_at = broken, unplugged_at
        self.seen: list[str] = []

    def __call__(self, record: str) -> Iterator[Recording]:
        self.seen.append(record)
        index = int(record[1:])
        for part in range(index % 3):
            signals = np.arange(4, dtype=np.float64).reshape(1, 4) + 100 * index + part
            arrays = {"signals": signals, "codes": np.array([index % 2])}
            yield Recording(name=record, subject=f"p{index}", arrays=arrays, facts={"part": part}, start=4.0 * part)
        if record == self.unplugged_at:
            raise KeyboardInterrupt
        if record in self.broken:
            raise DataError(f"record {record}: cannot be read")


def source(read: Reader, n: int = 30) -> Ingest:
    return Ingest(
        title="t", source="s.zip", records=[f"r{index}" for index in range(n)], read=read, facts={"unit": "mV"}
    )


def same(first: RecordingStore, second: RecordingStore) -> bool:
    return first.info.fingerprint == second.info.fingerprint and first.info.skipped == second.info.skipped


def test_recordings_of_all_records_in_order() -> None:
    store = ingest(FOLDER, source(Reader()))
    assert len(store) == 30
    names = [entry.name for entry in store.entries]
    assert names[:4] == ["r1", "r2", "r2", "r4"]
    second = store.read(2)
    assert second.signals.tolist() == [[201, 202, 203, 204]]
    assert second.signals.dtype == np.float64
    assert (second.subject, second.start, second.facts) == ("p2", 4.0, {"part": 1})
    assert second.arrays["codes"].tolist() == [0]
    assert store.facts == {"unit": "mV"}
    assert (store.info.n_records, store.info.n_recordings) == (30, 30)
    assert store_fingerprint(FOLDER) == store.info.fingerprint
    assert [path.name for path in FOLDER.parent.iterdir()] == ["s"], "no litter"


def test_axes_keep_their_order() -> None:
    """Sums along an axis are rounded in the order of memory: what was read column by column comes back so."""
    table = np.random.default_rng(0).normal(size=(50, 3)).T

    def read_one(name: str) -> list[Recording]:
        return [Recording(name=name, subject="p", arrays={"signals": table, "rows": np.ascontiguousarray(table)})]

    arrays = ingest(FOLDER, Ingest(title="t", source="s", records=["r"], read=read_one)).read(0).arrays
    np.testing.assert_array_equal(arrays["signals"], table)
    assert arrays["signals"].strides == table.strides
    assert arrays["rows"].flags.c_contiguous


@pytest.mark.parametrize("batch", [1, 4, 1000])
def test_interrupted_ingest_goes_on_where_it_stopped(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(append_log, "_SYNC_RECORDS", batch)
    broken = ["r0", "r7"]
    with pytest.raises(KeyboardInterrupt):
        ingest(FOLDER, source(Reader(broken, unplugged_at="r20")), max_skipped=0.1)
    assert not FOLDER.exists()
    second = Reader(broken)
    resumed = ingest(FOLDER, source(second), max_skipped=0.1)
    assert second.seen[0] == "r20"
    whole = ingest(Path("data/whole"), source(Reader(broken)), max_skipped=0.1)
    assert same(resumed, whole)
    assert resumed.info.skipped == {name: f"record {name}: cannot be read" for name in broken}


def test_a_killed_process_leaves_what_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(append_log, "_SYNC_RECORDS", 5)
    monkeypatch.setattr(append_log.RecordingAppender, "__exit__", lambda self, *_: self._file.close())  # no time to log
    with pytest.raises(KeyboardInterrupt):
        ingest(FOLDER, source(Reader(unplugged_at="r20")))
    work = FOLDER.parent / ".s.partial"
    with (work / ARRAYS_FILE).open("ab") as file:
        file.write(b"half a recording")
    with (work / INDEX_FILE).open("a") as file:
        file.write('{"record": "r2')
    reader = Reader()
    resumed = ingest(FOLDER, source(reader))
    assert reader.seen[0] == "r20"
    whole = ingest(Path("data/whole"), source(Reader()))
    assert same(resumed, whole)


def test_another_ingest_starts_anew() -> None:
    with pytest.raises(KeyboardInterrupt):
        ingest(FOLDER, source(Reader(unplugged_at="r20")))
    reader = Reader()
    other = replace(source(reader), facts={"unit": "V"})
    ingest(FOLDER, other)
    assert reader.seen[0] == "r0"


def test_too_many_broken_records_are_an_error_and_what_was_read_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    broken = ["r3", "r9"]
    first = Reader(broken)
    with pytest.raises(DataError, match=r"record r9: cannot be read; 2 of 30 .*is kept: .*--max-skipped SHARE"):
        ingest(FOLDER, source(first))
    assert first.seen[-1] == "r9", "stopped early"
    assert not FOLDER.exists()
    again = Reader(broken)
    with pytest.raises(DataError, match=r"record r9: cannot be read; 2 of 30 .*is kept"):
        ingest(FOLDER, source(again))
    assert again.seen == [], "the same share is still too small"
    larger = Reader(broken)
    resumed = ingest(FOLDER, source(larger), max_skipped=0.1)
    assert larger.seen[0] == "r10"
    assert "going on after 10 of 30 records" in capsys.readouterr().out
    whole = ingest(Path("data/whole"), source(Reader(broken)), max_skipped=0.1)
    assert same(resumed, whole)
    assert sorted(path.name for path in FOLDER.parent.iterdir()) == ["s", "whole"], "no litter"
    assert "2 of 30 records skipped: r3: record r3: cannot be read" in capsys.readouterr().out


def test_nothing_is_left_where_not_one_record_was_read() -> None:
    with pytest.raises(DataError, match="record r0: cannot be read"):
        ingest(FOLDER, source(Reader(["r0"])), max_skipped=0)
    assert not list(FOLDER.parent.iterdir())


def test_nothing_but_broken_records() -> None:
    with pytest.raises(DataError, match=r"no recording in 3 records: record r0"):
        ingest(FOLDER, source(Reader(["r0", "r1", "r2"]), 3), max_skipped=1)


def test_of_a_record_that_breaks_halfway_nothing_is_kept() -> None:
    store = ingest(FOLDER, source(Reader(["r5"])), max_skipped=0.1)
    assert "r5" not in [entry.name for entry in store.entries]
    assert len(store) == 28


def test_memory_stays_flat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(append_log, "_SYNC_BYTES", 2**18)

    def peak(n: int) -> int:
        big = Recording(name="r", subject="p", arrays={"signals": np.zeros((10, 4096), np.float32)})
        plan = replace(source(Reader(), n), read=lambda _: [big])
        tracemalloc.start()
        ingest(FOLDER, plan)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    small = peak(20)  # 3 MB
    assert peak(200) < small + 2**20


@pytest.mark.parametrize("when", ["after the arrays", "in the log"])
def test_an_interrupt_within_a_sync_neither_doubles_nor_shifts(monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    monkeypatch.setattr(append_log, "_SYNC_RECORDS", 5)
    fsync, calls = os.fsync, 0
    fatal = {"after the arrays": 3, "in the log": 4}[when]  # arrays, log, arrays, log ...

    def pull_the_plug(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        fsync(descriptor)
        if calls == fatal:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", pull_the_plug)
        with pytest.raises(KeyboardInterrupt):
            ingest(FOLDER, source(Reader()))
    resumed = ingest(FOLDER, source(Reader()))
    whole = ingest(Path("data/whole"), source(Reader()))
    assert same(resumed, whole)


def test_a_new_version_of_the_readers_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt):
        ingest(FOLDER, source(Reader(unplugged_at="r20")))
    monkeypatch.setattr(ingest_module, "__version__", "another")
    reader = Reader()
    ingest(FOLDER, source(reader))
    assert reader.seen[0] == "r0"


def test_an_older_preparation_is_replaced_whole() -> None:
    first = ingest(FOLDER, source(Reader()))
    second = ingest(FOLDER, source(Reader(), 9))
    assert (len(first), len(second)) == (30, 9)
    assert first.memory[:8].view(np.int16)[0] == 100, "an open one stays readable"
    assert len(open_store(FOLDER)) == 9
    assert [path.name for path in FOLDER.parent.iterdir()] == ["s"], "no litter"


def test_other_files_of_the_same_names_start_anew() -> None:
    with pytest.raises(KeyboardInterrupt):
        ingest(FOLDER, source(Reader(unplugged_at="r20")), origin=Origin(identity="/here 1"))
    reader = Reader()
    ingest(FOLDER, source(reader), origin=Origin(identity="/there 2"))
    assert reader.seen[0] == "r0"
