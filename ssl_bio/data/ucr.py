"""Benchmarks of time series classification: the UEA archive (`uwave`, `phoneme-spectra`, `arabic-digits`) and
`epilepsy`, the EEG of Bonn that the "Epileptic Seizure Recognition" set was cut from."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.archive import Files
from ssl_bio.data.convert import Conversion
from ssl_bio.data.cutting import Cutter
from ssl_bio.data.journal import Windows
from ssl_bio.data.physionet import unit_of
from ssl_bio.data.store import ReadOptions, Rows, Signals, Subjects, TargetInfo, Targets
from ssl_bio.errors import DataError

UWAVE_TITLE = "UWaveGestureLibrary: 3-axis acceleration of eight gestures, 440 series of 315 samples"
PHONEME_TITLE = "PhonemeSpectra: spectrograms of 39 spoken phonemes, 6,668 series of 11 bands x 217 frames"
DIGITS_TITLE = "SpokenArabicDigits: 13 cepstral coefficients of ten spoken digits, 8,798 series of 4 to 93 frames"
UEA_URL = "https://www.timeseriesclassification.com/aeon-toolkit/{}.zip"
UEA_HOMEPAGE = "https://www.timeseriesclassification.com/description.php?Dataset={}"
EPILEPSY_TITLE = "Epilepsy: EEG of Bonn, 500 recordings of 23.6 s in five folders, seizure or not"
EPILEPSY_HOMEPAGE = "https://www.ukbonn.de/epileptologie/arbeitsgruppen/ag-lehnertz-neurophysik/downloads/"

#: Of the archive's series: it gives them no rate, so that a "second" is a sample.
UNKNOWN_RATE = 1.0
UEA_SCHEMES = {
    "subject": "the publisher's test series; a fifth of its training series, stratified, seed 42, validates; "
    "series carry no person"
}
_SPLIT_SEED = 42
_ARFF_LINE = re.compile(r"""(['"])(.*)\1\s*,(.*)""")
_ARFF_CLASSES = re.compile(r"@attribute\s+\S+\s*\{(.*)\}", re.IGNORECASE)

EEG_RATE = 173.61  # Hz
FOLDERS = ("Z", "O", "N", "F", "S")
#: 23 windows of 178 samples a recording.
EPILEPSY_DEFAULTS = ReadOptions(EEG_RATE, 178 / EEG_RATE, 178 / EEG_RATE, highpass=0.0, standardize="none")
EPILEPSY_SCHEMES = {
    "subject": "of each folder's recordings the first 70 train, 71-80 validate, the last 20 test; "
    "who they are of is not published"
}
_EEG_NAME = re.compile(r"(?:.*/)?([ZONFS]\d{3})\.txt", re.IGNORECASE)


class Line(NamedTuple):
    """A series as it is written: its line's number, the text of each of its channels, and its class."""

    number: int
    channels: list[str]
    label: str


class Part(NamedTuple):
    """What a file of the archive says and holds."""

    classes: tuple[str, ...]
    n_channels: int
    length: int  # of the longest series, in samples


def read_uea(problem: str, title: str) -> Callable[[Files, ReadOptions], Conversion]:
    """The reader of a problem of the UEA archive (Bagnall et al. 2018) by the archive's name for it and our title.

    It reads `<problem>_TRAIN` and `_TEST`, `.ts` files or, where those are missing, multivariate `.arff` files. Target
    `label`: the archive's classes. Windows come ready cut, one a series, channels are dim_0, dim_1 ...; a series
    shorter than the longest of both files ends in zeros (in `.arff` files such an end is written as missing).
    Values that are missing elsewhere ("?" or "NaN") stay NaN: `data.missing` says what a run makes of them.

    The publisher's test set tests. It has no validation set: a fifth of the training series, stratified by class,
    seed 42, is taken for it. Every series counts as a subject of its own, since the archive names no people: those
    who made the gestures or spoke the digits are on both sides of the publisher's own split of some problems.

    Raises DataError that names file and line for anything else than such a table.
    """

    def read(files: Files, options: ReadOptions) -> Conversion:
        options.refuse()
        names = _parts(files, problem)
        parts = {}
        for split, name in names.items():
            with files.borrowed(name) as (path,):
                parts[split] = _scan(path)
        train, test = parts["train"], parts["test"]
        if (train.n_channels, set(train.classes)) != (test.n_channels, set(test.classes)):
            raise DataError(f"{files.source}: {problem}'s training and test series differ in channels or classes")
        longest = max(train.length, test.length)

        def read_part(split: str) -> Windows:
            with files.borrowed(names[split]) as (path,):
                signals, labels = _read_part(path, train.classes, train.n_channels, longest)
            return Windows(signals, [f"{split}-{index:05d}" for index in range(len(labels))], {"label": labels})

        return Conversion(
            title=title,
            source=files.source.name,
            sampling_rate=UNKNOWN_RATE,
            channels=tuple(f"dim_{index}" for index in range(train.n_channels)),
            unit="as published",
            targets={"label": TargetInfo(kind="class", classes=train.classes)},
            records=list(names),
            read=read_part,
            split=lambda subjects, targets: {"subject": _publishers_split(subjects, targets)},
            schemes=UEA_SCHEMES,
        )

    return read


def read_epilepsy(files: Files, options: ReadOptions) -> Conversion:
    """The EEG of Bonn (Andrzejak et al. 2001): folders Z, O (healthy), N, F (between seizures) and S (seizure) of 100
    text files each, 4,097 samples at 173.61 Hz, a whole number of microvolts a line.

    Windows of 178 samples, 23 a recording, are the 11,500 of the "Epileptic Seizure Recognition" set (the last three
    samples of a recording are in none). Targets: `seizure`, folder S against the rest; `folder`. That set came
    shuffled, and the usual protocol splits it at random, so that neighbours of a test window train; here whole
    recordings are split: of each folder 1 to 70 train, 71 to 80 validate, 81 to 100 test. A recording, such as S081,
    is a subject; each folder's are of five people, whom nobody names.

    Raises DataError for a file that holds anything else than numbers.
    """
    options = options.over(EPILEPSY_DEFAULTS)
    cutter = Cutter(options)
    recordings = {match[1].upper(): name for name in files.names if (match := _EEG_NAME.fullmatch(name))}
    if not recordings:
        raise DataError(f"{files.source}: no Z001.txt inside: not the EEG of Bonn")

    def read(recording: str) -> Windows:
        with files.borrowed(recordings[recording]) as (path,):
            try:
                signal = np.array(path.read_text(encoding="utf-8").split(), np.float64)
            except ValueError as error:
                raise DataError(f"{path.name}: not a column of numbers ({error})") from error
        if not len(signal):
            raise DataError(f"{path.name}: empty")
        cuts = cutter.cut(signal[None].astype(np.float32), EEG_RATE, pad=False)
        n = len(cuts.starts)
        targets = {
            "seizure": np.full(n, int(recording[0] == "S")),
            "folder": np.full(n, FOLDERS.index(recording[0])),
        }
        return Windows(cuts.signals, [recording] * n, targets, cuts.dropped)

    return Conversion(
        title=EPILEPSY_TITLE,
        source=files.source.name,
        sampling_rate=options.sampling_rate,
        channels=("eeg",),
        unit=unit_of(options, "microvolt"),
        targets={
            "seizure": TargetInfo(kind="class", classes=("rest", "seizure")),
            "folder": TargetInfo(kind="class", classes=FOLDERS),
        },
        records=sorted(recordings, key=lambda name: (FOLDERS.index(name[0]), name)),
        read=read,
        split=lambda subjects, _: {"subject": _by_recording(subjects)},
        schemes=EPILEPSY_SCHEMES,
    )


def _parts(files: Files, problem: str) -> dict[str, str]:
    """The files of the publisher's split."""
    for suffix in (".ts", ".arff"):
        wanted = {split: f"{problem}_{split.upper()}{suffix}" for split in ("train", "test")}
        found = {split: name for split, end in wanted.items() for name in files.names if name.rpartition("/")[2] == end}
        if len(found) == len(wanted):
            return found
    raise DataError(f"{files.source}: no {problem}_TRAIN and _TEST inside, neither .ts nor .arff")


def _scan(path: Path) -> Part:
    """What a file holds, without its values."""
    classes, n_channels, length = _classes(path), 0, 0
    for line in _lines(path):
        if n_channels and len(line.channels) != n_channels:
            raise DataError(
                f"{path.name}, line {line.number}: {len(line.channels)} channels where others have {n_channels}"
            )
        if line.label not in classes:
            raise DataError(f"{path.name}, line {line.number}: class {line.label[:40]!r} is not one of the header's")
        n_channels = len(line.channels)
        length = max(length, line.channels[0].count(",") + 1)
    if not n_channels:
        raise DataError(f"{path.name}: no series in it")
    return Part(classes, n_channels, length)


def _classes(path: Path) -> tuple[str, ...]:
    """The classes a header names."""
    for _, text in _numbered(path):
        lowered = text.lower()
        if lowered.startswith("@timestamps") and "true" in lowered:
            raise DataError(f"{path.name}: series with time stamps, which this reader does not know")
        if lowered.startswith("@classlabel true"):
            return tuple(text.split()[2:])
        if match := _ARFF_CLASSES.fullmatch(text):
            return tuple(name.strip().strip("'\"") for name in match[1].split(","))
        if lowered == "@data":
            break
    raise DataError(f"{path.name}: its header names no classes")


def _lines(path: Path) -> Iterator[Line]:
    is_data = False
    for number, text in _numbered(path):
        if is_data and path.suffix == ".ts":
            *channels, label = text.split(":")
            yield Line(number, channels, label.strip())
        elif is_data:
            match = _ARFF_LINE.fullmatch(text)
            if not match:
                raise DataError(f"{path.name}, line {number}: not a quoted series and its class")
            yield Line(number, match[2].split(r"\n"), match[3].strip().strip("'\""))
        is_data = is_data or text.lower() == "@data"


def _numbered(path: Path) -> Iterator[tuple[int, str]]:
    """Lines with their numbers, but empty ones and comments."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                if line.strip() and line[0] not in "#%":
                    yield number, line.strip()
    except OSError as error:
        raise DataError(f"{path.name}: cannot be read: {error.strerror or error}") from error


def _read_part(
    path: Path, classes: tuple[str, ...], n_channels: int, longest: int
) -> tuple[Signals, NDArray[np.int64]]:
    """Series `(n, n_channels, longest)` and their codes."""
    rows, labels = [], []
    for line in _lines(path):
        series = np.zeros((n_channels, longest), np.float32)
        values = _values(path, line)
        series[:, : values.shape[1]] = values
        rows.append(series)
        labels.append(classes.index(line.label))
    return np.stack(rows), np.array(labels, np.int64)


def _values(path: Path, line: Line) -> NDArray[np.float64]:
    """A series `(n_channels, samples)`, NaN where a value is missing."""
    try:
        values = np.array([text.replace("?", "nan").split(",") for text in line.channels], np.float64)
    except ValueError as error:
        raise DataError(f"{path.name}, line {line.number}: not a table of numbers ({error})") from error
    if path.suffix == ".arff":
        # All rows of this format are equally long: what ends in missing values ended there.
        values = values[:, : 1 + np.flatnonzero(np.isfinite(values).any(axis=0)).max(initial=-1)]
    return values


def _publishers_split(subjects: Subjects, targets: Targets) -> dict[str, Rows]:
    rng = np.random.default_rng(_SPLIT_SEED)
    is_test = np.char.startswith(subjects, "test-")
    train, labels = np.flatnonzero(~is_test), np.asarray(targets["label"])
    drawn = []
    for code in np.unique(labels[train]):
        members = rng.permutation(train[labels[train] == code])
        drawn.append(members[: max(1, round(len(members) / 5))])
    held_out = np.sort(np.concatenate(drawn))
    return {"train": np.setdiff1d(train, held_out), "val": held_out, "test": np.flatnonzero(is_test)}


def _by_recording(subjects: Subjects) -> dict[str, Rows]:
    number = np.array([int(name[1:]) for name in subjects.tolist()])
    return {
        "train": np.flatnonzero(number <= 70),
        "val": np.flatnonzero((number > 70) & (number <= 80)),
        "test": np.flatnonzero(number > 80),
    }
