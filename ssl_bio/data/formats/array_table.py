"""The table beside a lab's own recordings: what each line says of a file, or of a part of one."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ssl_bio.data.formats import signal_files
from ssl_bio.data.ingest.archive import Files
from ssl_bio.data.splits import SPLITS
from ssl_bio.data.targets import TargetInfo
from ssl_bio.errors import DataError

TABLE = "table.csv"
RESERVED = ("file", "subject", "sampling_rate", "split", "start", "end", "channels")
_TARGET_COLUMN = re.compile(r"(?P<name>\w[\w.-]*)\s*(?:\[\s*(?P<unit>[^\[\]]*?)\s*\])?")

Line = Mapping[str, str]  # column -> text of one line


class Part(NamedTuple):
    """A line of the table: a file, or a part of it."""

    line: int
    file: str
    subject: str
    has_subject: bool  # whether the table says it
    sampling_rate: float  # Hz; 0: the table does not say
    start: float  # s
    end: float  # s; infinite: to the end
    channels: tuple[str, ...]  # empty: the table does not say
    targets: dict[str, float | int]

    def span(self, n_samples: int, sampling_rate: float) -> tuple[int, int]:
        """Return the first sample, and the one after the last, in a file of `n_samples`.

        Raises DataError when the file is too short, or when the line's sampling rate is not known.
        """
        if self.start == 0 and np.isinf(self.end):
            return 0, n_samples
        if not sampling_rate:
            raise DataError(f"{TABLE}, line {self.line}: start and end are in seconds: give a column sampling_rate")
        first = round(self.start * sampling_rate)
        last = n_samples if np.isinf(self.end) else round(self.end * sampling_rate)
        if first >= n_samples or last > n_samples:
            until = "" if np.isinf(self.end) else f" to {self.end:g}"
            raise DataError(
                f"{TABLE}, line {self.line}: from {self.start:g}{until} s, but {self.file} lasts "
                f"{n_samples / sampling_rate:g} s"
            )
        return first, last


class _Column(NamedTuple):
    """A column that is a target: its name in the table, and what it means."""

    column: str
    info: TargetInfo


def read(files: Files) -> tuple[list[Part], dict[str, TargetInfo]]:
    """Return the table's lines and what its targets mean.

    A target's column is called by its name, or by its name and unit, as `heart_rate [beats/min]`.

    Raises DataError that names the line when there is no such table, or anything in it cannot be understood.
    """
    lines, folder = _lines(files)
    targets = _targets(lines)
    known = set(files.names)
    parts = [_part(line, number, known=known, folder=folder, targets=targets) for number, line in enumerate(lines, 2)]
    if "split" not in targets and len({part.subject for part in parts}) < len(SPLITS):
        raise DataError(f"{TABLE}: fewer than 3 subjects cannot be split; give a column split ({', '.join(SPLITS)})")
    return parts, {name: target.info for name, target in targets.items()}


def targets_of(lines: Sequence[Line]) -> tuple[dict[str, TargetInfo], list[dict[str, float | int]]]:
    """Return what the targets of lines mean, and the values of each line. Raises DataError as `read` does."""
    targets = _targets(lines)
    values = [
        {name: _target(number, line, target) for name, target in targets.items()}
        for number, line in enumerate(lines, 1)
    ]
    return {name: target.info for name, target in targets.items()}, values


def _lines(files: Files) -> tuple[list[Line], str]:
    """Return the table's lines by column, and the folder it lies in, with a "/" at its end."""
    import pandas as pd  # imported when needed: it takes its time

    paths = sorted((name for name in files.names if name.rpartition("/")[2] == TABLE), key=len)
    if not paths:
        raise DataError(f"{files.source}: no {TABLE} inside, with a line for each recording")
    with files.borrowed(paths[0]) as (path,):
        try:
            table = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True, encoding="utf-8-sig")
        except ValueError as error:
            raise DataError(f"{TABLE}: not a table ({error})") from error
    if "file" not in table.columns or table.empty:
        raise DataError(f"{TABLE}: no column file, or no line; it has {', '.join(table.columns)}")
    lines: list[Line] = [
        {str(key): str(value).strip() for key, value in line.items()} for line in table.to_dict("records")
    ]
    return lines, paths[0].removesuffix(TABLE)


