"""R peaks in an ECG, and how many of them are where they should be."""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, find_peaks, sosfiltfilt

Samples = NDArray[np.int64]

TOLERANCE = 0.15  # s, as ANSI/AAMI EC57 has it
_BAND = (8.0, 20.0)  # Hz, where a QRS complex stands out most (Elgendi et al. 2010)
_SMOOTH, _REFRACTORY, _BLOCK = 0.1, 0.3, 2.0  # s
_SHARE = 0.35  # of the usual highest energy of a block


def find_beats(ecg: NDArray[np.floating], sampling_rate: float) -> Samples:
    """R peaks of one lead `(samples,)`: peaks of its smoothed energy between 8 and 20 Hz that reach 0.35 of the median
    of the highest ones of every 2 s, 0.3 s or more apart. None for less than 2 s or below 42 Hz."""
    block = round(_BLOCK * sampling_rate)
    if len(ecg) < block or sampling_rate <= 2.1 * _BAND[1]:
        return np.empty(0, np.int64)
    sections = butter(2, _BAND, "bandpass", fs=sampling_rate, output="sos")
    width = max(1, round(_SMOOTH * sampling_rate))
    energy = np.convolve(np.abs(sosfiltfilt(sections, ecg)), np.full(width, 1 / width), mode="same")
    usual = np.median(energy[: len(energy) // block * block].reshape(-1, block).max(axis=1))
    peaks, _ = find_peaks(energy, height=max(_SHARE * usual, 1e-12), distance=round(_REFRACTORY * sampling_rate))
    return np.asarray(peaks, np.int64)


def compare_beats(found: Samples, true: Samples, sampling_rate: float) -> tuple[int, int, int]:
    """How many beats were found within 150 ms, how many found that are none, how many missed; each is paired once, in
    order of time."""
    tolerance = TOLERANCE * sampling_rate
    hits = ours = theirs = 0
    while ours < len(found) and theirs < len(true):
        distance = found[ours] - true[theirs]
        if abs(distance) <= tolerance:
            hits, ours, theirs = hits + 1, ours + 1, theirs + 1
        elif distance < 0:
            ours += 1
        else:
            theirs += 1
    return hits, len(found) - hits, len(true) - hits
