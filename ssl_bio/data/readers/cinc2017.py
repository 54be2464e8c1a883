"""PhysioNet/CinC challenge of 2017 (Clifford et al. 2017): single-lead ECG in WFDB format, rhythm of each record."""

import csv

import numpy as np

from ssl_bio.data.formats.wfdb_records import read_record, record_names, stem
from ssl_bio.data.ingest.append_log import RecordWindows
from ssl_bio.data.ingest.archive import Files
from ssl_bio.data.ingest.ingest import Ingest
from ssl_bio.data.registry import Dataset
from ssl_bio.data.splits import draw_groups_by_class
from ssl_bio.data.store import ReadOptions, TargetInfo
from ssl_bio.data.windows import Windower
from ssl_bio.errors import DataError

TITLE = "PhysioNet/CinC 2017: single-lead ECG of 9 to 61 s, rhythm N, A, O or noise"
#: The protocol of the lab's `physionet2017` task: as recorded, zero-padded to 61 s.
PROTOCOL = ReadOptions(sampling_rate=300.0, window=61.0, stride=0.0, highpass=0.0, standardize="none")
RHYTHMS = ("N", "A", "O", "~")


def read(files: Files, options: ReadOptions) -> Ingest:
    """Read WFDB records and their labels.

    Target `rhythm`: N normal, A atrial fibrillation, O other, ~ too noisy, from `REFERENCE-v3.csv`. A record longer
    than the window gives its middle, a shorter one is padded at its end; with `data.stride` a record gives a window
    every so many seconds. Records carry no patient, so splits of 80 / 10 / 10 are stratified by record.

    Raises DataError for a record without a label, a broken table of labels, or a broken file.
    """
    options = options.with_defaults(PROTOCOL)
    windower = Windower(options)
    labels = _labels(files)
    names = record_names(files, header=".mat", partner=".hea")
    for name in names:
        if stem(name) not in labels:
            raise DataError(f"{files.source}: record {stem(name)} has no label in REFERENCE-v3.csv")

    def read_windows(name: str) -> RecordWindows:
        with files.borrowed(f"{name}.hea", f"{name}.mat") as (header, _):
            record = read_record(header.with_suffix(""))
        windows = windower.windows(record.signals, record.sampling_rate)
        n = len(windows.signals)
        code = RHYTHMS.index(labels[record.name])
        return RecordWindows(windows.signals, [record.name] * n, {"rhythm": np.full(n, code)}, windows.dropped)

    return Ingest(
        title=TITLE,
        source=files.source.name,
        sampling_rate=options.sampling_rate,
        channels=("ecg",),
        unit=windower.unit("mV"),
        targets={"rhythm": TargetInfo(kind="class", classes=RHYTHMS)},
        records=names,
        read=read_windows,
        split=lambda subjects, targets: {
            "subject": draw_groups_by_class(subjects, labels=np.asarray(targets["rhythm"]))
        },
        schemes={"subject": "records are drawn 80 / 10 / 10, stratified by rhythm, seed 42"},
    )


DATASET = Dataset(
    title=TITLE,
    homepage="https://physionet.org/content/challenge-2017/1.0.0/",
    url="https://physionet.org/files/challenge-2017/1.0.0/training2017.zip",
    read=read,
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