def _targets(table: Sequence[Line]) -> dict[str, _Column]:
    """Return the columns that are targets by the target's name."""
    targets: dict[str, _Column] = {}
    for column in table[0]:
        if column in RESERVED:
            continue
        match = _TARGET_COLUMN.fullmatch(column.strip())
        if not match:
            raise DataError(
                f"{TABLE}: column {column!r}: a target's name has letters, digits and _ . - only, "
                "and perhaps a unit after it, as in 'heart_rate [beats/min]'"
            )
        name = match["name"]
        if name in RESERVED:
            raise DataError(f"{TABLE}: column {column!r}: call it {name}, without a unit")
        if name in targets:
            raise DataError(f"{TABLE}: columns {targets[name].column!r} and {column!r} are one target, {name}")
        targets[name] = _Column(
            column, _meaning([line[column] for line in table], column=column, unit=match["unit"] or "")
        )
    if "split" in table[0]:
        targets["split"] = _Column("split", TargetInfo(kind="class", classes=SPLITS))
    return targets


def _meaning(texts: Sequence[str], *, column: str, unit: str) -> TargetInfo:
    """Return values where every cell has a number or nothing, classes where every cell has text."""
    missing = [number for number, text in enumerate(texts, 2) if _is_missing(text)]
    numbers = [number for number, text in enumerate(texts, 2) if _is_number(text)]
    words = [number for number in range(2, len(texts) + 2) if number not in {*missing, *numbers}]
    if not words:
        return TargetInfo(kind="value", unit=unit)
    if numbers:
        raise DataError(
            f"{TABLE}: column {column} has both text ({texts[words[0] - 2]!r} in line {words[0]}) and numbers "
            f"({texts[numbers[0] - 2]!r} in line {numbers[0]})"
        )
    if missing:
        raise DataError(f"{TABLE}, line {missing[0]}: no {column}; only numbers may be missing")
    if unit:
        raise DataError(f"{TABLE}: column {column} has a unit but names of classes: only numbers have a unit")
    return TargetInfo(kind="class", classes=tuple(sorted(set(texts))))


def _part(line: Line, number: int, *, known: Collection[str], folder: str, targets: Mapping[str, _Column]) -> Part:
    name = folder + line["file"].replace("\\", "/")
    if name not in known:
        raise DataError(f"{TABLE}, line {number}: no file {line['file']!r}")
    if not name.lower().endswith(signal_files.SUFFIXES):
        raise DataError(f"{TABLE}, line {number}: {line['file']} is none of {', '.join(signal_files.SUFFIXES)}")
    rate = _number(number, line, column="sampling_rate", default=0.0)
    start, end = (
        _number(number, line, column=column, default=default) for column, default in (("start", 0.0), ("end", np.inf))
    )
    if not 0 <= start < end or rate < 0:
        raise DataError(f"{TABLE}, line {number}: from {start:g} to {end:g} s at {rate:g} Hz is no part of a file")
    return Part(
        line=number,
        file=name,
        has_subject=bool(line.get("subject")),
        subject=line.get("subject") or name.removeprefix(folder).rpartition(".")[0],
        sampling_rate=rate,
        start=start,
        end=end,
        channels=tuple(text.strip() for text in line.get("channels", "").split(";") if text.strip()),
        targets={name: _target(number, line, target) for name, target in targets.items()},
    )


def _number(number: int, line: Line, *, column: str, default: float) -> float:
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


def _target(number: int, line: Line, target: _Column) -> float | int:
    text = line[target.column]
    if target.info.kind == "value":
        return np.nan if _is_missing(text) else float(text)
    if text not in target.info.classes:
        raise DataError(f"{TABLE}, line {number}: {target.column} is {text!r}, not {', '.join(target.info.classes)}")
    return target.info.classes.index(text)
