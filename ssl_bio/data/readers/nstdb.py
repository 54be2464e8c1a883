"""The noise of the MIT-BIH noise stress test database (Moody, Muldrow and Mark 1984), without its ECGs."""

import numpy as np

from ssl_bio.data.formats.wfdb_records import read_record
from ssl_bio.data.ingest.append_log import RecordWindows
from ssl_bio.data.ingest.archive import Files
from ssl_bio.data.ingest.ingest import Ingest
from ssl_bio.data.registry import Dataset
from ssl_bio.data.splits import split_by_time
from ssl_bio.data.store import ReadOptions, TargetInfo
from ssl_bio.data.windows import Windower
from ssl_bio.errors import DataError

TITLE = "MIT-BIH noise stress test: baseline wander, electrode motion, muscle artefact, half an hour each"
#: As recorded, in windows long enough to be added to two minutes of signal.
PROTOCOL = ReadOptions(sampling_rate=360.0, window=120.0, stride=120.0, highpass=0.0, standardize="none")
TYPES = ("bw", "em", "ma")
SCHEMES = {"time": "of each record the first 60 % train, the next 10 % validate, the last 30 % test"}


def read(files: Files, options: ReadOptions) -> Ingest:
    """Read the WFDB records `bw`, `em` and `ma`, those of them that are there, two channels each.

    Windows last 120 s unless `data.window` says otherwise. Target: `noise`, the record. Splits are by time.

    Raises DataError for a file that is missing, truncated or of another layout.
    """
    options = options.with_defaults(PROTOCOL)
    windower = Windower(options)
    headers = {name.rpartition("/")[2]: name for name in files.find(".hea")}
    names = [headers[f"{kind}.hea"].removesuffix(".hea") for kind in TYPES if f"{kind}.hea" in headers]
    if not names:
        raise DataError(f"{files.source}: no record {', '.join(TYPES)} inside: not this database")

    def read_windows(name: str) -> RecordWindows:
        with files.borrowed(f"{name}.hea", f"{name}.dat") as (header, _):
            record = read_record(header.with_suffix(""))
        windows = windower.windows(record.signals, record.sampling_rate)
        n = len(windows.signals)
        targets = {"noise": np.full(n, TYPES.index(record.name), np.int64)}
        return RecordWindows(windows.signals, [record.name] * n, targets, windows.dropped)

    return Ingest(
        title=TITLE,
        source=files.source.name,
        sampling_rate=options.sampling_rate,
        channels=("noise_1", "noise_2"),
        unit=windower.unit("mV"),
        targets={"noise": TargetInfo(kind="class", classes=TYPES)},
        records=names,
        read=read_windows,
        split=lambda subjects, _: {"time": split_by_time(subjects)},
        schemes=SCHEMES,
    )


DATASET = Dataset(
    title=TITLE,
    homepage="https://physionet.org/content/nstdb/1.0.0/",
    url="https://physionet.org/static/published-projects/nstdb/mit-bih-noise-stress-test-database-1.0.0.zip",
    read=read,
)
