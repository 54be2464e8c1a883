"""Leaderboards: what is one line, how lines are ranked, and which differences count."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from ssl_bio.config.kinds import TASKS
from ssl_bio.metrics.bootstrap import Interval
from ssl_bio.results.leaderboard import RANKING, Board, Entry, boards_of, entries_of
from ssl_bio.tasks.base import Task

RUN = {
    "model_name": "ours",
    "task_name": "rhythm",
    "mode": "full",
    "split": "test",
    "selected_on": "val",
    "split_scheme": "subject",
    "dataset": "d",
    "fingerprint": "f",
    "label_fraction": "1",
}


def row(run: str, checkpoint: str = "runs/full-seed0", **others: str) -> dict[str, str]:
    """Return a row of a run; the end of its id says how it was finetuned."""
    return {**RUN, "run_id": run, "checkpoint": checkpoint, **others}


def board(*rows: Mapping[str, str], more: tuple[Entry, ...] = ()) -> Board:
    """Return the one board of these rows."""
    entries, problems = entries_of(rows)
    assert problems == []
    (found,) = boards_of([*entries, *more])
    return found


def test_seeds_of_the_same_settings_are_one_line() -> None:
    found = board(
        row("a-1", Accuracy="0.8", seed="0"),
        row("b-1", "runs/full-seed1", Accuracy="0.9", seed="1"),
        row("c-2", Accuracy="0.5", seed="0"),  # finetuned otherwise, by its id
        row("d-1", Accuracy="0.6", selected_on="test"),
        row("e-1", "runs/wide-seed0", Accuracy="0.7"),
    )
    means = [(len(entry.rows), entry.mean("Accuracy")) for entry in found.entries]
    assert means == [(2, pytest.approx(0.85)), (1, 0.7), (1, 0.6), (1, 0.5)]
    assert found.entries[0].std("Accuracy") == pytest.approx(0.0707, abs=1e-4)
    assert found.entries[0].folder == "runs/full"


def test_older_rows_of_the_lab_stay_apart_and_may_have_decimal_commas() -> None:
    old = {"model_name": "resnet", "task_name": "rhythm", "Accuracy": "0,85", "AUROC": ""}
    found = board(old, old, row("a-1", Accuracy="0.8"))
    assert [(entry.kind, entry.mean("Accuracy")) for entry in found.entries] == [("lab", 0.85)] * 2 + [("run", 0.8)]
    assert found.metrics == ["Accuracy"]
    assert found.compared is found.entries[0]


def test_cells_that_are_no_numbers_are_named_by_their_line() -> None:
    entries, problems = entries_of([row("a-1", Accuracy="0.8"), {"model_name": ""}, row("b-1", Accuracy="n/a")])
    assert problems == ["row 4: Accuracy is no number: 'n/a'"]  # the first line is the header
    assert [entry.metrics for entry in entries] == [{"Accuracy": [0.8]}]
    assert board(row("a-1")).metrics == []


def test_a_share_of_labels_that_is_no_number_stops_nothing() -> None:
    found = board(row("a-1", Accuracy="0.8", label_fraction="ten %"), row("b-2", Accuracy="0.7"), more=(PAPER,))
    assert found.label_curves() == []
    assert [entry.kind for entry in found.entries if found.difference(entry)] == ["run", "run"]


def test_errors_rank_upwards_and_missing_metrics_last() -> None:
    found = board(
        row("a-1", MAE="3", task_name="hr"), row("b-2", MAE="2", task_name="hr"), row("c-3", R2="1", task_name="hr")
    )
    assert found.ranking == "MAE"
    assert [entry.rows[0]["run_id"] for entry in found.entries] == ["b-2", "a-1", "c-3"]
    assert found.best is found.entries[0]


def test_validation_has_a_board_of_its_own() -> None:
    entries, _ = entries_of([row("a-1", Accuracy="0.8"), row("b-1", Accuracy="0.9", split="val")])
    assert [(one.task, one.split, len(one.entries)) for one in boards_of(entries)] == [
        ("rhythm", "", 1),
        ("rhythm", "val", 1),
    ]


def test_what_runs_share_and_in_what_they_differ() -> None:
    found = board(row("a-1", Accuracy="0.8", lr="1e-3"), row("b-2", Accuracy="0.7", lr="1e-4", mode="scratch"))
    assert found.varied == ["mode", "lr"]
    assert found.shared["dataset"] == "d"
    assert "lr" not in found.shared


@pytest.mark.parametrize(
    ("changes", "flatters"),
    [
        ({}, False),
        ({"selected_on": "test"}, True),
        ({"grid": "8"}, True),
        ({"grid": "8", "split": "val"}, False),
        ({"grid": "8", "checkpoint": "runs/tune/best-seed0"}, False),
    ],
)
def test_who_was_chosen_on_test(changes: dict[str, str], flatters: bool) -> None:
    (entry,), _ = entries_of([row("a-1", Accuracy="0.8") | changes])
    assert entry.chosen_on_test is flatters


def test_a_figure_chosen_on_test_is_not_what_others_are_compared_with() -> None:
    found = board(row("a-1", Accuracy="0.9", selected_on="test"), row("b-2", Accuracy="0.8"))
    assert found.compared is found.best is found.entries[1]


PAPER = Entry(kind="published", name="paper", task="rhythm", metrics={"Accuracy": [0.8]})


@pytest.mark.parametrize(
    ("values", "interval", "verdict"),
    [
        ([0.85, 0.87, 0.86], None, "better"),
        ([0.85, 0.70, 0.99], None, "within"),
        ([0.75, 0.74, 0.76], None, "worse"),
        ([0.85], None, ""),
        ([0.85], Interval(0.79, 0.9, 20), "within"),
        ([0.85], Interval(0.81, 0.9, 20), "better"),
        ([0.85, 0.87, 0.86], Interval(0.79, 0.9, 20), "within"),  # whichever reaches further
    ],
)
def test_only_differences_outside_the_spread_count(
    values: list[float], interval: Interval | None, verdict: str
) -> None:
    rows = [row(f"{seed}-1", Accuracy=str(value), seed=str(seed)) for seed, value in enumerate(values)]
    (entry,), _ = entries_of(rows)
    entry = replace(entry, intervals={"Accuracy": interval} if interval else {})
    (found,) = boards_of([entry, PAPER])
    assert found.compared is PAPER
    difference = found.difference(entry)
    assert difference
    assert difference.verdict == verdict
    assert difference.value == pytest.approx(entry.mean("Accuracy") - 0.8)
    assert found.difference(PAPER) is None


def test_who_is_compared_with_what_was_published() -> None:
    probe = replace(PAPER, metrics={"Accuracy": [0.9]}, settings={"mode": "linear-probe"})
    rows = [
        row("a-1", Accuracy="0.85", mode="linear-probe"),
        row("b-2", Accuracy="0.85", mode="full"),
        row("c-3", Accuracy="0.6", mode="full", label_fraction="0.01"),
    ]
    entries, _ = entries_of(rows)
    (found,) = boards_of([*entries, PAPER, probe])
    differences = [found.difference(entry) for entry in entries]
    values = [one.value if one else None for one in differences]
    assert values == [pytest.approx(-0.05), pytest.approx(0.05), None]  # that paper had all labels


def test_another_metric_may_rank() -> None:
    entries, _ = entries_of([row("a-1", Accuracy="0.8", AUROC="0.7"), row("b-2", Accuracy="0.7", AUROC="0.9")])
    for by, ranking, best in (("", "Accuracy", "a-1"), ("AUROC", "AUROC", "b-2"), ("MAE", "Accuracy", "a-1")):
        (found,) = boards_of(entries, by=by)
        assert found.ranking == found.metrics[0] == ranking
        assert found.entries[0].rows[0]["run_id"] == best


def test_less_error_is_better() -> None:
    paper = replace(PAPER, metrics={"MAE": [2.0]})
    rows = [row("0-1", MAE="1.0"), row("1-1", MAE="1.1")]
    (entry,), _ = entries_of(rows)
    (found,) = boards_of([entry, paper])
    difference = found.difference(entry)
    assert difference
    assert difference.verdict == "better"
    assert difference.value < 0


def test_baselines_stand_beside_the_runs_on_the_same_windows_only() -> None:
    found = board(
        row("a-1", MAE="3", MAE_constant="9"),
        row("b-1", MAE="4", MAE_constant="9", checkpoint="runs/full-seed1"),
        row("c-1", MAE="5", MAE_constant="12", split="all", dataset="other"),
    )
    baselines = [entry for entry in found.entries if entry.kind == "baseline"]
    assert [(entry.name, entry.mean("MAE")) for entry in baselines] == [
        ("always the mean", 9.0),
        ("always the mean", 12.0),
    ]
    assert found.metrics == ["MAE"]
    assert found.compared is baselines[0]
    ours, elsewhere = (entry for entry in found.entries if entry.kind == "run")
    assert found.difference(ours)
    assert found.difference(elsewhere) is None


@pytest.mark.parametrize(
    ("folder", "way"),
    [
        ("runs/finetune-full-labels0.01-lr=1-seed0", "full-lr=1"),
        ("runs/finetune-full-lr=1-seed0", "full-lr=1"),
        ("runs/finetune-full-labels1e-05-seed0", "full"),
        ("runs/grid/label_fraction=0.1,lr=1-seed3", "lr=1"),
        ("runs/grid/lr=1,label_fraction=0.1-seed3", "lr=1"),
        ("runs/grid/label_fraction=1-seed3", ""),
    ],
)
def test_the_way_to_learn_without_the_share_of_labels(folder: str, way: str) -> None:
    (entry,), _ = entries_of([row("a-1", folder)])
    assert entry.way == way


def test_shares_of_labels_make_a_curve_of_each_way_to_learn() -> None:
    def few(run: str, share: str, folder: str, accuracy: str) -> dict[str, str]:
        return row(run, f"runs/finetune-{folder}-seed0", label_fraction=share, Accuracy=accuracy)

    found = board(
        few("a-1", "0.01", "full-labels0.01", "0.5"),
        few("b-2", "1", "full", "0.9"),
        few("c-3", "0.01", "probe-labels0.01", "0.6"),
        few("d-4", "1", "probe", "0.8"),
        few("e-5", "1", "probe", "0.7"),  # another setting that the folder does not tell: which one is the curve's?
        few("f-6", "1", "scratch", "0.7"),
    )
    (curve,) = found.label_curves()
    assert curve.name == "ours full"
    assert curve.values == {0.01: [0.5], 1.0: [0.9]}


@pytest.mark.parametrize("name", TASKS.builtin)
def test_boards_rank_as_the_tasks_do(name: str) -> None:
    task = TASKS.load(name)
    assert isinstance(task, type)
    assert issubclass(task, Task)
    assert task.leading_metrics[0] in RANKING
