"""Pictures of denoising: a few seconds before and after, and the SNR gain against the level of each noise."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ssl_bio.results.evaluation import Evaluation
from ssl_bio.results.plots import ACCENT, GREY, PALE, PALETTE, SECOND, single_axes, stacked_axes
from ssl_bio.tasks.denoising.benchmark import CLASSICAL, NOISY, OURS, NoiseCondition

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_N_DRAWN = 4


def denoising_figures(
    evaluation: Evaluation, *, conditions: Sequence[NoiseCondition], sampling_rate: float
) -> "dict[str, Figure]":
    """Return examples of signals, and the SNR gain where there are levels."""
    figures = {}
    if len(evaluation.predictions.constants["examples"]):
        figures["denoise"] = _before_and_after(evaluation, conditions, sampling_rate)
    if all(condition.unit for condition in conditions):
        figures["gain"] = _gains(evaluation, conditions)
    return figures


def _before_and_after(evaluation: Evaluation, conditions: Sequence[NoiseCondition], sampling_rate: float) -> "Figure":
    examples = evaluation.predictions.constants["examples"]  # (conditions, curves, samples)
    methods = [name.removeprefix("statistics_") for name in evaluation.predictions.arrays if "statistics_" in name]
    chosen = np.unique(np.linspace(0, len(examples) - 1, _N_DRAWN).round().astype(int))
    figure, all_axes = stacked_axes(len(chosen), height=2.1)
    time = np.arange(examples.shape[-1]) / sampling_rate
    for axes, index in zip(all_axes, chosen, strict=True):
        curves = dict(zip(["clean", *methods], examples[index], strict=True))
        axes.plot(time, curves[NOISY], color=PALE, linestyle="-", linewidth=0.8, label="noisy")
        axes.plot(time, curves["clean"], color=GREY, linestyle="-", linewidth=1.4, label="clean")
        for name, colour, dashes in ((CLASSICAL, SECOND, "--"), (OURS, ACCENT, "-")):
            if name in curves:
                axes.plot(time, curves[name], color=colour, linestyle=dashes, linewidth=0.9, label=name)
        axes.set_title(conditions[index].label, fontsize=8, loc="right")
        axes.margins(x=0)
    all_axes[0].legend(loc="upper left", fontsize=8, ncols=4)
    all_axes[-1].set_xlabel("time in s (the first window that is not silent, first channel)")
    return figure


def _gains(evaluation: Evaluation, conditions: Sequence[NoiseCondition]) -> "Figure":
    figure, axes = single_axes()
    for index, noise in enumerate(dict.fromkeys(condition.noise for condition in conditions)):
        chosen = [
            (condition.level, group)
            for condition, group in zip(conditions, evaluation.groups, strict=True)
            if condition.noise == noise
        ]
        levels = [level for level, _ in chosen]
        ours = [group.metrics.get("snr_gain", np.nan) for _, group in chosen]
        colour = PALETTE[index % len(PALETTE)]
        axes.plot(levels, ours, marker="o", markersize=4, linestyle="-", color=colour, label=f"{noise}, ours")
        if CLASSICAL in evaluation.baselines:
            theirs = [group.baselines[CLASSICAL].get("snr_gain", np.nan) for _, group in chosen]
            label = f"{noise}, classical"
            axes.plot(levels, theirs, marker="x", markersize=4, linestyle=":", color=colour, label=label)
    in_decibels = conditions[0].unit == "dB"
    axes.set(
        xlabel="noise, signal over noise in dB" if in_decibels else "noise, times as recorded",
        ylabel="SNR gain in dB",
    )
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    return figure
