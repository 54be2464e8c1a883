"""A recurrent network that reads series sample by sample."""

from typing import NamedTuple

from torch import Tensor, nn

from ssl_bio.models.base import StreamingBackbone, check_single_channel, check_unnormalized, split_stages
from ssl_bio.models.layers import Dropout


class LSTMState(NamedTuple):
    """Hidden and cell state, `(n_layers, batch, d_model)` each."""

    hidden: Tensor
    cell: Tensor


class LSTMBackbone(StreamingBackbone[LSTMState]):
    """Long short-term memory (Hochreiter and Schmidhuber 1997): series `(batch, 1, time)` -> `(batch, time, d_model)`.

    Raises ValueError for several channels, and for a `normalize` other than "none".
    """

    def __init__(
        self,
        *,
        n_channels: int = 1,
        length: int = 112,
        normalize: str = "none",
        d_model: int = 64,
        n_layers: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_single_channel(n_channels, "an LSTM")
        check_unnormalized(normalize, "an LSTM")
        self.length = length
        self.layer_widths = (d_model,)
        self.lstm = nn.LSTM(1, d_model, n_layers, batch_first=True)
        self.dropout = Dropout(dropout)

    def hidden_states(self, signals: Tensor) -> list[Tensor]:
        """Return the tokens of the last layer alone: torch's LSTM does not show the others'."""
        return [self.prefill(signals)[0]]

    def stages(self) -> list[nn.Module]:
        """Return the one stage that it is."""
        return split_stages(self, [])

    def prefill(self, signals: Tensor) -> tuple[Tensor, LSTMState]:
        """Return tokens, and hidden and cell state."""
        tokens, state = self.lstm(signals.transpose(1, 2))
        return self.dropout(tokens), LSTMState(*state)

    def step(self, sample: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """Return the token of one more sample, and the next state."""
        tokens, following = self.lstm(sample[:, None, None], state)
        return self.dropout(tokens)[:, 0], LSTMState(*following)
