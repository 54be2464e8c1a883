"""WFDB records: samples come from files beside the header and from nowhere else."""

from pathlib import Path

import numpy as np
import pytest

from ssl_bio.data.formats.signal_files import open_file
from ssl_bio.data.formats.wfdb_records import read_record
from ssl_bio.errors import DataError


def write(folder: Path, header: str) -> Path:
    """A header, samples beside it, and samples that are nobody's business in the folder above."""
    (folder / "inside").mkdir()
    for name in ("secret.dat", "inside/a.dat"):
        np.arange(60, dtype="<i2").tofile(folder / name)
    (folder / "secret.hea").write_text("secret 1 100 60\nsecret.dat 16 200/mV\n")
    (folder / "inside/a.hea").write_text("a 2 100 30\na.dat 16 200/mV 16 0 0 0 0 I,\na.dat 16 200/mV 16 0 0 0 0 II\n")
    (folder / "inside/x.hea").write_text(header.format(folder=folder))
    return folder / "inside/x"


def test_a_record_and_its_leads(tmp_path: Path) -> None:
    record = read_record(write(tmp_path, "").with_name("a"))
    assert (record.name, record.sampling_rate, record.leads) == ("a", 100, ("I", "II"))
    np.testing.assert_allclose(record.select(("II", "I"))[:, 1], [3 / 200, 2 / 200])
    with pytest.raises(DataError, match=r"^record a: no lead V1; it has I, II$"):
        record.select(("I", "V1"))


@pytest.mark.parametrize(
    "header",
    [
        "x 1 100 60\n../secret.dat 16 200/mV\n",
        "x 1 100 60\n{folder}/secret.dat 16 200/mV\n",
        "x/2 1 100 90\na 30\n../secret 60\n",
    ],
)
def test_headers_that_lead_to_other_folders_are_refused(tmp_path: Path, header: str) -> None:
    path = write(tmp_path, header)
    with pytest.raises(DataError, match=r"^record x: cannot be read"):
        read_record(path)
    with (
        pytest.raises(DataError, match=r"^record x: cannot be read"),
        open_file(path.with_suffix(".hea"), tmp_path),
    ):
        pytest.fail("it was opened")


def test_segments_that_lead_to_other_folders_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "x/2 1 100 90\na 30\nb 60\n")
    path.with_name("b.hea").write_text("b 1 100 60\n../secret.dat 16 200/mV\n")
    with pytest.raises(DataError, match=r"^record x: cannot be read"):
        read_record(path)
