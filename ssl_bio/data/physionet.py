"""PhysioNet's ECG databases in WFDB format: `mitdb` and `cinc2017`.

Both are read record by record with the library wfdb and cut as `ReadOptions` say.
"""

import csv
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.archive import Files
from ssl_bio.data.convert import Conversion
from ssl_bio.data.cutting import Cutter
from ssl_bio.data.journal import Windows
from ssl_bio.data.store import ReadOptions, Rows, Signals, TargetInfo
from ssl_bio.errors import DataError

MITDB_TITLE = "MIT-BIH arrhythmia: two-lead ECG, half-hour records, every beat annotated"
MITDB_URL = "https://physionet.org/static/published-projects/mitdb/mit-bih-arrhythmia-database-1.0.0.zip"
MITDB_HOMEPAGE = "https://physionet.org/content/mitdb/1.0.0/"
CINC_TITLE = "PhysioNet/CinC 2017: single-lead ECG of 9 to 61 s, rhythm N, A, O or noise"
CINC_URL = "https://physionet.org/files/challenge-2017/1.0.0/training2017.zip"
CINC_HOMEPAGE = "https://physionet.org/content/challenge-2017/1.0.0/"

#: The reference set-up of the VQ-VAE figures: 1,024 samples at 125 Hz, 64 codes of 16 samples.
MITDB_DEFAULTS = ReadOptions(sampling_rate=125.0, window=8.192, stride=8.192, highpass=0.5, standardize="record")
#: The protocol of the lab's `physionet2017` task: as recorded, zero-padded to 61 s.
CINC_DEFAULTS = ReadOptions(sampling_rate=300.0, window=61.0, stride=0.0, highpass=0.0, standardize="none")

MITDB_SCHEMES = {
    "subject": "records 100-115 train, 116-119 and 121-124 validate, 200-234 test",
    "interpatient": "DS2 of de Chazal et al. 2004 without 202 (a person of DS1) tests, of DS1 114-119 validate",
}
_MITDB_NAME = re.compile(r"\d{3}")
_DS1 = (101, 106, 108, 109, 112, 114, 115, 116, 118, 119, 122, 124, 201, 203, 205, 207, 208, 209, 215, 220, 223, 230)
_DS2 = (100, 103, 105, 111, 113, 117, 121, 123, 200, 210, 212, 213, 214, 219, 221, 222, 228, 231, 232, 233, 234)
_DS1_VALIDATION = (114, 115, 116, 118, 119)
# 201 and 202 are two records of one person.
_PERSON = {"202": "201"}

#: AAMI EC57 classes of the annotated beats, by the database's own symbols.
AAMI = ("none", "N", "S", "V", "F", "Q")
_AAMI_CODE = {
    symbol: code for code, symbols in enumerate(("", "NLRej", "AaJS", "VE", "F", "/fQ")) for symbol in symbols
}
ECTOPY = ("none", "supraventricular", "ventricular")
RHYTHMS = ("N", "A", "O", "~")
_CINC_SPLIT_SEED = 42


class Record(NamedTuple):
    """One record as read: signals `(channels, samples)` with NaN in gaps, and beats as (sample, AAMI code)."""

    name: str
    signals: Signals
    sampling_rate: float
    leads: tuple[str, ...]
    beats: NDArray[np.int64]  # (n, 2)


