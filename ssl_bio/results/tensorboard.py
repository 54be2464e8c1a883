"""A run's epochs as TensorBoard events. Writing them needs the extra `tensorboard`."""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec

from ssl_bio.errors import RecipeError
from ssl_bio.runs.folder import EVENTS_FOLDER, RunFolder

#: What stands before a metric's name when it is not one of training.
_PREFIXES = ("val", "test", "probe")

#: Takes the history row of an epoch.
LogEpoch = Callable[[Mapping[str, float]], None]


def check_tensorboard(asked: bool) -> None:
    """Raise RecipeError when events are asked for and the library is not there."""
    if asked and find_spec("tensorboard") is None:
        raise RecipeError('--tensorboard needs the library tensorboard: pip install "ssl-bio[tensorboard]"')


@contextmanager
def event_log(run: RunFolder, *, on: bool) -> Iterator[LogEpoch | None]:
    """Yield what writes epochs into the run's folder of events, or None where nobody asked for it.

    The folder starts empty, for a resumed run tells its past epochs once more: every step is there once. Steps are
    epochs; times are seconds of training, whenever that was.
    """
    if not on:
        yield None
        return
    from torch.utils.tensorboard import SummaryWriter

    folder, opened = run.path / EVENTS_FOLDER, time.time()
    shutil.rmtree(folder, ignore_errors=True)
    with SummaryWriter(str(folder)) as writer:

        def log(row: Mapping[str, float]) -> None:
            for name, value in row.items():
                if name not in ("epoch", "seconds"):
                    writer.add_scalar(tag(name), value, int(row["epoch"]), walltime=opened + row["seconds"])
            writer.flush()

        yield log


def tag(name: str) -> str:
    """Return the tag of a history column: one section a metric, in it training beside validation, "loss/val"."""
    before, _, rest = name.partition("_")
    if before == "lr":
        return f"lr/{rest}"
    return f"{rest}/{before}" if before in _PREFIXES else f"{name}/train"
