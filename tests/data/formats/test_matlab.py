"""MATLAB files of version 7.3: bytes of other files are never read."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from ssl_bio.data.formats import matlab, signal_files
from ssl_bio.errors import DataError

SECRET = np.arange(64, dtype=np.float64)


def secret(folder: Path) -> Path:
    """Two files that are nobody's business: raw bytes, and HDF5."""
    (folder / "secret.bin").write_bytes(SECRET.tobytes())
    with h5py.File(folder / "secret.h5", "w") as file:
        file["values"] = SECRET
    return folder


def external_storage(file: h5py.File, name: str, folder: Path) -> None:
    external = [(str(folder / "secret.bin"), 0, SECRET.nbytes)]
    file.create_dataset(name, shape=SECRET.shape, dtype="f8", external=external)


def external_link(file: h5py.File, name: str, folder: Path) -> None:
    file[name] = h5py.ExternalLink(str(folder / "secret.h5"), "/values")


def soft_link_to_an_external_one(file: h5py.File, name: str, folder: Path) -> None:
    file.create_group("hidden")["out"] = h5py.ExternalLink(str(folder / "secret.h5"), "/")
    file[name] = h5py.SoftLink("/hidden/out/values")


def virtual_dataset(file: h5py.File, name: str, folder: Path) -> None:
    layout = h5py.VirtualLayout(shape=SECRET.shape, dtype="f8")
    layout[:] = h5py.VirtualSource(str(folder / "secret.h5"), "values", shape=SECRET.shape)
    file.create_virtual_dataset(name, layout)


Leak = Callable[[h5py.File, str, Path], None]
LEAKS: list[Leak] = [external_storage, external_link, soft_link_to_an_external_one, virtual_dataset]


@pytest.mark.parametrize("leak", LEAKS)
def test_bytes_of_other_files_never_become_signals(leak: Leak, tmp_path: Path) -> None:
    path = secret(tmp_path) / "x.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        leak(file, "signals", tmp_path)
    with pytest.raises(DataError, match=r"x\.mat: .*(link to somewhere else|values in other files)"):
        signal_files.load_file(path)


@pytest.mark.parametrize("leak", LEAKS)
def test_nor_do_they_become_cells(leak: Leak, tmp_path: Path) -> None:
    path = secret(tmp_path) / "Part_1.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        leak(file, "leak", tmp_path)
        references = np.empty((1, 1), h5py.ref_dtype)
        if leak in (external_storage, virtual_dataset):
            references[0, 0] = file["leak"].ref
            file["Part_1"] = references
        else:
            file["Part_1"] = h5py.SoftLink("/leak")
    with pytest.raises(DataError, match=r"Part_1\.mat: .*(link to somewhere else|values in other files)"):
        matlab.read_cell(path, "Part_1", 0)


def test_ordinary_variables_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["ecg"] = SECRET.reshape(32, 2)
        file["chunked"] = np.arange(3.0)
        file["fs"] = 100.0
        file.create_group("#refs#")
    found = matlab.variables(path)
    assert {name: array.shape for name, array in found.items()} == {"ecg": (2, 32), "chunked": (3,)}