def read_mitdb(files: Files, options: ReadOptions) -> Conversion:
    """The MIT-BIH arrhythmia database (Moody and Mark 2001).

    Channels are the first and the second lead as recorded (MLII and V1 in most records, V5 and MLII in
    114). Targets: `ectopy`, the gravest beat of a window (ventricular: V, E or fusion; supraventricular: A,
    a, J, S); `heart_rate`, beats a minute from the annotations (NaN with fewer than two beats); `beats`, at
    every sample the AAMI class of the beat annotated there, 0 where none is.

    Raises DataError that names a record that is missing a file, truncated or of another layout.
    """
    options = options.over(MITDB_DEFAULTS)
    cutter = Cutter(options)
    # The publisher's folder also holds a superseded annotation (102-0) and extracts of records (x_mitdb).
    names = [name for name in _records(files, ".hea", ".dat") if _MITDB_NAME.fullmatch(_stem(name))]
    if not names:
        raise DataError(f"{files.source}: no record 100 to 234 inside: not this database")

    def read(name: str) -> Windows:
        with files.borrowed(f"{name}.hea", f"{name}.dat", f"{name}.atr") as (header, *_):
            record = read_record(header.with_suffix(""), with_beats=True)
        if len(record.signals) != 2:
            raise DataError(f"{record.name}.hea: {len(record.signals)} leads instead of 2")
        cuts = cutter.cut(record.signals, record.sampling_rate)
        beats = cuts.of_events(record.beats[:, 0] / record.sampling_rate, record.beats[:, 1].astype(np.int8))
        rates = [_heart_rate(codes, options.sampling_rate) for codes in beats]
        targets: dict[str, NDArray[Any]] = {
            "ectopy": np.array([_gravest(codes) for codes in beats], np.int64),
            "heart_rate": np.array(rates, np.float32),
            "beats": beats,
        }
        subject = _PERSON.get(record.name, record.name)
        return Windows(cuts.signals, [subject] * len(beats), targets, cuts.dropped)

    return Conversion(
        title=MITDB_TITLE,
        source=files.source.name,
        sampling_rate=options.sampling_rate,
        channels=("lead_1", "lead_2"),
        unit=unit_of(options, "mV"),
        targets={
            "ectopy": TargetInfo(kind="class", classes=ECTOPY),
            "heart_rate": TargetInfo(kind="value", unit="beats/min"),
            "beats": TargetInfo(kind="events", classes=AAMI),
        },
        records=names,
        read=read,
        split=lambda subjects, _: _mitdb_splits(subjects),
        schemes=MITDB_SCHEMES,
    )


def read_cinc2017(files: Files, options: ReadOptions) -> Conversion:
    """The PhysioNet/CinC challenge of 2017 (Clifford et al. 2017).

    Target `rhythm`: N normal, A atrial fibrillation, O other, ~ too noisy, from `REFERENCE-v3.csv`. A record
    longer than the window gives its middle, a shorter one is padded with zeros at its end; with
    `data.stride` a record gives a window every so many seconds. Records carry no patient, so splits of 80 /
    10 / 10 are stratified by record.

    Raises DataError for a record without a label, a broken table of labels, or a broken file.
    """
    options = options.over(CINC_DEFAULTS)
    cutter = Cutter(options)
    labels = _cinc_labels(files)
    names = _records(files, ".mat", ".hea")
    for name in names:
        if _stem(name) not in labels:
            raise DataError(f"{files.source}: record {_stem(name)} has no label in REFERENCE-v3.csv")

    def read(name: str) -> Windows:
        with files.borrowed(f"{name}.hea", f"{name}.mat") as (header, _):
            record = read_record(header.with_suffix(""))
        cuts = cutter.cut(record.signals, record.sampling_rate)
        n = len(cuts.signals)
        code = RHYTHMS.index(labels[record.name])
        return Windows(cuts.signals, [record.name] * n, {"rhythm": np.full(n, code)}, cuts.dropped)

    return Conversion(
        title=CINC_TITLE,
        source=files.source.name,
        sampling_rate=options.sampling_rate,
        channels=("ecg",),
        unit=unit_of(options, "mV"),
        targets={"rhythm": TargetInfo(kind="class", classes=RHYTHMS)},
        records=names,
        read=read,
        split=lambda subjects, targets: {"subject": _stratified(subjects, np.asarray(targets["rhythm"]))},
        schemes={"subject": "records are drawn 80 / 10 / 10, stratified by rhythm, seed 42"},
    )


def unit_of(options: ReadOptions, physical: str) -> str:
    """The unit of signals as they leave the cutter."""
    return "deviations of the record" if options.standardize == "record" else physical


