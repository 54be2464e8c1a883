"""The sheet: columns by name, whole rows under concurrency, nothing lost, nothing mistaken for a sheet."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_bio.errors import SheetError
from ssl_bio.results import sheet

LAB = "model_name,task_name,AUC_PR,AUROC,Accuracy,BalancedAccuracy,CohenKappa,F1_weighted,MAE,R2,RMSE"
SHEET = Path("results.csv")


def test_lab_columns_come_first_and_in_order() -> None:
    sheet.append(SHEET, [{"model_name": "a", "task_name": "b", "Accuracy": 0.98765432, "seed": 3}])
    header, row = SHEET.read_text().splitlines()
    metrics = (
        "F1_macro,MAE_constant,mse_batch,mse_regressive,snr_gain,snr_gain_classical,correlation,beat_F1,beat_F1_noisy"
    )
    assert header.startswith(f"{LAB},{metrics},mode,lr,backbone_lr,loss,seed,split,selected_on")
    assert row.startswith("a,b,,,0.9877,,,,,,,")


def test_older_sheet_keeps_its_order_and_extra_columns() -> None:
    SHEET.write_text("task_name,who,model_name,Accuracy\nhar,Ann,old,0.5000\n")
    sheet.append(SHEET, [{"model_name": "new", "task_name": "har", "Accuracy": 0.25}])
    rows = sheet.read(SHEET)
    assert list(rows[0])[:4] == ["task_name", "who", "model_name", "Accuracy"]
    assert set(sheet.columns()) <= set(rows[0])
    assert [row["model_name"] for row in rows] == ["old", "new"]
    assert (rows[0]["who"], rows[1]["who"], rows[1]["Accuracy"]) == ("Ann", "", "0.2500")


def test_lab_sheet_of_eleven_columns_stays_readable() -> None:
    SHEET.write_text(f"{LAB}\nCM-SSL,bidmc_hr,,,,,,,1.8753,0.9628,2.5090\n")
    sheet.append(SHEET, [{"model_name": "har", "task_name": "har", "Accuracy": 1.0}])
    frame = pd.read_csv(SHEET)
    assert len(frame) == 2
    assert frame.MAE[0] == 1.8753
    assert frame.Accuracy[1] == 1.0


def test_line_left_open_by_an_editor_is_closed() -> None:
    sheet.append(SHEET, [{"model_name": "a", "task_name": "b"}])
    SHEET.write_text(SHEET.read_text().rstrip("\n"))
    sheet.append(SHEET, [{"model_name": "c", "task_name": "d"}])
    assert [row["model_name"] for row in sheet.read(SHEET)] == ["a", "c"]


@pytest.mark.parametrize("text", ["x,y\n1,2\n", "hello\n", "model_name,model_name,task_name\n", "\x00\xff"])
def test_what_is_no_sheet_is_refused_and_left_alone(text: str) -> None:
    SHEET.write_bytes(text.encode("latin-1"))
    with pytest.raises(SheetError, match=r"results\.csv"):
        sheet.append(SHEET, [{"model_name": "a", "task_name": "b"}])
    with pytest.raises(SheetError):
        sheet.check(SHEET)
    assert SHEET.read_bytes() == text.encode("latin-1")


def test_folder_and_unwritable_place_are_refused_before_training() -> None:
    Path("folder").mkdir()
    with pytest.raises(SheetError, match="a folder"):
        sheet.check(Path("folder"))
    Path("file").write_text("")
    with pytest.raises(SheetError, match="not a writable folder"):
        sheet.check(Path("file/results.csv"))


@pytest.mark.parametrize("through_a_link", [False, True])
def test_a_pipe_is_refused_and_left_alone(through_a_link: bool) -> None:
    os.mkfifo("pipe")
    path = Path("pipe")
    if through_a_link:
        path = Path("link.csv")
        path.symlink_to("pipe")
    with pytest.raises(SheetError, match="a device or pipe, not a file"):
        sheet.check(path)
    with pytest.raises(SheetError, match="a device or pipe, not a file"):
        sheet.append(path, [{"model_name": "a", "task_name": "b"}])
    assert Path("pipe").is_fifo()
    assert path.is_symlink() == through_a_link


def test_a_device_is_refused() -> None:
    # Only asked beforehand: a test that fails must not replace the machine's device.
    with pytest.raises(SheetError, match="/dev/null: a device or pipe"):
        sheet.check(Path("/dev/null"))


def test_a_link_to_a_sheet_stays_a_link() -> None:
    sheet.append(Path("real.csv"), [{"model_name": "a", "task_name": "t"}])
    SHEET.symlink_to("real.csv")
    sheet.append(SHEET, [{"model_name": "b", "task_name": "t"}])
    assert SHEET.is_symlink()
    assert [row["model_name"] for row in sheet.read(Path("real.csv"))] == ["a", "b"]


class TestRunIds:
    """A row is known by its run and its task, and is there only once."""

    def test_a_row_of_the_same_run_and_task_is_replaced(self) -> None:
        first = {"model_name": "m", "task_name": "t", "run_id": "r1", "Accuracy": 0.5}
        sheet.append(SHEET, [first, {**first, "task_name": "u"}, {**first, "run_id": "r2"}])
        sheet.append(SHEET, [{**first, "Accuracy": 0.75}])
        found = [(row["run_id"], row["task_name"], row["Accuracy"]) for row in sheet.read(SHEET)]
        assert found == [("r1", "u", "0.5000"), ("r2", "t", "0.5000"), ("r1", "t", "0.7500")]

    def test_rows_of_replaced_runs_go(self) -> None:
        rows = [{"model_name": "m", "task_name": "t", "run_id": own} for own in ("a1-x", "b2-x", "b2-y", "a11-x")]
        sheet.append(SHEET, rows)
        new = {"model_name": "m", "task_name": "t", "run_id": "c3-x"}
        sheet.append(SHEET, [new], replaced_runs=["b2", "a1"])
        assert [row["run_id"] for row in sheet.read(SHEET)] == ["a11-x", "c3-x"]

    def test_rows_without_a_run_are_never_replaced(self) -> None:
        for _ in range(3):
            sheet.append(SHEET, [{"model_name": "m", "task_name": "t"}])
        assert len(sheet.read(SHEET)) == 3

    def test_a_sheet_that_knew_no_runs_learns_of_them(self) -> None:
        SHEET.write_text(f"{LAB}\nCM-SSL,t,,,,,,,1.8753,0.9628,2.5090\n")
        for accuracy in (0.5, 0.75):
            sheet.append(SHEET, [{"model_name": "m", "task_name": "t", "run_id": "r1", "Accuracy": accuracy}])
        assert [(row["model_name"], row["Accuracy"]) for row in sheet.read(SHEET)] == [("CM-SSL", ""), ("m", "0.7500")]

    def test_rows_that_somebody_cut_short_stay(self) -> None:
        sheet.append(SHEET, [{"model_name": "m", "task_name": "t", "run_id": "r1"}])
        SHEET.write_text(SHEET.read_text() + "short,t\n")
        sheet.append(SHEET, [{"model_name": "n", "task_name": "t", "run_id": "r1"}])
        assert [row["model_name"] for row in sheet.read(SHEET)] == ["short", "n"]


@given(names=st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])), min_size=1, max_size=4))
def test_any_text_survives(names: list[str]) -> None:
    SHEET.unlink(missing_ok=True)
    for name in names:
        sheet.append(SHEET, [{"model_name": name, "task_name": "t"}])
    assert [row["model_name"] for row in sheet.read(SHEET)] == names


def test_eight_processes_append_fifty_rows_each() -> None:
    code = (
        "import sys; from pathlib import Path; from ssl_bio.results import sheet\n"
        "for i in range(50): sheet.append(Path('results.csv'), [{'model_name': sys.argv[1], 'task_name': str(i)}])"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, f"process{k}"]) for k in range(8)]
    assert [process.wait(timeout=120) for process in running] == [0] * 8
    with SHEET.open(newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header == sheet.columns()
    assert len(rows) == 400
    assert {len(row) for row in rows} == {len(sheet.columns())}
    assert len({(row[0], row[1]) for row in rows}) == 400


@pytest.mark.parametrize(("delimiter", "newline"), [(";", "\r\n"), ("\t", "\n"), (",", "\r\n")])
def test_the_dialect_of_an_existing_sheet_is_kept(delimiter: str, newline: str) -> None:
    path = Path("lab.csv")
    lines = [["model_name", "task_name", "MAE", "note"], ["theirs", "hr", "1.5", "a, b; c"]]
    text = newline.join(delimiter.join(f'"{cell}"' for cell in line) for line in lines) + newline
    path.write_bytes(text.encode())
    sheet.append(path, [{"model_name": "ours", "task_name": "hr", "MAE": 1.25}])
    sheet.append(path, [{"model_name": "ours", "task_name": "rr", "MAE": 2.0}])
    raw = path.read_bytes().decode()
    assert raw.count(newline) == raw.count("\n") == 4
    rows = sheet.read(path)
    assert [row["MAE"] for row in rows] == ["1.5", "1.2500", "2.0000"]
    assert rows[0]["note"] == "a, b; c"


def test_a_replaced_row_keeps_what_the_lab_wrote_beside_it() -> None:
    path = Path("lab.csv")
    row = {"model_name": "ours", "task_name": "hr", "run_id": "abc-1"}
    sheet.append(path, [{**row, "MAE": 1.0}])
    text = path.read_text().splitlines()
    path.write_text(f"{text[0]},note\n{text[1]},outlier in p3\n")
    sheet.append(path, [{**row, "MAE": 2.0}])
    (after,) = sheet.read(path)
    assert (after["MAE"], after["note"]) == ("2.0000", "outlier in p3")
