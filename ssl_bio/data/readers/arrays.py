"""A lab's own recordings: signal files beside a table that says what they are."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.formats import array_table, signal_files
from ssl_bio.data.formats.array_table import TABLE, Part
from ssl_bio.data.formats.signal_files import SignalFile
from ssl_bio.data.ingest.archive import Files
from ssl_bio.data.ingest.ingest import Ingest
from ssl_bio.data.options import WindowOptions
from ssl_bio.data.recording import Recording
from ssl_bio.data.recording_store import RecordingStore
from ssl_bio.data.registry import Dataset
from ssl_bio.data.splits import SPLITS, Split, assign_groups, draw_subjects
from ssl_bio.data.targets import TargetInfo
from ssl_bio.data.windowing import LabelledWindows, Windowing, WindowTable
from ssl_bio.data.windows import Track, Windower
from ssl_bio.errors import DataError

TITLE = "Your own recordings: signal files (.npy, .npz, .csv, .mat) beside a table.csv"


def read(files: Files) -> Ingest:
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

    Raises DataError that names the table's line or the file.
    """
    parts, kinds = array_table.read(files)
    by_file: dict[str, list[Part]] = {}
    for part in parts:
        by_file.setdefault(part.file, []).append(part)
    channels = _channels(files, parts[0])

    def read_file(name: str) -> list[Recording]:
        file = _load(files, name)
        _check_channels(file, by_file[name], channels)
        return [_recording(file, part) for part in by_file[name]]

    facts = {
        "channels": list(channels),
        "targets": {name: info.model_dump(mode="json") for name, info in kinds.items()},
    }
    return Ingest(title=TITLE, source=files.source.name, records=list(by_file), read=read_file, facts=facts)


def windowing(store: RecordingStore, options: WindowOptions) -> Windowing:
    """Return windows that all have the targets of their line of the table.

    They last `data.window` s, by default as long as the shortest part (for parts of equal length that is all of them),
    and follow one another without overlap unless `data.stride` says otherwise. A part shorter than the window is
    padded; a window with NaN or infinite samples is left out.

    Raises DataError where neither table nor options say the sampling rate, or where the table says several.
    """
    windower = Windower(_complete(store, options))
    targets = {name: TargetInfo.model_validate(info) for name, info in store.facts["targets"].items()}

    def label(recording: Recording) -> LabelledWindows:
        windows = windower.windows(recording.signals, _rate(recording.facts, options))
        values: dict[str, NDArray[Any] | Track] = {
            name: np.full(len(windows.starts), value, np.float32 if targets[name].kind == "value" else np.int64)
            for name, value in recording.facts["targets"].items()
        }
        return LabelledWindows(record=windows, targets=values)

    return Windowing(
        options=windower.options,
        channels=tuple(store.facts["channels"]),
        unit=windower.unit("as recorded"),
        targets=targets,
        window=label,
        split=lambda table: {"subject": _split(table)},
        schemes={
            "subject": "as the table says" if "split" in targets else "subjects are drawn 80 / 10 / 10, seed 42",
        },
    )


DATASET = Dataset(title=TITLE, homepage="your own recordings", read=read, windowing=windowing)


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


def _recording(file: SignalFile, part: Part) -> Recording:
    """Return a line of the table as a recording."""
    first, last = part.span(file.signals.shape[1])
    return Recording(
        name=part.file,
        subject=part.subject,
        start=part.start,
        arrays={"signals": file.signals[:, first:last]},
        facts={"line": part.line, "sampling_rate": part.sampling_rate, "targets": part.targets},
    )


def _complete(store: RecordingStore, options: WindowOptions) -> WindowOptions:
    """Return the options with everything decided that they leave open."""
    rates = sorted({_rate(entry.facts, options) for entry in store.entries})
    if len(rates) > 1 and not options.sampling_rate:
        shown = ", ".join(f"{rate:g}" for rate in rates)
        raise DataError(f"{TABLE}: sampling rates {shown} Hz: set data.sampling_rate to the one to resample to")
    durations = (entry.blocks["signals"].shape[1] / _rate(entry.facts, options) for entry in store.entries)
    window = options.window or min(durations)
    protocol = WindowOptions(sampling_rate=rates[0], window=window, stride=window, highpass=0.0, standardize="none")
    return options.with_defaults(protocol)


def _rate(facts: Mapping[str, Any], options: WindowOptions) -> float:
    rate = float(facts["sampling_rate"] or options.sampling_rate)
    if rate <= 0:
        raise DataError(f"{TABLE}, line {facts['line']}: no sampling_rate, neither here nor as data.sampling_rate")
    return rate


def _split(table: WindowTable) -> Split:
    if "split" not in table.targets:
        return draw_subjects(table.subjects)
    return assign_groups(table.targets["split"], {name: [code] for code, name in enumerate(SPLITS)})
