"""Human Activity Recognition Using Smartphones (Anguita et al. 2013, UCI repository, CC BY 4.0).

30 people with a phone at the waist, 50 Hz, windows of 128 samples with half overlap, 6 activities.
Layout: `UCI HAR Dataset/{train,test}/Inertial Signals/<channel>_<part>.txt` (a window a line),
`y_<part>.txt`, `subject_<part>.txt` and `activity_labels.txt`. The publisher splits by person.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssl_bio.console import progress
from ssl_bio.data.ingest.archive import Files
from ssl_bio.data.ingest.ingest import Ingest
from ssl_bio.data.recording import Signals
from ssl_bio.data.registry import Dataset
from ssl_bio.data.splits import DEFAULT_SEED, Split, draw_groups, draw_rows
from ssl_bio.data.targets import TargetInfo
from ssl_bio.data.windowing import ReadyWindows
from ssl_bio.errors import DataError

TITLE = "Human activity, 30 people, waist phone"
HOMEPAGE = "https://archive.ics.uci.edu/dataset/240"
SAMPLING_RATE = 50.0
LENGTH = 128
CHANNELS = tuple(f"{kind}_{axis}" for kind in ("body_acc", "body_gyro", "total_acc") for axis in "xyz")
SCHEMES = {
    "subject": "a quarter of the publisher's training people is validation; publisher's test people",
    "overlapping": "a random fifth of the training windows is validation and stays in training, as TimeMAE's code",
}
_FILES = ("Inertial Signals/", "y_t", "subject_t", "activity_labels.txt")


def read(files: Files) -> Ingest:
    """Read the publisher's files, whose windows come ready-made.

    Raises DataError that names file and line when a file is missing, truncated or holds text for numbers.
    """
    folder = _find_folder(files.fetch_all(*_FILES), source=files.source)
    classes = _read_labels(folder / "activity_labels.txt")
    parts = [_read_part(folder, part, n_classes=len(classes)) for part in ("train", "test")]
    signals, labels, subjects = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return ReadyWindows(
        title=TITLE,
        source=files.source.name,
        sampling_rate=SAMPLING_RATE,
        channels=CHANNELS,
        unit="g (accelerometer), rad/s (gyroscope)",
        signals=signals,
        subjects=subjects.astype(np.str_),
        targets={"activity": (TargetInfo(kind="class", classes=classes), labels)},
        splits=_splits(subjects, n_train=len(parts[0][0])),
        schemes=SCHEMES,
    ).as_ingest()


DATASET = Dataset(
    title=TITLE,
    homepage=HOMEPAGE,
    url="https://archive.ics.uci.edu/static/public/240/human+activity+recognition+using+smartphones.zip",
    sha256="c00b803081a5c797cd5e4b83700a9810b38d53d9d84e01917e090e1fdbc81031",
    read=read,
)


def _splits(subjects: NDArray[np.int64], *, n_train: int) -> dict[str, Split]:
    train, test = np.arange(n_train), np.arange(n_train, len(subjects))
    rng = np.random.default_rng(DEFAULT_SEED)
    n_val = max(1, len(np.unique(subjects[train])) // 4)
    by_subject = draw_groups(subjects[train], counts={"val": n_val}, rest="train", rng=rng)
    drawn = draw_rows(train, n_train // 5, rng)
    return {
        "subject": {**by_subject, "test": test},
        "overlapping": {"train": train, "val": drawn, "test": test},
    }


def _find_folder(folder: Path, *, source: Path) -> Path:
    for path in sorted(folder.rglob("activity_labels.txt")):
        return path.parent
    raise DataError(f"{source}: no activity_labels.txt inside: not the UCI HAR Dataset (see {HOMEPAGE})")


def _read_labels(path: Path) -> tuple[str, ...]:
    lines = [line.split() for line in _lines(path)]
    for number, line in enumerate(lines, 1):
        if len(line) != 2 or line[0] != str(number):
            raise DataError(f"{path.name}, line {number}: expected '{number} NAME'")
    return tuple(name.lower() for _, name in lines)


def _read_part(folder: Path, part: str, *, n_classes: int) -> tuple[Signals, NDArray[np.int64], NDArray[np.int64]]:
    """Return signals `(n, channels, length)`, labels and subjects of "train" or "test"."""
    folder = folder / part
    labels = _read_numbers(folder / f"y_{part}.txt", 1)[:, 0].astype(np.int64) - 1
    if labels.min() < 0 or labels.max() >= n_classes:
        line = int(np.flatnonzero((labels < 0) | (labels >= n_classes))[0]) + 1
        raise DataError(f"{part}/y_{part}.txt, line {line}: activity {labels[line - 1] + 1} is not 1-{n_classes}")
    subjects = _read_numbers(folder / f"subject_{part}.txt", 1)[:, 0].astype(np.int64)
    signals = np.empty((len(labels), len(CHANNELS), LENGTH), np.float32)
    with progress(f"reading {part}", len(CHANNELS)) as tick:
        for index, channel in enumerate(CHANNELS):
            path = folder / "Inertial Signals" / f"{channel}_{part}.txt"
            values = _read_numbers(path, LENGTH)
            for other, n in ((path.name, len(values)), (f"subject_{part}.txt", len(subjects))):
                if n != len(labels):
                    raise DataError(f"{part}/{other}: {n} lines where y_{part}.txt has {len(labels)}: truncated?")
            signals[:, index] = values
            tick(index + 1)
    return signals, labels, subjects


def _read_numbers(path: Path, n_columns: int) -> NDArray[np.float64]:
    """Return a table `(lines, n_columns)` of numbers with one space or more between them."""
    import pandas as pd  # imported when needed: it takes its time

    name = f"{path.parent.name}/{path.name}"
    if not path.is_file():
        raise DataError(f"{name}: missing from the UCI HAR Dataset")
    try:
        table = pd.read_csv(path, sep=r"\s+", header=None, dtype=np.float64).to_numpy()
        if table.shape[1] == n_columns and not _has_gap(table):
            return table
    except (ValueError, pd.errors.ParserError):
        pass
    checked = list(_checked_lines(path, name, n_columns))
    if not checked:
        raise DataError(f"{name}: empty")
    return np.array(checked, np.float64)


def _has_gap(table: NDArray[np.float64]) -> bool:
    """pandas reads a short last line as NaN: only the slow way tells that from a written NaN."""
    return bool(np.isnan(table).any())


def _checked_lines(path: Path, name: str, n_columns: int) -> Iterator[list[float]]:
    for number, line in enumerate(_lines(path), 1):
        fields = line.split()
        if len(fields) != n_columns:
            raise DataError(f"{name}, line {number}: {len(fields)} numbers instead of {n_columns}: truncated?")
        try:
            yield [float(field) for field in fields]
        except ValueError:
            text = next(field for field in fields if not _is_number(field))
            raise DataError(f"{name}, line {number}: {text[:40]!r} where a number belongs") from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError:
        raise DataError(f"{path.name}: missing from the UCI HAR Dataset") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name}: not a text file ({error.reason})") from error
