"""Run folders and weight files: whole or not at all, refused when broken."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ssl_bio import checkpoint
from ssl_bio.checkpoint import Facts, RunFolder
from ssl_bio.errors import CheckpointError

RUN = Path("checkpoints/x/pretrain-seed0")


def facts(**changes: object) -> Facts:
    values = {
        "kind": "pretrain",
        "recipe": {"name": "x"},
        "dataset": "synthetic",
        "fingerprint": "0" * 16,
        "channels": ("a", "b"),
        "length": 64,
        "sampling_rate": 50.0,
        "finished_at": checkpoint.now(),
    }
    return Facts.model_validate(values | changes)


def finished(path: Path, **changes: object) -> RunFolder:
    run = RunFolder(path)
    run.claim("pretrain", resume=False, overwrite=False)
    run.write_text("recipe.toml", "")
    run.finish({"w": torch.arange(6.0).view(2, 3)}, facts(**changes))
    return run


def test_round_trip() -> None:
    loaded = finished(RUN, metrics={"loss": 0.5}).load()
    assert torch.equal(loaded.tensors["w"], torch.arange(6.0).view(2, 3))
    assert loaded.metadata.metrics == {"loss": 0.5}
    assert sorted(path.name for path in RUN.iterdir()) == ["metrics.json", "model.safetensors", "recipe.toml"]


def test_truncated_file_is_refused_in_one_line() -> None:
    path = finished(RUN).path / "model.safetensors"
    whole = path.read_bytes()
    for length in (0, 5, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="truncated or no safetensors") as caught:
            checkpoint.load(path)
        assert "\n" not in str(caught.value)


def test_other_files_are_refused() -> None:
    Path("x.safetensors").write_text("not at all")
    with pytest.raises(CheckpointError, match="no safetensors"):
        checkpoint.load(Path("x.safetensors"))
    save_file({"w": torch.zeros(1)}, "y.safetensors")
    with pytest.raises(CheckpointError, match="not one of ssl-bio's"):
        checkpoint.load(Path("y.safetensors"))
    with pytest.raises(CheckpointError, match="no such weight file"):
        checkpoint.load(Path("z.safetensors"))


def test_other_format_version_is_refused() -> None:
    header = facts().model_dump(mode="json") | {"format_version": 99}
    checkpoint.save_tensors(Path("x.safetensors"), {"w": torch.zeros(1)}, header)
    with pytest.raises(CheckpointError, match="format 99, this ssl-bio reads format 1"):
        checkpoint.load(Path("x.safetensors"))


def test_non_empty_folder_names_both_ways_out() -> None:
    finished(RUN)
    with pytest.raises(CheckpointError, match=r"not empty: --resume .* --overwrite"):
        RunFolder(RUN).claim("pretrain", resume=False, overwrite=False)
    RunFolder(RUN).claim("pretrain", resume=True, overwrite=False)
    assert (RUN / "model.safetensors").exists()
    RunFolder(RUN).claim("pretrain", resume=False, overwrite=True)
    assert list(RUN.iterdir()) == []


def test_overwrite_spares_what_is_no_run() -> None:
    Path("thesis/resume").mkdir(parents=True)
    Path("thesis/chapter.tex").write_text("years of work")
    with pytest.raises(CheckpointError, match=r"no run folder \(chapter\.tex\)"):
        RunFolder(Path("thesis")).claim("pretrain", resume=False, overwrite=True)
    assert Path("thesis/chapter.tex").exists()


def test_overwrite_spares_another_kind_of_run() -> None:
    finished(RUN)
    with pytest.raises(CheckpointError, match="holds a pretrain run, not a finetune run"):
        RunFolder(RUN).claim("finetune", resume=False, overwrite=True)
    assert RunFolder(RUN).complete


def test_unwritable_place_is_refused() -> None:
    Path("file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written"):
        RunFolder(Path("file/run")).claim("pretrain", resume=False, overwrite=False)


def test_newest_takes_the_last_complete_run_of_its_kind() -> None:
    root = Path("checkpoints")
    with pytest.raises(CheckpointError, match="ssl-bio pretrain"):
        checkpoint.newest(root, "pretrain")
    finished(root / "a/pretrain-seed0", finished_at="2026-01-02")
    finished(root / "b/pretrain-seed0", finished_at="2026-01-03")
    finished(root / "a/finetune-full-seed0", kind="finetune", finished_at="2026-01-04")
    half = RunFolder(root / "c/pretrain-seed0")
    half.claim("pretrain", resume=False, overwrite=False)
    half.write_model({"w": torch.zeros(1)}, facts())
    (root / "d/pretrain-seed0").mkdir(parents=True)
    (root / "d/pretrain-seed0/metrics.json").write_text("{broken")
    assert checkpoint.newest(root, "pretrain").path == root / "b/pretrain-seed0"
    assert checkpoint.newest(root, "pretrain", "a").path == root / "a/pretrain-seed0"


def test_failed_write_leaves_the_old_file_and_no_litter(monkeypatch: pytest.MonkeyPatch) -> None:
    run = finished(RUN)
    before = (RUN / "metrics.json").read_bytes()

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(CheckpointError, match="No space left"):
        run.write_json("metrics.json", {"a": 1})
    with pytest.raises(CheckpointError, match="No space left"):
        run.write_model({"w": torch.zeros(1)}, facts())
    assert (RUN / "metrics.json").read_bytes() == before
    assert sorted(path.name for path in RUN.iterdir()) == ["metrics.json", "model.safetensors", "recipe.toml"]


def test_history_and_arrays() -> None:
    run = finished(RUN)
    run.write_history([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25, "probe_Accuracy": 0.9}])
    assert (RUN / "history.csv").read_text() == "epoch,loss,probe_Accuracy\n1,0.5,\n2,0.25,0.9\n"
    path = run.write_arrays("predictions.npz", {"classes": np.array(["a", "b"]), "row": np.arange(3)})
    with np.load(path, allow_pickle=False) as file:
        assert file["classes"].tolist() == ["a", "b"]


def test_metrics_json_is_what_the_weights_say() -> None:
    run = finished(RUN, metrics={"Accuracy": 0.9})
    said = json.loads((RUN / "metrics.json").read_text())
    assert said["metrics"] == {"Accuracy": 0.9}
    assert said["finished_at"] == run.load().metadata.finished_at
