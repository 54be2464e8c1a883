"""Run folders: whole or not at all, owned by one process, never mistaken for something else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_bio.errors import CheckpointError
from ssl_bio.runs.files import save_tensors
from ssl_bio.runs.folder import RunFolder, newest_run
from tests.runs.checkpoints import finished_run, metadata

RUN = Path("checkpoints/x/pretrain-seed0")
WHOLE = ["metrics.json", "model.safetensors", "recipe.toml", "run.json"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestOwning:
    """A folder belongs to one process while its run trains."""

    def test_a_folder_that_holds_a_run_names_both_ways_out(self) -> None:
        finished_run(RUN)
        with pytest.raises(CheckpointError, match=r"not empty: --resume .* --overwrite"):
            RunFolder(RUN).check(kind="pretrain", resume=False, overwrite=False)
        RunFolder(RUN).check(kind="pretrain", resume=False, overwrite=True)
        assert names(RUN) == WHOLE, "checking touches nothing"

    def test_resuming_keeps_it_and_overwriting_empties_it(self) -> None:
        before = finished_run(RUN).run_id
        with RunFolder(RUN).owned(kind="pretrain", resume=True, overwrite=False):
            assert names(RUN) == WHOLE
            assert RunFolder(RUN).run_id == before
        with RunFolder(RUN).owned(kind="pretrain", resume=False, overwrite=True):
            assert names(RUN) == ["run.json"]
            assert RunFolder(RUN).run_id not in ("", before)
            assert RunFolder(RUN).replaced_run_ids == [before]

    def test_a_run_that_is_replaced_before_its_end_hands_on_whom_it_replaced(self) -> None:
        first = finished_run(RUN).run_id
        with RunFolder(RUN).owned(kind="pretrain", resume=False, overwrite=True):
            RunFolder(RUN).write_text("recipe.toml", "")
            second = RunFolder(RUN).run_id
        with RunFolder(RUN).owned(kind="pretrain", resume=False, overwrite=True):
            assert RunFolder(RUN).replaced_run_ids == [second, first]

    def test_every_run_has_an_id_of_its_own(self) -> None:
        ids = {finished_run(RUN.with_name(f"pretrain-seed{seed}")).run_id for seed in range(3)}
        assert len(ids) == 3
        assert RunFolder(Path("nowhere")).run_id == ""

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_another_process_is_refused_and_told_whose_it_is(self, overwrite: bool) -> None:
        code = (
            "import sys; from pathlib import Path; from ssl_bio.runs.folder import RunFolder\n"
            f"with RunFolder(Path({str(RUN)!r})).owned(kind='pretrain', resume=False, overwrite=False):\n"
            "    print('owned', flush=True); sys.stdin.read()"
        )
        command = [sys.executable, "-c", code]
        other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert other.stdout
        assert other.stdout.readline() == "owned\n"
        mine = RunFolder(RUN).owned(kind="pretrain", resume=not overwrite, overwrite=overwrite)
        with (
            pytest.raises(CheckpointError, match=rf"pretrain-seed0: process {other.pid} on \S+ is at work") as caught,
            mine,
        ):
            pass
        assert "\n" not in str(caught.value)
        assert names(RUN) == ["run.json"], "nothing of the other's is touched"
        other.communicate("")
        assert other.returncode == 0
        with RunFolder(RUN).owned(kind="pretrain", resume=True, overwrite=False):
            assert json.loads((RUN.parent / ".pretrain-seed0.lock").read_text())["process"] == os.getpid()

    def test_two_at_once_in_one_process_are_refused_too(self) -> None:
        first = RunFolder(RUN).owned(kind="pretrain", resume=False, overwrite=False)
        second = RunFolder(RUN).owned(kind="pretrain", resume=True, overwrite=False)
        with first, pytest.raises(CheckpointError, match=f"process {os.getpid()} on"), second:
            pass

    def test_an_error_inside_gives_the_folder_back(self) -> None:
        with pytest.raises(KeyError), RunFolder(RUN).owned(kind="pretrain", resume=False, overwrite=False):
            raise KeyError
        with RunFolder(RUN).owned(kind="pretrain", resume=True, overwrite=False):
            pass

    def test_a_run_that_appeared_meanwhile_is_not_written_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def appears(run: RunFolder, **how: object) -> None:
            monkeypatch.undo()
            finished_run(run.path)

        monkeypatch.setattr(RunFolder, "check", appears)
        late = RunFolder(RUN).owned(kind="pretrain", resume=False, overwrite=False)
        with pytest.raises(CheckpointError, match="not empty"), late:
            pass

    def test_overwriting_spares_what_is_no_run(self) -> None:
        Path("thesis/resume").mkdir(parents=True)
        Path("thesis/chapter.tex").write_text("years of work")
        run = RunFolder(Path("thesis"))
        for resume in (False, True):
            with (
                pytest.raises(CheckpointError, match=r"no run folder \(chapter\.tex\)"),
                run.owned(kind="pretrain", resume=resume, overwrite=not resume),
            ):
                pass
        assert Path("thesis/chapter.tex").exists()

    def test_so_does_it_a_folder_with_a_files_of_runs_alone_but_no_recipe(self) -> None:
        Path("plots/figures").mkdir(parents=True)
        with pytest.raises(CheckpointError, match=r"no run folder \(no recipe\.toml\)"):
            RunFolder(Path("plots")).check(kind="pretrain", resume=False, overwrite=True)

    def test_overwriting_spares_another_kind_of_run(self) -> None:
        run = finished_run(RUN)
        with pytest.raises(CheckpointError, match="holds a pretrain run, not a finetune run"):
            run.check(kind="finetune", resume=False, overwrite=True)
        assert run.complete

    def test_a_place_that_cannot_be_written_is_refused(self) -> None:
        Path("file").write_text("")
        with (
            pytest.raises(CheckpointError, match="cannot be written"),
            RunFolder(Path("file/run")).owned(kind="pretrain", resume=False, overwrite=False),
        ):
            pass


class TestWriting:
    """What is written is there whole or not at all."""

    def test_a_finished_run_holds_weights_result_and_recipe_alone(self) -> None:
        run = RunFolder(RUN)
        with run.owned(kind="pretrain", resume=False, overwrite=False):
            run.write_text("recipe.toml", "")
            run.save_state({"model.w": torch.ones(2)}, {"epoch": 1})
            assert not run.complete
            tensors, state = run.load_state() or ({}, {})
            assert (tensors["model.w"].tolist(), state["epoch"]) == ([1, 1], 1)
            run.finish({"w": torch.zeros(1)}, metadata())
        assert run.complete
        assert names(RUN) == WHOLE
        assert run.load_state() is None

    def test_a_failed_write_leaves_the_old_file_and_no_litter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        run = finished_run(RUN)
        before = (RUN / "metrics.json").read_bytes()

        def full_disk(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full_disk)
        with pytest.raises(CheckpointError, match=r"metrics\.json: cannot be written: No space left"):
            run.write_json("metrics.json", {"a": 1})
        with pytest.raises(CheckpointError, match="No space left"):
            run.finish({"w": torch.zeros(1)}, metadata())
        with pytest.raises(CheckpointError, match="No space left"):
            run.write_figure("x.png", Path.touch)
        assert (RUN / "metrics.json").read_bytes() == before
        assert names(RUN) == sorted([*WHOLE, "figures"])
        assert names(RUN / "figures") == []

    def test_resume_state_of_another_format_is_refused(self) -> None:
        finished_run(RUN)
        (RUN / "resume").mkdir()
        save_tensors(RUN / "resume/state.safetensors", {"w": torch.zeros(1)}, {"format_version": 1})
        with pytest.raises(CheckpointError, match="checkpoint format 1"):
            RunFolder(RUN).load_state()

    def test_history(self) -> None:
        run = finished_run(RUN)
        run.write_history([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25, "probe_Accuracy": 0.9}])
        assert (RUN / "history.csv").read_text() == "epoch,loss,probe_Accuracy\n1,0.5,\n2,0.25,0.9\n"
        history = run.read_history()
        assert history["loss"] == [0.5, 0.25]
        np.testing.assert_array_equal(history["probe_Accuracy"], [np.nan, 0.9])

    def test_arrays(self) -> None:
        path = finished_run(RUN).write_arrays("predictions.npz", {"classes": np.array(["a", "b"]), "row": np.arange(3)})
        with np.load(path, allow_pickle=False) as file:
            assert file["classes"].tolist() == ["a", "b"]
            assert file["row"].tolist() == [0, 1, 2]

    def test_the_result_is_what_the_weights_say(self) -> None:
        run = finished_run(RUN, metrics={"Accuracy": 0.9})
        said = json.loads((RUN / "metrics.json").read_text())
        assert said == run.load().metadata.model_dump(mode="json", exclude={"recipe"})
        assert said["metrics"] == {"Accuracy": 0.9}


class TestNewest:
    """The run that a command goes on from when none is named."""

    ROOT = Path("checkpoints")

    def test_the_last_complete_one_of_its_kind(self) -> None:
        root = self.ROOT
        with pytest.raises(CheckpointError, match=r"no complete pretrain run under checkpoints/.*ssl-bio pretrain"):
            newest_run(root, kind="pretrain")
        finished_run(root / "a/pretrain-seed0", finished_at="2026-01-02")
        finished_run(root / "b/pretrain-seed0", finished_at="2026-01-03")
        finished_run(root / "a/finetune-full-seed0", kind="finetune", finished_at="2026-01-04")
        unfinished = finished_run(root / "c/pretrain-seed0", finished_at="2026-01-05")
        (unfinished.path / "metrics.json").unlink()
        without_weights = finished_run(root / "e/pretrain-seed0", finished_at="2026-01-06")
        (without_weights.path / "model.safetensors").unlink()
        (root / "d/pretrain-seed0").mkdir(parents=True)
        (root / "d/pretrain-seed0/metrics.json").write_text("{broken")
        assert newest_run(root, kind="pretrain").path == root / "b/pretrain-seed0"
        assert newest_run(root, kind="pretrain", name="a").path == root / "a/pretrain-seed0"
        assert newest_run(root, kind="finetune").path == root / "a/finetune-full-seed0"
        with pytest.raises(CheckpointError, match="under checkpoints/z"):
            newest_run(root, kind="pretrain", name="z")

    def test_runs_of_a_grid_do_not_count(self) -> None:
        single = finished_run(self.ROOT / "a/finetune-full-seed0", kind="finetune", finished_at="2026-01-01")
        finished_run(self.ROOT / "a/grid/lr=0.1/finetune-full-seed0", kind="finetune", finished_at="2026-01-02", grid=4)
        assert newest_run(self.ROOT, kind="finetune").path == single.path

    def test_a_cross_validation_counts_as_one_and_its_parts_do_not(self) -> None:
        finished_run(self.ROOT / "a/finetune-full-seed0", kind="finetune", finished_at="2026-01-01")
        whole = RunFolder(self.ROOT / "a/finetune-full-folds2-seed0")
        for fold in range(2):
            finished_run(whole.path / f"fold{fold}", kind="finetune", finished_at=f"2026-01-0{2 + fold}")
        assert newest_run(self.ROOT, kind="finetune").path == self.ROOT / "a/finetune-full-seed0"
        assert not whole.complete_folds
        whole.finish_folds(metadata(kind="finetune", finished_at="2026-01-04", folds=2))
        assert whole.complete_folds
        assert not whole.complete
        assert newest_run(self.ROOT, kind="finetune").path == whole.path

    def test_a_part_of_pretraining_is_a_run_and_the_preferred_one_wins(self) -> None:
        part = finished_run(self.ROOT / "a/pretrain-folds5-seed0/fold1", finished_at="2026-01-01")
        last = finished_run(self.ROOT / "a/pretrain-seed0", finished_at="2026-01-02")
        assert newest_run(self.ROOT, kind="pretrain", preferred="-folds5-seed*/fold1").path == part.path
        assert newest_run(self.ROOT, kind="pretrain", preferred="-folds5-seed*/fold2").path == last.path
        finished_run(self.ROOT / "a/pretrain-folds5-seed0/fold2", finished_at="2026-01-03")
        assert newest_run(self.ROOT, kind="pretrain").path == last.path, "a part has seen too few people for others"

    def test_parts_in_order(self) -> None:
        for fold in (10, 2, 0):
            (RUN / f"fold{fold}").mkdir(parents=True)
        (RUN / "folder").mkdir()
        assert [part.path.name for part in RunFolder(RUN).folds()] == ["fold0", "fold2", "fold10"]
