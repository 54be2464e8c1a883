"""A lab's own recordings: signal files beside a table that says what they are."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ssl_bio.data.formats import array_table, signal_files
from ssl_bio.data.formats.array_table import TABLE, Part
from ssl_bio.data.formats.signal_files import SignalFile
from ssl_bio.data.ingest.append_log import RecordWindows
from ssl_bio.data.ingest.archive import Files
from ssl_bio.data.ingest.ingest import Ingest
from ssl_bio.data.registry import Dataset
from ssl_bio.data.splits import SPLITS, Split, assign_groups, draw_subjects
from ssl_bio.data.store import ReadOptions, Subjects, Targets
from ssl_bio.data.windows import Windower
from ssl_bio.errors import DataError

TITLE = "Your own recordings: signal files (.npy, .npz, .csv, .mat) beside a table.csv"


def read(files: Files, options: ReadOptions) -> Ingest:
    """Read a folder or zip of recordings and a `table.csv` with a line for each.

    A recording is a file that `signal_files` can read. The table's columns:

    - `file`, as seen from the table;
    - `subject`, if there is such a column; else every file counts as a person of its own;
    - `sampling_rate` in Hz, or `data.sampling_rate` for all; with both, files are resampled to the latter;
    - `start` and `end` in s, if there are: several lines may speak of parts of one file;
    - `split` (train, val or test), if there is; else 80 / 10 / 10 by subject, seed 42. It is kept as a target, too;
    - `channels`, their names with ";" between, if there is; else a .csv file's first line, else ch0, ch1 ...;
    - every other column is a target: numbers are values (an empty cell is missing), in the unit that may follow the
      name, as in `heart_rate [beats/min]`; anything else is the name of a class. Classes that are numbers need a
      letter before them.

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
    windower = Windower(chosen)

    def read_windows(name: str) -> RecordWindows:
        file = _load(files, name)
        _check_channels(file, recordings[name], channels)
        return _joined(
            [_windows(windower, file, part, sampling_rate=_rate(part, options)) for part in recordings[name]]
        )

    return Ingest(
        title=TITLE,
        source=files.source.name,
        sampling_rate=chosen.sampling_rate,
        channels=channels,
        unit=windower.unit("as recorded"),
        targets=kinds,
        records=list(recordings),
        read=read_windows,
        split=lambda subjects, targets: {"subject": _split(subjects, targets)},
        schemes={
            "subject": "as the table says" if "split" in kinds else "subjects are drawn 80 / 10 / 10, seed 42",
        },
    )


DATASET = Dataset(title=TITLE, homepage="your own recordings", read=read)


def _load(files: Files, name: str) -> SignalFile:
    with files.borrowed(name) as (path,):
        return signal_files.load(path)


def _channels(files: Files, first: Part) -> tuple[str, ...]:
    """Return the channels' names, which all files share."""
    file = _load(files, first.file)
    return first.channels or file.channels or tuple(f"ch{index}" for index in range(len(file.signals)))


def _check_channels(file: SignalFile, parts: Sequence[Part], channels: tuple[str, ...]) -> None:
    for part in parts:
        named = part.channels or file.channels or channels
        if named != channels or len(file.signals) != len(channels):
            raise DataError(
                f"{part.file} ({TABLE}, line {part.line}): {len(file.signals)} channels "
                f"({', '.join(part.channels or file.channels) or 'without names'}) where the first file has "
                f"{', '.join(channels)}"
            )


def _complete(files: Files, options: ReadOptions, recordings: Mapping[str, Sequence[Part]]) -> ReadOptions:
    """Return the options with everything decided that they leave open."""
    parts = [part for found in recordings.values() for part in found]
    rates = sorted({_rate(part, options) for part in parts})
    if len(rates) > 1 and not options.sampling_rate:
        shown = ", ".join(f"{rate:g}" for rate in rates)
        raise DataError(f"{TABLE}: sampling rates {shown} Hz: set data.sampling_rate to the one to resample to")
    window = options.window or min(_durations(files, options, recordings))
    protocol = ReadOptions(sampling_rate=rates[0], window=window, stride=window, highpass=0.0, standardize="none")
    return options.with_defaults(protocol)


def _rate(part: Part, options: ReadOptions) -> float:
    rate = part.sampling_rate or options.sampling_rate
    if rate <= 0:
        raise DataError(f"{TABLE}, line {part.line}: no sampling_rate, neither here nor as data.sampling_rate")
    return rate


def _durations(files: Files, options: ReadOptions, recordings: Mapping[str, Sequence[Part]]) -> Iterator[float]:
    """Yield how many seconds each part lasts."""
    for name, parts in recordings.items():
        n_samples = None if np.isfinite([part.end for part in parts]).all() else _load(files, name).signals.shape[1]
        for part in parts:
            rate = _rate(part, options)
            first, last = part.span(n_samples, rate) if n_samples else (part.start * rate, part.end * rate)
            yield (last - first) / rate


def _windows(windower: Windower, file: SignalFile, part: Part, *, sampling_rate: float) -> RecordWindows:
    first, last = part.span(file.signals.shape[1], sampling_rate)
    windows = windower.windows(file.signals[:, first:last], sampling_rate)
    n = len(windows.starts)
    targets = {
        name: np.full(n, value, np.int64 if isinstance(value, int) else np.float32)
        for name, value in part.targets.items()
    }
    return RecordWindows(windows.signals, [part.subject] * n, targets, windows.dropped)


def _joined(parts: Sequence[RecordWindows]) -> RecordWindows:
    reasons = {why for windows in parts for why in windows.dropped}
    return RecordWindows(
        np.concatenate([windows.signals for windows in parts]),
        [subject for windows in parts for subject in windows.subjects],
        {name: np.concatenate([windows.targets[name] for windows in parts]) for name in parts[0].targets},
        {why: sum(windows.dropped.get(why, 0) for windows in parts) for why in sorted(reasons)},
    )


def _split(subjects: Subjects, targets: Targets) -> Split:
    if "split" not in targets:
        return draw_subjects(subjects)
    return assign_groups(np.asarray(targets["split"]), {name: [code] for code, name in enumerate(SPLITS)})
