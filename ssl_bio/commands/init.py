"""`ssl-bio init`: from a folder of recordings to a table and a recipe that runs."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssl_bio.console import note, table, warn
from ssl_bio.data.formats.array_table import RESERVED, TABLE
from ssl_bio.data.survey import Survey, find_in_names, guess_subjects, survey
from ssl_bio.errors import DataError

_TOKEN = 0.2  # s that a token stands for
_LONGEST_WINDOW = 10.0  # s
_FASTEST = 128.0  # Hz that a first recipe keeps; what is faster is seldom worth its time at the start
_FEWEST_PEOPLE = 3
_MOST_CODES, _FEWEST_OF_EACH = 5, 3  # so few whole numbers, so often each, are taken for classes
_NAME_AND_UNIT = re.compile(r"(?P<name>.+?)\s*\[(?P<unit>[^\[\]]+)\]")


class InitOptions(NamedTuple):
    """What the command line asks for; what it leaves open is asked in a terminal, and guessed elsewhere."""

    folder: Path
    name: str = ""
    subject: str = ""  # "file", "folder" or a regular expression
    target: str = ""  # the same, or the name of a column of `labels`
    labels: Path | None = None
    sampling_rate: float = 0.0  # Hz, where files do not say it
    overwrite: bool = False
    ask: bool = False


class _Label(NamedTuple):
    """What recordings are labelled with, a text each."""

    name: str
    values: list[str]

    @property
    def are_numbers(self) -> bool:
        """Whether there is something to regress on, and not a few numbers that stand for classes."""
        if not self.values or not all(_is_number(value) or not value for value in self.values):
            return False
        known = [value for value in self.values if value]
        are_codes = len(set(known)) <= _MOST_CODES and all(float(value).is_integer() for value in known)
        return not (are_codes and len(known) >= _FEWEST_OF_EACH * len(set(known)))


def init(options: InitOptions) -> Path:
    """Look at a folder, write `table.csv` into it and a recipe beside it, and return the recipe's path.

    Raises DataError when there is nothing to read, what is asked for cannot be found, or files are there already.
    """
    folder = options.folder
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    name = re.sub(r"[^\w.-]+", "-", options.name or folder.resolve().name.lower()).strip("-.") or "recordings"
    recipe, list_of_files = Path(f"{name}.toml"), folder / TABLE
    for path in (recipe, list_of_files):
        if path.exists() and not options.overwrite:
            raise DataError(f"{path} is there already: --overwrite replaces it, --name chooses another")
    found = survey(folder, without=options.labels)
    _show(found)
    names = [file.name for file in found.files]
    rate = _rate(found, options)
    subjects = _subjects(names, options)
    label = _label(names, subjects, options)
    if len(set(subjects)) < _FEWEST_PEOPLE:
        raise DataError(f"{len(set(subjects))} people cannot be divided into training, validation and test: --subject")
    list_of_files.write_text(_table(found, subjects, label, rate), encoding="utf-8", newline="")
    recipe.write_text(_recipe(found, label, name=name, rate=rate), encoding="utf-8")
    note(f"{list_of_files}: {len(names)} recordings of {len(set(subjects))} people")
    note(f"{recipe}: a recipe to start from. Next:")
    for line in _commands(folder, name=name, recipe=recipe, label=label):
        note(f"  {line}")
    return recipe


def _commands(folder: Path, *, name: str, recipe: Path, label: _Label | None) -> list[str]:
    quoted = f'"{folder}"' if " " in str(folder) else str(folder)
    lines = [f"ssl-bio data prepare {name} --from {quoted}", f"ssl-bio pretrain --recipe {recipe}"]
    if label:
        lines += [
            f"ssl-bio finetune --recipe {recipe}",
            f"ssl-bio predict --input {quoted} --output {name}-answers.csv",
        ]
    return lines


def _show(found: Survey) -> None:
    """Show what kinds of files there are."""
    kinds: dict[tuple[str, float, tuple[str, ...]], list[int]] = {}
    for place, file in enumerate(found.files):
        kinds.setdefault((Path(file.name).suffix, file.sampling_rate, file.channels), []).append(place)
    rows = []
    for (suffix, rate, channels), places in kinds.items():
        lengths = [found.files[place].n_samples / (rate or 1) for place in places]
        missing = sum(found.files[place].n_missing for place in places)
        unit = "s" if rate else "samples"
        lasting = f"{min(lengths):.4g}" if min(lengths) == max(lengths) else f"{min(lengths):.4g} to {max(lengths):.4g}"
        rows.append(
            [
                f"{len(places)} {suffix}",
                ", ".join(channels[:8]) + (f" and {len(channels) - 8} more" if len(channels) > 8 else ""),
                f"{rate:g} Hz" if rate else "not said",
                f"{lasting} {unit}",
                str(missing),
            ]
        )
    table(f"{found.folder}: {len(found.files)} recordings", ["files", "channels", "rate", "lasting", "missing"], rows)
    remarks: dict[str, int] = {}
    for file in found.files:
        for remark in file.remarks:
            remarks[remark] = remarks.get(remark, 0) + 1
    for remark, many in list(remarks.items())[:8]:
        note(f"{many} of {len(found.files)}: {remark}")
    for name, why in list(found.broken.items())[:5]:
        warn(f"{name} is left out: {why}")
    if len(found.broken) > 5:
        warn(f"{len(found.broken)} files in all are left out")


def _rate(found: Survey, options: InitOptions) -> float:
    """Return the sampling rate in Hz of files that do not say it; 0 where all do."""
    if 0.0 not in found.rates:
        return 0.0
    rate = options.sampling_rate
    if not rate and options.ask:
        rate = float(_ask("sampling rate in Hz of files that do not say it", ""))
    if not rate or not np.isfinite(rate) or rate < 0:
        raise DataError("files do not say their sampling rate: give --sampling-rate HZ")
    return rate


def _subjects(names: Sequence[str], options: InitOptions) -> list[str]:
    pattern = options.subject
    if not pattern:
        subjects, how = guess_subjects(names)
        note(f"{len(set(subjects))} people ({how}), such as {subjects[0]}")
        if not options.ask:
            return subjects
        pattern = _ask("who is who: enter to agree, or folder, file, or a regular expression on the path", "")
        if not pattern:
            return subjects
    return find_in_names(names, pattern, option="--subject")


def _label(names: Sequence[str], subjects: Sequence[str], options: InitOptions) -> _Label | None:
    """Return what the recordings are labelled with, if anything."""
    target = options.target
    if not target and options.ask:
        hint = "a column of the labels" if options.labels else "folder, or a regular expression on the path"
        target = _ask(f"what to learn: {hint}; enter for nothing yet", "")
    if options.labels:
        return _of_table(options.labels, target, names=names, subjects=subjects)
    return _Label("label", find_in_names(names, target, option="--target")) if target else None


def _of_table(path: Path, column: str, *, names: Sequence[str], subjects: Sequence[str]) -> _Label:
    """Return a column of a table of labels, whose first column names recordings, by path, by name or without suffix, or
    people.

    Raises DataError when a recording is not in it.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            dialect = csv.Sniffer().sniff(file.readline(), delimiters=",;\t")
            file.seek(0)
            lines = list(csv.DictReader(file, dialect=dialect))
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"--labels {path}: cannot be read as a table ({error})") from error
    columns = list(lines[0]) if lines else []
    if column not in columns[1:]:
        raise DataError(f"--target {column or 'NAME'}: {path} has the columns {', '.join(columns[1:]) or 'none'}")
    by_name: Mapping[str, str] = {str(line[columns[0]]).strip(): str(line[column] or "").strip() for line in lines}
    by_person = {guess_subjects([name])[0][0]: value for name, value in by_name.items()}
    values = []
    for name, subject in zip(names, subjects, strict=True):
        keys = (name, name.rpartition("/")[2], name.rpartition(".")[0], Path(name).stem)
        known = [by_name[key] for key in (*keys, subject) if key in by_name]
        known += [by_person[subject]] if subject in by_person else []
        if not known:
            raise DataError(f"--labels {path}: no line for {name} in column {columns[0]}")
        values.append(known[0])
    return _Label(column, values)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _ask(question: str, default: str) -> str:
    import typer

    return str(typer.prompt(question, default=default, show_default=False)).strip()


