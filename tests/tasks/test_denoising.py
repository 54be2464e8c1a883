"""How denoisers are judged: the classical answer, usual levels, the statistics and their figures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ssl_bio.data.mixing import Noise
from ssl_bio.data.view import View
from ssl_bio.denoising import Trial
from ssl_bio.outcome import STATISTICS, Cell, Signal
from torch import Tensor, nn

from ssl_bio import denoising
from ssl_bio.data import convert, synthetic
from ssl_bio.data.store import PreparedDataset
from ssl_bio.models.denoiser import Denoiser

CPU = torch.device("cpu")


class Scaling(nn.Module):
    """Gives back so much of what it is shown."""

    multiple, reach = 1, 0

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, signals: Tensor) -> Tensor:
        return self.share * signals


@pytest.fixture
def view(tmp_path: Path) -> View:
    data = convert.write(tmp_path / "out", synthetic.generate(6, 4, 0))
    assert isinstance(data, PreparedDataset)
    clean = replace(data, signals=np.asarray(data.targets["clean"]))
    return View(clean, np.arange(12), None, "reject", 50.0, 500)


def outcome() -> Signal:
    return Signal(names=("ecg", "ppg"), unit="mV", learnt=(), error="l1", peak_weight=0.0)


def noise() -> Noise:
    return Noise({"hiss": np.random.default_rng(0).normal(0, 1, (3, 1, 700)).astype(np.float32)})


def test_what_changes_nothing_gains_nothing_and_what_answers_zero_gains_what_is_lost(view: View) -> None:
    cells = denoising.cells_of(noise(), [-10.0, 0.0])
    assert [cell.label for cell in cells] == ["hiss -10 dB", "hiss 0 dB"]
    trial, asked = Trial(view, noise(), cells), outcome()
    same = denoising.fared(Denoiser(Scaling(1.0)), asked, trial, CPU)
    assert asked.figures(same.noisy, same.answers["ours"])["snr_gain"] == pytest.approx(0, abs=0.3)
    nothing = denoising.fared(Denoiser(Scaling(0.0)), asked, trial, CPU)
    figures = [asked.figures(nothing.noisy[:, [i]], nothing.answers["ours"][:, [i]]) for i in (0, 1)]
    power = nothing.noisy[:, :, STATISTICS.index("power")]
    assert 0 < (power > 0).sum() < power.size  # with the electrodes off nothing is clean, and nothing counts
    # With noise of ten times the signal's power, silence is 10 dB nearer; with as much, it is just as far.
    assert figures[0]["snr_gain"] == pytest.approx(10, abs=1)
    assert figures[1]["snr_gain"] == pytest.approx(0, abs=1)
    assert figures[0]["RMSE"] == figures[1]["RMSE"]


def test_every_model_meets_the_same_noise_whatever_the_batch(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    trial, asked = Trial(view, noise(), denoising.cells_of(noise(), [0.0])), outcome()
    first = denoising.fared(Denoiser(Scaling(1.0)), asked, trial, CPU).noisy
    monkeypatch.setattr(denoising, "_BATCH", 5)
    np.testing.assert_allclose(denoising.fared(Denoiser(Scaling(0.5)), asked, trial, CPU).noisy, first)


def test_recorded_noise_is_one_cell(view: View) -> None:
    ramp = np.linspace(-1, 1, 500, dtype=np.float32)
    recorded = replace(view, dataset=replace(view.dataset, signals=view.dataset.signals + ramp))
    paired = replace(view, beside=recorded)
    cells = denoising.cells_of(None, [0.0])
    assert cells == (Cell(noise="as recorded", unit=""),)
    found = denoising.fared(Denoiser(Scaling(1.0)), outcome(), Trial(paired, None, cells), CPU)
    error = found.noisy[..., STATISTICS.index("error")]
    np.testing.assert_allclose(error, np.square(ramp).mean(), rtol=1e-3)


def test_beats_before_and_after(view: View) -> None:
    beats = np.zeros((12, 500), np.int8)
    beats[:, 100] = 1
    trial, asked = Trial(view, noise(), denoising.cells_of(noise(), [0.0]), beats, (0.67, 20.0)), outcome()
    found = denoising.fared(Denoiser(Scaling(1.0)), asked, trial, CPU)
    figures = asked.figures(found.noisy, found.answers["ours"])
    assert figures["beat_F1"] == pytest.approx(figures["beat_F1_noisy"], abs=0.02)
    assert set(found.answers) == {"ours", "classical"}
    assert np.isfinite(found.noisy[..., STATISTICS.index("hits")]).all()


def test_the_classical_answer_takes_wander_and_hiss_away() -> None:
    time = np.arange(4000) / 100
    rng = np.random.default_rng(0)
    clean = np.exp(-0.5 * (((time % 0.8) - 0.4) / 0.03) ** 2)
    noisy = clean + 2 * np.sin(2 * np.pi * 0.2 * time) + 0.1 * rng.normal(size=4000)
    found = denoising.classical(noisy[None, None].astype(np.float32), 100.0, (0.67, 30.0))[0, 0]
    middle = slice(500, -500)
    centred = clean - clean.mean()
    before, after = (np.square(part - centred)[middle].mean() for part in (noisy - noisy.mean(), found))
    assert 10 * np.log10(before / after) > 15


def test_a_moment_of_great_noise_changes_no_usual_level() -> None:
    signals = np.random.default_rng(0).normal(3, 2, (2, 1000 * 60)).astype(np.float32)
    signals[:, 20_000:30_000] += 500
    signals[0, 30_000:] = 7  # the electrode came off
    signals[1, 25_000:] = np.nan
    offset, scale = denoising.usual_levels(lambda first, last: signals[:, first:last], 60_000, 1000.0)
    np.testing.assert_allclose(offset, 3, atol=0.1)
    np.testing.assert_allclose(scale, 2, atol=0.1)
    assert denoising.usual_levels(lambda first, last: np.zeros((1, last - first), np.float32), 7, 1.0)[1] == 0
