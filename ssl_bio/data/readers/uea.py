"""Problems of the UEA archive of multivariate time series classification (Bagnall et al. 2018)."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.dataset import Subjects
from ssl_bio.data.ingest.archive import Files
from ssl_bio.data.ingest.ingest import Ingest
from ssl_bio.data.options import WindowOptions
from ssl_bio.data.recording import Recording
from ssl_bio.data.recording_store import RecordingStore
from ssl_bio.data.registry import Dataset, Reader
from ssl_bio.data.splits import DEFAULT_SEED, Split, draw_by_class
from ssl_bio.data.targets import TargetInfo
from ssl_bio.data.windowing import Windowing, ready_facts, ready_windowing
from ssl_bio.errors import DataError

#: The archive gives its series no sampling rate, so that a "second" is a sample.
UNKNOWN_RATE = 1.0
SCHEMES = {
    "subject": "the publisher's test series; a fifth of its training series, stratified, seed 42, validates; "
    "series carry no person"
}
_ARFF_LINE = re.compile(r"""(['"])(.*)\1\s*,(.*)""")
_PARTS = ("TRAIN", "TEST")
_PART_NAME = re.compile(r"(?P<problem>.+)_(?P<part>TRAIN|TEST)(?P<suffix>\.ts|\.arff)")
_ARFF_CLASSES = re.compile(r"@attribute\s+\S+\s*\{(.*)\}", re.IGNORECASE)


class _Line(NamedTuple):
    """A series as it is written: its line's number, the text of each of its channels, and its class."""

    number: int
    channels: list[str]
    label: str


class _Part(NamedTuple):
    """What a file of the archive says and holds."""

    classes: tuple[str, ...]
    n_channels: int
    length: int  # of the longest series, in samples


def _reader(problem: str, *, title: str) -> Reader:
    """Return the reader of a problem by the archive's name for it, or of whichever there is, and our title.

    It reads `<problem>_TRAIN` and `_TEST`, `.ts` files or, where those are missing, multivariate `.arff` files. Target
    `label`: the archive's classes. Windows come ready-made, one a series; channels are dim_0, dim_1 ...; a series
    shorter than the longest of both files ends in zeros (in `.arff` files such an end is written as missing).
    Values that are missing elsewhere ("?" or "NaN") stay NaN: `data.missing` says what a run makes of them. Every
    series counts as a subject of its own, since the archive names no people: those who made the gestures or spoke the
    digits are on both sides of the publisher's own split of some problems.

    The reader raises DataError that names file and line for anything else than such a table.
    """

    def read(files: Files) -> Ingest:
        names = _find_parts(files, problem)
        parts = {}
        for split, name in names.items():
            with files.borrowed(name) as (path,):
                parts[split] = _scan(path)
        train, test = parts["train"], parts["test"]
        if (train.n_channels, set(train.classes)) != (test.n_channels, set(test.classes)):
            raise DataError(f"{files.source}: {problem}'s training and test series differ in channels or classes")

        def read_part(split: str) -> Iterator[Recording]:
            with files.borrowed(names[split]) as (path,):
                for index, line in enumerate(_lines(path)):
                    name = f"{split}-{index:05d}"
                    facts = {"label": train.classes.index(line.label)}
                    signals = _values(path, line).astype(np.float32)
                    yield Recording(name=name, subject=name, arrays={"signals": signals}, facts=facts)

        facts = ready_facts(
            sampling_rate=UNKNOWN_RATE,
            channels=[f"dim_{index}" for index in range(train.n_channels)],
            unit="as published",
            length=max(train.length, test.length),
            targets={"label": TargetInfo(kind="class", classes=train.classes).model_dump(mode="json")},
            schemes=SCHEMES,
        )
        return Ingest(title=title, source=files.source.name, records=list(names), read=read_part, facts=facts)

    return read


def windowing(store: RecordingStore, options: WindowOptions) -> Windowing:
    """Return the series as windows.

    The publisher's test set tests. It has no validation set: a fifth of the training series, stratified by class,
    seed 42, is taken for it.

    Raises DataError for options.
    """
    return replace(
        ready_windowing(store, options),
        split=lambda table: {"subject": _split(table.subjects, labels=table.targets["label"])},
    )


def declare(problem: str, *, title: str) -> Dataset:
    return Dataset(
        title=title,
        homepage=f"https://www.timeseriesclassification.com/description.php?Dataset={problem}",
        url=f"https://www.timeseriesclassification.com/aeon-toolkit/{problem}.zip",
        read=_reader(problem, title=title),
        windowing=windowing,
    )


UWAVE = declare(
    "UWaveGestureLibrary", title="UWaveGestureLibrary: 3-axis acceleration of eight gestures, 440 series of 315 samples"
)
PHONEME_SPECTRA = declare(
    "PhonemeSpectra",
    title="PhonemeSpectra: spectrograms of 39 spoken phonemes, 6,668 series of 11 bands x 217 frames",
)
ARABIC_DIGITS = declare(
    "SpokenArabicDigits",
    title="SpokenArabicDigits: 13 cepstral coefficients of ten spoken digits, 8,798 series of 4 to 93 frames",
)


ANY = Dataset(
    title="any problem of the UEA and UCR archives: NAME_TRAIN and NAME_TEST, .ts or .arff",
    homepage="https://www.timeseriesclassification.com",
    read=_reader("", title="A problem of the UEA and UCR archives"),
    windowing=windowing,
)


def problems_in(files: Files) -> list[str]:
    """Return the names of the problems of the archive that files hold, with both of their parts."""
    matches = [_PART_NAME.fullmatch(name.rpartition("/")[2]) for name in files.names]
    parts = {(match["problem"], match["part"], match["suffix"]) for match in matches if match}
    return sorted({problem for problem, _, suffix in parts if {(problem, part, suffix) for part in _PARTS} <= parts})


def _find_parts(files: Files, problem: str) -> dict[str, str]:
    """Return the files of the publisher's split."""
    if not problem:
        found_problems = problems_in(files)
        if len(found_problems) != 1:
            has = f"it has {', '.join(found_problems)}" if found_problems else "no NAME_TRAIN and NAME_TEST inside"
            raise DataError(f"{files.source}: one problem of the archive is wanted; {has}")
        (problem,) = found_problems
    for suffix in (".ts", ".arff"):
        ends = {split: f"{problem}_{split.upper()}{suffix}" for split in ("train", "test")}
        found = {split: name for split, end in ends.items() for name in files.names if name.rpartition("/")[2] == end}
        if len(found) == len(ends):
            return found
    raise DataError(f"{files.source}: no {problem}_TRAIN and _TEST inside, neither .ts nor .arff")


def _scan(path: Path) -> _Part:
    """Return what a file holds, without its values."""
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
    return _Part(classes, n_channels, length)


def _classes(path: Path) -> tuple[str, ...]:
    """Return the classes that a header names."""
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


def _lines(path: Path) -> Iterator[_Line]:
    is_data = False
    for number, text in _numbered(path):
        if is_data and path.suffix == ".ts":
            *channels, label = text.split(":")
            yield _Line(number, channels, label.strip())
        elif is_data:
            match = _ARFF_LINE.fullmatch(text)
            values, comma, label = (match[2], ",", match[3]) if match else text.rpartition(",")
            if not comma or (not match and ("'" in values or '"' in values)):
                raise DataError(f"{path.name}, line {number}: not a quoted series and its class")
            # A series of a single channel stands there without quotes.
            yield _Line(number, values.split(r"\n"), label.strip().strip("'\""))
        is_data = is_data or text.lower() == "@data"


def _numbered(path: Path) -> Iterator[tuple[int, str]]:
    """Yield lines with their numbers, without empty ones and comments."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                if line.strip() and line[0] not in "#%":
                    yield number, line.strip()
    except OSError as error:
        raise DataError(f"{path.name}: cannot be read: {error.strerror or error}") from error


def _values(path: Path, line: _Line) -> NDArray[np.float64]:
    """Return a series `(n_channels, samples)`, NaN where a value is missing."""
    try:
        values = np.array([text.replace("?", "nan").split(",") for text in line.channels], np.float64)
    except ValueError as error:
        raise DataError(f"{path.name}, line {line.number}: not a table of numbers ({error})") from error
    if path.suffix == ".arff":
        # All rows of this format are equally long: what ends in missing values ended there.
        values = values[:, : 1 + np.flatnonzero(np.isfinite(values).any(axis=0)).max(initial=-1)]
    return values


def _split(subjects: Subjects, *, labels: NDArray[np.int64]) -> Split:
    is_test = np.char.startswith(subjects, "test-")
    train = np.flatnonzero(~is_test)
    rng = np.random.default_rng(DEFAULT_SEED)
    val = draw_by_class(train, labels=labels, fraction=0.2, rng=rng)
    return {"train": np.setdiff1d(train, val), "val": val, "test": np.flatnonzero(is_test)}
