"""Tables of samples (.csv, .tsv, .txt, .parquet): a line a sample, a column a channel, perhaps one of time."""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.chunks import CHUNK_SAMPLES
from ssl_bio.data.formats.signal_files import SignalFile
from ssl_bio.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_COMMENT = ("#", "%", "//")
_HEAD = 200  # lines looked at to learn how a table is written
_UNIT = re.compile(r"(?P<name>.*?)\s*[\[(]\s*(?P<unit>[^\[\]()]*?)\s*[\])]\s*$")
_TIME = re.compile(r"(elapsed[ _]?)?(time|timestamps?|t|datetime|date[ _]time|seconds?|secs?|ms|millis(econds)?)")
_TIME_UNIT = re.compile(r"(?P<name>.*?)[ _](?P<unit>s|sec|seconds?|ms|us|ns)")
_NUMBERING = ("", "index", "sample", "samples", "sample_number", "n", "row", "frame")
_SECONDS = {
    **dict.fromkeys(("", "s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("ms", "msec", "millis", "millisecond", "milliseconds"), 1e-3),
    **dict.fromkeys(("us", "µs", "microseconds"), 1e-6),
    **dict.fromkeys(("ns", "nanoseconds"), 1e-9),
    **dict.fromkeys(("min", "minutes"), 60.0),
    **dict.fromkeys(("h", "hours"), 3600.0),
}
_EPOCH_UNITS = ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3))  # numbers as large count these since 1970
_SHORTEST_CLOCK = 100  # samples: fewer that rise may well be a signal
_JUMP = 1.9  # times the usual step: where time jumps, and not merely is rounded
_SHORTEST_STRETCH = 10  # samples without a jump, from which the rate is told
_LARGEST_DRIFT = 2.0  # samples that written times may be off an even grid
_LARGEST_GROWTH = 100  # times as many samples as lines: gaps longer than that are a broken clock


class _Layout(NamedTuple):
    """How a table of text is written."""

    delimiter: str
    decimal: str
    n_skipped: int  # lines before the first sample
    names: tuple[str, ...]  # empty: the table has none
    units: tuple[str, ...]


class _Column(NamedTuple):
    name: str
    unit: str

    @staticmethod
    def of(text: str, unit: str = "") -> "_Column":
        """Return name and unit of a heading such as `ppg [mV]`."""
        text = text.strip().strip("'\"").strip()
        match = _UNIT.fullmatch(text)
        return _Column(match["name"], match["unit"]) if match and match["name"] else _Column(text, unit.strip(" '\"[]"))

    @property
    def seconds(self) -> float | None:
        """What one of its numbers lasts, in s; None unless it is a column of time."""
        name, unit = self.name.casefold(), self.unit.casefold()
        if not unit and (match := _TIME_UNIT.fullmatch(name)):
            name, unit = match["name"], match["unit"]
        if _TIME.fullmatch(name) and ":" in unit:  # hh:mm:ss
            return 1.0
        if not _TIME.fullmatch(name) or unit not in _SECONDS:
            return None
        return _SECONDS[name] if not unit and name in _SECONDS else _SECONDS[unit]


@contextmanager
def open_text(path: Path, scratch: Path) -> Iterator[SignalFile]:
    """Open a table of text: fields divided by commas, semicolons, tabs or blanks, comments before it, decimals with a
    point or a comma, a line of names, with units in them or in a line of their own, or neither.

    See `_signals` for columns of time. Raises DataError that names the file.
    """
    import pandas as pd  # imported when needed: it takes its time

    layout = _layout(path)

    def parts() -> Iterator["pd.DataFrame"]:
        reader = pd.read_csv(
            path,
            sep=layout.delimiter if layout.delimiter != " " else r"\s+",
            decimal=layout.decimal,
            header=None,
            skiprows=layout.n_skipped,
            skipinitialspace=True,
            comment="#",
            chunksize=CHUNK_SAMPLES,
            encoding=_encoding(path),
            encoding_errors="replace",
        )
        with reader:
            yield from reader

    try:
        yield _signals(path, parts(), names=layout.names, units=layout.units, scratch=scratch)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path.name}: not a line of names and lines of numbers ({error})") from error


