"""Signals of 12-lead ECG records, and labels by name."""

import numpy as np


def signals(number: int, rate: float) -> np.ndarray:
    """(12, samples) in mV: lead i of a record is a sine of i + 1 Hz, its height the record's own."""
    time = np.arange(10 * rate) / rate
    return np.stack([(0.5 + 0.1 * number) * np.sin(2 * np.pi * (lead + 1) * time) for lead in range(12)])


def names(labels: np.ndarray, classes: tuple[str, ...]) -> list[list[str]]:
    return [[name for name, is_there in zip(classes, row, strict=True) if is_there] for row in labels]
