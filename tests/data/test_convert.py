"""Conversion record by record: resumed where it stopped, broken records counted, nothing half-written."""

import os
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ssl_bio.data import convert, journal, store
from ssl_bio.data.convert import Conversion
from ssl_bio.data.journal import Windows
from ssl_bio.data.store import TargetInfo
from ssl_bio.errors import DataError

FOLDER = Path("data/s")


class Reader:
    """Record "r<i>" gives i % 3 windows of 4 samples; those in `broken` cannot be read."""

    def __init__(self, broken: Sequence[str] = (), unplugged_at: str = "") -> None:
        self.broken, self.unplugged_at = broken, unplugged_at
        self.seen: list[str] = []

    def __call__(self, record: str) -> Windows:
        self.seen.append(record)
        if record == self.unplugged_at:
            raise KeyboardInterrupt
        if record in self.broken:
            raise DataError(f"record {record}: cannot be read")
        index = int(record[1:])
        n = index % 3
        signals = np.arange(n * 4, dtype=np.float32).reshape(n, 1, 4) + 100 * index
        return Windows(signals, [record] * n, {"code": np.full(n, index % 2)}, {"windows are odd": 1})


def conversion(read: Reader, n: int = 30) -> Conversion:
    return Conversion(
        title="t",
        source="s.zip",
        sampling_rate=4.0,
        channels=("x",),
        unit="mV",
        targets={"code": TargetInfo(kind="class", classes=("even", "odd"))},
        records=[f"r{index}" for index in range(n)],
        read=read,
        split=lambda subjects, _: {"subject": convert.by_subject(subjects)},
        schemes={"subject": "80 / 10 / 10"},
    )


def test_windows_of_all_records_in_order() -> None:
    data = convert.convert(FOLDER, conversion(Reader()))
    assert data.signals.shape == (30, 1, 4)
    assert data.signals[0, 0].tolist() == [100, 101, 102, 103]
    assert data.subjects.tolist()[:4] == ["r1", "r2", "r2", "r4"]
    assert data.info.dropped == {"windows are odd": 30}
    assert data.info.n_records == 30
    assert store.fingerprint(FOLDER, data.info) == data.info.fingerprint
    assert [path.name for path in FOLDER.parent.iterdir()] == ["s"], "no litter"


@pytest.mark.parametrize("batch", [1, 4, 1000])
def test_interrupted_conversion_goes_on_where_it_stopped(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(journal, "_SYNC_RECORDS", batch)
    broken = ["r0", "r7"]
    with pytest.raises(KeyboardInterrupt):
        convert.convert(FOLDER, conversion(Reader(broken, unplugged_at="r20")), max_skipped=0.1)
    assert not FOLDER.exists()
    second = Reader(broken)
    resumed = convert.convert(FOLDER, conversion(second), max_skipped=0.1)
    assert second.seen[0] == "r20"
    whole = convert.convert(Path("data/whole"), conversion(Reader(broken)), max_skipped=0.1)
    assert resumed.info.fingerprint == whole.info.fingerprint
    assert resumed.info.skipped == whole.info.skipped == {name: f"record {name}: cannot be read" for name in broken}


def test_a_killed_process_leaves_what_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_SYNC_RECORDS", 5)
    monkeypatch.setattr(journal.Appender, "__exit__", lambda *_: None)  # no time to say goodbye
    with pytest.raises(KeyboardInterrupt):
        convert.convert(FOLDER, conversion(Reader(unplugged_at="r20")))
    work = FOLDER.parent / ".s.partial"
    with (work / "signals.npy").open("ab") as file:
        file.write(b"half a window")
    with (work / "journal.jsonl").open("a") as file:
        file.write('{"record": "r2')
    reader = Reader()
    resumed = convert.convert(FOLDER, conversion(reader))
    assert reader.seen[0] == "r20"
    whole = convert.convert(Path("data/whole"), conversion(Reader()))
    assert resumed.info.fingerprint == whole.info.fingerprint


def test_another_conversion_starts_anew() -> None:
    with pytest.raises(KeyboardInterrupt):
        convert.convert(FOLDER, conversion(Reader(unplugged_at="r20")))
    reader = Reader()
    other = replace(conversion(reader), sampling_rate=8.0)
    convert.convert(FOLDER, other)
    assert reader.seen[0] == "r0"


def test_too_many_broken_records_are_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    broken = ["r3", "r9"]
    with pytest.raises(DataError, match=r"record r9: cannot be read; with it 2 of 30 .*--max-skipped"):
        convert.convert(FOLDER, conversion(Reader(broken)))
    assert not list(FOLDER.parent.iterdir())
    convert.convert(FOLDER, conversion(Reader(broken[:1])))
    assert "1 of 30 records skipped: r3: record r3: cannot be read" in capsys.readouterr().out


def test_nothing_but_broken_records() -> None:
    with pytest.raises(DataError, match=r"no window in 3 records: record r0"):
        convert.convert(FOLDER, conversion(Reader(["r0", "r1", "r2"]), 3), max_skipped=1)


def test_windows_unlike_those_before_are_a_broken_record() -> None:
    reader = Reader()

    def odd(record: str) -> Windows:
        windows = reader(record)
        return windows._replace(signals=windows.signals[:, :, :3]) if record == "r5" else windows

    with pytest.raises(DataError, match="r5: windows unlike those before"):
        convert.convert(FOLDER, replace(conversion(reader), read=odd), max_skipped=0)


def test_memory_stays_flat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_SYNC_BYTES", 2**18)

    def peak(n: int) -> int:
        big = Windows(np.zeros((10, 1, 4096), np.float32), ["p"] * 10, {"code": np.zeros(10, np.int64)})
        plan = replace(conversion(Reader(), n), read=lambda _: big)
        tracemalloc.start()
        convert.convert(FOLDER, plan)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    small = peak(20)  # 3 MB of windows
    assert peak(200) < small + 2**20


def test_by_subject_keeps_people_apart() -> None:
    subjects = np.repeat([f"p{index}" for index in range(20)], 3)
    parts = convert.by_subject(subjects)
    assert [len(parts[name]) for name in ("train", "val", "test")] == [48, 6, 6]
    people = [set(subjects[rows].tolist()) for rows in parts.values()]
    assert not people[0] & people[1] | people[0] & people[2] | people[1] & people[2]


@pytest.mark.parametrize("when", ["between arrays", "in the journal"])
def test_an_interrupt_within_a_sync_neither_doubles_nor_shifts(monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    monkeypatch.setattr(journal, "_SYNC_RECORDS", 5)
    fsync, calls = os.fsync, 0
    fatal = {"between arrays": 2, "in the journal": 4}[when]  # head of the journal, signals, targets, journal ...

    def pull_the_plug(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        fsync(descriptor)
        if calls == fatal:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", pull_the_plug)
        with pytest.raises(KeyboardInterrupt):
            convert.convert(FOLDER, conversion(Reader()))
    resumed = convert.convert(FOLDER, conversion(Reader()))
    whole = convert.convert(Path("data/whole"), conversion(Reader()))
    assert resumed.info.fingerprint == whole.info.fingerprint
    np.testing.assert_array_equal(resumed.signals, whole.signals)


def test_other_files_of_the_same_names_start_anew() -> None:
    with pytest.raises(KeyboardInterrupt):
        convert.convert(FOLDER, replace(conversion(Reader(unplugged_at="r20")), origin="/here 1"))
    reader = Reader()
    convert.convert(FOLDER, replace(conversion(reader), origin="/there 2"))
    assert reader.seen[0] == "r0"
