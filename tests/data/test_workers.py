"""Several processes read and cut what one does."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from ssl_bio.data import catalog
from ssl_bio.data.options import WindowOptions
from tests.data.readers.test_cinc2017 import write_cinc


def test_processes_give_what_one_gives(tmp_path: Path) -> None:
    source = write_cinc(tmp_path / "training2017")
    (source / "A00003.mat").write_bytes(b"broken")
    archive = shutil.make_archive(str(tmp_path / "training2017"), "zip", tmp_path, "training2017")
    options = WindowOptions(sampling_rate=100.0, window=5.0, highpass=0.5)
    fingerprints, windows = set(), set()
    for workers in (1, 2):
        root = str(tmp_path / f"data{workers}")
        store = catalog.prepare(name="cinc2017", origin=archive, root=root, max_skipped=0.1, workers=workers)
        data = catalog.open_dataset(name="cinc2017", root=root, options=options, workers=workers)
        fingerprints.add(store.info.fingerprint)
        windows.add(data.info.fingerprint)
        assert [name.rpartition("/")[2] for name in store.info.skipped] == ["A00003"]
        assert np.isfinite(data.signals[:]).all()
    assert (len(fingerprints), len(windows)) == (1, 1)


def test_a_command_with_workers(tmp_path: Path) -> None:
    """In a process of its own: what it starts imports its main module anew."""
    source = write_cinc(tmp_path / "training2017")
    code = "import sys; from ssl_bio.cli import main; sys.argv = sys.argv[1:]; main()"
    arguments = ["ssl-bio", "data", "prepare", "cinc2017", "--from", str(source), "--workers", "2"]
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ}, check=True)
    assert "40 windows of 1 channels" in done.stdout
