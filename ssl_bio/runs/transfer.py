"""A checkpoint's weights in a network: loaded, or carried over to other data, and whether they fit."""

from pathlib import Path

import torch
from torch import Tensor, nn

from ssl_bio.data.dataset import DatasetInfo
from ssl_bio.errors import CheckpointError
from ssl_bio.models.base import Backbone, SignalNetwork
from ssl_bio.runs.checkpoint import Checkpoint, CheckpointMetadata

BACKBONE = "backbone."
_INPUT_NORM, _POSITION = "input_norm.", "position"


def transfer(module: Backbone | SignalNetwork, start: Checkpoint, *, info: DatasetInfo, normalize: str) -> list[str]:
    """Load a pretrained backbone into one for another dataset; return what starts anew, a line each.

    Where channels differ, the layers that see them keep their random weights; a shorter window keeps the first
    positions; another dataset brings its own input scaling.

    Raises CheckpointError when anything else differs.
    """
    metadata = start.metadata
    wanted, tensors = module.state_dict(), backbone_weights(start)
    anew = []
    if not same_channels(metadata, info):
        tensors |= {name: tensor for name, tensor in wanted.items() if name.startswith(module.input_layers)}
        anew.append(
            f"the layers that see channels ({len(metadata.channels)} in the checkpoint: "
            f"{', '.join(metadata.channels)}; here {len(info.channels)}: {', '.join(info.channels)})"
        )
    elif (metadata.fingerprint, metadata.channels) != (info.fingerprint, info.channels):
        tensors |= {name: tensor for name, tensor in wanted.items() if name.startswith(_INPUT_NORM)}
        if normalize != "none":
            anew.append("input scaling, by this dataset")
    position = tensors.get(_POSITION)
    if position is not None and len(position) != len(wanted[_POSITION]):
        n, n_wanted = min(len(position), len(wanted[_POSITION])), len(wanted[_POSITION])
        tensors[_POSITION] = torch.cat([position[:n], wanted[_POSITION][n:]])
        if n < n_wanted:
            anew.append(f"positions: only the first {n} of {n_wanted} are the checkpoint's")
    load_tensors_into(module, tensors, start.path)
    return anew


def backbone_weights(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return the weights of a checkpoint's backbone alone."""
    return {
        name.removeprefix(BACKBONE): tensor for name, tensor in checkpoint.tensors.items() if name.startswith(BACKBONE)
    }


def load_into(module: nn.Module, checkpoint: Checkpoint) -> None:
    """Load a checkpoint's tensors into a module.

    Raises CheckpointError that names the first tensors that are missing, unknown or of another shape.
    """
    load_tensors_into(module, checkpoint.tensors, checkpoint.path)


def load_tensors_into(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Load tensors of the file `path` into a module.

    Raises CheckpointError that names the first tensors that are missing, unknown or of another shape.
    """
    wanted = module.state_dict()
    problems = [f"{name} is missing" for name in wanted if name not in tensors]
    problems += [f"{name} is unknown" for name in tensors if name not in wanted]
    problems += [
        f"{name} has shape {tuple(tensors[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    if problems:
        shown = "; ".join(problems[:3]) + (f" and {len(problems) - 3} more" if len(problems) > 3 else "")
        raise CheckpointError(f"{path}: weights do not fit the recipe's network: {shown}")
    module.load_state_dict(tensors)


def same_channels(metadata: CheckpointMetadata, info: DatasetInfo) -> bool:
    """Return whether a network takes this dataset's channels: the same names, or, of a single channel, any."""
    return metadata.channels == info.channels or len(metadata.channels) == len(info.channels) == 1


def check_channels(metadata: CheckpointMetadata, info: DatasetInfo) -> None:
    """Raise CheckpointError unless a checkpoint's network takes this dataset's channels."""
    if not same_channels(metadata, info):
        raise CheckpointError(
            f"the checkpoint takes {len(metadata.channels)} channels ({', '.join(metadata.channels)}), dataset "
            f"{info.name} has {len(info.channels)} ({', '.join(info.channels)}): pretrain on this dataset, or choose "
            "another run"
        )


def check_sampling_rate(metadata: CheckpointMetadata, info: DatasetInfo) -> None:
    """Raise CheckpointError unless a dataset has the sampling rate that a checkpoint's network takes."""
    if metadata.sampling_rate != info.sampling_rate:
        raise CheckpointError(
            f"the checkpoint takes signals at {metadata.sampling_rate:g} Hz, dataset {info.name} has "
            f"{info.sampling_rate:g} Hz: set data.sampling_rate, or choose another run"
        )


def n_parameters(module: nn.Module) -> int:
    """Return how many numbers a network has."""
    return sum(parameter.numel() for parameter in module.parameters())
