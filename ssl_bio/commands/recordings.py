"""What the commands share that take new recordings: which files, opened one by one, and what is said of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ssl_bio.console import note, progress, warn
from ssl_bio.data.new_recordings import NewRecording, Preprocessing, files_of, open_recording
from ssl_bio.data.survey import guess_subjects
from ssl_bio.errors import DataError


class NamedRecording(NamedTuple):
    """A new recording and its name, as seen from the folder that was asked for."""

    name: str
    recording: NewRecording


class NewRecordings:
    """The recordings that a path names. One that cannot be read is told and passed over, unless it is the only one."""

    def __init__(self, source: Path, preprocessing: Preprocessing, *, sampling_rate: float) -> None:
        self.source, self.preprocessing, self.sampling_rate = source, preprocessing, sampling_rate
        self.paths = files_of(source)
        names = [self._name(path) for path in self.paths]
        self.subjects = dict(zip(names, guess_subjects(names)[0], strict=True))
        self.broken: list[str] = []
        self.remarks: dict[str, list[str]] = {}  # what was done -> in which recordings

    def __iter__(self) -> Iterator[NamedRecording]:
        """Yield each recording; it is open until the next one.

        Raises DataError when none can be read.
        """
        with progress("recordings", len(self.paths)) as tick:
            for index, path in enumerate(self.paths):
                try:
                    with self._open(path) as found:
                        for remark in found.recording.remarks:
                            self.remarks.setdefault(remark, []).append(found.name)
                        yield found
                except DataError as error:
                    if len(self.paths) == 1:
                        raise
                    self.broken.append(self._name(path))
                    warn(f"{error}; passed over")
                tick(index + 1)
        if len(self.broken) == len(self.paths):
            raise DataError(f"{self.source}: none of its {len(self.paths)} recordings could be read")

    def say(self) -> None:
        """Say what was done to recordings, and how many could not be read."""
        for remark, names in self.remarks.items():
            where = names[0] if len(names) == 1 else f"{len(names)} of {len(self.paths)} recordings"
            note(f"{where}: {remark}")
        if self.broken:
            note(f"{len(self.broken)} of {len(self.paths)} recordings could not be read")

    @contextmanager
    def _open(self, path: Path) -> Iterator[NamedRecording]:
        several = len(self.paths) > 1
        with open_recording(
            path, self.preprocessing, sampling_rate=self.sampling_rate, only_if_unsaid=several
        ) as recording:
            yield NamedRecording(self._name(path), recording)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.source).as_posix() if path != self.source else path.name
