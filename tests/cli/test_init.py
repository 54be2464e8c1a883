"""`init`: from a folder of recordings to a recipe that runs, through the real command line."""

import csv
import tomllib
from pathlib import Path

import numpy as np
import pytest

from ssl_bio.data.survey import guess_subjects
from ssl_bio.results import sheet
from tests.command_line import refused, succeed


def write_recordings(folder: Path, names: list[str], *, seconds: float = 20, rate: float = 20.0) -> Path:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        time = np.arange(round(seconds * rate)) / rate
        wave = np.sin(2 * np.pi * (1 + 0.1 * number) * time)
        lines = "".join(f"{moment:.3f},{value:.5f}\n" for moment, value in zip(time, wave, strict=True))
        path.write_text("time [s],ppg [mV]\n" + lines)
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_from_files_to_a_finetuned_run(tmp_path: Path) -> None:
    folder = write_recordings(tmp_path / "Night Shift", [f"sub-{number:02d}/day{number}.csv" for number in range(6)])
    labels = "".join(f"day{number},{60 + 6 * number}\n" for number in range(6))
    (folder / "labels.csv").write_text("recording,heart_rate\n" + labels)
    said = succeed("init", str(folder), "--labels", str(folder / "labels.csv"), "--target", "heart_rate")
    assert "6 .csv  ppg       20 Hz  20 s     0" in said
    assert "6 people (named in files or folders, as sub-01 or P7), such as sub-00" in said
    assert "6 of 6: column 'time' is time, 20 Hz" in said
    for line in said.splitlines():
        if line.strip().startswith("ssl-bio "):
            command = [part.strip('"') for part in line.replace(str(folder), "FOLDER").split()[1:]]
            small = ["--set", "model.n_layers=1", "--set", f"{command[0]}.epochs=1"]
            extra = small if command[0] in ("pretrain", "finetune") else []
            succeed(*[part.replace("FOLDER", str(folder)) for part in command], *extra)
    assert [row["task_name"] for row in sheet.read(Path("results.csv"))] == ["night-shift_heart_rate"]
    assert len(rows(Path("night-shift-answers.csv"))) == 12, "two windows a recording"


def test_classes_by_folder_and_people_by_a_pattern(tmp_path: Path) -> None:
    names = [f"{state}/w{number}_{person}.csv" for state in ("run", "walk") for number in (1, 2) for person in "abc"]
    folder = write_recordings(tmp_path / "gait", names)
    succeed("init", str(folder), "--subject", "_([abc])", "--target", "folder")
    table = rows(folder / "table.csv")
    assert {row["subject"] for row in table} == {"a", "b", "c"}
    assert [row["label"] for row in table][:1] == ["run"]
    assert tomllib.loads(Path("gait.toml").read_text())["finetune"]["task"] == "classification"
    said = succeed("data", "prepare", "gait", "--from", str(folder), "--recipe", "gait.toml")
    assert "24 windows of 1 channels (ppg) x 200 samples at 20 Hz, 3 people" in said


def test_nothing_to_learn_yet_is_a_recipe_for_pretraining(tmp_path: Path) -> None:
    folder = write_recordings(tmp_path / "unlabelled", [f"{number}.csv" for number in range(4)])
    said = succeed("init", str(folder))
    assert "every file a person of its own" in said
    assert "finetune" not in tomllib.loads(Path("unlabelled.toml").read_text())
    succeed("data", "prepare", "unlabelled", "--from", str(folder))
    succeed("pretrain", "--recipe", "unlabelled.toml", "--set", "pretrain.epochs=1", "--set", "model.n_layers=1")


