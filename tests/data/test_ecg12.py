"""The readers of 12-lead ECGs on small WFDB records and tables in the publishers' layouts."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from ssl_bio.data.ecg12 import LEADS, SUPERCLASSES, UNLABELLED, read_csn, read_ptbxl
from ssl_bio.data.physionet import quiet_wfdb
from ssl_bio.data.store import ReadOptions
from ssl_bio.errors import DataError
from tests.data.reading import read

STATEMENTS = """,description,diagnostic,form,rhythm,diagnostic_class,diagnostic_subclass
NDT,non-diagnostic T,1.0,1.0,,STTC,STTC
NORM,normal ECG,1.0,,,NORM,NORM
IMI,inferior MI,1.0,,,MI,IMI
ASMI,anteroseptal MI,1.0,,,MI,AMI
LVH,left ventricular hypertrophy,1.0,,,HYP,LVH
CLBBB,left bundle branch block,1.0,,,CD,CLBBB
SR,sinus rhythm,,,1.0,,
QWAVE,Q waves,,1.0,,,
"""
#: Patient, statements and fold of each record; the last but one has rhythm alone.
RECORDS = [
    (11, "{'NORM': 100.0, 'SR': 0.0}", 1),
    (11, "{'IMI': 35.0, 'ASMI': 100.0, 'LVH': 0.0}", 1),
    (12, "{'NDT': 100.0}", 8),
    (13, "{'CLBBB': 100.0}", 9),
    (14, "{'SR': 0.0, 'QWAVE': 0.0}", 10),
    (15, "{'NORM': 80.0}", 10),
]
EXPECTED = [["NORM"], ["MI", "HYP"], ["STTC"], ["CD"], ["NORM"]]


def signals(number: int, rate: float) -> np.ndarray:
    """(12, samples) in mV: lead i of a record is a sine of i + 1 Hz, its height the record's own."""
    time = np.arange(10 * rate) / rate
    return np.stack([(0.5 + 0.1 * number) * np.sin(2 * np.pi * (lead + 1) * time) for lead in range(12)])


def write_ptbxl(folder: Path, rates: tuple[int, ...] = (100, 500)) -> Path:
    lines = ["ecg_id,patient_id,age,scp_codes,report,strat_fold,filename_lr,filename_hr"]
    for number, (patient, codes, fold) in enumerate(RECORDS, 1):
        low, high = f"records100/00000/{number:05d}_lr", f"records500/00000/{number:05d}_hr"
        lines.append(f'{number},{patient}.0,56.0,"{codes}",sinusrhythmus,{fold},{low},{high}')
        for rate, name in ((100, low), (500, high)):
            if rate in rates:
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                values, units, fmt = signals(number, rate).T, ["mV"] * 12, ["16"] * 12
                with quiet_wfdb() as wfdb:
                    wfdb.wrsamp(path.name, rate, units, list(LEADS), values, fmt=fmt, write_dir=str(path.parent))
    (folder / "ptbxl_database.csv").write_text("\n".join(lines) + "\n")
    (folder / "scp_statements.csv").write_text(STATEMENTS)
    return folder


def names(labels: np.ndarray, classes: tuple[str, ...]) -> list[list[str]]:
    return [[name for name, is_there in zip(classes, row, strict=True) if is_there] for row in labels]


def test_ptbxl_windows_superclasses_and_folds(tmp_path: Path) -> None:
    data = read(read_ptbxl, write_ptbxl(tmp_path / "ptb-xl"))
    assert data.signals.shape == (5, 12, 1000)
    assert data.info.channels == LEADS
    np.testing.assert_allclose(data.signals[1], signals(2, 100), atol=1e-3)
    info, labels = data.target("superclass")
    assert (info.kind, info.classes, labels.dtype.name) == ("labels", SUPERCLASSES, "int8")
    assert names(labels, SUPERCLASSES) == EXPECTED
    assert data.info.dropped == {UNLABELLED: 1}
    assert data.subjects.tolist() == ["11", "11", "12", "13", "15"]
    parts = {part: data.rows("subject", part).tolist() for part in ("train", "val", "test")}
    assert parts == {"train": [0, 1, 2], "val": [3], "test": [4]}
    assert data.info.overlap["subject"]["train/test"].subjects == 0


def test_ptbxl_reads_the_records_of_the_rate(tmp_path: Path) -> None:
    folder = write_ptbxl(tmp_path / "ptb-xl")
    fine = read(read_ptbxl, folder, ReadOptions(sampling_rate=500))
    assert fine.info.length == 5000
    np.testing.assert_allclose(fine.signals[0], signals(1, 500), atol=1e-3)
    coarse = read(read_ptbxl, folder, ReadOptions(sampling_rate=50))
    assert coarse.info.length == 500
    shutil.rmtree(folder / "records500")
    raised = read(read_ptbxl, folder, ReadOptions(sampling_rate=500))
    np.testing.assert_allclose(raised.signals[0, :, 500:-500], signals(1, 500)[:, 500:-500], atol=0.02)


