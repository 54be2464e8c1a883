"""R peaks in an ECG, and how many of them are where they should be."""

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, find_peaks, sosfiltfilt

Samples = NDArray[np.int64]

TOLERANCE = 0.15  # s, as ANSI/AAMI EC57 has it
_BAND = (8.0, 20.0)  # Hz, where a QRS complex stands out most (Elgendi et al. 2010)
_SMOOTHING, _REFRACTORY, _BLOCK = 0.1, 0.3, 2.0  # s
_THRESHOLD = 0.35  # of the median of the highest energies of the blocks


def find_beats(ecg: NDArray[np.floating], sampling_rate: float) -> Samples:
    """Return the R peaks of one lead `(samples,)`.

    They are peaks of its smoothed energy between 8 and 20 Hz that reach 0.35 of the median of the highest ones of
    every 2 s, 0.3 s or more apart. None for less than 2 s or below 42 Hz.
    """
    block = round(_BLOCK * sampling_rate)
    if len(ecg) < block or sampling_rate <= 2.1 * _BAND[1]:
        return np.empty(0, np.int64)
    sections = butter(2, _BAND, "bandpass", fs=sampling_rate, output="sos")
    width = max(1, round(_SMOOTHING * sampling_rate))
    energy = np.convolve(np.abs(sosfiltfilt(sections, ecg)), np.full(width, 1 / width), mode="same")
    usual = np.median(energy[: len(energy) // block * block].reshape(-1, block).max(axis=1))
    peaks, _ = find_peaks(energy, height=max(_THRESHOLD * usual, 1e-12), distance=round(_REFRACTORY * sampling_rate))
    return np.asarray(peaks, np.int64)


def compare_beats(detected: Samples, reference: Samples, sampling_rate: float) -> tuple[int, int, int]:
    """Return how many detected beats match a reference beat less than 150 ms away, how many match none, how many are
    missed.

    Both are ascending sample numbers; the comparison is `wfdb.processing.compare_annotations`.
    """
    if not len(detected) or not len(reference):
        return 0, len(detected), len(reference)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of how the library uses pandas
        from wfdb.processing import compare_annotations

    result = compare_annotations(reference, detected, round(TOLERANCE * sampling_rate))
    return int(result.tp), int(result.fp), int(result.fn)


def f1_of_counts(matched: float, extra: float, missed: float) -> float:
    """Return F1 of events; 0 where there are none of any kind."""
    return 2 * matched / max(2 * matched + extra + missed, 1)
