"""Answers along a recording are drawn, of a short one and of one of thousands of windows."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from ssl_bio.data.new_recordings import Preprocessing, windows_of_array
from ssl_bio.data.options import WindowOptions
from ssl_bio.results.answer_plots import draw_answers

OPTIONS = WindowOptions(sampling_rate=10.0, window=2.0, stride=2.0, highpass=0.0, standardize="none")
PREPROCESSING = Preprocessing(("ecg",), "mV", OPTIONS)


@pytest.mark.parametrize("n", [5, 500])
def test_signal_above_answers_below(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    save = Figure.savefig

    def keep(figure: Figure, *arguments: object, **named: object) -> None:
        drawn.append(figure)
        save(figure, *arguments, **named)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(Figure, "savefig", keep)
    windows = windows_of_array(np.sin(np.arange(20 * n))[None], PREPROCESSING, sampling_rate=10, name="夜.csv").windows
    probability = np.linspace(0, 1, n)
    columns = {
        "state": np.array(["a"] * n),
        "probability a": probability,
        "probability b": 1 - probability,
        "std probability a": np.full(n, 0.1),
    }
    path = Path("figures/a.png")
    draw_answers(path, windows, columns)
    assert path.stat().st_size > 5000
    (figure,) = drawn
    upper, lower = figure.axes
    assert upper.get_title(loc="left") == "夜.csv: ecg (mV)"
    legend = lower.get_legend()
    assert legend
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]
    assert lower.get_ylabel() == "probability"
    assert np.asarray(lower.lines[0].get_xdata()).tolist() == (windows.starts + 1).tolist()
    assert len(lower.collections) == 1, "a band where there is a spread"
