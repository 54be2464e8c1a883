"""Simulated people: ECG and PPG with every label that later tasks need, from a seed, in seconds.

A person has a resting heart rate, a breathing rate, an electrical axis, a pulse transit time and wave
shapes. RR intervals follow respiratory sinus arrhythmia and a slow drift; a beat is a sum of Gaussian
waves in time around its R peak (after McSharry et al. 2003), a pulse a sum of two, delayed by the transit
time. Rhythms: "regular"; "irregular" (no memory between intervals, no P wave, as atrial fibrillation);
"ectopic" (early wide beats with a pause after them); "noise" (electrodes off: no heart in it at all).
Every window also carries what recordings carry: baseline wander, muscle noise, mains hum, motion.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.recording import Signals
from ssl_bio.data.registry import Dataset
from ssl_bio.data.splits import draw_groups
from ssl_bio.data.targets import TargetInfo
from ssl_bio.data.windowing import ReadyWindows
from ssl_bio.errors import DataError

TITLE = "Simulated people: ECG and PPG (embedded)"
SAMPLING_RATE = 50.0
LENGTH = 500  # 10 s
CHANNELS = ("ecg", "ppg")
RHYTHMS = ("regular", "irregular", "ectopic", "noise")
FINDINGS = ("arrhythmia", "fast heart", "fast breath", "noise")
SCHEMES = {"subject": "people are drawn 60 / 20 / 20 into training, validation and test"}

# Time from the R peak in s at 60 beats a minute, width in s, height in mV: P, Q, R, S, T.
_ECG_WAVES = np.array(
    [[-0.20, 0.025, 0.12], [-0.035, 0.010, -0.12], [0.0, 0.011, 1.0], [0.035, 0.010, -0.22], [0.27, 0.050, 0.28]]
)
# A ventricular beat: no P, a wide R, a deep inverted T.
_ECTOPIC_WAVES = np.array([[-0.06, 0.040, -0.15], [0.0, 0.042, 1.2], [0.30, 0.070, -0.40]])
_PPG_WAVES = np.array([[0.0, 0.10, 1.0], [0.24, 0.13, 0.38]])

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Person:
    """What stays the same in all of one person's windows."""

    heart_rate: float  # beats a minute at rest
    breathing_rate: float  # breaths a minute
    ecg_gain: Array  # factor on each wave's height
    ecg_width: float
    transit: float  # s from R peak to pulse peak
    ppg_gain: Array
    noise: float  # how badly this person's recordings turn out


