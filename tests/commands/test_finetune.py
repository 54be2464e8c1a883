"""What finetuning says of several seeds, and what a cross-validation leaves as a whole."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssl_bio.results import sheet
from ssl_bio.tasks import windows
from tests.command_line import TINY, succeed

SHEET = Path("results.csv")
AGREE = "all seeds predict the same"


@pytest.fixture(autouse=True)
def _recipe() -> None:
    Path("tiny.toml").write_text(TINY)


class TestSeeds:
    """Several seeds of a run."""

    def test_a_probe_that_draws_nothing_says_so(self) -> None:
        succeed("pretrain", "--recipe", "tiny.toml")
        assert AGREE in succeed("finetune", "--seeds", "0,1")

    def test_equal_metrics_of_other_predictions_are_no_agreement(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def perfect(*arguments: object) -> dict[str, float]:
            return {"Accuracy": 1.0, "F1_macro": 1.0}

        monkeypatch.setattr(windows, "compute", perfect)
        command = ("finetune", "--recipe", "tiny.toml", "--mode", "scratch", "--set", "finetune.monitor=loss")
        said = succeed(*command, "--seeds", "0,1")
        assert "1.0000 ± 0.0000" in said
        assert AGREE not in said


class TestCrossValidation:
    """All parts of one as a single result."""

    command = ("finetune", "--recipe", "tiny.toml", "--mode", "scratch", "--folds", "3")
    home = Path("checkpoints/tiny/finetune-scratch-folds3-seed0")

    def parts(self) -> list[Mapping[str, Any]]:
        return [json.loads((self.home / f"fold{fold}/metrics.json").read_text()) for fold in range(3)]

    def test_its_row_is_true_of_the_whole(self) -> None:
        succeed(*self.command, "--set", "finetune.epochs=6", "--lr", "0.1", "--out", str(self.home))
        (row,) = sheet.read(SHEET)
        chosen = [part["best_epoch"] for part in self.parts()]
        assert len(set(chosen)) > 1, "otherwise any part's would do"
        assert row["best_epoch"] == str(round(np.mean(chosen)))
        assert row["n_train"] == str(round(np.mean([part["n_train"] for part in self.parts()])))
        whole = json.loads((self.home / "metrics.json").read_text())
        assert (whole["best_epoch"], whole["origin"]) == (int(row["best_epoch"]), "")
        succeed("evaluate")
        (again,) = sheet.read(SHEET)
        names = ("run_id", "epochs", "best_epoch", "n_train", "seconds", "Accuracy")
        assert [again[name] for name in names] == [row[name] for name in names]

    def test_it_has_the_predictions_of_all_parts(self) -> None:
        succeed(*self.command)
        (row,) = sheet.read(SHEET)
        with np.load(self.home / "predictions.npz", allow_pickle=False) as file:
            joined = dict(file)
        assert f"{(joined['probability'].argmax(1) == joined['target']).mean():.4f}" == row["Accuracy"]
        assert len(set(joined["row"].tolist())) == int(row["n_test"])
        for fold in range(3):
            with np.load(self.home / f"fold{fold}/predictions.npz", allow_pickle=False) as file:
                np.testing.assert_array_equal(file["row"], joined["row"][joined["fold"] == fold])
        (self.home / "predictions.npz").unlink()
        succeed("evaluate")
        assert (self.home / "predictions.npz").is_file()

    def test_it_starts_from_a_pretraining_of_as_many_parts(self) -> None:
        succeed("pretrain", "--recipe", "tiny.toml", "--set", "pretrain.epochs=1", "--folds", "2", "--out", "before")
        succeed("finetune", "--folds", "2", "--checkpoint", "before/fold{fold}", "--out", "after")
        assert json.loads(Path("after/metrics.json").read_text())["origin"] == "before"
