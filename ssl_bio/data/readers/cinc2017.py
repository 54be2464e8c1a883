"""PhysioNet/CinC challenge of 2017 (Clifford et al. 2017): single-lead ECG in WFDB format, rhythm of each record."""

import csv

import numpy as np

from ssl_bio.data.formats.wfdb_records import read_record, record_names, stem
from ssl_bio.data.ingest.archive import Files
from ssl_bio.data.ingest.ingest import Ingest
from ssl_bio.data.options import WindowOptions
from ssl_bio.data.recording import Recording
from ssl_bio.data.recording_store import RecordingStore
from ssl_bio.data.registry import Dataset
from ssl_bio.data.splits import draw_groups_by_class
from ssl_bio.data.targets import TargetInfo
from ssl_bio.data.windowing import LabelledWindows, Windowing
from ssl_bio.data.windows import Windower
from ssl_bio.errors import DataError

TITLE = "PhysioNet/CinC 2017: single-lead ECG of 9 to 61 s, rhythm N, A, O or noise"
#: The protocol of the lab's `physionet2017` task: as recorded, zero-padded to 61 s.
PROTOCOL = WindowOptions(sampling_rate=300.0, window=61.0, stride=0.0, highpass=0.0, standardize="none")
RHYTHMS = ("N", "A", "O", "~")


def read(files: Files) -> Ingest:
    """Read WFDB records and their labels, from `REFERENCE-v3.csv`.

    Raises DataError for a record without a label, a broken table of labels, or a broken file.
    """
    labels = _labels(files)
    names = record_names(files, header=".mat", partner=".hea")
    for name in names:
        if stem(name) not in labels:
            raise DataError(f"{files.source}: record {stem(name)} has no label in REFERENCE-v3.csv")

    def read_one(name: str) -> list[Recording]:
        with files.borrowed(f"{name}.hea", f"{name}.mat") as (header, _):
            record = read_record(header.with_suffix(""))
        facts = {"sampling_rate": record.sampling_rate, "rhythm": labels[record.name]}
        return [Recording(name=record.name, subject=record.name, arrays={"signals": record.signals}, facts=facts)]

    return Ingest(title=TITLE, source=files.source.name, records=names, read=read_one)


def windowing(store: RecordingStore, options: WindowOptions) -> Windowing:
    """Return windows with the target `rhythm`: N normal, A atrial fibrillation, O other, ~ too noisy.

    A record longer than the window gives its middle, a shorter one is padded at its end; with `data.stride` a record
    gives a window every so many seconds. Records carry no patient, so splits of 80 / 10 / 10 are stratified by record.
    """
    windower = Windower(options.with_defaults(PROTOCOL))

    def label(recording: Recording) -> LabelledWindows:
        windows = windower.windows(recording.signals, recording.facts["sampling_rate"])
        code = RHYTHMS.index(recording.facts["rhythm"])
        return LabelledWindows(record=windows, targets={"rhythm": np.full(len(windows.starts), code)})

    return Windowing(
        options=windower.options,
        channels=("ecg",),
        unit=windower.unit("mV"),
        targets={"rhythm": TargetInfo(kind="class", classes=RHYTHMS)},
        window=label,
        split=lambda table: {"subject": draw_groups_by_class(table.subjects, labels=table.targets["rhythm"])},
        schemes={"subject": "records are drawn 80 / 10 / 10, stratified by rhythm, seed 42"},
    )


DATASET = Dataset(
    title=TITLE,
    homepage="https://physionet.org/content/challenge-2017/1.0.0/",
    url="https://physionet.org/files/challenge-2017/1.0.0/training2017.zip",
    read=read,
    windowing=windowing,
)


def _labels(files: Files) -> dict[str, str]:
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
