"""What PhysioNet's collections of 12-lead ECGs have in common: leads, tables, and records with several labels."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.formats.wfdb_records import Record
from ssl_bio.data.ingest.archive import Files
from ssl_bio.data.windowing import LabelledWindows
from ssl_bio.data.windows import WindowedRecord
from ssl_bio.errors import DataError

LEADS = ("I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6")
UNLABELLED = "records carry no such diagnosis and are left out"


def twelve_leads(record: Record) -> NDArray[Any]:
    """Return the signals of a record in the order of LEADS, whatever its header's order and spelling (aVR, AVR).

    Raises DataError when a lead is missing.
    """
    return record._replace(leads=tuple(lead.upper() for lead in record.leads)).select(LEADS)


def labelled_windows(windows: WindowedRecord, *, target: str, labels: NDArray[np.int8]) -> LabelledWindows:
    """Return the windows of a record, all of them with its labels `(n_classes,)`; none of one that has no label."""
    if not labels.any():
        none = windows.select(np.zeros(len(windows.starts), bool))
        targets = {target: np.zeros((0, len(labels)), np.int8)}
        return LabelledWindows(record=replace(none, dropped={}), targets=targets, dropped={UNLABELLED: 1})
    return LabelledWindows(record=windows, targets={target: np.tile(labels, (len(windows.starts), 1))})


def many_hot(chosen: Collection[object], classes: Sequence[object]) -> NDArray[np.int8]:
    """Return 1 for each of `classes` that was chosen, else 0."""
    return np.array([name in chosen for name in classes], np.int8)


def read_table(files: Files, name: str, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the lines of a CSV file by column. Raises DataError that names it when it is none or lacks a column."""
    import pandas as pd  # imported when needed: it takes its time

    shown = Path(name).name
    with files.borrowed(name) as (path,):
        try:
            table = pd.read_csv(path, dtype=str, encoding="utf-8-sig", keep_default_na=False)
        except ValueError as error:
            raise DataError(f"{shown}: not a table ({error})") from error
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise DataError(f"{shown}: no column {', '.join(missing)}; it has {', '.join(table.columns)}")
    return [{str(key): str(value) for key, value in line.items()} for line in table.to_dict("records")]
