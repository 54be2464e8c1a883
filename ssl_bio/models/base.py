"""The contracts of networks: backbones from signals to tokens, and networks from noisy signals to clean ones."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Generic, NamedTuple, TypeVar

from torch import Tensor, nn

from ssl_bio.models.layers import InputNorm

State = TypeVar("State")


class ParameterOverrides(NamedTuple):
    """Parameters that train at a learning rate of their own and without weight decay; `name` is that of their group."""

    name: str
    parameters: list[nn.Parameter]
    lr: float


class OwnLearningRate(ABC):
    """A module some of whose parameters have a learning rate of their own, whatever the rest trains at."""

    @abstractmethod
    def parameter_overrides(self) -> ParameterOverrides:
        """Return those parameters and their rate."""


class Backbone(nn.Module, ABC):
    """Signals `(batch, n_channels, length)` -> tokens `(batch, n_tokens, d_model)`.

    A subclass is built as `cls(n_channels=, length=, normalize=, **architecture)`, declares the attributes below and
    implements `hidden_states` and `stages`. Its first token stands for the first `wave_length` samples, its second for
    the next ones, and so on.
    """

    #: Prefixes of the parameters and buffers that see channels: made anew where a checkpoint has other channels.
    input_layers: ClassVar[tuple[str, ...]] = ()

    n_channels: int
    length: int  # samples of the inputs that it was built for
    wave_length: int  # samples that a token stands for
    layer_widths: tuple[int, ...]  # width of every entry of `hidden_states`
    input_norm: InputNorm | None  # the first layer, None unless a subclass sets it
    max_length: int | None = None  # longest input in samples; None: any
    receptive_field: int | None = None  # samples to either side that a token depends on; None: the whole input

    def __init__(self) -> None:
        super().__init__()
        self.input_norm = None

    @abstractmethod
    def hidden_states(self, signals: Tensor) -> list[Tensor]:
        """Return the tokens of every depth, `(batch, time, width)` each; the last entry is what `forward` returns."""

    def forward(self, signals: Tensor) -> Tensor:
        """Return tokens `(batch, n_tokens, d_model)`."""
        return self.hidden_states(signals)[-1]

    @abstractmethod
    def stages(self) -> list[nn.Module]:
        """Return the network's stages from input to tokens, every parameter in exactly one.

        They are what layer-wise learning rates and gradual unfreezing count.
        """

    def auxiliary_loss(self) -> Tensor:
        """Return what the last forward pass adds to the loss, a scalar."""
        return next(self.parameters()).new_zeros(())

    @property
    def d_model(self) -> int:
        """Return the width of a token."""
        return self.layer_widths[-1]

    @property
    def n_tokens(self) -> int:
        """Return how many tokens an input of `length` samples has."""
        return self.count_tokens(self.length)

    @property
    def padding(self) -> int:
        """Return how many samples are appended to `length` to make whole tokens."""
        return self.n_tokens * self.wave_length - self.length

    def count_tokens(self, length: int) -> int:
        """Return how many tokens an input of `length` samples has; no other depth has fewer."""
        return -(-length // self.wave_length)

    def check_length(self, length: int) -> None:
        """Raise ValueError for an input that is longer than `max_length`."""
        if self.max_length is not None and length > self.max_length:
            raise ValueError(f"the backbone takes {self.max_length} samples at most, got {length}")


class AutoencodingBackbone(Backbone):
    """A backbone whose tokens a decoder of the same kind brings back to signals."""

    input_norm: InputNorm

    @abstractmethod
    def scale(self, signals: Tensor) -> Tensor:
        """Return scaled signals `(batch, n_channels, whole tokens)`, padded at their end where need be."""

    @abstractmethod
    def encode(self, scaled: Tensor) -> Tensor:
        """Return the tokens of scaled signals."""

    @abstractmethod
    def new_decoder(self) -> nn.Module:
        """Return a decoder with random weights: tokens -> scaled signals `(batch, n_channels, whole tokens)`."""


class StreamingBackbone(Backbone, Generic[State]):
    """A backbone of one channel with a token for every sample, made of that sample and the ones before it.

    It can read a whole series at once, or go on from a kept state one sample at a time with the same result; what a
    sample costs does then not depend on how many came before.
    """

    n_channels = 1
    wave_length = 1

    @property
    def streams(self) -> bool:
        """Return whether it can go on from a state: not where a token depends on later samples."""
        return True

    @abstractmethod
    def prefill(self, signals: Tensor) -> tuple[Tensor, State]:
        """Return the tokens of signals `(batch, 1, time)` and the state after the last sample."""

    @abstractmethod
    def step(self, sample: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the token `(batch, d_model)` of one more sample `(batch,)`, and the next state.

        The state that is given must not be used again.
        """


class SignalNetwork(nn.Module, ABC):
    """Noisy signals `(batch, n_channels, length)` of any length -> clean ones of the same shape.

    It is convolutional throughout: the output at a sample depends on samples up to `receptive_field` away, and a
    signal that is delayed by `length_multiple` samples gives the same output with that delay.
    """

    #: As of `Backbone`.
    input_layers: ClassVar[tuple[str, ...]] = ()

    #: Signals are given back in their own scale, at any length: nothing is scaled or padded before they are seen.
    input_norm: None = None
    padding: ClassVar[int] = 0

    n_channels: int
    length_multiple: int
    receptive_field: int

    @abstractmethod
    def forward(self, noisy: Tensor) -> Tensor:
        """Return the clean signals."""

    def predict_x0(self, noisy: Tensor, clean: Tensor) -> Tensor:
        """Return the prediction of the clean signals that training compares with the true ones, `clean`."""
        prediction: Tensor = self(noisy)
        return prediction


def check_unnormalized(normalize: str, network: str) -> None:
    """Raise ValueError unless `normalize` is "none", for networks whose signals are scaled before they come in."""
    if normalize != "none":
        raise ValueError(f"{network} takes signals that are scaled already: data.normalize must be 'none'")


def check_single_channel(n_channels: int, network: str) -> None:
    """Raise ValueError unless there is a single channel."""
    if n_channels != 1:
        raise ValueError(
            f"{network} reads series of a single channel, not of {n_channels}: choose one in data.channels"
        )


def split_stages(network: nn.Module, later: Sequence[nn.Module]) -> list[nn.Module]:
    """Return all of a network that is not in `later` as its first stage, if that has parameters, then `later`."""
    parameters, modules = _remainder(network, {id(module) for stage in later for module in stage.modules()})
    first = nn.Module()
    for index, parameter in enumerate(parameters):
        first.register_parameter(str(index), parameter)
    first.add_module("remainder", nn.ModuleList(modules))
    return [first, *later] if next(first.parameters(), None) is not None else list(later)


def _remainder(module: nn.Module, taken: set[int]) -> tuple[list[nn.Parameter], list[nn.Module]]:
    """Return what is left of a module without the ones taken: single parameters, and modules as a whole."""
    parameters, modules = list(module.parameters(recurse=False)), []
    for child in module.children():
        if taken.isdisjoint(id(part) for part in child.modules()):
            modules.append(child)
        elif id(child) not in taken:
            inner_parameters, inner_modules = _remainder(child, taken)
            parameters += inner_parameters
            modules += inner_modules
    return parameters, modules
