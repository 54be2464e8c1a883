"""Tables grow part by part and appear whole or not at all."""

import os
import stat
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ssl_bio.errors import DataError
from ssl_bio.results.output_table import SUFFIXES, check_output, open_table

FIRST = {"recording": np.array(["a", "a"]), "start": np.array([0.0, 10.0]), "rate": np.array([61.23456789, np.nan])}
SECOND = {"recording": np.array(["a longer name"]), "start": np.array([0.0]), "rate": np.array([1.5])}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_parts_follow_one_another(suffix: str) -> None:
    path = Path(f"table{suffix}")
    with open_table(path) as append:
        append(FIRST)
        append(SECOND)
        assert not path.exists(), "not before it is whole"
    table = pd.read_csv(path) if suffix == ".csv" else pd.read_parquet(path)
    assert table["recording"].tolist() == ["a", "a", "a longer name"]
    np.testing.assert_allclose(table["rate"], [61.23457, np.nan, 1.5], atol=1e-5)
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
    assert [entry.name for entry in Path().iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_interrupted_leaves_the_old_table(suffix: str) -> None:
    path = Path(f"table{suffix}")
    path.write_text("old")

    def interrupted() -> None:
        with open_table(path) as append:
            append(FIRST)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert [entry.name for entry in Path().iterdir()] == [path.name]


def test_what_cannot_be_an_output() -> None:
    Path("folder.csv").mkdir()
    Path("old.csv").write_text("x")
    for path, message in (
        ("a.txt", r"one of \.csv, \.parquet is wanted"),
        ("nowhere/a.csv", "no folder nowhere"),
        ("folder.csv", "a folder; give a file name"),
        ("old.csv", "is there already"),
    ):
        with pytest.raises(DataError, match=message):
            check_output(Path(path), SUFFIXES, overwrite=False)
    check_output(Path("old.csv"), SUFFIXES, overwrite=True)
