"""In what form signals come to a network."""

from typing import NamedTuple

from ssl_bio.data.dataset import DatasetInfo
from ssl_bio.runs.checkpoint import CheckpointMetadata


class InputSpec(NamedTuple):
    """The channels and sampling rate (Hz) that a network takes, how long windows of the dataset are at that rate, and
    how much of them the network sees at once (samples)."""

    channels: tuple[str, ...]
    sampling_rate: float
    length: int
    window: int

    @property
    def n_channels(self) -> int:
        """Return the number of channels."""
        return len(self.channels)

    @property
    def crop(self) -> int:
        """Return how many samples the network sees at once, 0 where that is the whole window."""
        return self.window if self.window < self.length else 0


def input_spec(
    info: DatasetInfo, *, window: float, start: CheckpointMetadata | None = None, learns_positions: bool = False
) -> InputSpec:
    """Return how a dataset comes to a new network, or to one that goes on from a pretraining run.

    `window`: s that the network sees at once, 0 for all. A pretrained network keeps its sampling rate, and where its
    tokens have learnt positions, at most its own window.
    """
    rate = start.sampling_rate if start else info.sampling_rate
    length = info.length if rate == info.sampling_rate else round(info.length * rate / info.sampling_rate)
    wanted = round(window * rate)
    if not wanted and start and learns_positions:
        wanted = start.window
    return InputSpec(info.channels, rate, length, min(wanted or length, length))


def stored_input_spec(metadata: CheckpointMetadata) -> InputSpec:
    """Return the form of the windows that a finished run was trained on."""
    return InputSpec(metadata.channels, metadata.sampling_rate, metadata.length, metadata.window)
