"""Weight files: what they say about themselves, refused when broken or not ours."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ssl_bio.errors import CheckpointError
from ssl_bio.runs.checkpoint import FORMAT_VERSION, load_checkpoint, load_metadata, now
from ssl_bio.runs.files import save_tensors
from tests.runs.checkpoints import finished_run, metadata

RUN = Path("checkpoints/x/pretrain-seed0")


def test_a_run_folder_or_its_weight_file_can_be_loaded() -> None:
    run = finished_run(RUN, metrics={"loss": 0.5})
    for path in (RUN, RUN / "model.safetensors"):
        loaded = load_checkpoint(path)
        assert loaded.path == RUN / "model.safetensors"
        assert torch.equal(loaded.tensors["w"], torch.arange(6.0).view(2, 3))
        assert loaded.metadata == load_metadata(path)
        assert loaded.metadata.metrics == {"loss": 0.5}
        assert loaded.metadata.run_id == run.run_id != ""


def test_a_truncated_file_is_refused_in_one_line() -> None:
    path = finished_run(RUN).path / "model.safetensors"
    whole = path.read_bytes()
    for length in (0, 5, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="truncated or no safetensors") as caught:
            load_checkpoint(path)
        assert "\n" not in str(caught.value)


def test_other_files_are_refused() -> None:
    Path("x.safetensors").write_text("not at all")
    save_file({"w": torch.zeros(1)}, "y.safetensors")
    for load in (load_checkpoint, load_metadata):
        with pytest.raises(CheckpointError, match="no safetensors"):
            load(Path("x.safetensors"))
        with pytest.raises(CheckpointError, match="not one of ssl-bio's"):
            load(Path("y.safetensors"))
        with pytest.raises(CheckpointError, match="no such weight file"):
            load(Path("z.safetensors"))


@pytest.mark.parametrize("version", [1, 99, None])
def test_another_format_version_is_refused(version: int | None) -> None:
    header = metadata().model_dump(mode="json") | {"format_version": version}
    save_tensors(Path("x.safetensors"), {"w": torch.zeros(1)}, header)
    with pytest.raises(CheckpointError, match=f"format {version}, this ssl-bio reads format {FORMAT_VERSION}"):
        load_checkpoint(Path("x.safetensors"))


def test_a_header_with_other_fields_is_refused() -> None:
    header = metadata().model_dump(mode="json") | {"colour": "red"}
    save_tensors(Path("x.safetensors"), {"w": torch.zeros(1)}, header)
    with pytest.raises(CheckpointError, match="its header is broken: Extra inputs"):
        load_metadata(Path("x.safetensors"))


def test_times_order_runs() -> None:
    times = [now() for _ in range(50)]
    assert times == sorted(times)
    assert len(times[0]) == len(times[-1])
