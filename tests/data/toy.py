"""A toy dataset as a lab would add it: text files of numbers, one a person."""

import numpy as np

from ssl_bio.data.ingest.archive import Files
from ssl_bio.data.ingest.ingest import Ingest
from ssl_bio.data.options import WindowOptions
from ssl_bio.data.recording import Recording
from ssl_bio.data.recording_store import RecordingStore
from ssl_bio.data.registry import Dataset
from ssl_bio.data.splits import draw_subjects
from ssl_bio.data.targets import TargetInfo
from ssl_bio.data.windowing import LabelledWindows, Windowing
from ssl_bio.data.windows import Windower
from ssl_bio.errors import DataError

PROTOCOL = WindowOptions(sampling_rate=10.0, window=2.0, stride=2.0, highpass=0.0, standardize="none")


def read(files: Files) -> Ingest:
    records = files.find(".txt")
    if not records:
        raise DataError(f"{files.source}: no .txt file inside: not the toy dataset")

    def read_one(name: str) -> list[Recording]:
        with files.borrowed(name) as (path,):
            signal = np.array(path.read_text().split(), np.float32)
        return [Recording(name=name, subject=name, arrays={"signals": signal[None]})]

    return Ingest(title="toy", source=files.source.name, records=records, read=read_one)


def windowing(store: RecordingStore, options: WindowOptions) -> Windowing:
    windower = Windower(options.with_defaults(PROTOCOL))

    def label(recording: Recording) -> LabelledWindows:
        windows = windower.windows(recording.signals, 10.0, pad=False)
        return LabelledWindows(record=windows, targets={"first": windows.signals[:, 0, 0]})

    return Windowing(
        options=windower.options,
        channels=("x",),
        unit="mV",
        targets={"first": TargetInfo(kind="value")},
        window=label,
        split=lambda table: {"subject": draw_subjects(table.subjects)},
        schemes={"subject": "80 / 10 / 10"},
    )


DATASET = Dataset(title="Toy recordings", homepage="https://example.org/toy", read=read, windowing=windowing)
NOT_A_DATASET = 5