@contextmanager
def open_parquet(path: Path, scratch: Path) -> Iterator[SignalFile]:
    """Open a Parquet file. Raises DataError when it is broken, or pyarrow, an extra, is not installed."""
    import pandas as pd

    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise DataError(f"{path.name}: needs the extra parquet: pip install 'ssl-bio[parquet]'") from error

    try:
        with parquet.ParquetFile(path) as file:
            names = tuple(file.schema_arrow.names)
            parts = (batch.to_pandas() for batch in file.iter_batches(CHUNK_SAMPLES))
            yield _signals(path, _plain(parts, pd), names=names, units=("",) * len(names), scratch=scratch)
    except (OSError, ValueError) as error:
        raise DataError(f"{path.name}: not a whole Parquet file ({error})") from error


def _plain(parts: Iterator[Any], pd: Any) -> Iterator["pd.DataFrame"]:
    for part in parts:
        yield part.set_axis(range(part.shape[1]), axis=1)


def _encoding(path: Path) -> str:
    """Return UTF-8, UTF-16 where the file begins so, or, for what is neither, the encoding of Western Europe."""
    with path.open("rb") as file:
        begin = file.read(_HEAD * 100)
    if begin.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(begin)  # a character may be cut off at the end
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"


def _layout(path: Path) -> _Layout:
    """Return how a table is written. Raises DataError for a file without lines of numbers."""
    try:
        with path.open(encoding=_encoding(path), errors="replace") as file:
            head = [line for _, line in zip(range(_HEAD), file, strict=False)]
    except OSError as error:
        raise DataError(f"{path.name}: cannot be read: {error.strerror or error}") from error
    first = next((n for n, line in enumerate(head) if line.strip() and not line.lstrip().startswith(_COMMENT)), None)
    if first is None:
        raise DataError(f"{path.name}: holds no signal")
    delimiter = max((",", ";", "\t"), key=head[first].count)
    body = "".join(head[first + 1 :])
    if delimiter == "," and head[first].count(";"):
        delimiter = ";"  # commas are of decimals, or in names
    if not head[first].count(delimiter):
        delimiter = " " if len(head[first].split()) > 1 and not _is_name(head[first]) else ","
    decimal = "," if delimiter != "," and re.search(r"\d,\d", body) and not re.search(r"\d\.\d", body) else "."
    lines = [line for line in head[first : first + 2] if line.strip() and not line.lstrip().startswith(_COMMENT)]
    rows = [_fields(line, delimiter) for line in lines]
    if _numbers_columns(rows[0]):
        return _Layout(delimiter, decimal, first + 1, tuple(rows[0]), ("",) * len(rows[0]))
    commented = _commented_names(head[:first], delimiter, width=len(rows[0]))
    headings = [row for row in rows if not any(_is_number(cell, decimal) for cell in row)]
    if headings and headings[0] is not rows[0]:
        headings = []
    if len(headings) == 2 and (_is_missing(headings[1]) or any(_looks_dated(cell) for cell in headings[1])):
        headings = headings[:1]
    if not headings and commented:
        return _Layout(delimiter, decimal, first, commented, ("",) * len(commented))
    names = tuple(headings[0]) if headings else ()
    units = tuple(headings[1]) if len(headings) == 2 else ("",) * len(names)
    return _Layout(delimiter, decimal, first + len(headings), names, units)


def _numbers_columns(row: Sequence[str]) -> bool:
    """Return whether a line counts the columns, perhaps behind an empty heading: pandas writes such for no names."""
    counted = row[1:] if row[0] == "" else row
    return len(counted) > 1 and list(counted) == [str(place) for place in range(len(counted))]


def _commented_names(comments: Sequence[str], delimiter: str, *, width: int) -> tuple[str, ...]:
    """Return the names in the last comment before the samples, as numpy writes them; nothing where it has none."""
    for line in reversed(comments):
        if line.lstrip().startswith(_COMMENT):
            cells = _fields(line.lstrip().lstrip("#%/").strip(), delimiter)
            has_names = len(cells) == width and width > 1 and not any(_is_number(cell, ".") for cell in cells)
            return tuple(cells) if has_names else ()
    return ()


def _is_missing(row: Sequence[str]) -> bool:
    return all(cell.lower() in ("", "na", "nan", "null", "none") for cell in row)


