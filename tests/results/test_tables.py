"""Tables and rows of the sheet from evaluations."""

from collections.abc import Mapping

import numpy as np

from ssl_bio.results import sheet
from ssl_bio.results.evaluation import Evaluation, Group, Predictions, Table
from ssl_bio.results.tables import comparison_table, mean_std, metrics_table, seeds_table, sheet_rows
from tests.runs.checkpoints import metadata

BASELINES = {"always the mean": {"MAE": 3.0, "RMSE": 4.0}, "always the median": {"MAE": 2.5}}


def evaluation(metrics: Mapping[str, float], groups: list[Group] | None = None) -> Evaluation:
    return Evaluation(
        n=7,
        loss=0.5,
        metrics=metrics,
        groups=groups or [Group("", metrics, BASELINES)],
        predictions=Predictions(arrays={}),
        baselines=BASELINES,
    )


def test_a_row_for_each_group_with_its_baselines() -> None:
    said = metadata(kind="finetune", selected_on="test", epochs=9, best_epoch=4, n_train=30, seconds=1.26, grid=4)
    groups = [Group("sbp", {"MAE": 1.0}, BASELINES), Group("dbp", {"MAE": 2.0})]
    rows = sheet_rows(
        evaluation({"MAE": 1.5}, groups), metadata=said, described={"model_name": "m", "run_id": "r"}, task_name="bp"
    )
    assert [row["task_name"] for row in rows] == ["bp_sbp", "bp_dbp"]
    assert [(row["MAE"], row["MAE_constant"]) for row in rows] == [(1.0, 3.0), (2.0, None)]
    for row in rows:
        assert set(row) <= set(sheet.columns())
        assert (row["selected_on"], row["epochs"], row["best_epoch"], row["n_train"], row["n_test"]) == (
            "test",
            9,
            4,
            30,
            7,
        )
        assert (row["model_name"], row["run_id"], row["seconds"], row["grid"]) == ("m", "r", 1.3, 4)
        assert row["Accuracy"] is None


def test_a_single_group_has_the_tasks_own_name() -> None:
    (row,) = sheet_rows(evaluation({"MAE": 1.5}), metadata=metadata(), described={}, task_name="hr")
    assert (row["task_name"], row["grid"]) == ("hr", None)


def test_metrics_beside_baselines() -> None:
    table = metrics_table(evaluation({"MAE": 1.5, "R2": 0.5}), "title")
    assert table == Table(
        "title",
        ["metric", "value", "always the mean", "always the median"],
        [["MAE", "1.5000", "3.0000", "2.5000"], ["R2", "0.5000", "", ""]],
    )


def test_seeds_end_with_mean_and_standard_deviation_of_what_all_have() -> None:
    both = [evaluation({"RMSE": 2.0, "MAE": 1.0}), evaluation({"MAE": 2.0})]
    table = seeds_table(both, [0, 1], "title")
    assert table.columns == ["metric", "seed 0", "seed 1", "mean ± std"]
    assert table.rows == [["MAE", "1.0000", "2.0000", "1.5000 ± 0.7071"]]
    assert seeds_table(both[:1], [0], "title").rows == [["MAE", "1.0000"], ["RMSE", "2.0000"]]


def test_others_beside_ours_with_the_difference() -> None:
    ours = [evaluation({"MAE": 1.0, "R2": 0.5})]
    (table,) = comparison_table(ours, {"paper": {"MAE": 1.5}, "log": {"MAE": 0.5, "RMSE": 2.0}})
    assert table.rows == [["ours", "1.0000"], ["paper", "1.5000 (-0.5000)"], ["log", "0.5000 (+0.5000)"]]
    (turned,) = comparison_table(ours, {"paper": {"MAE": 1.5, "R2": 0.25}})
    assert turned.columns == ["", "ours", "paper"]
    assert turned.rows == [["MAE", "1.0000", "1.5000 (-0.5000)"], ["R2", "0.5000", "0.2500 (+0.2500)"]]
    assert comparison_table(ours, {"paper": {"Accuracy": 0.9}}) == []


def test_mean_and_standard_deviation_have_the_metrics_digits() -> None:
    assert mean_std("mse_batch", np.array([1000.0, 3000.0])) == "2000 ± 1414"
    assert mean_std("Accuracy", np.array([0.5])) == "0.5000"
