"""A checkpoint's weights in a network: loaded, or carried over to other data, and whether they fit."""

from pathlib import Path

import torch
from torch import Tensor, nn

from ssl_bio.checkpoint import Checkpoint, Facts
from ssl_bio.data.store import DatasetInfo
from ssl_bio.errors import CheckpointError
from ssl_bio.schema import Recipe

BACKBONE = "backbone."


def transfer(module: nn.Module, start: Checkpoint, info: DatasetInfo, recipe: Recipe) -> list[str]:
    """Load a pretrained backbone into one for another dataset; returns what starts anew, a line each.

    Where channels differ, the layers that see them keep their random weights; a shorter window keeps the first
    positions; another dataset brings its own input scaling.

    Raises CheckpointError when anything else differs.
    """
    facts = start.facts
    if recipe.finetune.task == "forecast":
        _check_history(facts, info, recipe)
    wanted = module.state_dict()
    tensors = {
        name.removeprefix(BACKBONE): tensor for name, tensor in start.tensors.items() if name.startswith(BACKBONE)
    }
    anew = []
    if not same_channels(facts, info):
        fresh = [name for name in wanted if name.startswith(module.entrance)]  # type: ignore[arg-type]
        tensors |= {name: wanted[name] for name in fresh}
        anew.append(
            f"the layers that see channels ({len(facts.channels)} in the checkpoint: {', '.join(facts.channels)}; "
            f"here {len(info.channels)}: {', '.join(info.channels)})"
        )
    elif (facts.fingerprint, facts.channels) != (info.fingerprint, info.channels):
        tensors |= {name: wanted[name] for name in wanted if name.startswith("input_norm.")}
        if recipe.data.normalize != "none":
            anew.append("input scaling, by this dataset")
    position = tensors.get("position")
    if position is not None and len(position) != len(wanted["position"]):
        n, n_wanted = min(len(position), len(wanted["position"])), len(wanted["position"])
        tensors["position"] = torch.cat([position[:n], wanted["position"][n:]])
        if n < n_wanted:
            anew.append(f"positions: only the first {n} of {n_wanted} are the checkpoint's")
    _load(module, tensors, start.path)
    return anew


def _check_history(facts: Facts, info: DatasetInfo, recipe: Recipe) -> None:
    if facts.sampling_rate != info.sampling_rate:
        raise CheckpointError(
            f"the checkpoint takes signals at {facts.sampling_rate:g} Hz, dataset {info.name} has "
            f"{info.sampling_rate:g} Hz, at which it would be forecast: set data.sampling_rate, or choose another run"
        )
    time_steps, most = recipe.model.time_steps, facts.window or facts.length
    if recipe.model.kind == "timemae" and time_steps > most:
        raise CheckpointError(
            f"model.time_steps {time_steps}: the checkpoint has positions for {most} samples, no more: choose less, or "
            "pretrain on longer windows"
        )


def load_into(module: nn.Module, checkpoint: Checkpoint, prefix: str = "") -> None:
    """Load a checkpoint's tensors below `prefix` into a module.

    Raises CheckpointError that names the first tensors that are missing, unknown or of another shape.
    """
    tensors = {k.removeprefix(prefix): tensor for k, tensor in checkpoint.tensors.items() if k.startswith(prefix)}
    _load(module, tensors, checkpoint.path)


def _load(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
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


def check_codewords(facts: Facts, info: DatasetInfo) -> None:
    """Raise CheckpointError unless the run that gives codewords saw such windows: the channels and sampling rate of
    this dataset."""
    check_channels(facts, info)
    if facts.sampling_rate != info.sampling_rate:
        raise CheckpointError(
            f"the checkpoint takes signals at {facts.sampling_rate:g} Hz, dataset {info.name} has "
            f"{info.sampling_rate:g} Hz: set data.sampling_rate, or choose another run"
        )


def same_channels(facts: Facts, info: DatasetInfo) -> bool:
    """Whether a checkpoint's network takes this dataset's channels: the same names, or, of a single channel, any."""
    return facts.channels == info.channels or len(facts.channels) == len(info.channels) == 1


def check_channels(facts: Facts, info: DatasetInfo) -> None:
    """Raise CheckpointError unless a checkpoint's network takes this dataset's channels."""
    if not same_channels(facts, info):
        raise CheckpointError(
            f"the checkpoint takes {len(facts.channels)} channels ({', '.join(facts.channels)}), dataset {info.name} "
            f"has {len(info.channels)} ({', '.join(info.channels)}): pretrain on this dataset, or choose another run"
        )


def n_parameters(module: nn.Module) -> int:
    """How many numbers a network has."""
    return sum(parameter.numel() for parameter in module.parameters())
