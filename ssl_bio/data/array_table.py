"""The table beside one's own recordings: what each line says of a file, or of a part of one."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from ssl_bio.data import signal_files
from ssl_bio.data.archive import Files
from ssl_bio.data.store import TargetInfo
from ssl_bio.errors import DataError

TABLE = "table.csv"
SPLITS = ("train", "val", "test")
_RESERVED = ("file", "subject", "sampling_rate", "split", "start", "end", "channels")
_TARGET_NAME = re.compile(r"\w[\w.-]*")

Texts = Mapping[str, str]


class Part(NamedTuple):
    """A line of the table."""

    line: int
    file: str
    subject: str
    sampling_rate: float  # Hz; 0: the table does not say
    start: float  # s
    end: float  # s; infinite: to the end
    channels: tuple[str, ...]  # empty: the table does not say
    targets: dict[str, float | int]

    def span(self, n_samples: int, sampling_rate: float) -> tuple[int, int]:
        """First sample, and the one after the last, in a file of so many. Raises DataError when it is too short."""
        first = round(self.start * sampling_rate)
        last = n_samples if np.isinf(self.end) else round(self.end * sampling_rate)
        if first >= n_samples or last > n_samples:
            until = "" if np.isinf(self.end) else f" to {self.end:g}"
            raise DataError(
                f"{TABLE}, line {self.line}: from {self.start:g}{until} s, but {self.file} lasts "
                f"{n_samples / sampling_rate:g} s"
            )
        return first, last


def read(files: Files) -> tuple[list[Part], dict[str, TargetInfo]]:
    """The table's lines and what its targets mean.

    Raises DataError that names the line when there is no such table, or anything in it cannot be understood.
    """
    lines, home = _lines(files)
    kinds = _kinds(lines)
    known = set(files.names)
    parts = [_part(known, home, number, line, kinds) for number, line in enumerate(lines, 2)]
    if "split" not in kinds and len({part.subject for part in parts}) < len(SPLITS):
        raise DataError(f"{TABLE}: fewer than 3 subjects cannot be split; give a column split ({', '.join(SPLITS)})")
    return parts, kinds


def _lines(files: Files) -> tuple[list[Texts], str]:
    """The table's lines by column, and the folder it lies in, with a "/" at its end."""
    places = sorted((name for name in files.names if name.rpartition("/")[2] == TABLE), key=len)
    if not places:
        raise DataError(f"{files.source}: no {TABLE} inside, with a line for each recording")
    with files.borrowed(places[0]) as (path,):
        try:
            table = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True, encoding="utf-8-sig")
        except ValueError as error:
            raise DataError(f"{TABLE}: not a table ({error})") from error
    if "file" not in table.columns or table.empty:
        raise DataError(f"{TABLE}: no column file, or no line; it has {', '.join(table.columns)}")
    lines: list[Texts] = [
        {str(key): str(value).strip() for key, value in line.items()} for line in table.to_dict("records")
    ]
    return lines, places[0].removesuffix(TABLE)


def _kinds(table: Sequence[Texts]) -> dict[str, TargetInfo]:
    """What the columns that are targets mean."""
    kinds = {}
    for column in table[0]:
        if column in _RESERVED:
            continue
        if not _TARGET_NAME.fullmatch(column):
            raise DataError(f"{TABLE}: column {column!r}: a target's name has letters, digits and _ . - only")
        kinds[column] = _kind(column, [line[column] for line in table])
    if "split" in table[0]:
        kinds["split"] = TargetInfo(kind="class", classes=SPLITS)
    return kinds


def _kind(column: str, texts: Sequence[str]) -> TargetInfo:
    """Values where every cell has a number or nothing, classes where every cell has text."""
    missing = [number for number, text in enumerate(texts, 2) if _is_missing(text)]
    numbers = [number for number, text in enumerate(texts, 2) if _is_number(text)]
    words = [number for number in range(2, len(texts) + 2) if number not in {*missing, *numbers}]
    if not words:
        return TargetInfo(kind="value")
    if numbers:
        raise DataError(
            f"{TABLE}: column {column} has both text ({texts[words[0] - 2]!r} in line {words[0]}) and numbers "
            f"({texts[numbers[0] - 2]!r} in line {numbers[0]})"
        )
    if missing:
        raise DataError(f"{TABLE}, line {missing[0]}: no {column}; only numbers may be missing")
    return TargetInfo(kind="class", classes=tuple(sorted(set(texts))))


def _part(known: Collection[str], home: str, number: int, line: Texts, kinds: Mapping[str, TargetInfo]) -> Part:
    name = home + line["file"].replace("\\", "/")
    if name not in known:
        raise DataError(f"{TABLE}, line {number}: no file {line['file']!r}")
    if not name.endswith(signal_files.SUFFIXES):
        raise DataError(f"{TABLE}, line {number}: {line['file']} is none of {', '.join(signal_files.SUFFIXES)}")
    rate = _number(number, line, "sampling_rate", 0.0)
    start, end = _number(number, line, "start", 0.0), _number(number, line, "end", np.inf)
    if not 0 <= start < end or rate < 0:
        raise DataError(f"{TABLE}, line {number}: from {start:g} to {end:g} s at {rate:g} Hz is no part of a file")
    return Part(
        line=number,
        file=name,
        subject=line.get("subject") or name.removeprefix(home).rpartition(".")[0],
        sampling_rate=rate,
        start=start,
        end=end,
        channels=tuple(text.strip() for text in line.get("channels", "").split(";") if text.strip()),
        targets={column: _target(number, line, column, info) for column, info in kinds.items()},
    )


def _number(number: int, line: Texts, column: str, default: float) -> float:
    text = line.get(column, "")
    if not text:
        return default
    if not _is_number(text):
        raise DataError(f"{TABLE}, line {number}: {column} is {text!r}, not a number")
    return float(text)


def _is_missing(text: str) -> bool:
    return text.lower() in ("", "nan")


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _target(number: int, line: Texts, column: str, info: TargetInfo) -> float | int:
    text = line[column]
    if info.kind == "value":
        return np.nan if _is_missing(text) else float(text)
    if text not in info.classes:
        raise DataError(f"{TABLE}, line {number}: {column} is {text!r}, not {', '.join(info.classes)}")
    return info.classes.index(text)
