"""A toy dataset as a lab would add it: text files of numbers, one a person."""

import numpy as np

from ssl_bio.data.ingest.append_log import RecordWindows
from ssl_bio.data.ingest.archive import Files
from ssl_bio.data.ingest.ingest import Ingest
from ssl_bio.data.registry import Dataset
from ssl_bio.data.splits import draw_subjects
from ssl_bio.data.store import ReadOptions, TargetInfo
from ssl_bio.data.windows import Windower
from ssl_bio.errors import DataError

PROTOCOL = ReadOptions(sampling_rate=10.0, window=2.0, stride=2.0, highpass=0.0, standardize="none")


def read(files: Files, options: ReadOptions) -> Ingest:
    windower = Windower(options.with_defaults(PROTOCOL))
    records = files.find(".txt")
    if not records:
        raise DataError(f"{files.source}: no .txt file inside: not the toy dataset")

    def read_windows(name: str) -> RecordWindows:
        with files.borrowed(name) as (path,):
            signal = np.array(path.read_text().split(), np.float32)
        windows = windower.windows(signal[None], 10.0, pad=False)
        n = len(windows.starts)
        return RecordWindows(windows.signals, [name] * n, {"first": windows.signals[:, 0, 0]})

    return Ingest(
        title="toy",
        source=files.source.name,
        sampling_rate=windower.options.sampling_rate,
        channels=("x",),
        unit="mV",
        targets={"first": TargetInfo(kind="value")},
        records=records,
        read=read_windows,
        split=lambda subjects, _: {"subject": draw_subjects(subjects)},
        schemes={"subject": "80 / 10 / 10"},
    )


DATASET = Dataset(title="Toy recordings", homepage="https://example.org/toy", read=read)
NOT_A_DATASET = 5
