"""Ingest record by record: resumed where it stopped, broken records counted, nothing half-written."""

import os
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ssl_bio.data import store
from ssl_bio.data.ingest import append_log
from ssl_bio.data.ingest import ingest as ingest_module
from ssl_bio.data.ingest.append_log import RecordWindows
from ssl_bio.data.ingest.ingest import Ingest, ingest
from ssl_bio.data.splits import draw_subjects
from ssl_bio.data.store import ReadOptions, TargetInfo
from ssl_bio.errors import DataError

FOLDER = Path("data/s")


class Reader:
    """Record "r<i>" gives i % 3 windows of 4 samples; those in `broken` cannot be read."""

    def __init__(self, broken: Sequence[str] = (), unplugged_at: str = "") -> None:
        self.broken, self.unplugged_at = broken, unplugged_at
        self.seen: list[str] = []

    def __call__(self, record: str) -> RecordWindows:
        self.seen.append(record)
        if record == self.unplugged_at:
            raise KeyboardInterrupt
        if record in self.broken:
            raise DataError(f"record {record}: cannot be read")
        index = int(record[1:])
        n = index % 3
        signals = np.arange(n * 4, dtype=np.float32).reshape(n, 1, 4) + 100 * index
        return RecordWindows(signals, [record] * n, {"code": np.full(n, index % 2)}, {"windows are odd": 1})


def source(read: Reader, n: int = 30) -> Ingest:
    return Ingest(
        title="t",
        source="s.zip",
        sampling_rate=4.0,
        channels=("x",),
        unit="mV",
        targets={"code": TargetInfo(kind="class", classes=("even", "odd"))},
        records=[f"r{index}" for index in range(n)],
        read=read,
        split=lambda subjects, _: {"subject": draw_subjects(subjects)},
        schemes={"subject": "80 / 10 / 10"},
    )


def test_windows_of_all_records_in_order() -> None:
    data = ingest(FOLDER, source(Reader()))
    assert data.signals.shape == (30, 1, 4)
    assert data.signals[0, 0].tolist() == [100, 101, 102, 103]
    assert data.subjects.tolist()[:4] == ["r1", "r2", "r2", "r4"]
    assert data.info.dropped == {"windows are odd": 30}
    assert data.info.n_records == 30
    assert store.fingerprint(FOLDER, data.info) == data.info.fingerprint
    assert [path.name for path in FOLDER.parent.iterdir()] == ["s"], "no litter"


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
    assert resumed.info.fingerprint == whole.info.fingerprint
    assert resumed.info.skipped == whole.info.skipped == {name: f"record {name}: cannot be read" for name in broken}


def test_a_killed_process_leaves_what_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(append_log, "_SYNC_RECORDS", 5)
    monkeypatch.setattr(append_log.ArrayAppender, "__exit__", lambda *_: None)  # no time to say goodbye
    with pytest.raises(KeyboardInterrupt):
        ingest(FOLDER, source(Reader(unplugged_at="r20")))
    work = FOLDER.parent / ".s.partial"
    with (work / "signals.npy").open("ab") as file:
        file.write(b"half a window")
    with (work / "log.jsonl").open("a") as file:
        file.write('{"record": "r2')
    reader = Reader()
    resumed = ingest(FOLDER, source(reader))
    assert reader.seen[0] == "r20"
    whole = ingest(Path("data/whole"), source(Reader()))
    assert resumed.info.fingerprint == whole.info.fingerprint


def test_another_ingest_starts_anew() -> None:
    with pytest.raises(KeyboardInterrupt):
        ingest(FOLDER, source(Reader(unplugged_at="r20")))
    reader = Reader()
    other = replace(source(reader), sampling_rate=8.0)
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
    assert resumed.info.fingerprint == whole.info.fingerprint
    assert resumed.info.skipped == whole.info.skipped
    assert sorted(path.name for path in FOLDER.parent.iterdir()) == ["s", "whole"], "no litter"
    assert "2 of 30 records skipped: r3: record r3: cannot be read" in capsys.readouterr().out


def test_nothing_is_left_where_not_one_record_was_read() -> None:
    with pytest.raises(DataError, match="record r0: cannot be read"):
        ingest(FOLDER, source(Reader(["r0"])), max_skipped=0)
    assert not list(FOLDER.parent.iterdir())


def test_nothing_but_broken_records() -> None:
    with pytest.raises(DataError, match=r"no window in 3 records: record r0"):
        ingest(FOLDER, source(Reader(["r0", "r1", "r2"]), 3), max_skipped=1)


def test_windows_unlike_those_before_are_a_broken_record() -> None:
    reader = Reader()

    def odd(record: str) -> RecordWindows:
        windows = reader(record)
        return windows._replace(signals=windows.signals[:, :, :3]) if record == "r5" else windows

    with pytest.raises(DataError, match="r5: windows unlike those before"):
        ingest(FOLDER, replace(source(reader), read=odd), max_skipped=0)


def test_memory_stays_flat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(append_log, "_SYNC_BYTES", 2**18)

    def peak(n: int) -> int:
        big = RecordWindows(np.zeros((10, 1, 4096), np.float32), ["p"] * 10, {"code": np.zeros(10, np.int64)})
        plan = replace(source(Reader(), n), read=lambda _: big)
        tracemalloc.start()
        ingest(FOLDER, plan)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    small = peak(20)  # 3 MB of windows
    assert peak(200) < small + 2**20


@pytest.mark.parametrize("when", ["between arrays", "in the log"])
def test_an_interrupt_within_a_sync_neither_doubles_nor_shifts(monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    monkeypatch.setattr(append_log, "_SYNC_RECORDS", 5)
    fsync, calls = os.fsync, 0
    fatal = {"between arrays": 2, "in the log": 4}[when]  # first line of the log, signals, targets, log ...

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
    assert resumed.info.fingerprint == whole.info.fingerprint
    np.testing.assert_array_equal(resumed.signals, whole.signals)


@pytest.mark.parametrize("options", [ReadOptions(stride=1.0), ReadOptions(window=2.0), ReadOptions(padding="repeat")])
def test_other_options_start_anew(options: ReadOptions) -> None:
    with pytest.raises(KeyboardInterrupt):
        ingest(FOLDER, source(Reader(unplugged_at="r20")))
    reader = Reader()
    ingest(FOLDER, replace(source(reader), options=options))
    assert reader.seen[0] == "r0"


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
    assert (len(first.signals), len(second.signals)) == (30, 9)
    assert first.signals[29, 0, 0] == 2904, "an open one stays readable"
    assert store.open_prepared(FOLDER).info.n == 9
    assert [path.name for path in FOLDER.parent.iterdir()] == ["s"], "no litter"


def test_other_files_of_the_same_names_start_anew() -> None:
    with pytest.raises(KeyboardInterrupt):
        ingest(FOLDER, replace(source(Reader(unplugged_at="r20")), origin="/here 1"))
    reader = Reader()
    ingest(FOLDER, replace(source(reader), origin="/there 2"))
    assert reader.seen[0] == "r0"
