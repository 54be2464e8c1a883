"""What a run folder says of its data: how many people and windows each split has, and what splits share."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from pydantic import BaseModel, ConfigDict

from ssl_bio.data.dataset import Overlap, PreparedDataset


class SplitSize(BaseModel):
    """How many people and windows a split has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    people: int
    windows: int


class DataAudit(BaseModel):
    """The data of a run, as `data.json` holds them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    title: str
    fingerprint: str
    channels: tuple[str, ...]
    unit: str
    sampling_rate: float  # Hz
    length: int  # samples in a window
    scheme: str
    scheme_text: str  # how the scheme splits
    splits: dict[str, SplitSize]
    overlap: dict[str, Overlap]  # "train/test" -> what both have; windows are counted when a dataset is prepared
    skipped: int = 0  # records that could not be read
    notes: tuple[str, ...] = ()  # what else a reader should know, such as whom a pretraining run has seen


def audit(dataset: PreparedDataset, scheme: str, notes: Sequence[str] = ()) -> DataAudit:
    """Return the audit of a dataset under a split scheme."""
    info = dataset.info
    people = {name: set(np.unique(dataset.subjects[rows]).tolist()) for name, rows in dataset.splits[scheme].items()}
    counted = info.overlap.get(scheme, {})
    overlap = {}
    for one, other in combinations(people, 2):
        pair = f"{one}/{other}"
        windows = counted[pair].windows if pair in counted else 0
        overlap[pair] = Overlap(subjects=len(people[one] & people[other]), windows=windows)
    return DataAudit(
        dataset=info.name,
        title=info.title,
        fingerprint=info.fingerprint,
        channels=info.channels,
        unit=info.unit,
        sampling_rate=info.sampling_rate,
        length=info.length,
        scheme=scheme,
        scheme_text=info.schemes[scheme],
        splits={
            name: SplitSize(people=len(people[name]), windows=len(rows))
            for name, rows in dataset.splits[scheme].items()
        },
        overlap=overlap,
        skipped=len(info.skipped),
        notes=tuple(notes),
    )
