"""PTB-XL (Wagner et al. 2020): 12-lead ECGs of 10 s with diagnostic superclasses.

A record is one window unless `WindowOptions` say otherwise, and may carry several labels.
"""

import ast
from collections.abc import Sequence
from typing import NamedTuple

from ssl_bio.data.formats.wfdb_records import read_record, stem
from ssl_bio.data.ingest.archive import Files
from ssl_bio.data.ingest.ingest import Ingest
from ssl_bio.data.options import WindowOptions
from ssl_bio.data.readers.twelve_leads import LEADS, labelled_windows, many_hot, read_table, twelve_leads
from ssl_bio.data.recording import Recording
from ssl_bio.data.recording_store import RecordingStore
from ssl_bio.data.registry import Dataset
from ssl_bio.data.splits import assign_groups
from ssl_bio.data.targets import TargetInfo
from ssl_bio.data.windowing import LabelledWindows, Windowing
from ssl_bio.data.windows import Windower
from ssl_bio.errors import DataError

TITLE = "PTB-XL: 12-lead ECGs of 10 s from 18,869 people, five diagnostic superclasses"
PROTOCOL = WindowOptions(sampling_rate=100.0, window=10.0, stride=0.0, highpass=0.0, standardize="none")
SUPERCLASSES = ("NORM", "MI", "STTC", "CD", "HYP")
SCHEMES = {"subject": "the publisher's folds, by patient: 1 to 8 train, 9 validates, 10 tests"}

_RATES = _LOW_RATE, _HIGH_RATE = 100.0, 500.0  # Hz, of filename_lr and filename_hr
_COLUMNS = ("ecg_id", "patient_id", "scp_codes", "strat_fold", "filename_lr", "filename_hr")
_FOLDS = {"train": range(1, 9), "val": (9,), "test": (10,)}


class _Ecg(NamedTuple):
    """A line of the publisher's table."""

    patient: str
    fold: int
    superclasses: frozenset[str]
    low: str  # file without suffix, 100 Hz
    high: str  # 500 Hz

    def file(self, rate: float) -> str:
        """Return the file of the record at a rate in Hz."""
        return self.high if rate == _HIGH_RATE else self.low


def read(files: Files) -> Ingest:
    """Read `ptbxl_database.csv`, `scp_statements.csv` and WFDB records of 12 leads, mV, from records100 and records500,
    of which one may be missing. Subjects are patients.

    Raises DataError for a table that is missing or broken, or a record that is.
    """
    ecgs = _database(files)
    _check_folds(ecgs)
    by_name = {ecg.low: ecg for ecg in ecgs}
    rates = [rate for rate in _RATES if files.has(f"{ecgs[0].file(rate)}.hea")] or [_LOW_RATE]

    def read_one(name: str) -> list[Recording]:
        ecg = by_name[name]
        arrays = {}
        for rate in rates:
            path = ecg.file(rate)
            with files.borrowed(f"{path}.hea", f"{path}.dat") as (header, _):
                record = read_record(header.with_suffix(""))
            if record.sampling_rate != rate:
                raise DataError(f"record {record.name}: {record.sampling_rate:g} Hz, not {rate:g}")
            arrays[f"{rate:g} Hz"] = twelve_leads(record)
        facts = {"fold": ecg.fold, "superclasses": sorted(ecg.superclasses)}
        return [Recording(name=stem(name), subject=ecg.patient, arrays=arrays, facts=facts)]

    facts = {"rates": rates}
    return Ingest(title=TITLE, source=files.source.name, records=list(by_name), read=read_one, facts=facts)


def windowing(store: RecordingStore, options: WindowOptions) -> Windowing:
    """Return windows with the target `superclass`: for each of NORM, MI, STTC, CD and HYP whether one of the record's
    diagnostic statements, of whatever likelihood, belongs to it, as the publisher's own example reads them.

    Records without one are left out and counted, as in the benchmark of Strodthoff et al. (2020). A record is a window
    of 10 s at 100 Hz, from records100; for a higher `data.sampling_rate`, or where records100 is missing, from
    records500, and where one is missing the other is resampled. Scheme "subject" is the publisher's, which respects
    patients: folds 1 to 8 train, 9 validates, 10 tests.
    """
    windower = Windower(options.with_defaults(PROTOCOL))
    rates = store.facts["rates"]
    rate = max(rates) if windower.options.sampling_rate > _LOW_RATE else min(rates)

    def label(recording: Recording) -> LabelledWindows:
        windows = windower.windows(recording.arrays[f"{rate:g} Hz"], rate)
        labels = many_hot(recording.facts["superclasses"], SUPERCLASSES)
        return labelled_windows(windows, target="superclass", labels=labels)

    return Windowing(
        options=windower.options,
        channels=LEADS,
        unit=windower.unit("mV"),
        targets={"superclass": TargetInfo(kind="labels", classes=SUPERCLASSES)},
        window=label,
        split=lambda table: {"subject": assign_groups(table.fact("fold"), _FOLDS)},
        schemes=SCHEMES,
    )


DATASET = Dataset(
    title=TITLE,
    homepage="https://physionet.org/content/ptb-xl/1.0.3/",
    url="https://physionet.org/static/published-projects/ptb-xl/"
    "ptb-xl-a-large-publicly-available-electrocardiography-dataset-1.0.3.zip",
    read=read,
    windowing=windowing,
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


def _check_folds(ecgs: Sequence[_Ecg]) -> None:
    """Raise DataError when a patient is in two of the publisher's folds."""
    folds: dict[str, int] = {}
    for ecg in ecgs:
        if folds.setdefault(ecg.patient, ecg.fold) != ecg.fold:
            raise DataError(
                f"ptbxl_database.csv: patient {ecg.patient} is in folds {folds[ecg.patient]} and {ecg.fold}"
            )
