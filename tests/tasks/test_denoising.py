"""Denoising: what is learnt, and how denoisers are evaluated beside a classical baseline."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from ssl_bio.data.loader import SignalDataset
from ssl_bio.data.noise import Noise
from ssl_bio.models.base import SignalNetwork
from ssl_bio.models.denoiser import SignalDenoiser
from ssl_bio.models.wave_unet import WaveUNet
from ssl_bio.results.evaluation import Evaluation, Predictions
from ssl_bio.tasks.base import load_task
from ssl_bio.tasks.denoising import benchmark as benchmarks
from ssl_bio.tasks.denoising.benchmark import (
    NOISY,
    OURS,
    STATISTICS,
    DenoisingBenchmark,
    DenoisingScores,
    NoiseCondition,
    classical_denoise,
    noise_conditions,
    run_benchmark,
    usual_levels,
)
from ssl_bio.tasks.denoising.task import DenoisingObjective, SignalTarget
from ssl_bio.training.objective import TensorBatch
from tests.tasks.small_recipes import prepared, task_recipe

CPU = torch.device("cpu")
TARGET = SignalTarget(names=("ecg", "ppg"), unit="mV", learnt=(), error="l1", peak_weight=0.0)


class Scaled(SignalNetwork):
    """Gives back so much of what it is shown."""

    length_multiple, receptive_field = 1, 0

    def __init__(self, share: float) -> None:
        super().__init__()
        self.n_channels, self.share = 2, share

    def forward(self, noisy: Tensor) -> Tensor:
        return self.share * noisy


@pytest.fixture
def clean() -> SignalDataset:
    dataset = prepared(task_recipe("denoising", "wave_unet"))
    return SignalDataset(
        dataset=replace(dataset, signals=np.asarray(dataset.targets["clean"])),
        rows=np.arange(12),
        targets=None,
        missing="reject",
        sampling_rate=50.0,
        length=500,
    )


def noise() -> Noise:
    return Noise(sources={"hiss": np.random.default_rng(0).normal(0, 1, (3, 1, 700)).astype(np.float32)})


def benchmark(clean: SignalDataset, *levels: float, **changes: object) -> DenoisingBenchmark:
    conditions = noise_conditions(noise(), levels)
    whole = DenoisingBenchmark(clean=clean, noise=noise(), conditions=conditions, loss="l1", peak_weight=0.0)
    return replace(whole, **changes)  # type: ignore[arg-type]  # loosely typed on purpose


def scores_of(share: float, asked: DenoisingBenchmark) -> DenoisingScores:
    return run_benchmark(SignalDenoiser(backbone=Scaled(share)), asked, CPU)


def evaluated(scores: DenoisingScores, asked: DenoisingBenchmark) -> Evaluation:
    """Return what the task says of a benchmark's statistics."""
    conditions = asked.conditions
    constants = {
        "cells": np.array([condition.label for condition in conditions]),
        "noises": np.array([condition.noise for condition in conditions]),
        "levels": np.array([condition.level for condition in conditions]),
        "units": np.array([condition.unit for condition in conditions]),
        "examples": scores.examples,
    }
    arrays = {f"statistics_{name}": values for name, values in scores.statistics.items()}
    task = load_task(task_recipe("denoising", "wave_unet"))
    return task.score(TARGET, Predictions(arrays=arrays, constants=constants))


