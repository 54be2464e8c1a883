"""Tables, `trials.csv` and figures of a search."""

import csv
import io
import math
from collections.abc import Mapping

import pytest

from ssl_bio.results import search as results
from ssl_bio.results.search import COMPLETE, FAILED, PRUNED, SearchRecord, TrialRecord


def trial(
    number: int, score: float | None, state: str = COMPLETE, values: Mapping[str, object] | None = None
) -> TrialRecord:
    chosen = values or {"finetune.lr": 10.0**-number, "finetune.dropout": 0.1 * number}
    reason = "" if state != FAILED else "no such thing"
    return TrialRecord(number, chosen, state, score, epochs=3, seconds=1.26, reason=reason, host="h")


def record(*trials: TrialRecord, metric: str = "MAE") -> SearchRecord:
    return SearchRecord(trials, metric, list(trials[0].values), frozenset({"finetune.lr"}))


SEARCH = record(trial(0, 2.0), trial(1, 1.5), trial(2, 9.0, PRUNED), trial(3, None, FAILED), trial(4, 1.5))


def test_the_best_is_the_first_of_the_best_complete_trials() -> None:
    assert SEARCH.best == SEARCH.trials[1]
    assert record(*SEARCH.trials, metric="R2").best == SEARCH.trials[0]
    assert record(trial(0, 1.0, PRUNED)).best is None


def test_a_row_a_trial_the_best_first() -> None:
    table = results.trials_table(SEARCH)
    assert table.title == "5 trials, the best MAE on val first"
    assert list(table.columns) == ["trial", "lr", "dropout", "MAE", "epochs", "state"]
    assert [row[0] for row in table.rows] == ["1", "4", "0", "2", "3"]
    assert list(table.rows[0]) == ["1", "0.1", "0.1", "1.5000", "3", "complete"]
    assert list(table.rows[3])[3:] == ["", "3", "pruned"]
    assert len(results.trials_table(record(*(trial(number, 1.0) for number in range(30)))).rows) == 10


def test_all_trials_as_csv() -> None:
    rows = list(csv.DictReader(io.StringIO(results.trials_csv(SEARCH))))
    assert [row["trial"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert list(rows[2].values()) == ["2", "0.01", "0.2", "9", "pruned", "3", "1.3", "h", ""]
    assert list(rows[2])[:4] == ["trial", "finetune.lr", "finetune.dropout", "val_MAE"]
    assert (rows[3]["val_MAE"], rows[3]["reason"]) == ("", "no such thing")


@pytest.mark.parametrize(
    ("one", "line"),
    [
        (trial(1, 1.5), "lr=0.1, dropout=0.1: MAE 1.5000"),
        (trial(1, 1.5, PRUNED), "lr=0.1, dropout=0.1: MAE 1.5000 after 3 epochs, pruned"),
        (trial(1, None, FAILED), "lr=0.1, dropout=0.1: failed after 3 epochs: no such thing"),
        (
            trial(1, 1.0, values={"finetune.lr": 1, "pretrain.lr": ["a", "b"]}),
            "finetune.lr=1, pretrain.lr=a+b: MAE 1.0000",
        ),
    ],
)
def test_a_line_a_trial(one: TrialRecord, line: str) -> None:
    assert results.trial_line(one, "MAE") == line


def test_importances_the_greatest_first() -> None:
    table = results.importance_table({"a": 0.2, "b": 0.8}, 7)
    assert [list(row) for row in table.rows] == [["b", "0.80"], ["a", "0.20"]]
    assert "7 trials" in table.title


@pytest.mark.parametrize(
    ("found", "n_panels"),
    [
        (SEARCH, 4),  # two keys, the map and its scale
        (record(trial(0, 1.0, values={"a.b": True}), trial(1, math.inf, values={"a.b": False})), 1),
        (record(*(trial(n, n, values={"a": n, "b": "x", "c": ["y"], "d": 1}) for n in range(3)), metric="R2"), 6),
        (record(trial(0, 1e30, PRUNED), trial(1, None, FAILED)), 2),
    ],
)
def test_figures_of_any_search(found: SearchRecord, n_panels: int) -> None:
    figures = results.figures(found)
    assert set(figures) == {"history", "space"}
    assert len(figures["space"].axes) == n_panels
    for figure in figures.values():
        figure.savefig(io.BytesIO(), format="png")


def test_a_diverged_trial_does_not_flatten_the_others() -> None:
    scores = [1.0, 1.1, 1.2, 1.3, 1.4, 1e9]
    figure = results.figures(record(*(trial(number, score) for number, score in enumerate(scores))))["history"]
    assert figure.axes[0].get_ylim()[1] < 10
