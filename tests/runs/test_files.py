"""Files that appear whole, with the rights that other files get."""

import os
import stat
from pathlib import Path

import pytest
import torch

from ssl_bio.runs.files import load_tensors, save_tensors, write_text


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_rights_follow_the_umask(umask: int) -> None:
    before = os.umask(umask)
    try:
        write_text(Path("notes.txt"), "x")
        save_tensors(Path("model.safetensors"), {"w": torch.ones(2)}, {"format_version": 1})
    finally:
        os.umask(before)
    for name in ("notes.txt", "model.safetensors"):
        assert stat.S_IMODE(Path(name).stat().st_mode) == 0o666 & ~umask, name
    assert load_tensors(Path("model.safetensors"))[0]["w"].tolist() == [1, 1]
