"""Figures for the run folder, where people would rather look than read. Needs the extra `figures`."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ssl_bio import samples
from ssl_bio.checkpoint import RunFolder
from ssl_bio.data.store import PreparedDataset
from ssl_bio.data.view import Batches
from ssl_bio.denoising import Example
from ssl_bio.judging import Judged
from ssl_bio.models.vqvae import VQVAE
from ssl_bio.outcome import Answers, Cell, Signal
from ssl_bio.schema import Recipe
from ssl_bio.terminal import note, progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_N_SHOWN = 4
_SECONDS_SHOWN = 6.0


@torch.no_grad()
def draw_vqvae(run: RunFolder, model: VQVAE, plan: Recipe, data: PreparedDataset, device: torch.device) -> None:
    """Write reconstructions beside originals, the use of the codes, and the curves of the run."""
    if not _can_draw():
        return
    split = "val" if plan.pretrain.fit_on == "train" and len(data.rows(plan.data.validation, "val")) else "train"
    batches = Batches(samples.pretraining_view(data, plan, split), plan.evaluate.batch_size)
    model.to(device).eval()
    counts = torch.zeros(0)
    with progress("figures", len(batches)) as tick:
        for step, batch in enumerate(batches.ordered(), 1):
            found = model(torch.from_numpy(batch.inputs).to(device))
            now = model.quantizer.counts(found.codes[-1]).cpu()
            counts = counts + now if len(counts) else now
            tick(step)
    positions = np.linspace(0, len(batches.source) - 1, _N_SHOWN).round().astype(np.int64)
    shown = model(torch.from_numpy(batches.source.read(positions)).to(device))
    originals, outputs = shown.target.cpu().numpy(), shown.signals.cpu().numpy()
    figures = {
        "reconstruction.png": _reconstructions(originals, outputs, data.info.sampling_rate, split),
        "codes.png": _code_use(counts.numpy(), split),
        "curves.png": _curves(run.read_history()),
    }
    _write(run, figures)


def draw_forecast(run: RunFolder, targets: Answers, answers: Answers, naive: Answers, sampling_rate: float) -> None:
    """Write what free-running forecasts `(n, 2, horizon)` of the first series look like beside the truth
    `(n, horizon)` and the last season."""
    if not _can_draw():
        return
    from matplotlib.figure import Figure

    n = min(len(targets), _N_SHOWN)
    figure = Figure(figsize=(9, 1.7 * n), layout="constrained")
    time = np.arange(targets.shape[1]) / sampling_rate
    for row, axes in enumerate(np.atleast_1d(figure.subplots(n, sharex=True))):
        axes.plot(time, targets[row], color="0.55", linewidth=1.4, label="true")
        axes.plot(time, naive[row, 0], color="tab:blue", linewidth=0.7, label="last season")
        axes.plot(time, answers[row, 0], color="tab:red", linewidth=0.9, label="free-running")
        error = float(np.square(answers[row, 0] - targets[row]).mean())
        axes.set_title(f"MSE {error:.4g}", fontsize=8, loc="right")
        axes.margins(x=0)
    figure.axes[0].legend(loc="upper left", fontsize=8, ncols=3)
    figure.axes[-1].set_xlabel("time in s after the last sample that was shown")
    _write(run, {"forecast.png": figure})


def draw_denoised(run: RunFolder, judged: Judged, sampling_rate: float) -> None:
    """Write what a few seconds of the first window look like before and after, and the SNR gain against the level of
    each type of noise, beside the classical answer."""
    if not _can_draw():
        return
    figures = {"denoise.png": _before_and_after(judged.examples, sampling_rate)} if judged.examples else {}
    assert isinstance(judged.outcome, Signal)
    if all(cell.unit for cell in judged.outcome.cells):
        figures["gain.png"] = _gains(judged, judged.outcome.cells)
    _write(run, figures)


def _can_draw() -> bool:
    try:
        from matplotlib.figure import Figure  # noqa: F401  # only whether it is there
    except ImportError:
        note("no figures: they need matplotlib (pip install 'ssl-bio[figures]')")
        return False
    return True


def _write(run: RunFolder, figures: Mapping[str, "Figure"]) -> None:
    for name, figure in figures.items():
        run.write_figure(name, partial(figure.savefig, dpi=120, format="png"))
    note(f"figures in {run.path / 'figures'}")


def _before_and_after(examples: Sequence[Example], sampling_rate: float) -> "Figure":
    from matplotlib.figure import Figure

    chosen = [examples[int(index)] for index in np.unique(np.linspace(0, len(examples) - 1, _N_SHOWN).round())]
    figure = Figure(figsize=(9, 2.1 * len(chosen)), layout="constrained")
    n = round(_SECONDS_SHOWN * sampling_rate)
    for axes, example in zip(np.atleast_1d(figure.subplots(len(chosen), sharex=True)), chosen, strict=True):
        middle = max(0, len(example.clean) // 2 - n // 2)
        part = slice(middle, middle + n)
        time = np.arange(len(example.clean[part])) / sampling_rate
        axes.plot(time, example.noisy[part], color="0.8", linewidth=0.8, label="noisy")
        axes.plot(time, example.clean[part], color="0.3", linewidth=1.4, label="clean")
        for name, colour in (("classical", "tab:blue"), ("ours", "tab:red")):
            if name in example.answers:
                axes.plot(time, example.answers[name][part], color=colour, linewidth=0.9, label=name)
        axes.set_title(example.cell.label, fontsize=8, loc="right")
        axes.margins(x=0)
    figure.axes[0].legend(loc="upper left", fontsize=8, ncols=4)
    figure.axes[-1].set_xlabel("time in s (the first window that is not silent, first channel)")
    return figure


def _gains(judged: Judged, cells: Sequence[Cell]) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    parts = [judged.of_cell(index) for index in range(len(cells))]
    for index, noise in enumerate(dict.fromkeys(cell.noise for cell in cells)):
        chosen = [part for part, cell in zip(parts, cells, strict=True) if cell.noise == noise]
        levels = [cell.level for cell in cells if cell.noise == noise]
        ours = [part.figures.get("snr_gain", np.nan) for part in chosen]
        axes.plot(levels, ours, marker="o", color=f"C{index}", label=f"{noise}, ours")
        if "classical" in judged.constants:
            theirs = [part.beside["classical"].get("snr_gain", np.nan) for part in chosen]
            axes.plot(levels, theirs, marker="x", linestyle=":", color=f"C{index}", label=f"{noise}, classical")
    unit = "dB" if cells[0].unit == "dB" else "times as recorded"
    axes.set(xlabel=f"noise, {'signal over noise in ' if unit == 'dB' else ''}{unit}", ylabel="SNR gain in dB")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    return figure


def _reconstructions(
    originals: NDArray[np.float32], outputs: NDArray[np.float32], sampling_rate: float, split: str
) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.7 * len(originals)), layout="constrained")
    time = np.arange(originals.shape[-1]) / sampling_rate
    for axes, original, output in zip(figure.subplots(len(originals), sharex=True), originals, outputs, strict=True):
        error = float(np.square(original[0] - output[0]).mean())
        axes.plot(time, original[0], color="0.55", linewidth=1.4, label="original")
        axes.plot(time, output[0], color="tab:red", linewidth=0.9, label="reconstruction")
        axes.set_title(f"MSE {error:.4f}", fontsize=8, loc="right")
        axes.margins(x=0)
    figure.axes[0].legend(loc="upper left", fontsize=8, ncols=2)
    figure.axes[-1].set_xlabel(f"time in s ({split} windows, first channel)")
    figure.supylabel("signal as the network sees it")
    return figure


def _code_use(counts: NDArray[np.float32], split: str) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3), layout="constrained")
    axes = figure.subplots()
    for index, row in enumerate(counts):
        share = np.sort(row / max(row.sum(), 1))[::-1]
        perplexity = float(np.exp(-(share[share > 0] * np.log(share[share > 0])).sum()))
        label = f"codebook {index}: {np.mean(row > 0):.1%} used, perplexity {perplexity:.0f} of {len(row)}"
        axes.step(np.arange(1, len(row) + 1), share, where="mid", label=label)
    axes.axhline(1 / counts.shape[1], color="0.6", linestyle=":", label="all alike")
    axes.set(xlabel=f"codes, the most used first ({split})", ylabel="share of tokens")
    axes.set_yscale("log")
    axes.legend(fontsize=8)
    axes.margins(x=0)
    return figure


def _curves(history: dict[str, list[float]]) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3), layout="constrained")
    panels = {"mse": "log", "perplexity": "linear", "codes_used": "linear"}
    for axes, (name, scale) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for column, label in ((name, "training"), (f"val_{name}", "validation")):
            if column in history:
                axes.plot(history["epoch"], history[column], label=label)
        axes.set(title=name.replace("_", " "), xlabel="epoch", yscale=scale)
        axes.legend(fontsize=8)
    return figure
