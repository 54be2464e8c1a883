"""What the targets of windows mean."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class EventCount(BaseModel):
    """How a value follows from events: `weight` times the number of events of the target `events` that lie in the
    middle `span` samples of the window."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    events: str
    span: int
    weight: float


class TargetInfo(BaseModel):
    """What a target means.

    - "class": codes of `classes`.
    - "labels": 0 or 1 for each of `classes`, of which a window may have several.
    - "value": a number in `unit`, perhaps a count of events (`counts`).
    - "signal": a second signal.
    - "events": at every sample the code of the event there, 0 for none, -1 outside of the record.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["class", "labels", "value", "signal", "events"]
    classes: tuple[str, ...] = ()
    unit: str = ""
    counts: EventCount | None = None
