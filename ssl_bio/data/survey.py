"""A look at somebody's folder: which recordings are there, of what kind, and whom they may be of."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from ssl_bio.console import progress
from ssl_bio.data.chunks import chunks
from ssl_bio.data.formats.signal_files import open_file
from ssl_bio.data.new_recordings import files_of
from ssl_bio.errors import DataError

#: How files name people: sub-01, subject_3, patient12, P07, S1 ...; what leaves the least doubt first.
_PERSONS = [
    re.compile(rf"(?:^|[^a-zA-Z])({word})[-_ ]?0*(\d+)(?![a-zA-Z\d])", re.IGNORECASE)
    for word in ("sub(?:ject)?|pat(?:ient)?|person|participant", "p", "id", "s")
]


class SurveyedFile(NamedTuple):
    """A recording and what its file says."""

    name: str  # as seen from the folder
    channels: tuple[str, ...]
    units: tuple[str, ...]
    sampling_rate: float  # Hz; 0: the file does not say
    n_samples: int
    n_missing: int
    remarks: tuple[str, ...]


class Survey(NamedTuple):
    """All recordings of a folder, and why others could not be read."""

    folder: Path
    files: Sequence[SurveyedFile]
    broken: dict[str, str]

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that most files have."""
        return Counter(file.channels for file in self.files).most_common(1)[0][0]

    @property
    def rates(self) -> list[float]:
        """The sampling rates that files have, in Hz; 0: some do not say it."""
        return sorted({file.sampling_rate for file in self.files})

    def durations(self, sampling_rate: float) -> list[float]:
        """Return how long recordings last in s, those that do not say their rate at this one."""
        return [file.n_samples / (file.sampling_rate or sampling_rate) for file in self.files]


def survey(folder: Path, *, without: Path | None = None) -> Survey:
    """Look at all recordings of a folder but one file, sample by sample for gaps.

    Raises DataError when none can be read.
    """
    files, broken = [], {}
    left_out = without.resolve() if without else None
    paths = [path for path in files_of(folder) if path.resolve() != left_out]
    with progress(f"looking at {folder}", len(paths)) as tick:
        for index, path in enumerate(paths):
            name = path.relative_to(folder).as_posix()
            try:
                files.append(_look(path, name))
            except DataError as error:
                broken[name] = str(error)
            tick(index + 1)
    if not files:
        raise DataError(f"{folder}: no recording can be read: {next(iter(broken.values()))}")
    return Survey(folder, files, broken)


def _look(path: Path, name: str) -> SurveyedFile:
    with TemporaryDirectory(prefix="ssl-bio-") as scratch, open_file(path, Path(scratch)) as file:
        missing = sum(int((~np.isfinite(file.read(*ends))).sum()) for ends in chunks(file.n_samples))
        return SurveyedFile(
            name, file.channels, file.units, file.sampling_rate, file.n_samples, missing, file.said(file.channels)
        )


def guess_subjects(names: Sequence[str]) -> tuple[list[str], str]:
    """Return whom files may be of, by their names, and how that was guessed.

    A name such as sub-01 or P7 anywhere in the path, however it is spelt; else folders, where there are several with
    several files; else every file is a person.
    """
    for pattern in _PERSONS:
        found = [pattern.search(name) for name in names]
        if all(found):
            people = [f"{match[1].lower()}-{int(match[2]):02d}" for match in found if match]
            return people, "named in files or folders, as sub-01 or P7"
    folders = [name.rpartition("/")[0] for name in names]
    if 1 < len(set(folders)) < len(names) and all(folders):
        return folders, "one a folder"
    return [name.rpartition(".")[0] for name in names], "every file a person of its own"


def find_in_names(names: Sequence[str], pattern: str, *, option: str) -> list[str]:
    """Return what a pattern finds in files' names: "folder", the outermost one; "file"; or a regular expression, its
    group if it has one.

    Raises DataError for a broken pattern, or names in which it finds nothing.
    """
    if pattern == "folder":
        if not all("/" in name for name in names):
            raise DataError(f"{option} folder: some recordings lie in no folder of their own")
        return [name.partition("/")[0] for name in names]
    if pattern == "file":
        return [name.rpartition(".")[0] for name in names]
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise DataError(f"{option} {pattern!r}: neither folder, file nor a regular expression ({error})") from error
    found = []
    for name in names:
        match = compiled.search(name)
        if not match:
            raise DataError(f"{option} {pattern!r} finds nothing in {name}")
        found.append(match[1] if compiled.groups else match[0])
    return found