def _table(found: Survey, subjects: Sequence[str], label: _Label | None, rate: float) -> str:
    """Return the text of `table.csv`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    target = [_column(label)] if label else []
    writer.writerow(["file", "subject", *(["sampling_rate"] if rate else []), *target])
    for place, file in enumerate(found.files):
        value = label.values[place] if label else ""
        words = label and not label.are_numbers and _is_number(value)
        writer.writerow(
            [
                file.name,
                subjects[place],
                *([f"{file.sampling_rate or rate:g}"] if rate else []),
                *([f"class_{value}" if words else value] if label else []),
            ]
        )
    return text.getvalue()


def _column(label: _Label) -> str:
    """Return a label's name as a column of `table.csv` may be called."""
    match = _NAME_AND_UNIT.fullmatch(label.name.strip())
    name, unit = (match["name"], match["unit"]) if match else (label.name, "")
    plain = re.sub(r"[^\w.-]+", "_", name.strip()).strip("_") or "label"
    plain = f"{plain}_label" if plain in RESERVED else plain
    return f"{plain} [{unit}]" if unit and label.are_numbers else plain


def _recipe(found: Survey, label: _Label | None, *, name: str, rate: float) -> str:
    """Return the text of a recipe that suits the recordings."""
    rates = [file.sampling_rate or rate for file in found.files]
    wanted = min(float(np.median(rates)), _FASTEST)
    durations = found.durations(rate)
    window = min(_LONGEST_WINDOW, float(f"{np.median(durations):.3g}"))  # a shorter recording is padded
    wave = max(1, round(_TOKEN * wanted))
    task = ""
    if label:
        kind = "regression" if label.are_numbers else "classification"
        task = f"""
[finetune]
task = "{kind}"
mode = "full"            # scratch: without pretraining; linear-probe: the backbone stays as it is
epochs = 20
lr = 1e-3                # of the head
backbone_lr = 3e-4
"""
    lasting = f"{min(durations):.4g} to {max(durations):.4g} s"
    missing = "# what to learn: a further column of table.csv"
    chosen = f'target = "{_column(label).partition(" [")[0]}"' if label else f'# target = "NAME"        {missing}'
    return f"""# {len(found.files)} recordings, {", ".join(found.channels[:12])}, {lasting} each.
#
# What each key means: ssl-bio recipes keys; everything with its default: ssl-bio recipes show {name}.toml --all
name = "{name}"

[data]
dataset = "{name}"       # as in `ssl-bio data prepare {name}`
{chosen}
sampling_rate = {wanted:g}    # Hz; recordings have {" and ".join(f"{value:g}" for value in sorted(set(rates)))}
window = {window:g}            # s
# stride = {window / 2:g}         # s from one window's start to the next; windows overlap where it is shorter
# highpass = 0.5         # Hz: removes wander
# channels = ["{found.channels[0]}"]
normalize = "window"     # each window to mean 0 and deviation 1

[model]
d_model = 64
n_layers = 4
wave_length = {wave}         # samples a token stands for: {wave / wanted:.2g} s

[pretrain]
epochs = 20
{task}"""
