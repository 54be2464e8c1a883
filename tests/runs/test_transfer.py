"""A checkpoint's weights in a network for the same data, for other data, and where they do not fit."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_bio.data.dataset import DatasetInfo
from ssl_bio.errors import CheckpointError
from ssl_bio.models.timemae import TimeMAEBackbone
from ssl_bio.runs.checkpoint import Checkpoint
from ssl_bio.runs.transfer import check_channels, check_sampling_rate, load_into, n_parameters, transfer
from tests.runs.checkpoints import metadata

CHANNELS = ("ecg", "ppg")


def backbone(channels: int = 2, length: int = 64, d_model: int = 16, seed: int = 0) -> TimeMAEBackbone:
    torch.manual_seed(seed)
    built = TimeMAEBackbone(
        n_channels=channels, length=length, normalize="channel", d_model=d_model, n_layers=1, n_heads=2, wave_length=8
    )
    assert built.input_norm is not None
    built.input_norm.set_statistics(mean=np.full(channels, seed), std=np.full(channels, 1.0 + seed))
    return built


def dataset(channels: tuple[str, ...] = CHANNELS, fingerprint: str = "f", rate: float = 50.0) -> DatasetInfo:
    return DatasetInfo(
        name="other",
        title="t",
        source="s",
        sampling_rate=rate,
        channels=channels,
        unit="mV",
        n=4,
        length=64,
        targets={},
        schemes={},
        fingerprint=fingerprint,
    )


def start(channels: tuple[str, ...] = CHANNELS, **changes: int) -> Checkpoint:
    network = backbone(len(channels), seed=1, **changes)
    tensors = {f"backbone.{name}": tensor for name, tensor in network.state_dict().items()}
    said = metadata(channels=channels, fingerprint="f")
    return Checkpoint(Path("run/model.safetensors"), said, {**tensors, "decoder.weight": torch.zeros(3)})


def kept(network: TimeMAEBackbone, checkpoint: Checkpoint) -> set[str]:
    """Return the names of all tensors that are the checkpoint's."""
    theirs = checkpoint.tensors
    return {
        name
        for name, tensor in network.state_dict().items()
        if tensor.shape == theirs[f"backbone.{name}"].shape and torch.equal(tensor, theirs[f"backbone.{name}"])
    }


def test_on_the_same_data_all_of_the_backbone_is_the_checkpoints() -> None:
    network = backbone()
    assert transfer(network, start(), info=dataset(), normalize="channel") == []
    assert kept(network, start()) == set(network.state_dict())


def test_other_data_bring_their_own_scaling() -> None:
    network = backbone()
    lines = transfer(network, start(), info=dataset(fingerprint="g"), normalize="channel")
    assert lines == ["input scaling, by this dataset"]
    anew = set(network.state_dict()) - kept(network, start())
    assert anew
    assert all(name.startswith("input_norm.") for name in anew)
    assert transfer(backbone(), start(), info=dataset(fingerprint="g"), normalize="none") == []


def test_other_channels_start_the_layers_that_see_them_anew() -> None:
    network = backbone(channels=3)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    (line,) = transfer(network, start(), info=dataset(("x", "y", "z")), normalize="channel")
    assert "2 in the checkpoint: ecg, ppg; here 3: x, y, z" in line
    anew = {name for name in before if name.startswith(network.input_layers)}
    assert kept(network, start()) == set(before) - anew
    assert all(torch.equal(network.state_dict()[name], before[name]) for name in anew)


def test_of_a_single_channel_the_name_does_not_matter() -> None:
    network = backbone(channels=1)
    single = start(("ii",))
    transfer(network, single, info=dataset(("ecg",)), normalize="channel")
    assert {name for name in network.state_dict() if name.startswith("input_norm.")}.isdisjoint(kept(network, single))
    assert any(name.startswith(network.input_layers) for name in kept(network, single))


@pytest.mark.parametrize(("length", "n_kept", "lines"), [(32, 4, 0), (96, 8, 1)])
def test_other_lengths_keep_the_first_positions(length: int, n_kept: int, lines: int) -> None:
    network = backbone(length=length)
    before = network.state_dict()["position"].clone()
    found = transfer(network, start(), info=dataset(), normalize="channel")
    assert len(found) == lines
    assert all("only the first 8 of 12" in line for line in found)
    positions = network.state_dict()["position"]
    assert torch.equal(positions[:n_kept], start().tensors["backbone.position"][:n_kept])
    assert torch.equal(positions[n_kept:], before[n_kept:])


def test_another_network_is_refused_with_the_first_reasons() -> None:
    with pytest.raises(CheckpointError, match=r"run/model\.safetensors: weights do not fit .*shape .* and \d+ more"):
        transfer(backbone(d_model=32), start(), info=dataset(), normalize="channel")
    checkpoint = start()
    tensors = {name: tensor for name, tensor in checkpoint.tensors.items() if "position" not in name}
    with pytest.raises(CheckpointError, match=r"position is missing$"):
        transfer(backbone(), checkpoint._replace(tensors=tensors), info=dataset(), normalize="channel")


def test_a_whole_module_is_loaded_or_refused() -> None:
    module = torch.nn.Linear(2, 3)
    whole = Checkpoint(Path("run"), metadata(), {"weight": torch.ones(3, 2), "bias": torch.zeros(3)})
    load_into(module, whole)
    assert module.weight.sum() == 6
    with pytest.raises(CheckpointError, match=r"bias is missing; other is unknown"):
        load_into(module, whole._replace(tensors={"weight": torch.ones(3, 2), "other": torch.zeros(1)}))
    with pytest.raises(CheckpointError, match=r"weight has shape \(2, 2\), not \(3, 2\)"):
        load_into(module, whole._replace(tensors={**whole.tensors, "weight": torch.ones(2, 2)}))


def test_channels_and_rate_of_data_that_a_network_takes() -> None:
    said = metadata(channels=CHANNELS, sampling_rate=50.0)
    check_channels(said, dataset())
    check_channels(metadata(channels=("a",)), dataset(("b",)))
    check_sampling_rate(said, dataset())
    with pytest.raises(CheckpointError, match=r"takes 2 channels \(ecg, ppg\), dataset other has 2 \(ppg, ecg\)"):
        check_channels(said, dataset(("ppg", "ecg")))
    with pytest.raises(CheckpointError, match=r"takes signals at 50 Hz, dataset other has 25 Hz"):
        check_sampling_rate(said, dataset(rate=25.0))


def test_number_of_parameters() -> None:
    assert n_parameters(torch.nn.Linear(2, 3)) == 9
