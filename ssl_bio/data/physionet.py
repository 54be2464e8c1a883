"""PhysioNet's ECG databases in WFDB format: `mitdb` and `cinc2017`.

Both are read record by record with the library wfdb: gaps bridged, resampled by a polyphase filter, high-pass
filtered forwards and backwards, standardised by record, cut into windows, as `ReadOptions` say. A window
that touches a gap is dropped, and a lead that stays silent becomes zeros; both are counted and told.
"""

import csv
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.archive import unpacked
from ssl_bio.data.store import ReadOptions, Recording, Rows, Signals, TargetInfo
from ssl_bio.data.transforms import highpass, resample
from ssl_bio.errors import DataError
from ssl_bio.terminal import note, progress, warn

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
    beats: NDArray[np.int64]  # (n, 2)


def read_mitdb(source: Path, options: ReadOptions) -> Recording:
    """The MIT-BIH arrhythmia database (Moody and Mark 2001), from its folder or zip.

    Channels are the first and the second lead as recorded (MLII and V1 in most records, V5 and MLII in
    114). Targets: `ectopy`, the gravest beat of a window (ventricular: V, E or fusion; supraventricular: A,
    a, J, S); `heart_rate`, beats a minute from the annotations (NaN with fewer than two beats); `beats`, at
    every sample the AAMI class of the beat annotated there, 0 where none is.

    Raises DataError that names a record that is missing a file, truncated or of another layout.
    """
    options = options.over(MITDB_DEFAULTS)
    windows = _Windows(options)
    with unpacked(source, (".dat", ".hea", ".atr")) as folder:
        # The publisher's folder also holds a superseded annotation (102-0) and extracts of records (x_mitdb).
        names = [path for path in _record_names(source, folder, ".hea", ".dat") if _MITDB_NAME.fullmatch(path.name)]
        if not names:
            raise DataError(f"{source}: no record 100 to 234 inside: not this database")
        with progress("reading records", len(names)) as tick:
            for done, path in enumerate(names, 1):
                record = _read_record(path, with_beats=True)
                if len(record.signals) != 2:
                    raise DataError(f"{path.name}.hea: {len(record.signals)} leads instead of 2")
                windows.add(record, _PERSON.get(record.name, record.name))
                tick(done)
    signals, subjects, beats = windows.finish(source)
    gravest = np.array([_gravest(codes) for codes in beats])
    return Recording(
        title=MITDB_TITLE,
        source=source.name,
        sampling_rate=options.sampling_rate,
        channels=("lead_1", "lead_2"),
        unit="deviations of the record" if options.standardize == "record" else "mV",
        signals=signals,
        subjects=subjects,
        targets={
            "ectopy": (TargetInfo(kind="class", classes=ECTOPY), gravest),
            "heart_rate": (
                TargetInfo(kind="value", unit="beats/min"),
                np.array([_heart_rate(codes, options.sampling_rate) for codes in beats], np.float32),
            ),
            "beats": (TargetInfo(kind="events", classes=AAMI), beats),
        },
        splits=_mitdb_splits(subjects),
        schemes=MITDB_SCHEMES,
    )


def read_cinc2017(source: Path, options: ReadOptions) -> Recording:
    """The PhysioNet/CinC challenge of 2017 (Clifford et al. 2017), from its folder or zip.

    Target `rhythm`: N normal, A atrial fibrillation, O other, ~ too noisy, from `REFERENCE-v3.csv`. A record
    longer than the window gives its middle, a shorter one is padded with zeros at its end; with
    `data.stride` a record gives a window every so many seconds. Records carry no patient, so splits of 80 /
    10 / 10 are stratified by record.

    Raises DataError for a record without a label, a broken table of labels, or a broken file.
    """
    options = options.over(CINC_DEFAULTS)
    windows = _Windows(options)
    with unpacked(source, (".mat", ".hea", "REFERENCE")) as folder:
        labels = _cinc_labels(source, folder)
        paths = _record_names(source, folder, ".mat", ".hea")
        with progress("reading records", len(paths)) as tick:
            for done, path in enumerate(paths, 1):
                if path.name not in labels:
                    raise DataError(f"{source}: record {path.name} has no label in REFERENCE-v3.csv")
                windows.add(_read_record(path, with_beats=False), path.name)
                tick(done)
    signals, subjects, _ = windows.finish(source)
    codes = np.array([RHYTHMS.index(labels[name]) for name in subjects])
    return Recording(
        title=CINC_TITLE,
        source=source.name,
        sampling_rate=options.sampling_rate,
        channels=("ecg",),
        unit="deviations of the record" if options.standardize == "record" else "mV",
        signals=signals,
        subjects=subjects,
        targets={"rhythm": (TargetInfo(kind="class", classes=RHYTHMS), codes)},
        splits={"subject": _stratified(subjects, codes)},
        schemes={"subject": "records are drawn 80 / 10 / 10, stratified by rhythm, seed 42"},
    )