def test_numbers_that_are_classes_and_rates_that_files_do_not_say(tmp_path: Path) -> None:
    folder = tmp_path / "arrays"
    folder.mkdir()
    for number in range(4):
        np.save(folder / f"p{number}_stage{number % 2}.npy", np.random.default_rng(number).normal(size=(2, 800)))
    assert "give --sampling-rate HZ" in refused("init", str(folder))
    assert not Path("arrays.toml").exists()
    assert not (folder / "table.csv").exists()
    succeed("init", str(folder), "--sampling-rate", "40", "--target", "stage(.)", "--name", "sleep lab")
    assert rows(folder / "table.csv")[1] == {
        "file": "p1_stage1.npy",
        "subject": "p-01",
        "sampling_rate": "40",
        "label": "1",
    }
    assert "table.csv is there already: --overwrite" in refused("init", str(folder), "--sampling-rate", "40")
    assert Path("sleep-lab.toml").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--subject", "x(.)"], "--subject 'x(.)' finds nothing in 0.csv"),
        (["--subject", "("], "neither folder, file nor a regular expression"),
        (["--subject", "csv"], "1 people cannot be divided"),
        (["--subject", "folder"], "some recordings lie in no folder of their own"),
        (["--labels", "nothing.csv"], "cannot be read as a table"),
        (["--labels", "few.csv", "--target", "age"], "no line for 1.csv in column id"),
        (["--labels", "few.csv", "--target", "sex"], "--target sex: few.csv has the columns age"),
    ],
)
def test_what_cannot_be_leaves_nothing(arguments: list[str], message: str, tmp_path: Path) -> None:
    folder = write_recordings(tmp_path / "mine", [f"{number}.csv" for number in range(4)])
    Path("few.csv").write_text("id,age\n0,50\n")
    assert message in refused("init", str(folder), *arguments)
    assert not (folder / "table.csv").exists()
    assert not Path("mine.toml").exists()


def test_broken_files_are_told_and_left_out(tmp_path: Path) -> None:
    folder = write_recordings(tmp_path / "mine", [f"{number}.csv" for number in range(4)])
    (folder / "notes.csv").write_text("when,what\nmonday,rain\n")
    said = succeed("init", str(folder))
    assert "notes.csv is left out" in said
    assert len(rows(folder / "table.csv")) == 4
    (tmp_path / "empty").mkdir()
    assert "no recording inside" in refused("init", str(tmp_path / "empty"))
    assert "no such folder" in refused("init", str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("names", "people"),
    [
        (["sub-01_rest.edf", "sub-02_rest.edf"], ["sub-01", "sub-02"]),
        (["sub-0_a.csv", "Sub_00_b.csv", "sub-1.csv"], ["sub-00", "sub-00", "sub-01"]),
        (["s1_p03.csv", "s2_p03.csv", "s1_p04.csv"], ["p-03", "p-03", "p-04"]),
        (["P7/a.csv", "P7/b.csv", "P8/a.csv"], ["p-07", "p-07", "p-08"]),
        (["anna/a.csv", "anna/b.csv", "ben/a.csv"], ["anna", "anna", "ben"]),
        (["a.csv", "b.csv"], ["a", "b"]),
        (["steps1.csv", "steps2.csv"], ["steps1", "steps2"]),
    ],
)
def test_whom_files_are_of(names: list[str], people: list[str]) -> None:
    assert guess_subjects(names)[0] == people


def test_a_few_numbers_stand_for_classes(tmp_path: Path) -> None:
    folder = write_recordings(tmp_path / "af", [f"{number}.csv" for number in range(8)])
    Path("labels.csv").write_text("id,af,age [years]\n" + "".join(f"{n},{n % 2},{50 + 3 * n}\n" for n in range(8)))
    succeed("init", str(folder), "--labels", "labels.csv", "--target", "af")
    assert tomllib.loads(Path("af.toml").read_text())["finetune"]["task"] == "classification"
    assert rows(folder / "table.csv")[1]["af"] == "class_1"
    succeed("init", str(folder), "--labels", "labels.csv", "--target", "age [years]", "--overwrite")
    recipe = tomllib.loads(Path("af.toml").read_text())
    assert (recipe["finetune"]["task"], recipe["data"]["target"]) == ("regression", "age")
    assert list(rows(folder / "table.csv")[0]) == ["file", "subject", "age [years]"]


def test_labels_of_people(tmp_path: Path) -> None:
    folder = write_recordings(tmp_path / "two", [f"P{person}/day{day}.csv" for person in (1, 2, 3) for day in (1, 2)])
    Path("people.csv").write_text("person,age\np01,50\np02,60\np03,70\n")
    succeed("init", str(folder), "--labels", "people.csv", "--target", "age")
    assert [row["age"] for row in rows(folder / "table.csv")] == ["50", "50", "60", "60", "70", "70"]
