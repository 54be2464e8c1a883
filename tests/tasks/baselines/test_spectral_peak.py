"""Rates from the strongest frequency."""

import numpy as np
import pytest

from ssl_bio.tasks.base import load_task
from ssl_bio.tasks.baselines.base import Question
from ssl_bio.tasks.baselines.spectral_peak import SpectralPeak, strongest_frequency
from tests.tasks.small_recipes import prepared, small_recipe

TIME = np.arange(300) / 30  # s


@pytest.mark.parametrize("frequency", [0.7, 1.234, 2.9])
def test_the_frequency_of_a_sine_is_found_between_the_bins(frequency: float) -> None:
    signal = np.sin(2 * np.pi * frequency * TIME) + 5 * np.sin(2 * np.pi * 0.1 * TIME) + 3
    found = strongest_frequency(signal[None, None].astype(np.float32), 30.0, band=(0.5, 3.5))
    np.testing.assert_allclose(found, frequency, atol=0.02)


def test_channels_count_alike_however_loud() -> None:
    rng = np.random.default_rng(0)
    beats = np.sin(2 * np.pi * 1.5 * TIME)
    loud = 1000 * rng.standard_normal(300)
    found = strongest_frequency(np.stack([beats, beats, loud])[None].astype(np.float32), 30.0, band=(0.5, 3.5))
    np.testing.assert_allclose(found, 1.5, atol=0.03)


def test_a_flat_signal_has_some_rate() -> None:
    assert np.isfinite(strongest_frequency(np.zeros((1, 1, 300), np.float32), 30.0, band=(0.5, 3.5))).all()


def question(target: str, task: str) -> Question:
    recipe = small_recipe({"finetune": {"task": task}, "data": {"target": target, "channels": ["ppg"]}})
    return Question.of(load_task(recipe), prepared(recipe))


def test_it_tells_the_rate_of_a_regular_heart() -> None:
    asked = question("heart_rate", "regression")
    rows = asked.evaluated_rows
    errors = np.abs(SpectralPeak().answer(asked).predictions - asked.targets(rows))
    regular = np.asarray(asked.dataset.targets["rhythm"])[rows] == 0
    assert regular.any()
    assert errors[regular].max() < 1.5  # beats/min


def test_classes_are_refused() -> None:
    assert "it is for rates" in SpectralPeak().refusal(question("rhythm", "classification"))
