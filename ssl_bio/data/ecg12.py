"""PhysioNet's collections of 12-lead ECGs of 10 s with diagnoses: `ptbxl` and `csn`.

A record is one window unless `ReadOptions` say otherwise, and may carry several labels.
"""

import ast
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssl_bio.data.archive import Files
from ssl_bio.data.convert import Conversion, by_subject
from ssl_bio.data.cutting import Cutter
from ssl_bio.data.journal import Windows
from ssl_bio.data.physionet import Record, read_record, unit_of
from ssl_bio.data.store import ReadOptions, Rows, Signals, TargetInfo
from ssl_bio.errors import DataError
from ssl_bio.terminal import progress

PTBXL_TITLE = "PTB-XL: 12-lead ECGs of 10 s from 18,869 people, five diagnostic superclasses"
PTBXL_URL = (
    "https://physionet.org/static/published-projects/ptb-xl/"
    "ptb-xl-a-large-publicly-available-electrocardiography-dataset-1.0.3.zip"
)
PTBXL_HOMEPAGE = "https://physionet.org/content/ptb-xl/1.0.3/"
CSN_TITLE = "Chapman-Shaoxing-Ningbo: 45,152 12-lead ECGs of 10 s, SNOMED CT diagnoses"
CSN_URL = (
    "https://physionet.org/static/published-projects/ecg-arrhythmia/"
    "a-large-scale-12-lead-electrocardiogram-database-for-arrhythmia-study-1.0.0.zip"
)
CSN_HOMEPAGE = "https://physionet.org/content/ecg-arrhythmia/1.0.0/"

LEADS = ("I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6")
PTBXL_DEFAULTS = ReadOptions(sampling_rate=100.0, window=10.0, stride=0.0, highpass=0.0, standardize="none")
#: 1,250 samples a record, as CM-SSL's protocol has it.
CSN_DEFAULTS = ReadOptions(sampling_rate=125.0, window=10.0, stride=0.0, highpass=0.0, standardize="none")
SUPERCLASSES = ("NORM", "MI", "STTC", "CD", "HYP")
UNLABELLED = "records carry no such diagnosis and are left out"

_LOW_RATE = 100.0  # Hz, of filename_lr
_PTBXL_COLUMNS = ("ecg_id", "patient_id", "scp_codes", "strat_fold", "filename_lr", "filename_hr")
_VALIDATION_FOLD, _TEST_FOLD = 9, 10
_DIAGNOSES = re.compile(rb"^#\s*Dx:(.*)$", re.MULTILINE)


class Ecg(NamedTuple):
    """A line of PTB-XL's table."""

    patient: str
    fold: int
    superclasses: frozenset[str]
    low: str  # file without suffix, 100 Hz
    high: str  # 500 Hz


def read_ptbxl(files: Files, options: ReadOptions) -> Conversion:
    """PTB-XL (Wagner et al. 2020): `ptbxl_database.csv`, `scp_statements.csv` and WFDB records of 12 leads, mV.

    Target `superclass`: for each of NORM, MI, STTC, CD and HYP whether one of the record's diagnostic statements, of
    whatever likelihood, belongs to it, as the publisher's own example reads them. Records without one are left out
    and counted, as in the benchmark of Strodthoff et al. (2020).

    A record is a window of 10 s at 100 Hz, read from records100; for a higher `data.sampling_rate`, or where
    records100 is missing, records500 is read instead, and where one is missing the other is resampled. Subjects are
    patients. Scheme "subject" is the publisher's, which respects patients: folds 1 to 8 train, 9 validates, 10 tests.

    Raises DataError for a table that is missing or broken, or a record that is.
    """
    options = options.over(PTBXL_DEFAULTS)
    cutter = Cutter(options)
    ecgs = _ptbxl_table(files)
    names = [ecg.high if _prefers_high(files, ecgs[0], options.sampling_rate) else ecg.low for ecg in ecgs]
    by_name = dict(zip(names, ecgs, strict=True))
    folds = _folds(ecgs)

    def read(name: str) -> Windows:
        ecg = by_name[name]
        if not ecg.superclasses:
            return _left_out(cutter, {"superclass": len(SUPERCLASSES)})
        with files.borrowed(f"{name}.hea", f"{name}.dat") as (header, _):
            record = read_record(header.with_suffix(""))
        return _windows(cutter, record, ecg.patient, "superclass", _many_hot(ecg.superclasses, SUPERCLASSES))

    return Conversion(
        title=PTBXL_TITLE,
        source=files.source.name,
        sampling_rate=options.sampling_rate,
        channels=LEADS,
        unit=unit_of(options, "mV"),
        targets={"superclass": TargetInfo(kind="labels", classes=SUPERCLASSES)},
        records=names,
        read=read,
        split=lambda subjects, _: {"subject": _by_fold(subjects, folds)},
        schemes={"subject": "the publisher's folds, by patient: 1 to 8 train, 9 validates, 10 tests"},
    )


