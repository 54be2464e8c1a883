"""The noise of the MIT-BIH noise stress test database (Moody, Muldrow and Mark 1984), without its ECGs."""

import numpy as np

from ssl_bio.data.formats.wfdb_records import read_record
from ssl_bio.data.ingest.archive import Files
from ssl_bio.data.ingest.ingest import Ingest
from ssl_bio.data.options import WindowOptions
from ssl_bio.data.recording import Recording
from ssl_bio.data.recording_store import RecordingStore
from ssl_bio.data.registry import Dataset
from ssl_bio.data.splits import split_by_time
from ssl_bio.data.targets import TargetInfo
from ssl_bio.data.windowing import LabelledWindows, Windowing
from ssl_bio.data.windows import Windower
from ssl_bio.errors import DataError

TITLE = "MIT-BIH noise stress test: baseline wander, electrode motion, muscle artefact, half an hour each"
#: As recorded, in windows long enough to be added to two minutes of signal.
PROTOCOL = WindowOptions(sampling_rate=360.0, window=120.0, stride=120.0, highpass=0.0, standardize="none")
TYPES = ("bw", "em", "ma")
SCHEMES = {"time": "of each record the first 60 % train, the next 10 % validate, the last 30 % test"}


def read(files: Files) -> Ingest:
    """Read the WFDB records `bw`, `em` and `ma`, those of them that are there, two channels each.

    Raises DataError for a file that is missing, truncated or of another layout.
    """
    headers = {name.rpartition("/")[2]: name for name in files.find(".hea")}
    names = [headers[f"{kind}.hea"].removesuffix(".hea") for kind in TYPES if f"{kind}.hea" in headers]
    if not names:
        raise DataError(f"{files.source}: no record {', '.join(TYPES)} inside: not this database")

    def read_one(name: str) -> list[Recording]:
        with files.borrowed(f"{name}.hea", f"{name}.dat") as (header, _):
            record = read_record(header.with_suffix(""))
        facts = {"sampling_rate": record.sampling_rate}
        return [Recording(name=record.name, subject=record.name, arrays={"signals": record.signals}, facts=facts)]

    return Ingest(title=TITLE, source=files.source.name, records=names, read=read_one)


def windowing(store: RecordingStore, options: WindowOptions) -> Windowing:
    """Return windows of 120 s unless `data.window` says otherwise. Target: `noise`, the record. Splits are by time."""
    windower = Windower(options.with_defaults(PROTOCOL))

    def label(recording: Recording) -> LabelledWindows:
        windows = windower.windows(recording.signals, recording.facts["sampling_rate"])
        code = TYPES.index(recording.name)
        return LabelledWindows(record=windows, targets={"noise": np.full(len(windows.starts), code, np.int64)})

    return Windowing(
        options=windower.options,
        channels=("noise_1", "noise_2"),
        unit=windower.unit("mV"),
        targets={"noise": TargetInfo(kind="class", classes=TYPES)},
        window=label,
        split=lambda table: {"time": split_by_time(table.subjects)},
        schemes=SCHEMES,
    )


DATASET = Dataset(
    title=TITLE,
    homepage="https://physionet.org/content/nstdb/1.0.0/",
    url="https://physionet.org/static/published-projects/nstdb/mit-bih-noise-stress-test-database-1.0.0.zip",
    read=read,
    windowing=windowing,
)
