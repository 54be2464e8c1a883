"""A lab's own recordings: signal files beside a table that says what they are."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.channels import match_channels
from ssl_bio.data.formats import array_table, signal_files
from ssl_bio.data.formats.array_table import TABLE, Part
from ssl_bio.data.formats.signal_files import SignalFile, Signals
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

_ALONE = "every file counts as a person of its own: a column subject says who is who"
TITLE = "Your own recordings: signal files of any known format beside a table.csv"


def read(files: Files) -> Ingest:
    """Read a folder or zip of recordings and a `table.csv` with a line for each.

    A recording is a file that `signal_files` can read. The table's columns:

    - `file`, as seen from the table;
    - `subject`, if there is such a column; else every file counts as a person of its own;
    - `sampling_rate` in Hz where files do not say it, or `data.sampling_rate` for all; with both, files are resampled
      to the latter;
    - `start` and `end` in s, if there are: several lines may speak of parts of one file;
    - `split` (train, val or test), if there is; else 80 / 10 / 10 by subject, seed 42. It is kept as a target, too;
    - `channels`, their names with ";" between, if there is; else as the files name them, else ch0, ch1 ... The first
      file's are those of all: others may have them in another order or spelling, and further ones;
    - every other column is a target: numbers are values (an empty cell is missing), in the unit that may follow the
      name, as in `heart_rate [beats/min]`; anything else is the name of a class. Classes that are numbers need a
      letter before them.

    Raises DataError that names the table's line or the file.
    """
    parts, kinds = array_table.read(files)
    by_file: dict[str, list[Part]] = {}
    for part in parts:
        by_file.setdefault(part.file, []).append(part)
    first = _load(files, parts[0].file).file
    channels, units = _names(first, parts[0]), first.units or ("NU",) * len(first.channels)

    def read_file(name: str) -> list[Recording]:
        signals = _load(files, name)
        return [_recording(signals, part, channels, units) for part in by_file[name]]

    alone = not any(part.has_subject for part in parts)
    facts = {
        "channels": list(channels),
        "targets": {name: info.model_dump(mode="json") for name, info in kinds.items()},
        "remarks": [_ALONE] if alone else [],
    }
    return Ingest(title=TITLE, source=files.source.name, records=list(by_file), read=read_file, facts=facts)


def of_memory(
    signals: Sequence[NDArray[Any]],
    *,
    targets: Mapping[str, Sequence[Any]],
    groups: Sequence[str],
    channels: Sequence[str],
    sampling_rate: float,
    splits: Sequence[str] = (),
) -> Ingest:
    """Return recordings that are in memory, `(channels, samples)` each, as `read` returns those of files.

    `targets`: a number or a class for each recording, by name; `groups`: whom each is of; `splits`: "train", "val" or
    "test" for each, if they are chosen.

    Raises DataError when these do not fit together.
    """
    columns = {"group": groups, **targets, **({"split": splits} if splits else {})}
    for name, values in columns.items():
        if len(values) != len(signals):
            raise DataError(f"{name}: {len(values)} values for {len(signals)} recordings")
    if not len(signals):
        raise DataError("no recording")
    if not (np.isfinite(sampling_rate) and sampling_rate > 0):
        raise DataError(f"sampling_rate: {sampling_rate:g} Hz is no sampling rate")
    for name in targets:
        if name in array_table.RESERVED or name == "group":
            raise DataError(f"target {name!r}: this name has another meaning: choose another")
    for index, array in enumerate(signals):
        if np.ndim(array) != 2 or len(array) != len(channels):
            raise DataError(f"recording {index}: shape {np.shape(array)}, not ({len(channels)}, samples)")
        if np.shape(array)[1] < len(channels) or np.asarray(array).dtype.kind not in "biuf":
            raise DataError(
                f"recording {index}: {np.asarray(array).dtype} {np.shape(array)} instead of numbers (channels, samples)"
            )
    if not splits and len(set(groups)) < len(SPLITS):
        raise DataError("groups: fewer than 3 people cannot be split; give splits (train, val, test)")
    lines = [
        {name: _text(columns[name][index]) for name in columns if name != "group"} for index in range(len(signals))
    ]
    kinds, rows = array_table.targets_of(lines) if lines[0] else ({}, [{} for _ in lines])

    def read_one(name: str) -> list[Recording]:
        index = int(name)
        facts = {"line": index, "sampling_rate": sampling_rate, "targets": rows[index], "remarks": []}
        arrays = {"signals": np.asarray(signals[index], np.float64)}
        return [Recording(name=name, subject=str(groups[index]), arrays=arrays, facts=facts)]

    facts = {
        "channels": list(channels),
        "targets": {name: info.model_dump(mode="json") for name, info in kinds.items()},
    }
    names = [str(index) for index in range(len(signals))]
    return Ingest(title=TITLE, source="memory", records=names, read=read_one, facts=facts)


def _text(value: Any) -> str:
    """Return a value as a table's cell; what is not known is empty."""
    missing = value is None or (isinstance(value, float) and np.isnan(value))
    return "" if missing else str(value)


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