@contextmanager
def quiet_wfdb() -> Iterator[ModuleType]:
    """The library, imported when first needed because it takes its time, without its warnings of how it uses pandas."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import wfdb

        yield wfdb


@contextmanager
def reading_wfdb(path: Path) -> Iterator[ModuleType]:
    """The library, reading the record at a path without suffix: whatever it raises is a DataError that names it."""
    try:
        with quiet_wfdb() as wfdb:
            yield wfdb
    # wfdb raises whatever numpy or the parser met.
    except Exception as error:
        raise DataError(f"record {path.name}: cannot be read ({type(error).__name__}: {error})") from error


def read_record(path: Path, with_beats: bool = False) -> Record:
    """A WFDB record by its path without suffix. Raises DataError that names it when it is broken."""
    beats = np.empty((0, 2), np.int64)
    with reading_wfdb(path) as wfdb:
        record = wfdb.rdrecord(str(path))
        if with_beats:
            annotation = wfdb.rdann(str(path), "atr")
            pairs = [
                (sample, _AAMI_CODE[symbol])
                for sample, symbol in zip(annotation.sample, annotation.symbol, strict=True)
                if symbol in _AAMI_CODE
            ]
            beats = np.array(pairs, np.int64).reshape(-1, 2)
    if record.p_signal is None or not record.p_signal.size:
        raise DataError(f"record {path.name}: holds no signal")
    # Some publishers' tools leave a comma behind a lead's name.
    leads = tuple(name.strip(", ") for name in record.sig_name)
    return Record(path.name, record.p_signal.T.astype(np.float64), float(record.fs), leads, beats)


def _records(files: Files, suffix: str, partner: str) -> list[str]:
    """Names without suffix of all records that have a file with this one; each must have the partner, too."""
    found = [name.removesuffix(suffix) for name in files.find(suffix)]
    if not found:
        raise DataError(f"{files.source}: no *{suffix} file inside: not this database")
    for name in found:
        if not files.has(name + partner):
            raise DataError(f"{files.source}: record {_stem(name)} has no {partner} file")
    return found


def _stem(name: str) -> str:
    return name.rpartition("/")[2]


def _gravest(codes: NDArray[np.int8]) -> int:
    if np.isin(codes, (AAMI.index("V"), AAMI.index("F"))).any():
        return ECTOPY.index("ventricular")
    return ECTOPY.index("supraventricular") if (codes == AAMI.index("S")).any() else ECTOPY.index("none")


def _heart_rate(codes: NDArray[np.int8], sampling_rate: float) -> float:
    at = np.flatnonzero(codes)
    return float(60 * sampling_rate / np.diff(at).mean()) if len(at) > 1 else float("nan")


def _mitdb_splits(subjects: NDArray[np.str_]) -> dict[str, dict[str, Rows]]:
    number = subjects.astype(int)

    def rows(chosen: NDArray[np.bool_]) -> Rows:
        return np.flatnonzero(chosen)

    held_out = np.isin(number, _DS1_VALIDATION)
    return {
        "subject": {
            "train": rows(number < 116),
            "val": rows((number >= 116) & (number < 200)),
            "test": rows(number >= 200),
        },
        "interpatient": {
            "train": rows(np.isin(number, _DS1) & ~held_out),
            "val": rows(held_out),
            "test": rows(np.isin(number, _DS2)),
        },
    }


def _cinc_labels(files: Files) -> dict[str, str]:
    tables = files.find("REFERENCE-v3.csv") or files.find("REFERENCE.csv")
    if not tables:
        raise DataError(f"{files.source}: no REFERENCE-v3.csv inside: not the challenge's training set")
    path = files.fetch(tables[0])
    labels: dict[str, str] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for number, line in enumerate(csv.reader(file), 1):
            if len(line) != 2 or line[1].strip() not in RHYTHMS:
                raise DataError(f"{path.name}, line {number}: expected RECORD,RHYTHM with a rhythm of {RHYTHMS}")
            labels[line[0].strip()] = line[1].strip()
    return labels


def _stratified(subjects: NDArray[np.str_], codes: NDArray[np.int64]) -> dict[str, Rows]:
    """80 / 10 / 10 of the records of each class; all windows of a record stay together."""
    rng = np.random.default_rng(_CINC_SPLIT_SEED)
    names, first = np.unique(subjects, return_index=True)
    parts: dict[str, list[NDArray[np.str_]]] = {"train": [], "val": [], "test": []}
    for code in range(len(RHYTHMS)):
        members = rng.permutation(names[codes[first] == code])
        tenth = round(len(members) / 10)
        parts["test"].append(members[:tenth])
        parts["val"].append(members[tenth : 2 * tenth])
        parts["train"].append(members[2 * tenth :])
    return {split: np.flatnonzero(np.isin(subjects, np.concatenate(drawn))) for split, drawn in parts.items()}
