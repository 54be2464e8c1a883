"""Weight files and what they say about themselves."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from ssl_bio.errors import CheckpointError
from ssl_bio.runs.files import load_header, load_tensors

if TYPE_CHECKING:
    from torch import Tensor

FORMAT_VERSION = 2
MODEL_FILE = "model.safetensors"


class CheckpointMetadata(BaseModel):
    """What a weight file says about itself, in its header and in `metrics.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    kind: Literal["pretrain", "finetune", "baseline"]
    run_id: str = ""
    recipe: dict[str, Any] = {}
    dataset: str
    fingerprint: str
    channels: tuple[str, ...]
    unit: str = ""  # of the signals
    windows: dict[str, float | str] = {}  # how recordings became windows: the fields of `WindowOptions`
    length: int  # samples of a window
    sampling_rate: float  # Hz
    window: int  # samples that the network sees at once
    target: dict[str, Any] | None = None  # of a finetuned run: its task's `TargetSpec`
    metrics: dict[str, float] = {}
    split: str = ""  # that the metrics of a finetuned run were measured on
    epochs: int = 0
    best_epoch: int = 0
    selected_on: str = "last"
    n_train: int = 0
    seconds: float = 0.0
    grid: int = 0  # how many combinations or trials it was one of
    trials: int = 0  # of a search on validation whose best values it was trained with
    folds: int = 0  # how many parts a cross-validation has, whose metrics are those of all parts together
    baseline: str = ""  # the name of a simple baseline, which has no weights
    origin: str = ""  # the pretraining run that a finetuned one started from
    versions: dict[str, str] = {}
    finished_at: str = ""


class Checkpoint(NamedTuple):
    """A loaded weight file."""

    path: Path
    metadata: CheckpointMetadata
    tensors: "dict[str, Tensor]"


def load_checkpoint(path: Path) -> Checkpoint:
    """Load a weight file (or that of a run folder) and its metadata.

    Raises CheckpointError when it is missing, truncated, no safetensors, no ssl-bio file or of another format version.
    """
    path = _weight_file(path)
    tensors, header = load_tensors(path)
    return Checkpoint(path, _parse(path, header), tensors)


def load_metadata(path: Path) -> CheckpointMetadata:
    """Load the metadata of a weight file (or of a run folder) without its weights. Raises CheckpointError."""
    path = _weight_file(path)
    return _parse(path, load_header(path))


def check_version(path: Path, header: Mapping[str, Any]) -> None:
    """Raise CheckpointError for a file of another format version."""
    version = header.get("format_version")
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: checkpoint format {version}, this ssl-bio reads format {FORMAT_VERSION}; "
            "use the version that wrote it, or train again"
        )


def now() -> str:
    """Return the time in UTC to the microsecond: it also orders runs."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _weight_file(path: Path) -> Path:
    return path / MODEL_FILE if path.is_dir() else path


def _parse(path: Path, header: Mapping[str, Any]) -> CheckpointMetadata:
    check_version(path, header)
    try:
        return CheckpointMetadata.model_validate(header)
    except ValidationError as error:
        raise CheckpointError(f"{path}: its header is broken: {error.errors()[0]['msg']}") from error
