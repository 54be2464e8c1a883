"""`ssl-bio predict`: what finetuned runs answer about new recordings."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssl_bio.commands.recordings import NewRecordings
from ssl_bio.console import note, table
from ssl_bio.results.answer_plots import draw_answers
from ssl_bio.results.output_table import SUFFIXES, Columns, check_output, open_table
from ssl_bio.runs.folder import RUNS, newest_run
from ssl_bio.tasks.inference import Ensemble
from ssl_bio.training import runtime

_SHOWN = 20  # recordings in the table


class PredictOptions(NamedTuple):
    """What the command line asks for."""

    checkpoints: Sequence[Path]
    source: Path
    output: Path
    sampling_rate: float = 0.0  # Hz, where files do not say it
    stride: float = 0.0  # s from one window's start to the next; 0: as the run's own windows
    device: str = "auto"
    plot: bool = False
    overwrite: bool = False


def predict(options: PredictOptions) -> None:
    """Write a line a window (recording, start, end, answer), and print a summary of each recording.

    Several runs are averaged, with their spread. Labels in the input change nothing.

    Raises CheckpointError, and DataError when nothing can be read, or the output cannot be written.
    """
    check_output(options.output, SUFFIXES, overwrite=options.overwrite)
    device = runtime.pick_device(options.device)
    paths = list(options.checkpoints) or [newest_run(RUNS, kind="finetune").path]
    ensemble = Ensemble.load(paths)
    n_runs = len(ensemble.runs)
    note(f"predicting with {', '.join(str(path) for path in paths)}{f': {n_runs} runs' if n_runs > 1 else ''}")
    preprocessing = ensemble.preprocessing.with_stride(options.stride) if options.stride else ensemble.preprocessing
    recordings = NewRecordings(options.source, preprocessing, sampling_rate=options.sampling_rate)
    summary: list[list[str]] = []
    n_windows = 0
    with open_table(options.output) as append:
        for name, recording in recordings:
            answers, spread = ensemble.answer(recording.windows, device)
            columns = ensemble.columns(answers, spread)
            n = len(answers)
            append(
                {
                    "recording": np.full(n, name),
                    "start": recording.starts,
                    "end": recording.ends,
                    **columns,
                }
            )
            n_windows += n
            summary.append([name, str(n), *_summary(columns)])
            if options.plot and n:
                figures = options.output.with_suffix(".figures")
                draw_answers(figures / f"{name}.png", recording.windows, columns)
    table("", ["recording", "windows", *_named(columns)], summary[:_SHOWN])
    if len(summary) > _SHOWN:
        note(f"and {len(summary) - _SHOWN} more recordings")
    _say_done(options, recordings, n_windows)


def _say_done(options: PredictOptions, recordings: NewRecordings, n_windows: int) -> None:
    recordings.say()
    note(f"{n_windows} windows in {options.output}")
    if options.plot:
        note(f"figures in {options.output.with_suffix('.figures')}")


def _named(columns: Columns) -> list[str]:
    """Return what a summary shows: names where there are any, else the values."""
    texts = [name for name, values in columns.items() if values.dtype.kind != "f"]
    return texts or [name for name in columns if not name.startswith("std ")]


def _summary(columns: Columns) -> list[str]:
    """Return what a recording's windows say together: the commonest text and its share, the mean of numbers."""
    found = []
    for name in _named(columns):
        values = columns[name]
        if not len(values):
            found.append("")
        elif values.dtype.kind == "f":
            found.append(f"{values.mean():.4g}")
        else:
            texts, counts = np.unique(values, return_counts=True)
            found.append(f"{texts[counts.argmax()] or 'none'} ({counts.max() / len(values):.0%})")
    return found
