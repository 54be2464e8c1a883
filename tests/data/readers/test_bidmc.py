"""The BIDMC reader on small files in the publisher's two layouts, and on the real archive."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ssl_bio.data.formats.wfdb_records import quiet_wfdb
from ssl_bio.data.options import WindowOptions
from ssl_bio.data.readers import cinc2017, dalia, synthetic
from ssl_bio.data.readers.bidmc import DATASET
from ssl_bio.data.registry import Dataset
from ssl_bio.data.respiration import respiratory_modulations
from ssl_bio.errors import DataError
from tests.data.reading import ingest_ready, read_with

RATE = 125
SECONDS = 30
LEADS = {"RESP": 0.3, "PLETH": 1.5, "V": 7.0, "II": 5.0}  # and the frequency of its sine in Hz
BREATHS = np.arange(1, 30, 4) * RATE  # at 1, 5, 9 ... 29 s


def numerics() -> pd.DataFrame:
    """The monitor's numbers: HR rises by one a second, is missing from 10 to 21 s, and 0 at 2 s."""
    second = np.arange(SECONDS + 1)
    heart = 60.0 + second
    heart[10:22] = np.nan
    heart[2] = 0
    return pd.DataFrame({"Time [s]": second, "HR": heart, "PULSE": 70.0, "RESP": 14.0 + (second >= 20), "SpO2": 97.0})


def signals() -> pd.DataFrame:
    time = np.arange(SECONDS * RATE + 1) / RATE
    return pd.DataFrame({"Time [s]": time, **{name: np.sin(2 * np.pi * f * time) for name, f in LEADS.items()}})


def write_tables(folder: Path, n: int = 3) -> Path:
    """As bidmc_csv/: a blank before each name, the shorter annotator's column filled with NaN."""
    folder.mkdir()
    other = np.append(BREATHS + 5, [SECONDS * RATE - 3])
    lines = [f"{first},{second}" for first, second in zip([*BREATHS, "NaN"], other, strict=True)]
    for number in range(1, n + 1):
        stem = folder / f"bidmc_{number:02d}"
        for part, table in (("Signals", signals()), ("Numerics", numerics())):
            table.columns = [("" if name == "Time [s]" else " ") + name for name in table.columns]
            table.to_csv(f"{stem}_{part}.csv", index=False, na_rep="NaN")
        head = "breaths ann1 [signal sample no], breaths ann2 [signal sample no]"
        Path(f"{stem}_Breaths.csv").write_text("\n".join([head, *lines]) + "\n")
        Path(f"{stem}_Fix.txt").write_text(f"bidmc_{number:02d}\nAge: 88\n")
    return folder


def write_wfdb(folder: Path, n: int = 3) -> Path:
    """As bidmc_wfdb/: a comma behind each name, both annotators in one file, one after the other."""
    folder.mkdir()
    samples = np.concatenate([BREATHS, BREATHS + 5])
    notes = ["ann1"] * len(BREATHS) + ["ann2"] * len(BREATHS)
    order = np.argsort(samples, kind="stable")
    for number in range(1, n + 1):
        name = f"bidmc{number:02d}"
        for record, table, rate in ((name, signals(), RATE), (f"{name}n", numerics(), 1)):
            leads = [f"{lead}," for lead in table.columns[1:]]
            values, fmt = table.to_numpy()[:, 1:], ["16"] * len(leads)
            with quiet_wfdb() as wfdb:
                wfdb.wrsamp(record, rate, ["mV"] * len(leads), leads, values, fmt=fmt, write_dir=str(folder))
        with quiet_wfdb() as wfdb:
            labels = [notes[index] for index in order]
            wfdb.wrann(name, "breath", samples[order], ['"'] * len(order), aux_note=labels, write_dir=str(folder))
    return folder


