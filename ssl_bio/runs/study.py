"""The folder of a search.

<search>/
  study.json             which study it belongs to, and where that is stored
  study.db               the study itself, unless it is stored elsewhere
  trial0/ trial1/ ...    run folders, one a trial
  best/                  the run folder of the winner (best-seed0/ ... for several seeds)
  best.toml              the winner's recipe
  trials.csv             a row a trial
  figures/               plots

Any number of processes work in it at the same time. The one that runs a trial holds `.trial<number>.owner`, a lock that
the system lets go of when the process ends, however it ends.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ssl_bio.errors import CheckpointError
from ssl_bio.runs.files import entries_of, read_json
from ssl_bio.runs.folder import FIGURES_FOLDER, RECIPE_FILE, RUN_FILE, RunFolder

STUDY_FILE = "study.json"
STORAGE_FILE = "study.db"
BEST_FOLDER = "best"
BEST_RECIPE_FILE = "best.toml"
TRIALS_FILE = "trials.csv"
_KNOWN = (STUDY_FILE, STORAGE_FILE, BEST_FOLDER, BEST_RECIPE_FILE, TRIALS_FILE, FIGURES_FOLDER)
_PATTERNS = re.compile(r"trial\d+|best-seed\d+|study\.db-\w+|journal\.log(\..+)?|\..*\.(lock|owner|tmp)")


class StudyFolder:
    """The folder of a search: whose it is, and which process owns which trial."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def files(self) -> RunFolder:
        """Return what writes whole files and figures into the folder."""
        return RunFolder(self.path)

    @property
    def default_storage(self) -> str:
        """Return the URL of the database inside the folder."""
        return f"sqlite:///{self.path / STORAGE_FILE}"

    def trial(self, number: int) -> Path:
        """Return the run folder of a trial."""
        return self.path / f"trial{number}"

    def check(self, *, resume: bool, overwrite: bool) -> None:
        """Raise CheckpointError when the folder holds something and neither way out was chosen, or holds what no
        search has. Touches nothing."""
        entries = sorted(entries_of(self.path))
        if not entries:
            return
        if not (resume or overwrite):
            raise CheckpointError(
                f"{self.path} is not empty: --resume goes on with that search, --overwrite replaces it, "
                "--out DIR writes elsewhere"
            )
        foreign = [name for name in entries if name not in _KNOWN and not _PATTERNS.fullmatch(name)]
        if foreign or not self.has_study:
            found = ", ".join(foreign[:3]) or f"no {STUDY_FILE}"
            raise CheckpointError(
                f"{self.path} is no folder of a search ({found}): it is left alone; choose another with --out"
            )

    @property
    def has_study(self) -> bool:
        """Return whether a search has begun in the folder."""
        return (self.path / STUDY_FILE).is_file()

    def belongs_to(self, study: str, storage: str) -> bool:
        """Return whether the folder is of this study, stored there."""
        return read_json(self.path / STUDY_FILE) == {"study": study, "storage": storage}

    def begin(self, *, study: str, storage: str, overwrite: bool) -> None:
        """Make the folder that of a study; with `overwrite` it starts anew, with a winner's id alone.

        Raises CheckpointError when processes are at work in it, and when it cannot be written.
        """
        try:
            if overwrite and self.path.exists():
                with ExitStack() as stack:
                    for path in self.path.glob(".*.owner"):
                        if not stack.enter_context(_held(path)):
                            raise CheckpointError(f"{self.path}: another process is at work in it; stop that first")
                    self.clear_winner()
                    # What says that the folder is a search's stays to the end, so that this can be interrupted.
                    for path in {*self.path.iterdir()} - {*self.winners(), self.path / STUDY_FILE}:
                        _remove(path)
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"{self.path}: cannot be written: {error.strerror or error}") from error
        self.files.write_json(STUDY_FILE, {"study": study, "storage": storage})

    def winners(self) -> list[Path]:
        """Return the run folders of the winner, several where it has several seeds."""
        return [path for path in self.path.glob(f"{BEST_FOLDER}*") if path.is_dir()]

    @property
    def winner_is_cleared(self) -> bool:
        """Return whether of a winner nothing but its id is there."""
        return any(not (path / RECIPE_FILE).exists() for path in self.winners())

    def clear_winner(self) -> None:
        """Delete the winner but for its id, by which its row in the sheet is known and replaced."""
        for folder in self.winners():
            for path in folder.iterdir():
                if path.name != RUN_FILE:
                    _remove(path)

    @contextmanager
    def owned_trial(self, number: int) -> Iterator[bool]:
        """Own a trial while the block runs, if no other process does; yield whether it does not."""
        with _held(self.path / f".trial{number}.owner") as mine:
            yield mine

    @contextmanager
    def owned_winner(self) -> Iterator[bool]:
        """Own the training of the winner while the block runs, if no other process does."""
        with _held(self.path / ".winner.owner") as mine:
            yield mine

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Keep other processes from asking for a trial at the same moment."""
        with FileLock(self.path / ".ask.lock"):
            yield


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _held(path: Path) -> Iterator[bool]:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
