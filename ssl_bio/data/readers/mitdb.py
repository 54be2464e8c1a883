"""MIT-BIH arrhythmia database (Moody and Mark 2001): two-lead ECG records of half an hour in WFDB format."""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.dataset import Subjects
from ssl_bio.data.formats.wfdb_records import Annotations, read_annotations, read_record, record_names, stem
from ssl_bio.data.ingest.archive import Files
from ssl_bio.data.ingest.ingest import Ingest
from ssl_bio.data.options import WindowOptions
from ssl_bio.data.recording import Recording
from ssl_bio.data.recording_store import RecordingStore
from ssl_bio.data.registry import Dataset
from ssl_bio.data.splits import Splits, assign_groups
from ssl_bio.data.targets import TargetInfo
from ssl_bio.data.windowing import LabelledWindows, Windowing
from ssl_bio.data.windows import Track, Windower
from ssl_bio.errors import DataError

TITLE = "MIT-BIH arrhythmia: two-lead ECG, half-hour records, every beat annotated"
#: The set-up of the VQ-VAE reference: 1,024 samples at 125 Hz, 64 codes of 16 samples.
PROTOCOL = WindowOptions(sampling_rate=125.0, window=8.192, stride=8.192, highpass=0.5, standardize="record")
SCHEMES = {
    "subject": "records 100-115 train, 116-119 and 121-124 validate, 200-234 test",
    "interpatient": "DS2 of de Chazal et al. 2004 without 202 (a person of DS1) tests, of DS1 114-119 validate",
}

#: AAMI EC57 classes of the annotated beats; the strings are the database's own symbols.
AAMI = ("none", "N", "S", "V", "F", "Q")
_AAMI_CODE = {
    symbol: code for code, symbols in enumerate(("", "NLRej", "AaJS", "VE", "F", "/fQ")) for symbol in symbols
}
ECTOPY = ("none", "supraventricular", "ventricular")

_RECORD_NAME = re.compile(r"\d{3}")
_DS1 = (101, 106, 108, 109, 112, 114, 115, 116, 118, 119, 122, 124, 201, 203, 205, 207, 208, 209, 215, 220, 223, 230)
_DS2 = (100, 103, 105, 111, 113, 117, 121, 123, 200, 210, 212, 213, 214, 219, 221, 222, 228, 231, 232, 233, 234)
_DS1_VALIDATION = (114, 115, 116, 118, 119)
# 201 and 202 are two records of one person.
_PERSON = {"202": "201"}


def read(files: Files) -> Ingest:
    """Read WFDB records and their beats.

    Channels are the first and the second lead as recorded (MLII and V1 in most records, V5 and MLII in 114).

    Raises DataError that names a record that is missing a file, truncated or of another layout.
    """
    # The publisher's folder also holds a superseded annotation (102-0) and extracts of records (x_mitdb).
    names = [name for name in record_names(files, header=".hea", partner=".dat") if _RECORD_NAME.fullmatch(stem(name))]
    if not names:
        raise DataError(f"{files.source}: no record 100 to 234 inside: not this database")

    def read_one(name: str) -> list[Recording]:
        with files.borrowed(f"{name}.hea", f"{name}.dat", f"{name}.atr") as (header, *_):
            path = header.with_suffix("")
            record, annotations = read_record(path), read_annotations(path, "atr")
        if len(record.signals) != 2:
            raise DataError(f"{record.name}.hea: {len(record.signals)} leads instead of 2")
        samples, codes = _beats(annotations)
        return [
            Recording(
                name=record.name,
                subject=_PERSON.get(record.name, record.name),
                arrays={"signals": record.signals, "beats": samples, "classes": codes},
                facts={"sampling_rate": record.sampling_rate},
            )
        ]

    return Ingest(title=TITLE, source=files.source.name, records=names, read=read_one)


def windowing(store: RecordingStore, options: WindowOptions) -> Windowing:
    """Return windows with three targets.

    `ectopy`: the gravest beat of a window (ventricular: V, E or fusion; supraventricular: A, a, J, S); `heart_rate`,
    beats/min from the annotations (NaN with fewer than two beats); `beats`, at every sample the AAMI class of the beat
    annotated there, 0 where none is.
    """
    windower = Windower(options.with_defaults(PROTOCOL))
    rate = windower.options.sampling_rate

    def label(recording: Recording) -> LabelledWindows:
        recorded = recording.facts["sampling_rate"]
        record = windower.windows(recording.signals, recorded)
        beats = record.label_events(recording.arrays["beats"] / recorded, recording.arrays["classes"])
        shown = beats.windows(record.starts)
        targets: dict[str, NDArray[Any] | Track] = {
            "ectopy": np.array([_gravest(window) for window in shown], np.int64),
            "heart_rate": np.array([_heart_rate(window, rate) for window in shown], np.float32),
            "beats": beats,
        }
        return LabelledWindows(record=record, targets=targets)

    return Windowing(
        options=windower.options,
        channels=("lead_1", "lead_2"),
        unit=windower.unit("mV"),
        targets={
            "ectopy": TargetInfo(kind="class", classes=ECTOPY),
            "heart_rate": TargetInfo(kind="value", unit="beats/min"),
            "beats": TargetInfo(kind="events", classes=AAMI),
        },
        window=label,
        split=lambda table: _splits(table.subjects),
        schemes=SCHEMES,
    )


DATASET = Dataset(
    title=TITLE,
    homepage="https://physionet.org/content/mitdb/1.0.0/",
    url="https://physionet.org/static/published-projects/mitdb/mit-bih-arrhythmia-database-1.0.0.zip",
    read=read,
    windowing=windowing,
)


def _beats(annotations: Annotations) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Return the samples of all beats and their AAMI codes; other annotations are no beats."""
    pairs = [
        (sample, _AAMI_CODE[symbol])
        for sample, symbol in zip(annotations.samples, annotations.symbols, strict=True)
        if symbol in _AAMI_CODE
    ]
    beats = np.array(pairs, np.int64).reshape(-1, 2)
    return beats[:, 0], beats[:, 1].astype(np.int8)


def _gravest(codes: NDArray[np.int8]) -> int:
    if np.isin(codes, (AAMI.index("V"), AAMI.index("F"))).any():
        return ECTOPY.index("ventricular")
    return ECTOPY.index("supraventricular") if (codes == AAMI.index("S")).any() else ECTOPY.index("none")


def _heart_rate(codes: NDArray[np.int8], sampling_rate: float) -> float:
    beats = np.flatnonzero(codes)
    return float(60 * sampling_rate / np.diff(beats).mean()) if len(beats) > 1 else float("nan")


def _splits(subjects: Subjects) -> Splits:
    number = subjects.astype(int)
    return {
        "subject": assign_groups(number, {"train": range(116), "val": range(116, 200), "test": range(200, 1000)}),
        "interpatient": assign_groups(
            number, {"train": set(_DS1) - set(_DS1_VALIDATION), "val": _DS1_VALIDATION, "test": _DS2}
        ),
    }
