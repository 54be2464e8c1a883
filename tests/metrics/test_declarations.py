"""One declaration makes a metric: its column, what may choose an epoch, the ranking and the digits follow."""

from collections.abc import Iterator
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from ssl_bio import metrics as declarations
from ssl_bio.config.recipe import compose
from ssl_bio.errors import RecipeError
from ssl_bio.metrics import Metric, compute, lower_is_better, metric_text, metrics, metrics_of
from ssl_bio.results import sheet
from ssl_bio.tasks.base import load_task

BRIER = Metric(
    "Brier",
    "mean squared error of probabilities",
    higher_is_better=False,
    digits=2,
    functions={"classes": lambda targets, predictions: float(np.square(predictions - np.eye(2)[targets]).mean())},
)


@pytest.fixture
def _fresh() -> Iterator[None]:
    """Declarations are read anew before and after a test that changes them."""
    metrics.cache_clear()
    yield
    metrics.cache_clear()


@pytest.fixture(params=["declared here", "declared by a plugin"])
def _with_brier(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, _fresh: None) -> None:
    if request.param == "declared here":
        monkeypatch.setattr(declarations, "_DECLARED", (*declarations._DECLARED, BRIER))
    else:
        install(monkeypatch, "Brier", "BRIER")


def install(monkeypatch: pytest.MonkeyPatch, name: str, attribute: str) -> None:
    """Have an installed package declare a metric by an entry point."""
    point = EntryPoint(name, f"{__name__}:{attribute}", "ssl_bio.metrics")
    monkeypatch.setattr(declarations, "entry_points", lambda group: [point] if group == point.group else [])


@pytest.mark.usefixtures("_with_brier")
def test_a_declared_metric_is_everywhere() -> None:
    columns = sheet.columns()
    assert columns.index("beat_F1_noisy") < columns.index("Brier") < columns.index("mode")
    assert columns[: len(sheet.LAB_COLUMNS)] == list(sheet.LAB_COLUMNS)
    assert "Brier" in metrics_of("classes")
    assert "Brier" not in metrics_of("values")
    assert lower_is_better("Brier")
    assert lower_is_better("val_Brier")
    assert metric_text("Brier", 0.12345) == "0.12"
    assert compute("classes", np.array([0, 1]), np.eye(2))["Brier"] == 0.0
    task = load_task(compose({"finetune": {"monitor": "Brier"}}, source="test"))
    assert "Brier" in task.metrics


@pytest.mark.usefixtures("_fresh")
@pytest.mark.parametrize(
    ("name", "attribute", "message"),
    [
        ("Brier", "missing", "cannot be imported"),
        ("Brier", "install", "is no Metric of that name"),
        ("Other", "BRIER", "is no Metric of that name"),
        ("MAE", "BRIER", "or the name is taken"),
    ],
)
def test_a_broken_plugin_is_named(monkeypatch: pytest.MonkeyPatch, name: str, attribute: str, message: str) -> None:
    install(monkeypatch, name, attribute)
    with pytest.raises(RecipeError, match=message) as caught:
        metrics()
    assert f"{__name__}:{attribute}" in str(caught.value)


def test_declarations_are_complete() -> None:
    assert list(metrics())[: len(sheet.LAB_COLUMNS) - 2] == list(sheet.LAB_COLUMNS[2:])
    for name, metric in metrics().items():
        assert metric.name == name
        assert metric.description
        assert set(metric.functions) <= {"classes", "labels", "values"}
        if metric.baseline_of:
            assert metric.baseline_of[0] in metrics()
            assert not metric.functions


@pytest.mark.parametrize("column", ["loss", "val_loss", "MAE", "test_MAE", "RMSE", "mse_batch", "val_mse_regressive"])
def test_errors_and_losses_are_best_when_low(column: str) -> None:
    assert lower_is_better(column)


@pytest.mark.parametrize("column", ["Accuracy", "val_AUROC", "R2", "probe_Accuracy", "snr_gain", "val_F1_macro"])
def test_scores_are_best_when_high(column: str) -> None:
    assert not lower_is_better(column)


def test_digits() -> None:
    assert metric_text("Accuracy", 0.98765432) == "0.9877"
    assert metric_text("mse_batch", 123456.0) == "1.235e+05"
    assert metric_text("something else", 1 / 3) == "0.3333"