class _Windows:
    """Collects windows of records."""

    def __init__(self, options: ReadOptions) -> None:
        self.options = options
        self.length = round(options.window * options.sampling_rate)
        if self.length < 1:
            raise DataError(f"data.window: {options.window:g} s hold no sample at {options.sampling_rate:g} Hz")
        if options.stride < 0:
            raise DataError(f"data.stride: {options.stride:g} s leads backwards; 0 takes one window a record")
        if not 0 <= options.highpass < options.sampling_rate / 2:
            raise DataError(
                f"data.highpass: {options.highpass:g} Hz is not between 0 and half of {options.sampling_rate:g} Hz"
            )
        self.signals: list[Signals] = []
        self.beats: list[NDArray[np.int8]] = []
        self.names: list[str] = []
        self.n_gaps = 0
        self.silent: list[str] = []

    def add(self, record: Record, subject: str) -> None:
        """Treat a record and cut it."""
        options, rate = self.options, self.options.sampling_rate
        missing = ~np.isfinite(record.signals)
        bridged = _bridged(record.signals, missing)
        silent = np.ptp(bridged, axis=1, keepdims=True) == 0
        self.silent += [record.name] * int(silent.any())
        # The filter pads with zeros: around the mean that leaves no step at the ends.
        mean = bridged.mean(axis=1, keepdims=True)
        signals = resample(bridged - mean, record.sampling_rate, rate) + mean
        n = signals.shape[1]
        gap = np.zeros(n, bool)
        touched = np.flatnonzero(missing.any(axis=0)) * rate / record.sampling_rate
        gap[np.minimum(touched.astype(int), n - 1)] = True
        if options.highpass:
            signals = highpass(signals, options.highpass, rate)
        if options.standardize == "record":
            spread = signals.std(axis=1, keepdims=True)
            signals = (signals - signals.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1)
        signals = np.where(silent, 0, signals)
        codes = np.zeros(n, np.int8)
        at = np.round(record.beats[:, 0] * rate / record.sampling_rate).astype(int)
        inside = at < n
        codes[at[inside]] = record.beats[inside, 1]
        for start in self._starts(n):
            part = slice(max(start, 0), start + self.length)
            if gap[part].any():
                self.n_gaps += 1
                continue
            padding = self.length - signals[:, part].shape[1]
            self.signals.append(np.pad(signals[:, part], ((0, 0), (0, padding))).astype(np.float32))
            self.beats.append(np.pad(codes[part], (0, padding)))
            self.names.append(subject)

    def finish(self, source: Path) -> tuple[Signals, NDArray[np.str_], NDArray[np.int8]]:
        """Windows `(n, channels, length)`, subjects `(n,)`, beats `(n, length)`; tells what was left out."""
        if not self.signals:
            raise DataError(f"{source}: no window of {self.options.window:g} s without a gap")
        if self.n_gaps:
            warn(f"{self.n_gaps} windows touch a gap in their record and are left out")
        if self.silent:
            warn(f"silent leads became zeros in {len(self.silent)} records: {', '.join(self.silent[:5])}")
        note(f"{len(self.signals)} windows of {self.length} samples")
        return np.stack(self.signals), np.array(self.names, np.str_), np.stack(self.beats)

    def _starts(self, n: int) -> Iterator[int]:
        if not self.options.stride:
            yield max(0, (n - self.length) // 2)
            return
        step = max(1, round(self.options.stride * self.options.sampling_rate))
        yield from range(0, max(1, n - self.length + 1), step)


@contextmanager
def quiet_wfdb() -> Iterator[ModuleType]:
    """The library, imported when first needed because it takes its time, without its warnings of how it uses pandas."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import wfdb

        yield wfdb


def _read_record(path: Path, with_beats: bool) -> Record:
    beats = np.empty((0, 2), np.int64)
    try:
        with quiet_wfdb() as wfdb:
            record = wfdb.rdrecord(str(path))
            annotation = wfdb.rdann(str(path), "atr") if with_beats else None
        if annotation:
            pairs = [
                (sample, _AAMI_CODE[symbol])
                for sample, symbol in zip(annotation.sample, annotation.symbol, strict=True)
                if symbol in _AAMI_CODE
            ]
            beats = np.array(pairs, np.int64).reshape(-1, 2)
    # wfdb raises whatever numpy or the parser met.
    except Exception as error:
        raise DataError(f"record {path.name}: cannot be read ({type(error).__name__}: {error})") from error
    if record.p_signal is None or not record.p_signal.size:
        raise DataError(f"record {path.name}: holds no signal")
    return Record(path.name, record.p_signal.T.astype(np.float64), float(record.fs), beats)


def _record_names(source: Path, folder: Path, suffix: str, partner: str) -> list[Path]:
    """Paths without suffix of all records that have a file with this one; each must have the partner, too."""
    found = sorted(path.with_suffix("") for path in folder.rglob(f"*{suffix}"))
    if not found:
        raise DataError(f"{source}: no *{suffix} file inside: not this database")
    for path in found:
        if not path.with_suffix(partner).is_file():
            raise DataError(f"{source}: record {path.name} has no {partner} file")
    return found


def _bridged(signals: Signals, missing: NDArray[np.bool_]) -> Signals:
    """Gaps filled linearly, so that filters stay finite; the windows that touch one are dropped later."""
    if not missing.any():
        return signals
    time = np.arange(signals.shape[1])
    filled = np.where(missing, 0.0, signals)
    for channel in np.flatnonzero(missing.any(axis=1)):
        known = ~missing[channel]
        if known.any():
            filled[channel] = np.interp(time, time[known], signals[channel, known])
    return filled


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


def _cinc_labels(source: Path, folder: Path) -> dict[str, str]:
    tables = sorted(folder.rglob("REFERENCE-v3.csv")) or sorted(folder.rglob("REFERENCE*.csv"))
    if not tables:
        raise DataError(f"{source}: no REFERENCE-v3.csv inside: not the challenge's training set")
    labels: dict[str, str] = {}
    with tables[0].open(encoding="utf-8", newline="") as file:
        for number, line in enumerate(csv.reader(file), 1):
            if len(line) != 2 or line[1].strip() not in RHYTHMS:
                raise DataError(f"{tables[0].name}, line {number}: expected RECORD,RHYTHM with a rhythm of {RHYTHMS}")
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
