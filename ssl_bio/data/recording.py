"""A recording as its publisher gives it: signals, what was annotated beside them, and whom it is of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIGNALS = "signals"

Signals = NDArray[np.float32]  # (..., channels, samples)


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A recording, or a part of one.

    `arrays` holds "signals" `(channels, samples)` and whatever else was measured or annotated, by names and in units
    that are the dataset's own; `facts` what JSON can hold: labels, the sampling rate where recordings differ in it.
    """

    name: str  # the record or file that it is from
    subject: str
    arrays: Mapping[str, NDArray[Any]]
    facts: Mapping[str, Any] = field(default_factory=dict)
    start: float = 0.0  # s from the beginning of the file

    @property
    def signals(self) -> NDArray[Any]:
        """The signals `(channels, samples)`."""
        return self.arrays[SIGNALS]
