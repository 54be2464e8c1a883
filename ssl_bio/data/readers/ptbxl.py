"""PTB-XL (Wagner et al. 2020): 12-lead ECGs of 10 s with diagnostic superclasses.

A record is one window unless `ReadOptions` say otherwise, and may carry several labels.
"""

import ast
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ssl_bio.data.formats.wfdb_records import read_record
from ssl_bio.data.ingest.append_log import RecordWindows
from ssl_bio.data.ingest.archive import Files
from ssl_bio.data.ingest.ingest import Ingest
from ssl_bio.data.readers.twelve_leads import LEADS, labelled_windows, many_hot, read_table, unlabelled
from ssl_bio.data.registry import Dataset
from ssl_bio.data.splits import Split, assign_groups
from ssl_bio.data.store import ReadOptions, Subjects, TargetInfo
from ssl_bio.data.windows import Windower
from ssl_bio.errors import DataError

TITLE = "PTB-XL: 12-lead ECGs of 10 s from 18,869 people, five diagnostic superclasses"
PROTOCOL = ReadOptions(sampling_rate=100.0, window=10.0, stride=0.0, highpass=0.0, standardize="none")
SUPERCLASSES = ("NORM", "MI", "STTC", "CD", "HYP")
SCHEMES = {"subject": "the publisher's folds, by patient: 1 to 8 train, 9 validates, 10 tests"}

_LOW_RATE = 100.0  # Hz, of filename_lr
_COLUMNS = ("ecg_id", "patient_id", "scp_codes", "strat_fold", "filename_lr", "filename_hr")
_FOLDS = {"train": range(1, 9), "val": (9,), "test": (10,)}


class _Ecg(NamedTuple):
    """A line of the publisher's table."""

    patient: str
    fold: int
    superclasses: frozenset[str]
    low: str  # file without suffix, 100 Hz
    high: str  # 500 Hz


def read(files: Files, options: ReadOptions) -> Ingest:
    """Read `ptbxl_database.csv`, `scp_statements.csv` and WFDB records of 12 leads, mV.

    Target `superclass`: for each of NORM, MI, STTC, CD and HYP whether one of the record's diagnostic statements, of
    whatever likelihood, belongs to it, as the publisher's own example reads them. Records without one are left out
    and counted, as in the benchmark of Strodthoff et al. (2020).

    A record is a window of 10 s at 100 Hz, read from records100; for a higher `data.sampling_rate`, or where
    records100 is missing, records500 is read instead, and where one is missing the other is resampled. Subjects are
    patients. Scheme "subject" is the publisher's, which respects patients: folds 1 to 8 train, 9 validates, 10 tests.

    Raises DataError for a table that is missing or broken, or a record that is.
    """
    options = options.with_defaults(PROTOCOL)
    windower = Windower(options)
    ecgs = _database(files)
    names = [ecg.high if _prefers_high(files, ecgs[0], options.sampling_rate) else ecg.low for ecg in ecgs]
    by_name = dict(zip(names, ecgs, strict=True))
    folds = _patient_folds(ecgs)

    def read_windows(name: str) -> RecordWindows:
        ecg = by_name[name]
        if not ecg.superclasses:
            return unlabelled(windower, target="superclass", n_classes=len(SUPERCLASSES))
        with files.borrowed(f"{name}.hea", f"{name}.dat") as (header, _):
            record = read_record(header.with_suffix(""))
        labels = many_hot(ecg.superclasses, SUPERCLASSES)
        return labelled_windows(windower, record, subject=ecg.patient, target="superclass", labels=labels)

    return Ingest(
        title=TITLE,
        source=files.source.name,
        sampling_rate=options.sampling_rate,
        channels=LEADS,
        unit=windower.unit("mV"),
        targets={"superclass": TargetInfo(kind="labels", classes=SUPERCLASSES)},
        records=names,
        read=read_windows,
        split=lambda subjects, _: {"subject": _split(subjects, folds)},
        schemes=SCHEMES,
    )


DATASET = Dataset(
    title=TITLE,
    homepage="https://physionet.org/content/ptb-xl/1.0.3/",
    url="https://physionet.org/static/published-projects/ptb-xl/"
    "ptb-xl-a-large-publicly-available-electrocardiography-dataset-1.0.3.zip",
    read=read,
)


def _database(files: Files) -> list[_Ecg]:
    path = files.first("ptbxl_database.csv")
    folder = path.removesuffix("ptbxl_database.csv")
    superclass_of = _superclasses(files)
    ecgs = []
    for number, line in enumerate(read_table(files, path, _COLUMNS), 2):
        try:
            codes = ast.literal_eval(line["scp_codes"])
            superclasses = frozenset(superclass_of[code] for code in codes if code in superclass_of)
            patient, fold = str(int(float(line["patient_id"]))), int(line["strat_fold"])
            if not 1 <= fold <= 10:
                raise ValueError(f"fold {fold}")
        except (ValueError, SyntaxError, TypeError) as error:
            raise DataError(f"ptbxl_database.csv, line {number}: cannot be understood ({error})") from error
        ecgs.append(_Ecg(patient, fold, superclasses, folder + line["filename_lr"], folder + line["filename_hr"]))
    if not ecgs:
        raise DataError("ptbxl_database.csv: no line in it")
    return ecgs


def _superclasses(files: Files) -> dict[str, str]:
    """Return the superclass of each diagnostic statement, by its code in the first column, which has no name."""
    lines = read_table(files, files.first("scp_statements.csv"), ("diagnostic", "diagnostic_class"))
    diagnostic = [line for line in lines if line["diagnostic"] in ("1", "1.0")]
    found = {next(iter(line.values())): line["diagnostic_class"] for line in diagnostic}
    unknown = sorted(set(found.values()) - set(SUPERCLASSES))
    if unknown or not found:
        known = ", ".join(SUPERCLASSES)
        raise DataError(f"scp_statements.csv: diagnostic classes {', '.join(unknown) or 'none'}; known are {known}")
    return found


def _prefers_high(files: Files, first: _Ecg, sampling_rate: float) -> bool:
    has_low, has_high = files.has(f"{first.low}.hea"), files.has(f"{first.high}.hea")
    return has_high and (sampling_rate > _LOW_RATE or not has_low)


def _patient_folds(ecgs: Sequence[_Ecg]) -> dict[str, int]:
    folds: dict[str, int] = {}
    for ecg in ecgs:
        if folds.setdefault(ecg.patient, ecg.fold) != ecg.fold:
            raise DataError(
                f"ptbxl_database.csv: patient {ecg.patient} is in folds {folds[ecg.patient]} and {ecg.fold}"
            )
    return folds


def _split(subjects: Subjects, folds: Mapping[str, int]) -> Split:
    return assign_groups(np.array([folds[subject] for subject in subjects.tolist()]), _FOLDS)
