"""`ssl-bio data`: what is listed, prepared with the windows of a recipe, and found changed."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ssl_bio.commands.data import check_data, list_data, prepare_data
from ssl_bio.data import catalog
from ssl_bio.data.recording_store import open_store
from ssl_bio.errors import DataError, RecipeError
from tests.data.plugins import installed
from tests.data.test_catalog import write_toy

SMALL = {"n_subjects": 6, "windows_per_subject": 4, "seed": 1}


def prepare(folder: Path, *, name: str = "toy", recipe_name: str = "", overrides: tuple[str, ...] = ()) -> Path:
    origin = str(folder)
    store = prepare_data(
        name=name,
        origin=origin,
        root="",
        recipe_name=recipe_name,
        overrides=overrides,
        max_skipped=0.05,
        overwrite=False,
    )
    return store.folder


def test_what_there_is_and_what_is_prepared(capsys: pytest.CaptureFixture[str]) -> None:
    data = catalog.open_dataset(name="synthetic", synthetic=SMALL)
    with installed(broken="tests.data.nothing:DATASET", toy="tests.data.toy:DATASET"):
        list_data("")
    said = capsys.readouterr().out
    fingerprint = open_store(data.folder).info.fingerprint
    for part in ("synthetic-6x4-seed1-v2", fingerprint, "24 recordings", "ptbxl", "Toy recordings"):
        assert part in said
    assert "cannot be imported" in " ".join(said.replace("│", " ").split())


def test_a_broken_prepared_dataset_does_not_hide_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    data = catalog.open_dataset(name="synthetic", synthetic=SMALL)
    (data.folder / "recordings.bin").unlink()
    catalog.open_dataset(name="two-peaks")
    list_data("")
    said = capsys.readouterr().out
    assert "broken" in said
    assert "24 recordings" in said


def test_windows_follow_the_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = write_toy(tmp_path / "files")
    Path("toy.toml").write_text('[data]\ndataset = "toy"\nstride = 1.0\n')
    with installed(toy="tests.data.toy:DATASET"):
        assert prepare(files).name == "toy"
        assert prepare(files, recipe_name="toy.toml").name == "toy"
        assert prepare(files, overrides=("data.window=4",)).name == "toy"
        with pytest.raises(RecipeError, match=r"toy\.toml is about dataset toy, not har"):
            prepare(files, name="har", recipe_name="toy.toml")
    said = capsys.readouterr().out
    assert "45 windows of 1 channels (x) x 20 samples at 10 Hz, 5 people" in said
    assert "split scheme subject" in said


def test_a_changed_dataset_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    data = catalog.open_dataset(name="synthetic", synthetic=SMALL)
    check_data(data.folder.name, "")
    said = capsys.readouterr().out
    assert f"whole: windows {data.info.name}, fingerprint {data.info.fingerprint}" in said
    assert "whole: 24 recordings, fingerprint" in said
    signals = np.memmap(data.folder / "recordings.bin", np.uint8, "r+")
    signals[3000] ^= 1
    signals.flush()
    with pytest.raises(DataError, match="changed since it was prepared"):
        check_data(data.folder.name, "")
    with pytest.raises(DataError, match="nothing is not prepared in"):
        check_data("nothing", "")


def test_a_list_needs_neither_torch_nor_pandas() -> None:
    code = (
        "import sys; from ssl_bio.commands.data import list_data; list_data(''); "
        "print([name for name in ('torch', 'pandas', 'scipy', 'wfdb') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_what_was_done_to_own_recordings_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for number in range(4):
        np.save(folder / f"{number}.npy", np.random.default_rng(number).normal(size=(60, 2)))
    lines = ["file,sampling_rate", *(f"{number}.npy,10" for number in range(4))]
    (folder / "table.csv").write_text("\n".join(lines))
    prepare(folder, name="mine")
    said = capsys.readouterr().out
    assert "4 of 4 recordings: an array (60, 2) is taken for 2 channels of 60 samples" in said
    assert "every file counts as a person of its own: a column subject says who is who" in said
    (folder / "table.csv").write_text(
        "\n".join([lines[0] + ",subject", *(f"{line},person {line[0]}" for line in lines[1:])])
    )
    prepare(folder, name="mine")
    assert "a person of its own" not in capsys.readouterr().out


def test_without_a_rate_recordings_are_prepared_and_windows_wait(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for number in range(4):
        np.save(folder / f"{number}.npy", np.zeros((1, 60)))
    (folder / "table.csv").write_text("file\n" + "".join(f"{number}.npy\n" for number in range(4)))
    prepare(folder, name="mine")
    assert "windows are cut when a recipe says how: table.csv, line 2: no sampling_rate" in capsys.readouterr().out
    prepare(folder, name="mine", overrides=("data.sampling_rate=10",))
    assert "4 windows of 1 channels (ch0) x 60 samples at 10 Hz" in capsys.readouterr().out
