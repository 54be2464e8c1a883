"""How recordings become windows, as a recipe's `[data]` section says it."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from ssl_bio.errors import DataError


@dataclass(frozen=True, kw_only=True)
class WindowOptions:
    """How recordings become windows. A field left at its default follows the dataset's protocol."""

    sampling_rate: float = 0  # Hz
    window: float = 0  # s
    stride: float = -1  # s from one window's start to the next; 0: one window a record, its middle
    highpass: float = -1  # Hz; 0: no filter
    standardize: str = "auto"  # "record" or "none"
    padding: str = "auto"  # "zero" or "repeat": what fills a window after the end of a shorter record
    context: float = -1  # s of signal shown on either side of the window that is labelled
    derive: str = "auto"  # "none", or "breathing": respiratory modulations of the pulse in place of the channels

    @property
    def chosen(self) -> dict[str, Any]:
        """The options that differ from their defaults."""
        unset = asdict(WindowOptions())
        return {name: value for name, value in asdict(self).items() if value != unset[name]}

    def with_defaults(self, protocol: "WindowOptions") -> "WindowOptions":
        """Return the protocol's options, replaced by these where one was chosen.

        Raises DataError for derived channels that the protocol, its `derive` left at "auto", does not offer.
        """
        if self.derive == "breathing" and "derive" not in protocol.chosen:
            raise DataError("data.derive: this dataset has no derived channels; bidmc offers 'breathing'")
        return replace(protocol, **self.chosen)

    def require_unset(self) -> None:
        """Raise DataError when any option was chosen: the windows of this dataset cannot be changed."""
        if self.chosen:
            raise DataError(f"data.{', data.'.join(self.chosen)}: this dataset's windows come ready-made; leave it out")

    def label(self, dataset: str) -> str:
        """Return a name for windows of a dataset: the dataset's, and every option that was chosen."""
        labels = {
            "sampling_rate": "hz",
            "window": "s",
            "stride": "step",
            "highpass": "hp",
            "standardize": "by-",
            "padding": "pad-",
            "context": "around",
            "derive": "derive-",
        }
        parts = [
            f"{labels[name]}{value:g}" if isinstance(value, float | int) else f"{labels[name]}{value}"
            for name, value in self.chosen.items()
        ]
        return "-".join([dataset, *parts])