def _is_name(line: str) -> bool:
    return line.strip().startswith(("'", '"')) or not any(_is_number(part, ".") for part in line.split())


def _looks_dated(cell: str) -> bool:
    return bool(re.search(r"\d[:\-/]\d", cell))


def _fields(line: str, delimiter: str) -> list[str]:
    if delimiter == " ":
        return line.split()
    reader = csv.reader(io.StringIO(line), delimiter=delimiter, skipinitialspace=True)
    return [cell.strip() for cell in next(reader, [])]


def _is_number(text: str, decimal: str) -> bool:
    try:
        float(text.replace(decimal, "."))
    except ValueError:
        return False
    return True


def _signals(
    path: Path, parts: Iterator["pd.DataFrame"], *, names: Sequence[str], units: Sequence[str], scratch: Path
) -> SignalFile:
    """Return the channels of a table, whose samples are written once to the folder `scratch`.

    A column of time, known by its name ("time [s]", "t_ms", "timestamp"), gives the sampling rate and is no channel;
    where it jumps, samples are missing. A column that merely numbers the samples is left out.

    Raises DataError for text among the numbers, or a clock that goes backwards.
    """
    further = [""] * (len(names) - len(units))
    columns = [_Column.of(name, unit) for name, unit in zip(names, [*units, *further], strict=False)]
    clock = next((index for index, column in enumerate(columns) if column.seconds is not None), None)
    n, raw, clock_file = 0, scratch / "samples", scratch / "clock"
    with raw.open("wb") as file, clock_file.open("wb") as times:
        for part in parts:
            if columns and part.shape[1] != len(columns):
                raise DataError(f"{path.name}: {part.shape[1]} numbers a line under {len(columns)} names")
            columns = columns or [_Column(f"ch{index}", "") for index in range(part.shape[1])]
            if clock is not None:
                times.write(_seconds(path, part[clock], columns[clock]).tobytes())
                part = part.drop(columns=clock)
            file.write(_numbers(path, part, first=n).tobytes())
            n += len(part)
    width = len(columns) - (clock is not None)
    if not n or not width:
        raise DataError(f"{path.name}: holds no signal")
    samples: NDArray[np.float64] = np.memmap(raw, np.float64, "r", shape=(n, width))
    channels = [column for index, column in enumerate(columns) if index != clock]
    rate, remarks = 0.0, []
    if clock is not None:
        rate, samples, remark = _on_grid(path, samples, np.memmap(clock_file, np.float64, "r"), scratch)
        remarks.append(f"column {columns[clock].name!r} is time, {rate:g} Hz{remark}")
    elif len(channels) > 1 and _counts(samples[:CHUNK_SAMPLES, 0]) and _is_numbering(channels[0], n):
        if channels[0].name.casefold() not in _NUMBERING and not channels[0].name.startswith("Unnamed"):
            raise DataError(
                f"{path.name}: {channels[0].name} rises steadily, as a clock does: leave that column out, or call it "
                "time, with its unit, as in 'time [ms]'"
            )
        remarks.append(f"column {channels[0].name!r} numbers the samples and is left out")
        samples, channels = samples[:, 1:], channels[1:]
    return SignalFile(
        lambda first, last: np.array(samples[first:last].T),
        len(samples),
        tuple(column.name or f"ch{index}" for index, column in enumerate(channels)),
        rate,
        tuple(column.unit or "NU" for column in channels),
        named=bool(names),
        remarks=tuple(remarks),
    )


def _is_numbering(column: _Column, n: int) -> bool:
    """Return whether a column that rises may count samples: by its name, or because no signal rises for so long."""
    return column.name.casefold() in _NUMBERING or n > _SHORTEST_CLOCK


def _numbers(path: Path, part: "pd.DataFrame", *, first: int) -> NDArray[np.float64]:
    import pandas as pd

    try:
        return part.to_numpy(np.float64)
    except (ValueError, TypeError):
        numbers = part.apply(pd.to_numeric, errors="coerce")
        bad = numbers.isna() & part.notna()
        row, column = (int(place) for place in np.argwhere(bad.to_numpy())[0])
        text = str(part.iat[row, column])[:40]
        raise DataError(f"{path.name}: {text!r} where a number belongs, sample {first + row}") from None