def _load(files: Files, name: str) -> Signals:
    """Return the signals of a file, which may need others of its name beside it."""
    stem = name.rpartition(".")[0]
    companions = [stem + suffix for suffix in signal_files.COMPANIONS if files.has(stem + suffix)]
    with files.borrowed(name, *companions) as (path, *_):
        return signal_files.load_file(path)


def _names(file: SignalFile, part: Part) -> tuple[str, ...]:
    """Return the names of a file's channels, as the table or the file itself has them.

    Raises DataError when the table has another number of them.
    """
    if part.channels and len(part.channels) != len(file.channels):
        raise DataError(
            f"{TABLE}, line {part.line}: {len(part.channels)} channels named, and {part.file} has {len(file.channels)}"
        )
    return part.channels or file.channels


_VOLTS = {"V": 1.0, "mV": 1e-3, "uV": 1e-6, "µV": 1e-6, "μV": 1e-6, "nV": 1e-9}


def _in_units(
    values: NDArray[Any], file: SignalFile, places: Sequence[int], units: Sequence[str]
) -> tuple[NDArray[Any], list[str]]:
    """Return a file's signals in the units of the first file, channel by channel, and what was done.

    Raises DataError for units that have nothing to do with each other.
    """
    remarks: list[str] = []
    for place, wanted in zip(places, units, strict=True):
        found, name = file.units[place] if file.units else "NU", file.channels[place]
        if found == wanted or "NU" in (found, wanted):
            continue
        if not {found, wanted} <= set(_VOLTS):
            raise DataError(f"{name} is in {found}, and in {wanted} in the first file")
        values = values.copy() if not remarks else values
        values[place] *= _VOLTS[found] / _VOLTS[wanted]
        remarks.append(f"{name} is converted from {found} to {wanted}")
    return values, remarks


def _recording(signals: Signals, part: Part, channels: tuple[str, ...], units: Sequence[str]) -> Recording:
    """Return a line of the table as a recording with these channels, in their order and units."""
    values, file = signals
    names = _names(file, part)
    if part.sampling_rate and file.sampling_rate and part.sampling_rate != file.sampling_rate:
        raise DataError(
            f"{TABLE}, line {part.line}: sampling_rate {part.sampling_rate:g} Hz, and {part.file} says "
            f"{file.sampling_rate:g} Hz"
        )
    if not (file.named or part.channels) and len(names) != len(channels):
        raise DataError(f"{part.file}: {len(names)} channels where the first file has {', '.join(channels)}")
    places = match_channels(channels, names, where=f"{part.file} ({TABLE}, line {part.line})")
    remarks = list(file.said(file.channels[place] for place in places))
    values, converted = _in_units(values, file, places, units)
    remarks += converted
    if len(places) < len(names):
        left = [name for place, name in enumerate(names) if place not in places]
        remarks.append(f"channels {', '.join(left)} are left out: the first file has {', '.join(channels)}")
    chosen = values if places == list(range(len(names))) else values[places]
    rate = part.sampling_rate or file.sampling_rate
    first, last = part.span(values.shape[1], rate)
    return Recording(
        name=part.file,
        subject=part.subject,
        start=part.start,
        arrays={"signals": chosen[:, first:last]},
        facts={"line": part.line, "sampling_rate": rate, "targets": part.targets, "remarks": remarks},
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
