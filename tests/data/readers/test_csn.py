"""The reader of Chapman-Shaoxing-Ningbo on small WFDB records in the publisher's layout."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from ssl_bio.data.options import WindowOptions
from ssl_bio.data.readers.csn import DATASET
from ssl_bio.data.readers.twelve_leads import LEADS, UNLABELLED
from ssl_bio.errors import DataError
from tests.data.ecg_records import names, signals
from tests.data.reading import read_with

CONDITIONS = """\ufeffAcronym Name,Full Name,Snomed_CT
1AVB,1 degree atrioventricular block,270492004
SB,Sinus Bradycardia,426177001
SR,Sinus Rhythm,426783006
MI,myocardial infarction,164865005
MIFW,myocardial infarction in the front wall,164865005
VEB,ventricular escape beat,75532003
VEB,ventricular escape beat,11157007
,,
"""
DIAGNOSES = ["426177001,164865005", "426783006", "426177001,999", "75532003", "11157007", "", *["426783006"] * 6]
#: In the order of the codes.
CLASSES = ("999", "VEB (11157007)", "VEB (75532003)", "MI", "SB", "SR")


def write_csn(folder: Path, conditions: bool = True) -> Path:
    """Records as the publisher writes them: MATLAB 4 files of int16 with the leads in another spelling."""
    for number, codes in enumerate(DIAGNOSES, 1):
        name = f"JS{number:05d}"
        place = folder / f"WFDBRecords/01/{10 + number % 2:03d}"
        place.mkdir(parents=True, exist_ok=True)
        values = (1000 * signals(number % 5, 500)).astype(np.int16)
        savemat(place / f"{name}.mat", {"val": values}, format="4")
        leads = [lead.replace("AV", "aV") for lead in LEADS]
        lines = [f"{name} 12 500 5000"]
        lines += [f"{name}.mat 16+24 1000/mV 16 0 {row[0]} 0 0 {lead}" for lead, row in zip(leads, values, strict=True)]
        lines += ["#Age: 85", "#Sex: Male", f"#Dx: {codes}", "#Rx: Unknown", "#Hx: Unknown"]
        (place / f"{name}.hea").write_text("\n".join(lines) + "\n")
    if conditions:
        (folder / "ConditionNames_SNOMED-CT.csv").write_text(CONDITIONS)
    return folder


def test_csn_windows_and_diagnoses(tmp_path: Path) -> None:
    data = read_with(DATASET, write_csn(tmp_path / "csn"))
    assert data.signals.shape == (11, 12, 1250)
    assert data.info.sampling_rate == 125
    assert data.info.channels == LEADS
    row = data.subjects.tolist().index("JS00001")
    np.testing.assert_allclose(data.signals[row, :, 50:-50], signals(1, 125)[:, 50:-50], atol=0.01)
    info, labels = data.target("diagnosis")
    assert (info.kind, info.classes, labels.dtype.name) == ("labels", CLASSES, "int8")
    found = dict(zip(data.subjects.tolist(), names(np.asarray(labels), CLASSES), strict=True))
    assert found["JS00001"] == ["MI", "SB"]
    assert found["JS00003"] == ["999", "SB"]
    assert found["JS00004"] == ["VEB (75532003)"]
    assert "JS00006" not in found
    assert data.info.dropped == {UNLABELLED: 1}
    assert [len(data.rows("subject", part)) for part in ("train", "val", "test")] == [9, 1, 1]


def test_csn_from_a_zip_without_names(tmp_path: Path) -> None:
    write_csn(tmp_path / "x", conditions=False)
    path = Path(shutil.make_archive(str(tmp_path / "c"), "zip", tmp_path / "x"))
    data = read_with(DATASET, path, WindowOptions(sampling_rate=500, window=2, stride=2, standardize="record"))
    assert data.info.targets["diagnosis"].classes == (
        "999", "11157007", "75532003", "164865005", "426177001", "426783006"
    )  # fmt: skip
    assert data.signals.shape == (55, 12, 1000)
    assert data.info.unit == "deviations of the record"


def test_csn_broken_records_are_skipped_and_counted(tmp_path: Path) -> None:
    folder = write_csn(tmp_path / "csn")
    (header,) = folder.rglob("JS00002.hea")
    header.write_text("")
    (values,) = folder.rglob("JS00008.mat")
    values.unlink()
    (other,) = folder.rglob("JS00009.hea")
    other.write_text(other.read_text().replace(" V6", " Z"))
    data = read_with(DATASET, folder, max_skipped=0.3)
    why = {name.rpartition("/")[2]: text for name, text in data.info.skipped.items()}
    assert why.keys() == {"JS00002", "JS00008", "JS00009"}
    assert "record JS00002: cannot be read" in why["JS00002"]
    assert "no lead V6; it has I, II, III, AVR" in why["JS00009"]
    assert len(data.signals) == 8


def test_csn_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \*\.hea file"):
        read_with(DATASET, tmp_path)
    folder = write_csn(tmp_path / "csn")
    for path in folder.rglob("*.hea"):
        path.write_text(path.read_text().replace("#Dx", "#Tx"))
    with pytest.raises(DataError, match="no header has a line '#Dx: CODE'"):
        read_with(DATASET, folder)
