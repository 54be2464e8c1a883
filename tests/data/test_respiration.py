"""The respiratory modulations of a simulated pulse."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import periodogram

from ssl_bio.data.respiration import NAMES, RATE, respiratory_modulations

SAMPLING_RATE = 125.0
HEART, BREATH = 1.25, 0.25  # Hz: 75 beats and 15 breaths a minute


def pulse(seconds: float = 120, sampling_rate: float = SAMPLING_RATE) -> NDArray[np.float64]:
    """A pulse whose baseline, amplitude and beat interval follow the breath; beats keep their shape in phase, so
    their width and slope follow the interval."""
    time = np.arange(round(seconds * sampling_rate)) / sampling_rate
    breath = np.sin(2 * np.pi * BREATH * time)
    phase = np.cumsum(HEART * (1 + 0.08 * breath)) / sampling_rate % 1
    beat = np.exp(-(((phase - 0.3) / 0.1) ** 2)) + 0.3 * np.exp(-(((phase - 0.6) / 0.12) ** 2))
    return np.asarray(7 + 0.2 * breath + (1 + 0.2 * breath) * beat)


@pytest.mark.parametrize("sampling_rate", [SAMPLING_RATE, 250.0])
def test_every_modulation_has_the_rate_of_respiratory_modulations(sampling_rate: float) -> None:
    found = respiratory_modulations(pulse(sampling_rate=sampling_rate), sampling_rate)
    assert found.shape == (len(NAMES), round(120 * RATE))
    assert found.dtype == np.float32
    frequencies, power = periodogram(found, RATE)
    assert dict(zip(NAMES, frequencies[power.argmax(axis=1)], strict=True)) == pytest.approx(
        dict.fromkeys(NAMES, BREATH)
    )
    np.testing.assert_allclose(found[:, 100:-100].std(axis=1), 1, atol=0.1)
    assert np.abs(found).max() <= 4


def test_scale_and_offset_of_the_ppg_do_not_matter() -> None:
    np.testing.assert_allclose(
        respiratory_modulations(3 - 1e3 * -pulse(), SAMPLING_RATE),
        respiratory_modulations(pulse(), SAMPLING_RATE),
        atol=1e-3,
    )


def test_modulations_are_in_step_with_the_breath() -> None:
    """Baseline and amplitude rise with the breath, the interval falls."""
    found = dict(zip(NAMES, respiratory_modulations(pulse(), SAMPLING_RATE), strict=True))
    breath = np.sin(2 * np.pi * BREATH * np.arange(round(120 * RATE)) / RATE)
    for name, sign in (("baseline", 1), ("peak", 1), ("amplitude", 1), ("interval", -1)):
        assert sign * np.corrcoef(found[name], breath)[0, 1] > 0.7, name


def test_one_beat_that_stands_out_changes_little() -> None:
    disturbed = pulse()
    disturbed[7500:7530] += 20
    clean, found = respiratory_modulations(pulse(), SAMPLING_RATE), respiratory_modulations(disturbed, SAMPLING_RATE)
    for name in ("baseline", "peak", "amplitude", "interval"):
        row = NAMES.index(name)
        assert np.corrcoef(clean[row], found[row])[0, 1] > 0.8, name


@pytest.mark.parametrize(
    "ppg",
    [
        np.full(3750, 7.0),
        np.zeros(3750),
        pulse(5),
        np.linspace(0, 1, 3750),
        np.concatenate([np.zeros(1800), pulse(2), np.zeros(1800)]),
    ],
    ids=["constant", "zero", "short", "ramp", "two-beats"],
)
def test_without_a_pulse_all_is_zero(ppg: NDArray[np.float64]) -> None:
    found = respiratory_modulations(ppg, SAMPLING_RATE)
    assert found.shape == (len(NAMES), -(-len(ppg) * 4 // 125))
    assert not found.any()


def test_gaps_stay_gaps() -> None:
    ppg = pulse()
    ppg[1250:1500] = np.nan
    ppg[-1] = np.inf
    found = respiratory_modulations(ppg, SAMPLING_RATE)
    assert np.flatnonzero(np.isnan(found).any(axis=0)).tolist() == [*range(40, 48), 479]
    assert np.isnan(respiratory_modulations(np.full(1250, np.nan), SAMPLING_RATE)).all()