def read_csn(files: Files, options: ReadOptions) -> Conversion:
    """The Chapman-Shaoxing-Ningbo database (Zheng et al. 2020, 2022): WFDB records of 12 leads, 500 Hz, 10 s, mV.

    Target `diagnosis`: every SNOMED CT code that occurs in the headers' `#Dx:` lines (94 in the whole database) is a
    class of its own, in the order of the codes, called by the acronym of `ConditionNames_SNOMED-CT.csv` where that
    table has one (the first, where it has several) and by its number elsewhere. Records without a code are left out
    and counted.

    A record is a window, resampled to 125 Hz: 1,250 samples, the protocol of CM-SSL. It is a person's only one, so
    records are split 80 / 10 / 10, seed 42; how the protocol drew is not published. Some records of the database are
    broken (JS01052, JS23074): they are skipped and counted as any other that is.

    Raises DataError for a record that is missing a file, broken or of other leads.
    """
    options = options.over(CSN_DEFAULTS)
    cutter = Cutter(options)
    names = [name.removesuffix(".hea") for name in files.find(".hea")]
    if not names:
        raise DataError(f"{files.source}: no *.hea file inside: not this database")
    diagnoses = _diagnoses(files, names)
    codes = sorted({code for found in diagnoses.values() for code in found})
    if not codes:
        raise DataError(f"{files.source}: no header has a line '#Dx: CODE': not this database")

    def read(name: str) -> Windows:
        with files.borrowed(f"{name}.hea", f"{name}.mat") as (header, _):
            record = read_record(header.with_suffix(""))
        if not diagnoses[name]:
            return _left_out(cutter, {"diagnosis": len(codes)})
        return _windows(cutter, record, record.name, "diagnosis", _many_hot(diagnoses[name], codes))

    return Conversion(
        title=CSN_TITLE,
        source=files.source.name,
        sampling_rate=options.sampling_rate,
        channels=LEADS,
        unit=unit_of(options, "mV"),
        targets={"diagnosis": TargetInfo(kind="labels", classes=_acronyms(files, codes))},
        records=names,
        read=read,
        split=lambda subjects, _: {"subject": by_subject(subjects)},
        schemes={"subject": "records, one a person, are drawn 80 / 10 / 10, seed 42"},
    )


def _windows(cutter: Cutter, record: Record, subject: str, target: str, labels: NDArray[np.int8]) -> Windows:
    cuts = cutter.cut(_twelve_leads(record), record.sampling_rate)
    n = len(cuts.starts)
    return Windows(cuts.signals, [subject] * n, {target: np.tile(labels, (n, 1))}, cuts.dropped)


def _left_out(cutter: Cutter, widths: Mapping[str, int]) -> Windows:
    targets = {name: np.zeros((0, width), np.int8) for name, width in widths.items()}
    return Windows(np.zeros((0, len(LEADS), cutter.length), np.float32), [], targets, {UNLABELLED: 1})


def _twelve_leads(record: Record) -> Signals:
    """Signals `(12, samples)` in the order of LEADS, whatever the header's order and spelling (aVR, AVR)."""
    found = [lead.upper() for lead in record.leads]
    missing = [lead for lead in LEADS if lead not in found]
    if missing:
        raise DataError(f"record {record.name}: no lead {', '.join(missing)}; it has {', '.join(record.leads)}")
    return record.signals[[found.index(lead) for lead in LEADS]]


def _many_hot(chosen: Collection[object], classes: Sequence[object]) -> NDArray[np.int8]:
    return np.array([name in chosen for name in classes], np.int8)