def _seconds(path: Path, values: "pd.Series[Any]", column: _Column) -> NDArray[np.float64]:
    """Return a column of time in s."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(values):
        numbers = values.to_numpy(np.float64)
        unit = column.seconds or 1.0
        if not column.unit and unit == 1:
            unit = next((scale for least, scale in _EPOCH_UNITS if len(numbers) and numbers[0] > least), 1.0)
        return np.asarray(numbers * unit)
    texts = values.astype(str).str.strip("'\" []")
    if texts.str.fullmatch(r"\d+(:\d+){1,2}([.,]\d+)?").all():
        fields = texts.str.replace(",", ".").str.split(":", expand=True).astype(float).to_numpy()
        return np.asarray(fields @ 60.0 ** np.arange(fields.shape[1])[::-1])
    try:
        moments = pd.to_datetime(texts, utc=True, format="ISO8601")
    except ValueError:
        try:
            moments = pd.to_datetime(texts, utc=True, format="mixed", dayfirst="." in texts.iloc[0].partition(" ")[0])
        except (ValueError, TypeError) as error:
            why = str(error).splitlines()[0]
            raise DataError(f"{path.name}: column {column.name!r} is no time ({why})") from error
    return np.asarray(moments.to_numpy("datetime64[ns]").astype(np.int64) / 1e9)


def _on_grid(
    path: Path, samples: NDArray[np.float64], times: NDArray[np.float64], scratch: Path
) -> tuple[float, NDArray[np.float64], str]:
    """Return the sampling rate in Hz that a column of time has, the samples at even steps, and what to remark.

    Raises DataError when time does not go forward, or stands in steps of all lengths.
    """
    if len(times) < 2 or not np.isfinite(times[[0, -1]]).all():
        raise DataError(f"{path.name}: its column of time is empty or a single moment")
    steps = np.diff(times)
    backwards = np.flatnonzero(~(steps > 0))
    if len(backwards):
        raise DataError(f"{path.name}: time does not go forward at sample {int(backwards[0]) + 1}")
    # Written times are rounded, and so are single steps: over a stretch without a jump their mean is exact.
    jumps = np.flatnonzero(steps > _JUMP * np.median(steps[:CHUNK_SAMPLES]))
    edges = np.concatenate([[0], jumps + 1, [len(times)]])
    lengths = np.diff(edges) - 1
    longest = int(lengths.argmax())
    first, last = int(edges[longest]), int(edges[longest + 1]) - 1
    if last - first < _SHORTEST_STRETCH and len(jumps):
        raise DataError(f"{path.name}: its column of time has steps of all lengths: resample it first")
    rate = _rounded((last - first) / float(times[last] - times[first]), steps=last - first)
    if not len(jumps):
        return rate, samples, ""
    begins = np.round((times[edges[:-1]] - times[0]) * rate).astype(np.int64)
    places = np.concatenate([begin + np.arange(length + 1) for begin, length in zip(begins, lengths, strict=True)])
    if (np.diff(places) < 1).any() or places[-1] > _LARGEST_GROWTH * len(times):
        raise DataError(f"{path.name}: its column of time has steps of all lengths: resample it first")
    drift = np.abs(places / rate - (times - times[0])).max()
    if drift * rate > _LARGEST_DRIFT:
        raise DataError(f"{path.name}: its column of time has steps of all lengths: resample it first")
    grid = np.memmap(scratch / "grid", np.float64, "w+", shape=(int(places[-1]) + 1, samples.shape[1]))
    grid[:] = np.nan
    grid[places] = samples
    missing = len(grid) - len(samples)
    return rate, grid, f"; {missing} samples are missing where it jumps"


def _rounded(rate: float, *, steps: int) -> float:
    """Return a sampling rate without the rounding of written times: a whole one where over all `steps` that makes less
    than a sample's difference."""
    whole = round(rate)
    if whole and abs(steps - steps * rate / whole) < 0.5 and abs(rate - whole) < 1e-3 * rate:
        return float(whole)
    return float(f"{rate:.6g}")


def _counts(values: NDArray[np.float64]) -> bool:
    steps = np.diff(values)
    return isfinite(float(steps.sum())) and bool((steps > 0).all())
