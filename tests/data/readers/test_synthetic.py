"""Simulated people: labels that are true of the signals, and the same bytes for the same seed."""

import numpy as np
from scipy.signal import find_peaks

from ssl_bio.data.readers.synthetic import RHYTHMS, SAMPLING_RATE, generate


def test_same_seed_same_bytes() -> None:
    assert (
        generate(n_subjects=6, windows_per_subject=4, seed=1).signals.tobytes()
        == generate(n_subjects=6, windows_per_subject=4, seed=1).signals.tobytes()
    )
    assert (
        generate(n_subjects=6, windows_per_subject=4, seed=1).signals.tobytes()
        != generate(n_subjects=6, windows_per_subject=4, seed=2).signals.tobytes()
    )


def test_every_label_and_no_person_in_two_splits() -> None:
    made = generate(n_subjects=10, windows_per_subject=8, seed=0)
    rhythm = made.targets["rhythm"][1]
    assert np.bincount(rhythm).tolist() == [20] * 4
    assert np.isfinite(made.signals).all()
    parts = [set(made.subjects[rows]) for rows in made.splits["subject"].values()]
    assert sum(len(part) for part in parts) == 10 == len(set().union(*parts))
    assert np.isnan(made.targets["heart_rate"][1]).tolist() == (rhythm == RHYTHMS.index("noise")).tolist()


def test_heart_rate_is_that_of_the_clean_pulse() -> None:
    made = generate(n_subjects=12, windows_per_subject=8, seed=0)
    regular = made.targets["rhythm"][1] == RHYTHMS.index("regular")
    for pulse, said in zip(made.targets["clean"][1][regular, 1], made.targets["heart_rate"][1][regular], strict=True):
        peaks, _ = find_peaks(pulse, height=0.5 * pulse.max(), distance=0.45 * SAMPLING_RATE * 60 / said)
        found = 60 * SAMPLING_RATE / np.diff(peaks).mean()
        assert abs(found - said) < 0.06 * said


def test_irregular_hearts_are_irregular_and_ectopic_windows_hold_an_early_beat() -> None:
    made = generate(n_subjects=12, windows_per_subject=8, seed=0)
    rhythm, clean = made.targets["rhythm"][1], made.targets["clean"][1]

    def spread(name: str) -> list[float]:
        found = []
        for ecg in clean[rhythm == RHYTHMS.index(name), 0]:
            peaks, _ = find_peaks(np.abs(ecg), height=0.4 * np.abs(ecg).max(), distance=14)
            intervals = np.diff(peaks)
            found.append(float(intervals.std() / intervals.mean()))
        return found

    assert np.median(spread("irregular")) > 2 * np.median(spread("regular"))
    assert np.median(spread("ectopic")) > 1.5 * np.median(spread("regular"))