def generate(*, n_subjects: int, windows_per_subject: int, seed: int) -> ReadyWindows:
    """Simulate people; the same seed gives the same bytes.

    Targets: `rhythm` (class), `heart_rate` (beats a minute, from the window's own beats; NaN under
    noise), `respiration_rate` (breaths a minute), `findings` (labels: an irregular or ectopic rhythm, a heart above
    80 or a breath above 18 a minute, noise), `clean` (the signal without its disturbances).

    Raises DataError for fewer than four windows a person, one of each rhythm.
    """
    if windows_per_subject < len(RHYTHMS):
        raise DataError("data.synthetic.windows_per_subject: four rhythms need at least 4 windows a person")
    rng = np.random.default_rng(seed)
    n = n_subjects * windows_per_subject
    signals = np.empty((n, len(CHANNELS), LENGTH), np.float32)
    clean = np.empty_like(signals)
    rhythm = np.empty(n, np.int64)
    heart_rate, respiration_rate = np.empty(n, np.float32), np.empty(n, np.float32)
    subjects = np.repeat([f"p{index:03d}" for index in range(n_subjects)], windows_per_subject)
    row = 0
    for _ in range(n_subjects):
        person = _draw_person(rng)
        for code in rng.permutation(np.arange(windows_per_subject) % len(RHYTHMS)):
            window = _simulate(person, RHYTHMS[code], rng)
            clean[row], signals[row], heart_rate[row], respiration_rate[row] = window
            rhythm[row] = code
            row += 1
    people, n_held_out = np.repeat(np.arange(n_subjects), windows_per_subject), max(1, n_subjects // 5)
    findings = np.stack(
        [(rhythm == 1) | (rhythm == 2), np.nan_to_num(heart_rate) > 80, respiration_rate > 18, rhythm == 3], axis=1
    )
    return ReadyWindows(
        title=TITLE,
        source=f"seed {seed}",
        sampling_rate=SAMPLING_RATE,
        channels=CHANNELS,
        unit="mV (ecg), arbitrary (ppg)",
        signals=signals,
        subjects=subjects,
        targets={
            "rhythm": (TargetInfo(kind="class", classes=RHYTHMS), rhythm),
            "heart_rate": (TargetInfo(kind="value", unit="beats/min"), heart_rate),
            "respiration_rate": (TargetInfo(kind="value", unit="breaths/min"), respiration_rate),
            "findings": (TargetInfo(kind="labels", classes=FINDINGS), findings.astype(np.int8)),
            "clean": (TargetInfo(kind="signal", unit="as the signals"), clean),
        },
        splits={"subject": draw_groups(people, counts={"test": n_held_out, "val": n_held_out}, rest="train", rng=rng)},
        schemes=SCHEMES,
    )


DATASET = Dataset(
    title=TITLE,
    generate=generate,
    version=2,
    parameters={"n_subjects": 60, "windows_per_subject": 24, "seed": 0},
    folder_label="{n_subjects}x{windows_per_subject}-seed{seed}",
)


def _draw_person(rng: np.random.Generator) -> Person:
    return Person(
        heart_rate=float(rng.uniform(52, 98)),
        breathing_rate=float(rng.uniform(9, 24)),
        ecg_gain=rng.uniform(0.5, 1.5, len(_ECG_WAVES)) * rng.choice([-1.0, 1.0], p=[0.15, 0.85]),
        ecg_width=float(rng.uniform(0.8, 1.3)),
        transit=float(rng.uniform(0.20, 0.36)),
        ppg_gain=rng.uniform(0.6, 1.4, len(_PPG_WAVES)),
        noise=float(rng.lognormal(0.0, 0.4)),
    )


def _simulate(person: Person, rhythm: str, rng: np.random.Generator) -> tuple[Signals, Signals, float, float]:
    time = np.arange(LENGTH) / SAMPLING_RATE
    breathing = person.breathing_rate * rng.uniform(0.9, 1.1)
    phase = rng.uniform(0, 2 * np.pi)
    breath = np.sin(2 * np.pi * breathing / 60 * time + phase)
    if rhythm == "noise":
        clean = np.zeros((len(CHANNELS), LENGTH))
        loud = np.array([[0.35], [0.5]]) * rng.uniform(0.5, 2.0, (2, 1))
        disturbed = clean + loud * np.stack([_autoregressive(rng, rng.uniform(0.3, 0.95)) for _ in CHANNELS])
        rate = np.nan
    else:
        peaks, early = _beats(person, rhythm=rhythm, breathing=breathing, phase=phase, rng=rng)
        clean = np.stack(
            [
                _ecg(time, peaks=peaks, early=early, person=person, rhythm=rhythm),
                _ppg(time, peaks=peaks, early=early, person=person),
            ]
        )
        clean *= 1 + 0.12 * breath  # respiration changes the heart's axis and the pulse's height
        inside = peaks[(peaks >= 0) & (peaks < time[-1])]
        rate = 60 / float(np.diff(inside).mean())
        disturbed = clean
    return (
        clean.astype(np.float32),
        _disturb(disturbed, time=time, breath=breath, person=person, rng=rng).astype(np.float32),
        rate,
        breathing,
    )


def _beats(
    person: Person, *, rhythm: str, breathing: float, phase: float, rng: np.random.Generator
) -> tuple[Array, NDArray[np.bool_]]:
    """Return R peaks in s, beyond both ends of the window, and which of them are ectopic."""
    mean = 60 / (person.heart_rate * rng.uniform(0.9, 1.1))
    drift, sinus = rng.uniform(-0.03, 0.03), rng.uniform(0.02, 0.08)
    ectopic_share = rng.uniform(0.12, 0.3)
    moment = -1.5 - rng.uniform(0, mean)
    peaks: list[float] = []
    early: list[bool] = []
    pause = False
    first_ectopic = rng.uniform(1.0, 7.0)  # an "ectopic" window has one at least
    while moment < LENGTH / SAMPLING_RATE + 1.5:
        is_early = False
        if rhythm == "irregular":
            interval = mean * 0.8 * np.exp(rng.normal(0, 0.22))
        else:
            modulation = sinus * np.sin(2 * np.pi * breathing / 60 * moment + phase) + drift * moment / 10
            interval = mean * (1 + modulation + rng.normal(0, 0.012))
            due = moment > first_ectopic and not any(early)
            if rhythm == "ectopic" and not pause and (due or rng.random() < ectopic_share):
                interval, is_early = interval * rng.uniform(0.55, 0.75), True
            elif pause:
                interval *= rng.uniform(1.2, 1.4)
        pause = is_early
        moment += max(interval, 0.3)
        peaks.append(moment)
        early.append(is_early)
    return np.array(peaks), np.array(early)


def _ecg(time: Array, *, peaks: Array, early: NDArray[np.bool_], person: Person, rhythm: str) -> Array:
    signal = np.zeros_like(time)
    for index, peak in enumerate(peaks):
        interval = peak - peaks[index - 1] if index else 60 / person.heart_rate
        waves = _ECTOPIC_WAVES if early[index] else _ECG_WAVES
        gain = np.full(len(waves), person.ecg_gain[2]) if early[index] else person.ecg_gain
        for number, (offset, width, height) in enumerate(waves):
            if rhythm == "irregular" and number == 0 and not early[index]:
                continue  # fibrillating atria make no P wave
            # The T wave follows the root of the interval (Bazett).
            stretched = offset * np.sqrt(interval) if offset > 0.1 else offset
            signal += gain[number] * height * _bump(time, centre=peak + stretched, width=width * person.ecg_width)
    return signal


def _ppg(time: Array, *, peaks: Array, early: NDArray[np.bool_], person: Person) -> Array:
    signal = np.zeros_like(time)
    for peak, is_early in zip(peaks, early, strict=True):
        strength = 0.45 if is_early else 1.0  # an early beat finds the ventricle half filled
        for (offset, width, height), gain in zip(_PPG_WAVES, person.ppg_gain, strict=True):
            signal += strength * gain * height * _bump(time, centre=peak + person.transit + offset, width=width)
    return signal


def _bump(time: Array, *, centre: float, width: float) -> Array:
    return np.asarray(np.exp(-0.5 * ((time - centre) / width) ** 2))


def _disturb(clean: Array, *, time: Array, breath: Array, person: Person, rng: np.random.Generator) -> Array:
    """Add baseline wander with the breath, muscle noise, mains hum aliased to 10 Hz, and bursts of motion."""
    scale = np.array([[0.16], [0.2]]) * person.noise
    slow = np.stack(
        [0.8 * breath + np.sin(2 * np.pi * rng.uniform(0.05, 0.3) * time + rng.uniform(0, 6)) for _ in CHANNELS]
    )
    muscle = np.stack([_autoregressive(rng, 0.3) for _ in CHANNELS])
    hum = np.sin(2 * np.pi * 10 * time + rng.uniform(0, 6))
    burst = _bump(time, centre=rng.uniform(0, time[-1]), width=rng.uniform(0.2, 0.8)) * (rng.random() < 0.5)
    motion = burst * np.stack([_autoregressive(rng, 0.9) for _ in CHANNELS]) * 3
    level = rng.uniform(0.3, 1.3, (len(CHANNELS), 1))
    return clean + scale * level * (slow + 0.7 * muscle + 0.2 * hum * rng.random() + motion)


def _autoregressive(rng: np.random.Generator, memory: float) -> Array:
    """Return first-order autoregressive noise of unit variance; `memory` is its coefficient."""
    from scipy.signal import lfilter  # imported when needed: it takes its time

    white = rng.standard_normal(LENGTH) * np.sqrt(1 - memory**2)
    return np.asarray(lfilter([1.0], [1.0, -memory], white))
