"""A rate from the strongest frequency of a window, without any learning."""

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.recording import Signals
from ssl_bio.tasks.baselines.base import Answer, Baseline, Question

#: What is plausible for a rate in each unit: from and to, in that unit, and the unit in Hz.
_BANDS = {
    "beats/min": (30.0, 200.0, 1 / 60),
    "breaths/min": (5.0, 40.0, 1 / 60),
    "Hz": (0.05, 4.0, 1.0),
}
_RESOLUTION = 0.1 / 60  # Hz between the frequencies that are looked at
_BATCH = 512


class SpectralPeak(Baseline):
    """The frequency at which a window's spectrum is highest within the plausible band.

    Of several channels the mean of their spectra counts, each as shares of its power in the band.
    """

    def refusal(self, question: Question) -> str:
        """Return that the target is no rate, or too fast for the windows' sampling rate."""
        units = _units(question)
        strange = [unit for unit in units if unit not in _BANDS]
        if strange:
            return f"it is for rates ({', '.join(_BANDS)})"
        slowest = max(_BANDS[unit][0] * _BANDS[unit][2] for unit in units)
        rate = question.dataset.info.sampling_rate
        return "" if slowest < rate / 2 else f"signals at {rate:g} Hz hold no such rate"

    def answer(self, question: Question) -> Answer:
        """Return the strongest frequency of each window, in the target's unit."""
        rows = question.evaluated_rows
        windows, found = question.signals(rows), []
        for signals in windows.parts(_BATCH):
            columns = []
            for unit in _units(question):
                low, high, hertz = _BANDS[unit]
                band = (low * hertz, high * hertz)
                columns.append(strongest_frequency(signals, windows.sampling_rate, band=band) / hertz)
            found.append(np.stack(columns, axis=1))
        return Answer(np.concatenate(found), np.full(len(rows), np.nan))


def strongest_frequency(signals: Signals, sampling_rate: float, *, band: tuple[float, float]) -> NDArray[np.float64]:
    """Return where the spectrum of windows `(n, n_channels, length)` is highest within a band, in Hz, `(n,)`."""
    length = signals.shape[-1]
    tapered = (signals - signals.mean(axis=-1, keepdims=True)) * np.hanning(length)
    n = max(length, int(sampling_rate / _RESOLUTION))
    frequency = np.fft.rfftfreq(n, 1 / sampling_rate)
    inside = (frequency >= band[0]) & (frequency <= band[1])
    power = np.abs(np.fft.rfft(tapered, n, axis=-1)[..., inside]) ** 2
    total = power.sum(axis=-1, keepdims=True)
    mean = (power / np.where(total > 0, total, 1.0)).mean(axis=1)
    return np.asarray(frequency[inside][mean.argmax(axis=-1)])


def _units(question: Question) -> list[str]:
    return [info.unit for info in question.task.target_infos(question.dataset.info)]
