"""The EEG of Bonn (Andrzejak et al. 2001), from which the "Epileptic Seizure Recognition" set was made."""

import re

import numpy as np

from ssl_bio.data.dataset import Subjects
from ssl_bio.data.ingest.archive import Files
from ssl_bio.data.ingest.ingest import Ingest
from ssl_bio.data.options import WindowOptions
from ssl_bio.data.recording import Recording
from ssl_bio.data.recording_store import RecordingStore
from ssl_bio.data.registry import Dataset
from ssl_bio.data.splits import Split, assign_groups
from ssl_bio.data.targets import TargetInfo
from ssl_bio.data.windowing import LabelledWindows, Windowing
from ssl_bio.data.windows import Windower
from ssl_bio.errors import DataError

TITLE = "Epilepsy: EEG of Bonn, 500 recordings of 23.6 s in five folders, seizure or not"
RATE = 173.61  # Hz
FOLDERS = ("Z", "O", "N", "F", "S")
#: 23 windows of 178 samples a recording.
PROTOCOL = WindowOptions(sampling_rate=RATE, window=178 / RATE, stride=178 / RATE, highpass=0.0, standardize="none")
SCHEMES = {
    "subject": "of each folder's recordings the first 70 train, 71-80 validate, the last 20 test; "
    "who they are of is not published"
}
_FILE_NAME = re.compile(r"(?:.*/)?([ZONFS]\d{3})\.txt", re.IGNORECASE)


def read(files: Files) -> Ingest:
    """Read folders Z, O (healthy), N, F (between seizures) and S (seizure) of 100 text files each.

    A file has 4,097 samples at 173.61 Hz, a whole number of microvolts a line.

    Raises DataError for a file that holds anything else than numbers.
    """
    recordings = {match[1].upper(): name for name in files.names if (match := _FILE_NAME.fullmatch(name))}
    if not recordings:
        raise DataError(f"{files.source}: no Z001.txt inside: not the EEG of Bonn")

    def read_one(recording: str) -> list[Recording]:
        with files.borrowed(recordings[recording]) as (path,):
            try:
                signal = np.array(path.read_text(encoding="utf-8").split(), np.float64)
            except ValueError as error:
                raise DataError(f"{path.name}: not a column of numbers ({error})") from error
        if not len(signal):
            raise DataError(f"{path.name}: empty")
        return [Recording(name=recording, subject=recording, arrays={"signals": signal[None].astype(np.float32)})]

    records = sorted(recordings, key=lambda name: (FOLDERS.index(name[0]), name))
    return Ingest(title=TITLE, source=files.source.name, records=records, read=read_one)


def windowing(store: RecordingStore, options: WindowOptions) -> Windowing:
    """Return windows of 178 samples, 23 a recording.

    They are the 11,500 of the "Epileptic Seizure Recognition" set (the last three samples of a recording are in none).
    Targets: `seizure`, folder S against the rest; `folder`. That set came shuffled, and the usual protocol splits it at
    random, so that neighbours of a test window train; here whole recordings are split: of each folder 1 to 70 train,
    71 to 80 validate, 81 to 100 test. A recording, such as S081, is a subject; each folder's are of five people, whom
    nobody names.
    """
    windower = Windower(options.with_defaults(PROTOCOL))

    def label(recording: Recording) -> LabelledWindows:
        windows = windower.windows(recording.signals, RATE, pad=False)
        n, folder = len(windows.starts), recording.name[0]
        targets = {"seizure": np.full(n, int(folder == "S")), "folder": np.full(n, FOLDERS.index(folder))}
        return LabelledWindows(record=windows, targets=targets)

    return Windowing(
        options=windower.options,
        channels=("eeg",),
        unit=windower.unit("microvolt"),
        targets={
            "seizure": TargetInfo(kind="class", classes=("rest", "seizure")),
            "folder": TargetInfo(kind="class", classes=FOLDERS),
        },
        window=label,
        split=lambda table: {"subject": _split(table.subjects)},
        schemes=SCHEMES,
    )


DATASET = Dataset(
    title=TITLE,
    homepage="https://www.ukbonn.de/epileptologie/arbeitsgruppen/ag-lehnertz-neurophysik/downloads/",
    read=read,
    windowing=windowing,
)


def _split(subjects: Subjects) -> Split:
    number = np.array([int(name[1:]) for name in subjects.tolist()])
    return assign_groups(number, {"train": range(71), "val": range(71, 81), "test": range(81, 1000)})