@pytest.mark.parametrize("write", [write_tables, write_wfdb])
def test_windows_rates_and_people(tmp_path: Path, write: type) -> None:
    data = read_with(DATASET, write(tmp_path / "bidmc"))
    assert data.info.channels == ("ppg", "ecg", "resp")
    assert data.info.sampling_rate == RATE
    assert data.signals.shape == (3 * 11, 3, 1250)  # begins at 0, 2 ... 20 s
    expected = signals()
    for index, name in enumerate(("PLETH", "II", "RESP")):
        np.testing.assert_allclose(data.signals[1, index], expected[name][250:1500], atol=2e-4)
    assert data.subjects.tolist() == ["01"] * 11 + ["02"] * 11 + ["03"] * 11
    heart = data.targets["hr"][:11]
    assert heart[0] == pytest.approx(np.mean([60, 61, 63, 64, 65, 66, 67, 68, 69]), abs=0.01), "the 0 is missing"
    assert heart[1] == pytest.approx(np.mean([63, 64, 65, 66, 67, 68, 69]), abs=0.01), "2 to 12 s, of which 10 on no"
    assert np.isnan(heart[5:7]).all(), "nothing from 10 to 20 s"
    assert heart[7] == pytest.approx(60 + 22.5, abs=0.01), "14 to 24 s"
    np.testing.assert_allclose(data.targets["pulse"], 70, atol=0.01)
    assert data.targets["rr_monitor"][:11].tolist() == pytest.approx([14] * 6 + [14.2, 14.4, 14.6, 14.8, 15], abs=0.01)
    breaths = [3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3]  # of annotator 1: [0, 10) holds 1, 5, 9 s; [2, 12) holds 5, 9 s
    assert data.targets["rr"][:11].tolist() == [6 * n for n in breaths]
    np.testing.assert_allclose(np.asarray(data.targets["rr_hz"]) * 60, data.targets["rr"], rtol=1e-6)
    assert {name for name, info in data.info.targets.items() if info.kind != "value"} == {"breaths"}
    assert next(iter(data.info.targets)) == "hr"


def test_both_layouts_together_are_read_once(tmp_path: Path) -> None:
    write_tables(tmp_path / "bidmc")
    write_wfdb(tmp_path / "bidmc/bidmc_wfdb")
    assert read_with(DATASET, tmp_path / "bidmc").info.n_records == 3


def test_a_zip_and_other_cuts(tmp_path: Path) -> None:
    write_tables(tmp_path / "bidmc")
    path = Path(shutil.make_archive(str(tmp_path / "b"), "zip", tmp_path, "bidmc"))
    options = WindowOptions(window=20, stride=10, sampling_rate=50)
    data = read_with(DATASET, path, options)
    np.testing.assert_array_equal(data.signals, read_with(DATASET, tmp_path / "bidmc", options).signals)
    assert data.signals.shape == (6, 3, 1000)
    assert np.asarray(data.targets["rr"]).tolist() == [15] * 6, "5 breaths in 20 s"


@pytest.mark.parametrize("write", [write_tables, write_wfdb])
def test_breathing_in_place_of_the_channels(tmp_path: Path, write: type) -> None:
    options = WindowOptions(sampling_rate=4, context=5, derive="breathing")
    folder = write(tmp_path / "bidmc")
    data = read_with(DATASET, folder, options)
    assert data.info.channels == ("ppg", "baseline", "peak", "amplitude", "interval", "width", "slope")
    assert (data.info.sampling_rate, data.info.unit) == (4, "local deviations")
    assert data.signals.shape == (3 * 11, 7, 80), "10 s, and 5 s on either side"
    expected = respiratory_modulations(signals()["PLETH"].to_numpy(), RATE)
    for row, begin in ((3, 6), (4, 8)):
        seen = expected[:, 4 * (begin - 5) : 4 * (begin + 15)]
        np.testing.assert_allclose(data.signals[row], seen, atol=1e-5 if write is write_tables else 0.2)
    plain = read_with(DATASET, folder, WindowOptions(derive="none"))
    assert plain.info.channels == ("ppg", "ecg", "resp")
    assert data.targets.keys() == plain.targets.keys()
    for name, values in plain.targets.items():
        if name != "breaths":
            np.testing.assert_array_equal(data.targets[name], values)
    breaths = data.targets["breaths"]
    assert breaths.shape == (3 * 11, 80)
    assert (breaths[0, :20] == -1).all(), "nothing is known of the 5 s before the record"
    assert np.flatnonzero(breaths[1] == 1).tolist() == [4 * (at + 3) for at in (1, 5, 9, 13)], "shown from -3 s on"
    counting = data.info.targets["rr"].counts
    assert counting is not None
    inside = (breaths[:, 40 - counting.span // 2 : 40 + counting.span // 2] > 0).sum(axis=1)
    np.testing.assert_array_equal(counting.weight * inside, data.targets["rr"])
    assert options.label("bidmc") == "bidmc-hz4-around5-derive-breathing"


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (dalia.DATASET, r"^data\.derive: this dataset has no derived channels; bidmc offers"),
        (cinc2017.DATASET, r"^data\.derive: this dataset has no derived channels; bidmc offers"),
        (synthetic.DATASET, r"^data\.derive: this dataset's windows come ready-made"),
    ],
)
def test_other_datasets_refuse_to_derive(other: Dataset, message: str) -> None:
    store = ingest_ready(synthetic.generate(n_subjects=6, windows_per_subject=4, seed=0))
    with pytest.raises(DataError, match=message):
        other.windowing(store, WindowOptions(derive="breathing"))


