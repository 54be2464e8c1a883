"""One's own recordings: `arrays`, signal files beside a table that says what they are."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ssl_bio.data import array_table, signal_files
from ssl_bio.data.archive import Files
from ssl_bio.data.array_table import SPLITS, TABLE, Part
from ssl_bio.data.convert import Conversion, by_subject
from ssl_bio.data.cutting import Cutter
from ssl_bio.data.journal import Windows
from ssl_bio.data.physionet import unit_of
from ssl_bio.data.signal_files import Recorded
from ssl_bio.data.store import ReadOptions, Rows, Subjects, Targets
from ssl_bio.errors import DataError

TITLE = "Your own recordings: signal files (.npy, .npz, .csv, .mat) beside a table.csv"
HOMEPAGE = "your own recordings"


def read_arrays(files: Files, options: ReadOptions) -> Conversion:
    """A folder or zip of recordings, one a file (`signal_files` says which), and a `table.csv` with a line for each:

    - `file`, as seen from the table;
    - `subject`, if there is such a column; else every file counts as a person of its own;
    - `sampling_rate` in Hz, or `data.sampling_rate` for all; with both, files are resampled to the latter;
    - `start` and `end` in s, if there are: several lines may speak of parts of one file;
    - `split` (train, val or test), if there is; else 80 / 10 / 10 by subject, seed 42. It is kept as a target, too;
    - `channels`, their names with ";" between, if there is; else a .csv file's first line, else ch0, ch1 ...;
    - every other column is a target: numbers are values (an empty cell is missing), anything else the name of a
      class. Classes that are numbers want a letter before them.

    All windows of a line have its targets. They last `data.window` s, by default as long as the shortest part (for
    parts of equal length that is all of them), and follow one another without overlap unless `data.stride` says
    otherwise. A part shorter than the window is padded; a window with NaN or infinite samples is left out. Without
    `data.window` and `end` all files are looked through once before, and a broken one ends it there.

    Raises DataError that names the table's line or the file.
    """
    parts, kinds = array_table.read(files)
    recordings: dict[str, list[Part]] = {}
    for part in parts:
        recordings.setdefault(part.file, []).append(part)
    channels = _channels(files, parts[0])
    chosen = _complete(files, options, recordings)
    cutter = Cutter(chosen)

    def read(name: str) -> Windows:
        recorded = _load(files, name)
        _check_channels(recorded, recordings[name], channels)
        return _joined([_windows(cutter, recorded, part, _rate(part, options)) for part in recordings[name]])

    return Conversion(
        title=TITLE,
        source=files.source.name,
        sampling_rate=chosen.sampling_rate,
        channels=channels,
        unit=unit_of(chosen, "as recorded"),
        targets=kinds,
        records=list(recordings),
        read=read,
        split=lambda subjects, targets: {"subject": _split(subjects, targets)},
        schemes={
            "subject": "as the table says" if "split" in kinds else "subjects are drawn 80 / 10 / 10, seed 42",
        },
    )


def _load(files: Files, name: str) -> Recorded:
    with files.borrowed(name) as (path,):
        return signal_files.load(path)


def _channels(files: Files, first: Part) -> tuple[str, ...]:
    """The channels' names, which all files share."""
    recorded = _load(files, first.file)
    return first.channels or recorded.channels or tuple(f"ch{index}" for index in range(len(recorded.signals)))


def _check_channels(recorded: Recorded, parts: Sequence[Part], channels: tuple[str, ...]) -> None:
    for part in parts:
        named = part.channels or recorded.channels or channels
        if named != channels or len(recorded.signals) != len(channels):
            raise DataError(
                f"{part.file} ({TABLE}, line {part.line}): {len(recorded.signals)} channels "
                f"({', '.join(part.channels or recorded.channels) or 'without names'}) where the first file has "
                f"{', '.join(channels)}"
            )


def _complete(files: Files, options: ReadOptions, recordings: Mapping[str, Sequence[Part]]) -> ReadOptions:
    """The options with everything decided that they leave open."""
    parts = [part for found in recordings.values() for part in found]
    rates = sorted({_rate(part, options) for part in parts})
    if len(rates) > 1 and not options.sampling_rate:
        shown = ", ".join(f"{rate:g}" for rate in rates)
        raise DataError(f"{TABLE}: sampling rates {shown} Hz: say with data.sampling_rate to which one to resample")
    window = options.window or min(_durations(files, options, recordings))
    return options.over(ReadOptions(rates[0], window, stride=window, highpass=0.0, standardize="none"))


def _rate(part: Part, options: ReadOptions) -> float:
    rate = part.sampling_rate or options.sampling_rate
    if rate <= 0:
        raise DataError(f"{TABLE}, line {part.line}: no sampling_rate, neither here nor as data.sampling_rate")
    return rate


def _durations(files: Files, options: ReadOptions, recordings: Mapping[str, Sequence[Part]]) -> Iterator[float]:
    """How many seconds the parts last."""
    for name, parts in recordings.items():
        n_samples = None if np.isfinite([part.end for part in parts]).all() else _load(files, name).signals.shape[1]
        for part in parts:
            rate = _rate(part, options)
            first, last = part.span(n_samples, rate) if n_samples else (part.start * rate, part.end * rate)
            yield (last - first) / rate


def _windows(cutter: Cutter, recorded: Recorded, part: Part, sampling_rate: float) -> Windows:
    first, last = part.span(recorded.signals.shape[1], sampling_rate)
    cuts = cutter.cut(recorded.signals[:, first:last], sampling_rate)
    n = len(cuts.starts)
    targets = {
        name: np.full(n, value, np.int64 if isinstance(value, int) else np.float32)
        for name, value in part.targets.items()
    }
    return Windows(cuts.signals, [part.subject] * n, targets, cuts.dropped)


def _joined(parts: Sequence[Windows]) -> Windows:
    reasons = {why for windows in parts for why in windows.dropped}
    return Windows(
        np.concatenate([windows.signals for windows in parts]),
        [subject for windows in parts for subject in windows.subjects],
        {name: np.concatenate([windows.targets[name] for windows in parts]) for name in parts[0].targets},
        {why: sum(windows.dropped.get(why, 0) for windows in parts) for why in sorted(reasons)},
    )


def _split(subjects: Subjects, targets: Targets) -> dict[str, Rows]:
    if "split" not in targets:
        return by_subject(subjects)
    return {name: np.flatnonzero(np.asarray(targets["split"]) == code) for code, name in enumerate(SPLITS)}
