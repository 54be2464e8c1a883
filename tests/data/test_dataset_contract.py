"""What every registered dataset owes: a complete declaration, the same bytes again, one line for files not its own."""

from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import pytest

from ssl_bio.data.ingest.archive import open_archive
from ssl_bio.data.registry import DATASETS, Dataset, load_dataset
from ssl_bio.data.splits import SPLITS
from ssl_bio.data.windowing import ReadyWindows
from ssl_bio.errors import DataError
from tests.data.reading import open_ready

EMBEDDED = [name for name in DATASETS if load_dataset(name).is_embedded]
PUBLISHED = [name for name in DATASETS if not load_dataset(name).is_embedded]


@pytest.mark.parametrize("name", DATASETS)
def test_declaration_is_complete(name: str) -> None:
    dataset = load_dataset(name)
    assert dataset.title
    assert "\n" not in dataset.title
    assert name == name.lower()
    if dataset.is_embedded:
        assert dataset.version > 0
        assert not dataset.url
        assert all(f"{{{key}}}" in dataset.folder_label for key in dataset.parameters)
    else:
        assert dataset.homepage
        assert not dataset.url or urlparse(dataset.url).scheme == "https"
        assert not dataset.url or urlparse(dataset.url).path.endswith(".zip")
        assert not dataset.sha256 or len(bytes.fromhex(dataset.sha256)) == 32


def generated(dataset: Dataset) -> ReadyWindows:
    assert dataset.generate
    return dataset.generate(**dataset.parameters)


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_ones_are_the_same_bytes_every_time(name: str) -> None:
    dataset = load_dataset(name)
    first = open_ready(generated(dataset), Path("first"))
    second = open_ready(generated(dataset), Path("second"))
    assert first.info.fingerprint == second.info.fingerprint
    np.testing.assert_array_equal(first.signals, second.signals)


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_ones_are_whole(name: str) -> None:
    data = open_ready(generated(load_dataset(name)), Path("data"))
    assert data.info.title
    assert data.info.n_missing == 0
    assert data.targets
    for parts in data.splits.values():
        assert set(parts) <= set(SPLITS)
        rows = np.concatenate(list(parts.values()))
        assert len(set(rows.tolist())) == len(rows), "no row in two splits"


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("content", ["nothing", "notes", "a table", "a header"])
def test_files_that_are_not_theirs_are_refused_in_a_line(name: str, content: str, tmp_path: Path) -> None:
    folder = tmp_path / "other files"
    folder.mkdir()
    if content == "notes":
        (folder / "README.md").write_text("holiday pictures")
    elif content == "a table":
        (folder / "table.csv").write_text("when,what\n1,2\n")
    elif content == "a header":
        (folder / "x.hea").write_text("not a header\n")
        (folder / "x.mat").write_bytes(b"nor this")
    read = load_dataset(name).read
    assert read
    with open_archive(folder) as files, pytest.raises(DataError) as caught:
        read(files)
    assert "\n" not in str(caught.value)