class TestBenchmark:
    """Types of noise at levels, and what is measured of them."""

    def test_signals_as_they_are_gain_nothing_and_silence_gains_what_is_lost(self, clean: SignalDataset) -> None:
        asked = benchmark(clean, -10.0, 0.0)
        assert [condition.label for condition in asked.conditions] == ["hiss -10 dB", "hiss 0 dB"]
        assert evaluated(scores_of(1.0, asked), asked).metrics["snr_gain"] == pytest.approx(0, abs=0.3)
        silence = scores_of(0.0, asked)
        power = silence.statistics[NOISY][..., STATISTICS.index("power")]
        assert 0 < (power > 0).sum() < power.size  # with the electrodes off nothing is clean, and nothing counts
        found = [group.metrics for group in evaluated(silence, asked).groups]
        # With noise of ten times the signal's power, silence is 10 dB nearer; with as much, it is just as far.
        assert found[0]["snr_gain"] == pytest.approx(10, abs=1)
        assert found[1]["snr_gain"] == pytest.approx(0, abs=1)
        assert found[0]["RMSE"] == found[1]["RMSE"]

    def test_every_model_meets_the_same_noise_whatever_the_batch(
        self, clean: SignalDataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = benchmark(clean, 0.0)
        first = scores_of(1.0, asked).statistics[NOISY]
        monkeypatch.setattr(benchmarks, "_BATCH", 5)
        np.testing.assert_allclose(scores_of(0.5, asked).statistics[NOISY], first)
        later = replace(clean, rows=clean.rows[3:])
        np.testing.assert_allclose(scores_of(0.5, benchmark(later, 0.0)).statistics[NOISY], first[3:])

    def test_recorded_noise_is_one_condition(self, clean: SignalDataset) -> None:
        ramp = np.linspace(-1, 1, 500, dtype=np.float32)
        recorded = replace(clean, dataset=replace(clean.dataset, signals=clean.dataset.signals + ramp))
        conditions = noise_conditions(None, [0.0])
        assert conditions == (NoiseCondition("as recorded", unit=""),)
        asked = benchmark(replace(clean, companion=recorded), noise=None, conditions=conditions)
        error = scores_of(1.0, asked).statistics[NOISY][..., STATISTICS.index("error")]
        np.testing.assert_allclose(error, np.square(ramp).mean(), rtol=1e-3)

    def test_beats_before_and_after(self, clean: SignalDataset) -> None:
        beats = np.zeros((12, 500), np.int8)
        beats[:, 100] = 1
        asked = benchmark(clean, 0.0, beats=beats, classical_band=(0.67, 20.0))
        found = scores_of(1.0, asked)
        assert set(found.statistics) == {"noisy", "ours", "classical"}
        assert np.isfinite(found.statistics[NOISY][..., STATISTICS.index("hits")]).all()
        evaluation = evaluated(found, asked)
        assert evaluation.metrics["beat_F1"] == pytest.approx(evaluation.metrics["beat_F1_noisy"], abs=0.02)
        assert set(evaluation.baselines) == {"noisy", "classical"}

    def test_the_loss_is_the_one_that_is_learnt(self, clean: SignalDataset) -> None:
        asked = benchmark(clean, 0.0)
        of_l1, of_mse = (scores_of(0.5, replace(asked, loss=loss)).statistics[OURS] for loss in ("l1", "mse"))
        place = STATISTICS.index("loss")
        audible = of_l1[..., STATISTICS.index("power")] > 0
        assert (of_l1[audible][:, place] != of_mse[audible][:, place]).all()
        np.testing.assert_array_equal(of_l1[..., :place], of_mse[..., :place])

    @pytest.mark.parametrize(("unit", "label"), [("dB", "ma -5 dB"), ("x", "ma x-5"), ("", "ma")])
    def test_conditions_as_tables_name_them(self, unit: str, label: str) -> None:
        assert NoiseCondition("ma", -5.0, unit).label == label  # type: ignore[arg-type]  # of a parametrisation

    def test_levels_of_gain_are_factors(self) -> None:
        gain = replace(noise(), level="gain")
        assert [condition.label for condition in noise_conditions(gain, [0.5, 2.0])] == ["hiss x0.5", "hiss x2"]


class TestScores:
    """Metrics of statistics, of which some may not be defined."""

    @pytest.mark.parametrize("several_seeds", [False, True])
    def test_noise_that_is_silent_has_no_gain_and_breaks_nothing(
        self, clean: SignalDataset, several_seeds: bool
    ) -> None:
        conditions = (NoiseCondition("silence", 0.0), NoiseCondition("hiss", 0.0))
        silent = Noise(sources={"silence": np.zeros((1, 1, 700), np.float32), **noise().sources})
        asked = benchmark(clean, noise=silent, conditions=conditions)
        whole = evaluated(scores_of(0.5, asked), asked)
        nothing, hiss = whole.groups
        assert "snr_gain" not in nothing.metrics
        assert np.isfinite(nothing.metrics["RMSE"])
        assert {"snr_gain", "correlation", "RMSE"} <= set(hiss.metrics)
        task = load_task(task_recipe("denoising", "wave_unet"))
        (table,) = task.tables(TARGET, [whole, whole] if several_seeds else [whole])
        assert [row[0] for row in table.rows] == ["silence 0 dB", "hiss 0 dB"]
        assert table.rows[0][1].endswith("none")

    def test_where_all_noise_is_silent_there_is_no_gain_at_all(self, clean: SignalDataset) -> None:
        silent = Noise(sources={"silence": np.zeros((1, 1, 700), np.float32)})
        asked = benchmark(clean, noise=silent, conditions=(NoiseCondition("silence", 0.0),))
        found = evaluated(scores_of(0.5, asked), asked)
        assert set(found.metrics) == {"RMSE"}
        task = load_task(task_recipe("denoising", "wave_unet"))
        (table,) = task.tables(TARGET, [found])
        assert len(table.rows) == 1

    def test_types_that_were_not_learnt_are_marked(self, clean: SignalDataset) -> None:
        asked = benchmark(clean, 0.0)
        found = evaluated(scores_of(0.5, asked), asked)
        task = load_task(task_recipe("denoising", "wave_unet"))
        for learnt, marked in ((("hum",), True), (("hiss",), False), ((), False)):
            (table,) = task.tables(TARGET.model_copy(update={"learnt": learnt}), [found])
            assert table.rows[0][0].endswith("*") == marked
            assert ("not learnt" in table.title) == marked


class TestSignals:
    """Levels of recordings, and denoising without learning."""

    def test_the_classical_baseline_takes_wander_and_hiss_away(self) -> None:
        time = np.arange(4000) / 100
        rng = np.random.default_rng(0)
        clean = np.exp(-0.5 * (((time % 0.8) - 0.4) / 0.03) ** 2)
        noisy = clean + 2 * np.sin(2 * np.pi * 0.2 * time) + 0.1 * rng.normal(size=4000)
        found = classical_denoise(noisy[None, None].astype(np.float32), 100.0, (0.67, 30.0))[0, 0]
        middle = slice(500, -500)
        centred = clean - clean.mean()
        before, after = (np.square(part - centred)[middle].mean() for part in (noisy - noisy.mean(), found))
        assert 10 * np.log10(before / after) > 15

    def test_a_moment_of_great_noise_changes_no_usual_level(self) -> None:
        signals = np.random.default_rng(0).normal(3, 2, (2, 1000 * 60)).astype(np.float32)
        signals[:, 20_000:30_000] += 500
        signals[0, 30_000:] = 7  # the electrode came off
        signals[1, 25_000:] = np.nan
        offset, spread = usual_levels(lambda first, last: signals[:, first:last], 60_000, 1000.0)
        np.testing.assert_allclose(offset, 3, atol=0.1)
        np.testing.assert_allclose(spread, 2, atol=0.1)
        assert usual_levels(lambda first, last: np.zeros((1, last - first), np.float32), 7, 1.0)[1] == 0


class TestObjective:
    """What training minimises."""

    @torch.no_grad()
    def test_noise_and_the_weight_of_peaks_grow_from_nothing_to_their_levels(self) -> None:
        torch.manual_seed(0)
        clean, noise = torch.randn(4, 1, 64), 5 * torch.randn(4, 1, 64)
        model = SignalDenoiser(backbone=WaveUNet(n_channels=1, width=4, n_layers=1, stride=1)).eval()

        def loss(epoch: int, added: Tensor, *, kind: str = "peak", ramp: int = 4, peak_ramp: int = 2) -> float:
            objective = DenoisingObjective(
                model,
                lr=1e-3,
                backbone_lr=1e-3,
                loss=kind,
                peak_weight=4.0,
                ramp_epochs=ramp,
                peak_ramp_epochs=peak_ramp,
            )
            objective.on_epoch_start(epoch)
            return float(objective.step(TensorBatch(clean, added)).loss)

        assert loss(0, noise) == pytest.approx(loss(0, 0 * noise, kind="l1", ramp=0, peak_ramp=0))
        assert loss(2, noise) == pytest.approx(loss(0, 0.5 * noise, ramp=0, peak_ramp=0))
        assert loss(4, noise) == loss(9, noise) == pytest.approx(loss(0, noise, ramp=0, peak_ramp=0))
        assert loss(4, noise) != pytest.approx(loss(2, noise))

    @torch.no_grad()
    def test_quiet_windows_weigh_as_much_as_loud_ones_and_offsets_nothing(self) -> None:
        torch.manual_seed(0)
        clean, noise = torch.randn(4, 1, 64), torch.randn(4, 1, 64)
        model = SignalDenoiser(backbone=WaveUNet(n_channels=1, width=4, n_layers=1, stride=1)).eval()
        objective = DenoisingObjective(model, lr=1e-3, backbone_lr=1e-3, loss="l1")
        plain = objective.step(TensorBatch(clean, noise)).loss
        other = objective.step(TensorBatch(1000 * clean + 7, 1000 * noise - 3)).loss
        assert float(other) == pytest.approx(float(plain), rel=1e-4)
