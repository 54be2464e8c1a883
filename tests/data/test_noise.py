"""Noise is added to signals at the level asked for, and never written into its source."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_bio.data.loader import FeatureDataset, Loader
from ssl_bio.data.noise import SHUFFLES, Noise, NoisyLoader
from ssl_bio.data.recording import Signals
from ssl_bio.errors import DataError


def recordings(seed: int = 0, n_channels: int = 2, length: int = 300) -> dict[str, Signals]:
    rng = np.random.default_rng(seed)
    return {kind: rng.normal(3, 2, (4, n_channels, length)).astype(np.float32) for kind in ("motor", "muscle")}


def windows(n: int = 6, n_channels: int = 2, length: int = 120) -> Signals:
    return np.random.default_rng(1).normal(0, 0.7, (n, n_channels, length)).astype(np.float32)


@given(
    st.sampled_from(SHUFFLES),
    st.sampled_from(["snr", "gain"]),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(0, 2**31),
)
def test_sources_stay_as_they_are_byte_for_byte(
    shuffle: str, level: str, n_channels: int, n_noise_channels: int, seed: int
) -> None:
    sources, clean = recordings(seed % 5, n_noise_channels), windows(4, n_channels)
    before = {kind: stretches.tobytes() for kind, stretches in sources.items()}, clean.tobytes()
    noise = Noise(sources=sources, level=level, low=0.25, high=1.0, shuffle=shuffle)
    drawn = noise.draw(clean, np.random.default_rng(seed))
    drawn *= 2  # whoever is given noise may write into it
    noise.at(clean, kind="motor", level=0.5, rng=np.random.default_rng(seed))[:] = 0
    assert ({kind: stretches.tobytes() for kind, stretches in sources.items()}, clean.tobytes()) == before


@given(st.floats(-10, 10), st.sampled_from(SHUFFLES))
def test_every_channel_has_the_snr_asked_for(level: float, shuffle: str) -> None:
    clean = windows()
    drawn = Noise(sources=recordings(), low=level, high=level, shuffle=shuffle).draw(clean, np.random.default_rng(0))
    assert 10 * np.log10(clean.var(axis=-1) / drawn.var(axis=-1)) == pytest.approx(level, abs=1e-3)


def test_a_gain_multiplies_what_was_recorded() -> None:
    noise = Noise(sources=recordings(), level="gain")
    quiet, loud = (noise.at(windows(), kind="motor", level=gain, rng=np.random.default_rng(0)) for gain in (0.25, 1.0))
    np.testing.assert_allclose(4 * quiet, loud, rtol=1e-5)
    assert loud.std() == pytest.approx(2, rel=0.1)
    assert not noise.at(windows(), kind="motor", level=0.0, rng=np.random.default_rng(0)).any()


def test_a_sample_shuffle_keeps_the_samples_and_a_phase_shuffle_the_spectrum() -> None:
    clean = windows(1, 1)
    plain, shuffled, turned = (
        Noise(sources=recordings(n_channels=1), level="gain", low=1.0, high=1.0, shuffle=shuffle).draw(
            clean, np.random.default_rng(3)
        )[0, 0]
        for shuffle in SHUFFLES
    )
    assert not np.allclose(plain, shuffled)
    np.testing.assert_allclose(np.sort(np.abs(plain)), np.sort(np.abs(shuffled)), rtol=1e-6)
    assert not np.allclose(plain, turned, atol=0.1)
    spectra = [np.abs(np.fft.rfft(part)) for part in (plain, turned)]
    np.testing.assert_allclose(spectra[0], spectra[1], rtol=1e-3, atol=1e-3)


def test_silent_signals_are_given_no_noise() -> None:
    silent = np.zeros((2, 1, 50), np.float32)
    noise = Noise(sources=recordings())
    assert not noise.at(silent, kind="motor", level=0.0, rng=np.random.default_rng(0)).any()


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ({}, "it has no noise in this split"),
        ({"motor": np.zeros((2, 1, 300), np.float32)}, "motor is silent"),
        (recordings(length=99), "motor has recordings of 99 samples, shorter than the 120 of a window"),
    ],
)
def test_noise_that_cannot_serve(sources: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Noise(sources=sources).check(120, "car")


def test_noise_is_a_function_of_seed_epoch_and_step() -> None:
    loader = Loader(source=FeatureDataset(windows(), np.zeros(6)), batch_size=4)

    def epoch(seed: int, number: int) -> list[Signals]:
        noisy = NoisyLoader(clean=loader, noise=Noise(sources=recordings()))
        return [
            np.asarray(batch.targets)
            for batch in noisy.shuffled(lambda purpose, *at: np.random.default_rng([seed, len(purpose), number, *at]))
        ]

    first, again, later, other = epoch(0, 0), epoch(0, 0), epoch(0, 1), epoch(1, 0)
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.allclose(first[0][:2], first[1])
    assert not np.allclose(first[0], later[0])
    assert not np.allclose(first[0], other[0])


@pytest.mark.parametrize("shuffle", SHUFFLES)
def test_evaluation_has_noise_as_it_was_recorded(shuffle: str) -> None:
    shuffled, plain = (
        noise.at(windows(), kind="motor", level=0.0, rng=np.random.default_rng(0))
        for noise in (Noise(sources=recordings(), shuffle=shuffle), Noise(sources=recordings()))
    )
    np.testing.assert_array_equal(shuffled, plain)