def _ptbxl_table(files: Files) -> list[Ecg]:
    place = files.one("ptbxl_database.csv")
    home = place.removesuffix("ptbxl_database.csv")
    superclass_of = _superclasses(files)
    ecgs = []
    for number, line in enumerate(_table(files, place, _PTBXL_COLUMNS), 2):
        try:
            codes = ast.literal_eval(line["scp_codes"])
            superclasses = frozenset(superclass_of[code] for code in codes if code in superclass_of)
            patient, fold = str(int(float(line["patient_id"]))), int(line["strat_fold"])
            if not 1 <= fold <= _TEST_FOLD:
                raise ValueError(f"fold {fold}")
        except (ValueError, SyntaxError, TypeError) as error:
            raise DataError(f"ptbxl_database.csv, line {number}: cannot be understood ({error})") from error
        ecgs.append(Ecg(patient, fold, superclasses, home + line["filename_lr"], home + line["filename_hr"]))
    if not ecgs:
        raise DataError("ptbxl_database.csv: no line in it")
    return ecgs


def _superclasses(files: Files) -> dict[str, str]:
    """The superclass of each diagnostic statement, by its code in the first column, which has no name."""
    lines = _table(files, files.one("scp_statements.csv"), ("diagnostic", "diagnostic_class"))
    diagnostic = [line for line in lines if line["diagnostic"] in ("1", "1.0")]
    found = {next(iter(line.values())): line["diagnostic_class"] for line in diagnostic}
    strange = sorted(set(found.values()) - set(SUPERCLASSES))
    if strange or not found:
        known = ", ".join(SUPERCLASSES)
        raise DataError(f"scp_statements.csv: diagnostic classes {', '.join(strange) or 'none'}; known are {known}")
    return found


def _prefers_high(files: Files, first: Ecg, sampling_rate: float) -> bool:
    has_low, has_high = files.has(f"{first.low}.hea"), files.has(f"{first.high}.hea")
    return has_high and (sampling_rate > _LOW_RATE or not has_low)


def _folds(ecgs: Sequence[Ecg]) -> dict[str, int]:
    folds: dict[str, int] = {}
    for ecg in ecgs:
        if folds.setdefault(ecg.patient, ecg.fold) != ecg.fold:
            raise DataError(
                f"ptbxl_database.csv: patient {ecg.patient} is in folds {folds[ecg.patient]} and {ecg.fold}"
            )
    return folds


def _by_fold(subjects: NDArray[np.str_], folds: Mapping[str, int]) -> dict[str, Rows]:
    fold = np.array([folds[subject] for subject in subjects.tolist()])
    return {
        "train": np.flatnonzero(fold < _VALIDATION_FOLD),
        "val": np.flatnonzero(fold == _VALIDATION_FOLD),
        "test": np.flatnonzero(fold == _TEST_FOLD),
    }


def _diagnoses(files: Files, names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """The SNOMED CT codes in each record's header."""
    found = {}
    with progress("reading headers", len(names)) as tick:
        for index, name in enumerate(names, 1):
            with files.borrowed(f"{name}.hea") as (header,):
                lines = _DIAGNOSES.findall(header.read_bytes())
            found[name] = tuple(int(code) for line in lines for code in re.findall(rb"\d+", line))
            tick(index)
    return found


def _acronyms(files: Files, codes: Sequence[int]) -> tuple[str, ...]:
    names: dict[int, str] = {}
    for place in files.find("ConditionNames_SNOMED-CT.csv"):
        for line in _table(files, place, ("Acronym Name", "Snomed_CT")):
            if line["Snomed_CT"].strip().isdigit():
                names.setdefault(int(line["Snomed_CT"]), line["Acronym Name"].strip())
    found = [names.get(code, str(code)) for code in codes]
    # Two codes of one acronym stay two classes.
    return tuple(f"{name} ({code})" if found.count(name) > 1 else name for name, code in zip(found, codes, strict=True))


def _table(files: Files, place: str, columns: Sequence[str]) -> list[dict[str, str]]:
    """The lines of a CSV file by column. Raises DataError that names it when it is none or lacks a column."""
    name = Path(place).name
    with files.borrowed(place) as (path,):
        try:
            table = pd.read_csv(path, dtype=str, encoding="utf-8-sig", keep_default_na=False)
        except ValueError as error:
            raise DataError(f"{name}: not a table ({error})") from error
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise DataError(f"{name}: no column {', '.join(missing)}; it has {', '.join(table.columns)}")
    return [{str(key): str(value) for key, value in line.items()} for line in table.to_dict("records")]
