"""The PTB-XL reader on small WFDB records and tables in the publisher's layout."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from ssl_bio.data.formats.wfdb_records import quiet_wfdb
from ssl_bio.data.options import WindowOptions
from ssl_bio.data.readers.ptbxl import DATASET, SUPERCLASSES
from ssl_bio.data.readers.twelve_leads import LEADS, UNLABELLED
from ssl_bio.errors import DataError
from tests.data.ecg_records import names, signals
from tests.data.reading import read_with

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


def test_ptbxl_windows_superclasses_and_folds(tmp_path: Path) -> None:
    data = read_with(DATASET, write_ptbxl(tmp_path / "ptb-xl"))
    assert data.signals.shape == (5, 12, 1000)
    assert data.info.channels == LEADS
    np.testing.assert_allclose(data.signals[1], signals(2, 100), atol=1e-3)
    info, labels = data.target("superclass")
    assert (info.kind, info.classes, labels.dtype.name) == ("labels", SUPERCLASSES, "int8")
    assert names(np.asarray(labels), SUPERCLASSES) == EXPECTED
    assert data.info.dropped == {UNLABELLED: 1}
    assert data.subjects.tolist() == ["11", "11", "12", "13", "15"]
    parts = {part: data.rows("subject", part).tolist() for part in ("train", "val", "test")}
    assert parts == {"train": [0, 1, 2], "val": [3], "test": [4]}
    assert data.info.overlap["subject"]["train/test"].subjects == 0


def test_ptbxl_reads_the_records_of_the_rate(tmp_path: Path) -> None:
    folder = write_ptbxl(tmp_path / "ptb-xl")
    fine = read_with(DATASET, folder, WindowOptions(sampling_rate=500))
    assert fine.info.length == 5000
    np.testing.assert_allclose(fine.signals[0], signals(1, 500), atol=1e-3)
    coarse = read_with(DATASET, folder, WindowOptions(sampling_rate=50))
    assert coarse.info.length == 500
    shutil.rmtree(folder / "records500")
    raised = read_with(DATASET, folder, WindowOptions(sampling_rate=500))
    np.testing.assert_allclose(raised.signals[0, :, 500:-500], signals(1, 500)[:, 500:-500], atol=0.02)


def test_ptbxl_of_records500_alone(tmp_path: Path) -> None:
    data = read_with(DATASET, write_ptbxl(tmp_path / "ptb-xl", rates=(500,)))
    assert data.info.length == 1000
    np.testing.assert_allclose(data.signals[0, :, 50:-50], signals(1, 100)[:, 50:-50], atol=0.02)


def test_ptbxl_from_a_zip_in_parts(tmp_path: Path) -> None:
    write_ptbxl(tmp_path / "x/ptb-xl-1.0.3")
    path = Path(shutil.make_archive(str(tmp_path / "p"), "zip", tmp_path / "x"))
    data = read_with(DATASET, path, WindowOptions(window=4, stride=3))
    assert data.signals.shape == (5 * 3, 12, 400)
    np.testing.assert_allclose(data.signals[1], signals(1, 100)[:, 300:700], atol=1e-3)
    assert names(np.asarray(data.targets["superclass"]), SUPERCLASSES)[3:6] == [["MI", "HYP"]] * 3


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
        read_with(DATASET, path.parent)


def test_ptbxl_missing_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no ptbxl_database\.csv inside"):
        read_with(DATASET, tmp_path)
    folder = write_ptbxl(tmp_path / "ptb-xl", rates=(100,))
    (folder / "records100/00000/00002_lr.dat").unlink()
    with pytest.raises(DataError, match=r"no records100/00000/00002_lr\.dat inside"):
        read_with(DATASET, folder)
    assert len(read_with(DATASET, folder, max_skipped=0.2).signals) == 4


def test_a_table_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    folder = write_ptbxl(tmp_path / "ptb-xl", rates=(100,))
    shutil.move(folder / "records100/00000", tmp_path / "elsewhere")
    table = folder / "ptbxl_database.csv"
    table.write_text(table.read_text().replace("records100/00000/", "../elsewhere/"))
    with pytest.raises(DataError, match=r"'\.\./elsewhere/00001_lr\.hea' leads out of the folder"):
        read_with(DATASET, folder)
