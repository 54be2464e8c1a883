"""Figures for the run folder, where people would rather look than read. Needs the extra `figures`."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ssl_bio import samples
from ssl_bio.checkpoint import RunFolder
from ssl_bio.data.store import PreparedDataset
from ssl_bio.data.view import Batches
from ssl_bio.models.vqvae import VQVAE
from ssl_bio.outcome import Answers
from ssl_bio.schema import Recipe
from ssl_bio.terminal import note, progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_N_SHOWN = 4


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
