"""Simulated noise."""

import numpy as np

from ssl_bio.data.readers.simulated_noise import generate


def test_simulated_wander_is_slow_and_muscle_is_fast() -> None:
    noise = generate()
    codes = noise.targets["noise"][1]
    power = np.square(np.abs(np.fft.rfft(noise.signals[:, 0], axis=-1)))
    frequency = np.fft.rfftfreq(noise.signals.shape[-1], 1 / noise.sampling_rate)
    slow = power[:, frequency < 1].sum(axis=1) / power.sum(axis=1)
    assert slow[codes == 0].min() > 0.9
    assert slow[codes == 1].max() < 0.1
    assert noise.signals.tobytes() == generate().signals.tobytes()