def test_records_of_one_patient_are_one_person(tmp_path: Path) -> None:
    folder = write_tables(tmp_path / "bidmc")
    for number, patient in ((1, "s03386"), (3, "s03386")):
        (folder / f"bidmc_{number:02d}_Fix.txt").write_text(f"MIMIC II matched wdb ID: {patient}\nAge: 64\n")
    people, counts = np.unique(read_with(DATASET, folder).subjects, return_counts=True)
    assert people.tolist() == ["02", "s03386"]
    assert counts[1] == 2 * counts[0]


def test_people_are_split(tmp_path: Path) -> None:
    data = read_with(DATASET, write_tables(tmp_path / "bidmc", n=10))
    parts = data.splits["subject"]
    assert [len(parts[name]) // 11 for name in ("train", "val", "test")] == [8, 1, 1]
    assert data.info.overlap["subject"]["train/test"].subjects == 0


def test_a_broken_person_is_skipped_and_named(tmp_path: Path) -> None:
    folder = write_tables(tmp_path / "bidmc")
    path = folder / "bidmc_02_Signals.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2000]))
    with pytest.raises(DataError, match=r"bidmc_02: 15\.984 s of signals but 30 s of numerics: truncated\?"):
        read_with(DATASET, folder)
    assert read_with(DATASET, folder, max_skipped=0.4).info.skipped.keys() == {"bidmc_02"}


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (
            "bidmc_01_Signals.csv",
            " PLETH",
            " OTHER",
            r"bidmc_01_Signals\.csv: no column PLETH; it has Time \[s\], RESP",
        ),
        ("bidmc_01_Numerics.csv", "70.0", "seventy", r"bidmc_01_Numerics\.csv: not a table of numbers .*seventy"),
        ("bidmc_01_Breaths.csv", "ann1", "annX", r"bidmc_01_Breaths\.csv: no column breaths ann1"),
    ],
)
def test_bad_tables_are_named(tmp_path: Path, name: str, old: str, new: str, message: str) -> None:
    folder = write_tables(tmp_path / "bidmc")
    (folder / name).write_text((folder / name).read_text().replace(old, new))
    with pytest.raises(DataError, match=message):
        read_with(DATASET, folder)


@pytest.mark.parametrize(
    ("victim", "message"),
    [("bidmc01.breath", r"no bidmc01\.breath inside"), ("bidmc01n.dat", r"no bidmc01n\.dat inside")],
)
def test_missing_files_of_a_record_are_named(tmp_path: Path, victim: str, message: str) -> None:
    folder = write_wfdb(tmp_path / "bidmc")
    (folder / victim).unlink()
    with pytest.raises(DataError, match=message):
        read_with(DATASET, folder)


def test_records_without_a_lead_or_whole_annotation(tmp_path: Path) -> None:
    folder = write_wfdb(tmp_path / "bidmc")
    header = folder / "bidmc01.hea"
    whole = header.read_text()
    header.write_text(whole.replace("PLETH,", "OTHER,"))
    with pytest.raises(DataError, match="record bidmc01: no lead PLETH; it has RESP, OTHER, V, II"):
        read_with(DATASET, folder)
    header.write_text(whole)
    (folder / "bidmc01.breath").write_bytes(b"\x00")
    with pytest.raises(DataError, match="record bidmc01: cannot be read"):
        read_with(DATASET, folder)


def test_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not BIDMC"):
        read_with(DATASET, tmp_path)


def test_real_archive(real_archive: Path) -> None:
    data = read_with(DATASET, real_archive / "bidmc-ppg-and-respiration-dataset-1.0.0.zip")
    assert data.info.n_records in (47, 53), "of which some lack in the test copy"
    assert len(data.signals) == 236 * data.info.n_records
    assert len(np.unique(data.subjects)) == 42 or data.info.n_records == 53, "several records are of one patient"
    assert (data.subjects == "s11342").sum() == 4 * 236
    assert data.info.n_missing == 0
    assert 80 < np.nanmean(data.targets["hr"]) < 95
    assert 14 < np.asarray(data.targets["rr"]).mean() < 19
    assert abs(np.nanmean(np.asarray(data.targets["rr_monitor"])) - np.asarray(data.targets["rr"]).mean()) < 1
