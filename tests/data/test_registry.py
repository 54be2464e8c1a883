"""Datasets by name: loaded when asked for, added by other packages, and what is wrong with one said in a line."""

import subprocess
import sys

import pytest

from ssl_bio.data.registry import DATASETS, Dataset, dataset_names, load_dataset
from ssl_bio.errors import DataError
from tests.data import toy
from tests.data.plugins import installed

SLOW = ("torch", "pandas", "scipy", "wfdb", "h5py", "sklearn", "matplotlib", "pooch", "requests")


def test_another_package_adds_a_dataset() -> None:
    with installed(toy="tests.data.toy:DATASET"):
        assert dataset_names() == [*DATASETS, "toy"]
        assert load_dataset("toy") is toy.DATASET
    assert dataset_names() == list(DATASETS)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("toy", "tests.data.nothing:DATASET", r"'toy': tests\.data\.nothing:DATASET cannot be imported"),
        ("toy", "tests.data.toy:NOTHING", r"'toy': tests\.data\.toy:NOTHING cannot be imported"),
        ("toy", "tests.data.toy:NOT_A_DATASET", r"'toy': a int, not an ssl_bio\.data\.registry\.Dataset"),
        ("har", "tests.data.toy:DATASET", r"'har' has the name of one of ssl-bio itself"),
    ],
)
def test_broken_plugins_are_named_in_a_line(name: str, value: str, message: str) -> None:
    with installed(**{name: value}), pytest.raises(DataError, match=message) as caught:
        load_dataset(name)
    assert "\n" not in str(caught.value)


def test_a_broken_plugin_does_not_disturb_the_others() -> None:
    with installed(toy="tests.data.nothing:DATASET"):
        assert load_dataset("har").url


def test_unknown_names_have_the_nearest_one() -> None:
    with pytest.raises(DataError, match=r"^data\.dataset: no dataset 'mitbd' .*did you mean 'mitdb'"):
        load_dataset("mitbd")


def test_a_declaration_reads_or_generates() -> None:
    with pytest.raises(TypeError, match="one of read and generate"):
        Dataset(title="x")


def test_no_slow_library_is_imported_to_list_datasets() -> None:
    code = (
        "import sys; from ssl_bio.data import catalog, registry, window_store; "
        "[registry.load_dataset(name) for name in registry.dataset_names()]; "
        f"print([name for name in {SLOW!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
