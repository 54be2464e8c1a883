"""Finished runs as tests need them."""

from pathlib import Path

import torch

from ssl_bio.runs.checkpoint import CheckpointMetadata, now
from ssl_bio.runs.folder import RunFolder


def metadata(**changes: object) -> CheckpointMetadata:
    """Return what a weight file says about itself."""
    values = {
        "kind": "pretrain",
        "recipe": {"name": "x"},
        "dataset": "synthetic",
        "fingerprint": "0" * 16,
        "channels": ("a", "b"),
        "length": 64,
        "window": 64,
        "sampling_rate": 50.0,
        "finished_at": now(),
    }
    return CheckpointMetadata.model_validate(values | changes)


def finished_run(path: Path, **changes: object) -> RunFolder:
    """Make a run folder and bring it to its end."""
    run, said = RunFolder(path), metadata(**changes)
    with run.owned(kind=said.kind, resume=False, overwrite=False):
        run.write_text("recipe.toml", "")
        run.finish({"w": torch.arange(6.0).view(2, 3)}, said.model_copy(update={"run_id": run.run_id}))
    return run