def test_ptbxl_of_records500_alone(tmp_path: Path) -> None:
    data = read(read_ptbxl, write_ptbxl(tmp_path / "ptb-xl", rates=(500,)))
    assert data.info.length == 1000
    np.testing.assert_allclose(data.signals[0, :, 50:-50], signals(1, 100)[:, 50:-50], atol=0.02)


def test_ptbxl_from_a_zip_in_parts(tmp_path: Path) -> None:
    write_ptbxl(tmp_path / "x/ptb-xl-1.0.3")
    path = Path(shutil.make_archive(str(tmp_path / "p"), "zip", tmp_path / "x"))
    data = read(read_ptbxl, path, ReadOptions(window=4, stride=3))
    assert data.signals.shape == (5 * 3, 12, 400)
    np.testing.assert_allclose(data.signals[1], signals(1, 100)[:, 300:700], atol=1e-3)
    assert names(data.targets["superclass"], SUPERCLASSES)[3:6] == [["MI", "HYP"]] * 3


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("ptbxl_database.csv", "scp_codes", "codes", r"ptbxl_database\.csv: no column scp_codes; it has ecg_id"),
        ("ptbxl_database.csv", "{'NDT': 100.0}", "__import__('os')", r"ptbxl_database\.csv, line 4: cannot be under"),
        ("ptbxl_database.csv", "12.0,56.0", "x,56.0", r"ptbxl_database\.csv, line 4: .*'x'"),
        ("ptbxl_database.csv", "sinusrhythmus,8", "sinusrhythmus,11", r"ptbxl_database\.csv, line 4: .*fold 11"),
        ("ptbxl_database.csv", "12.0,56.0", "11.0,56.0", "patient 11 is in folds 1 and 8"),
        ("scp_statements.csv", ",HYP,", ",OTHER,", r"scp_statements\.csv: diagnostic classes OTHER; known are NORM"),
        ("scp_statements.csv", ",1.0,", ",0,", r"scp_statements\.csv: diagnostic classes none"),
    ],
)
def test_ptbxl_bad_tables_are_named(tmp_path: Path, name: str, old: str, new: str, message: str) -> None:
    path = write_ptbxl(tmp_path / "ptb-xl", rates=(100,)) / name
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match=message):
        read(read_ptbxl, path.parent)


def test_ptbxl_missing_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no ptbxl_database\.csv inside"):
        read(read_ptbxl, tmp_path)
    folder = write_ptbxl(tmp_path / "ptb-xl", rates=(100,))
    (folder / "records100/00000/00002_lr.dat").unlink()
    with pytest.raises(DataError, match=r"no records100/00000/00002_lr\.dat inside"):
        read(read_ptbxl, folder)
    assert len(read(read_ptbxl, folder, max_skipped=0.2).signals) == 4


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
    data = read(read_csn, write_csn(tmp_path / "csn"))
    assert data.signals.shape == (11, 12, 1250)
    assert data.info.sampling_rate == 125
    assert data.info.channels == LEADS
    row = data.subjects.tolist().index("JS00001")
    np.testing.assert_allclose(data.signals[row, :, 50:-50], signals(1, 125)[:, 50:-50], atol=0.01)
    info, labels = data.target("diagnosis")
    assert (info.kind, info.classes, labels.dtype.name) == ("labels", CLASSES, "int8")
    found = dict(zip(data.subjects.tolist(), names(labels, CLASSES), strict=True))
    assert found["JS00001"] == ["MI", "SB"]
    assert found["JS00003"] == ["999", "SB"]
    assert found["JS00004"] == ["VEB (75532003)"]
    assert "JS00006" not in found
    assert data.info.dropped == {UNLABELLED: 1}
    assert [len(data.rows("subject", part)) for part in ("train", "val", "test")] == [9, 1, 1]


def test_csn_from_a_zip_without_names(tmp_path: Path) -> None:
    write_csn(tmp_path / "x", conditions=False)
    path = Path(shutil.make_archive(str(tmp_path / "c"), "zip", tmp_path / "x"))
    data = read(read_csn, path, ReadOptions(sampling_rate=500, window=2, stride=2, standardize="record"))
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
    data = read(read_csn, folder, max_skipped=0.3)
    why = {name.rpartition("/")[2]: text for name, text in data.info.skipped.items()}
    assert why.keys() == {"JS00002", "JS00008", "JS00009"}
    assert "record JS00002: cannot be read" in why["JS00002"]
    assert "no lead V6; it has I, II, III, aVR" in why["JS00009"]
    assert len(data.signals) == 8


def test_csn_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \*\.hea file"):
        read(read_csn, tmp_path)
    folder = write_csn(tmp_path / "csn")
    for path in folder.rglob("*.hea"):
        path.write_text(path.read_text().replace("#Dx", "#Tx"))
    with pytest.raises(DataError, match="no header has a line '#Dx: CODE'"):
        read(read_csn, folder)
