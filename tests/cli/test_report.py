"""`ssl-bio report` on real runs: the page, what is left out, and what is refused."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from ssl_bio.commands import report as command
from ssl_bio.metrics.bootstrap import Sample, interval_over_people
from ssl_bio.metrics.regression import mean_absolute_error
from tests.command_line import TINY, refused, succeed
from tests.results.test_page import Reader

RATE = (
    TINY.replace('mode = "linear-probe"', 'mode = "scratch"\ntask = "regression"').replace("tiny", "rate")
    + '[reference]\nsource = "a paper"\npaper = { MAE = 5.0 }\n'
)
PEOPLE = "n_subjects = 10"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab's folder: runs of two seeds, a cross-validation, a pretraining, and a sheet with older rows."""
    home = tmp_path_factory.mktemp("lab")
    patch = pytest.MonkeyPatch()
    patch.chdir(home)
    patch.setenv("SSL_BIO_DATA", str(home / "data"))
    more_people = RATE.replace(PEOPLE, "n_subjects = 30")
    Path("rate.toml").write_text(more_people)
    Path("tiny.toml").write_text(TINY)
    older = {"model_name": "شبكة 心 🫀 <b>", "task_name": "synthetic_heart_rate", "MAE": "9,5"}
    with Path("results.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(older))
        writer.writeheader()
        writer.writerow(older)
    succeed("pretrain", "--recipe", "tiny.toml")
    succeed("finetune", "--label-fraction", "0.5")
    succeed("finetune", "--recipe", "rate.toml", "--seeds", "0,1")
    succeed("finetune", "--recipe", "rate.toml", "--folds", "3")
    patch.undo()
    return home


@pytest.fixture
def here(lab: Path) -> Path:
    """The lab's folder, copied to where the test runs."""
    shutil.copytree(lab, ".", dirs_exist_ok=True)
    return Path()


def page(*arguments: str) -> Reader:
    succeed("report", *arguments)
    return Reader(Path("report.html").read_text(encoding="utf-8"))


def words(found: Reader) -> str:
    return " ".join("".join(found.text).split())


@pytest.mark.usefixtures("here")
def test_a_leaderboard_for_each_task_and_a_section_for_each_run() -> None:
    said = succeed("report")
    assert "report.html: 2 leaderboards, 5 runs" in said
    found = Reader(Path("report.html").read_text(encoding="utf-8"))
    text = words(found)
    for expected in (
        "شبكة 心 🫀 <b> older row",
        "paper published",
        "always the mean baseline",
        "Differences are from the published figure paper, 5.0000.",
        "No two splits share people or identical windows.",
        "As rate/finetune-scratch-folds3-seed0, but",
    ):
        assert expected in text
    titles = [attributes["aria-label"] for tag, attributes in found.elements if tag == "svg"]
    for picture in ("curves", "confusion", "roc", "precision recall", "scatter", "bland altman", "people"):
        assert any(title and title.startswith(f"{picture} of ") for title in titles), picture
    assert "curves of tiny/pretrain-seed0" in titles
    assert "scatter of rate/finetune-scratch-folds3-seed0" in titles


@pytest.mark.usefixtures("here")
def test_the_interval_is_that_of_both_seeds_and_of_the_same_people() -> None:
    found = []
    for seed in (0, 1):
        with np.load(f"checkpoints/rate/finetune-scratch-seed{seed}/predictions.npz") as file:
            found.append(Sample(file["target"], file["value"], file["subject"]))
    interval = interval_over_people(mean_absolute_error, found)
    assert interval
    assert f"{interval.low:.4f} to {interval.high:.4f} ({interval.n_people} people)" in words(page())


@pytest.mark.usefixtures("here")
def test_another_metric_ranks_and_has_the_interval() -> None:
    text = words(page("--by", "RMSE"))
    assert "Ranked by RMSE" in text
    assert "Ranked by Accuracy" in text  # where there is no RMSE
    assert "(30 people)" in text
    assert "no metric" in refused("report", "--by", "beauty")


@pytest.mark.usefixtures("here")
def test_predictions_of_another_evaluation_give_no_interval() -> None:
    for path in Path("checkpoints/rate").rglob("predictions.npz"):
        with np.load(path) as file:
            arrays = dict(file)
        np.savez(path, **{**arrays, "value": arrays["value"] + 1})
    assert " people)" not in words(page())


@pytest.mark.usefixtures("here")
def test_the_same_files_give_the_same_page() -> None:
    succeed("report")
    first = Path("report.html").read_bytes()
    succeed("report")
    assert Path("report.html").read_bytes() == first
    succeed("report", "--sheet", "results.csv", "--runs", "checkpoints", "--out", "elsewhere/page.html")
    assert Path("elsewhere/page.html").read_bytes() == first


@pytest.mark.usefixtures("here")
def test_a_sheet_alone_and_runs_alone() -> None:
    shutil.move("checkpoints", "moved")
    found = page()
    assert "svg" not in [tag for tag, _ in found.elements]
    assert "4 lines" not in words(found)
    assert "5 rows of results.csv, 0 run folders" in words(found)
    Path("results.csv").unlink()
    assert "No sheet" in words(page("--runs", "moved"))


@pytest.mark.usefixtures("here")
def test_without_matplotlib_the_page_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ssl_bio.results.plots.can_draw", lambda: False)
    found = page()
    assert "No pictures: drawing them needs matplotlib (pip install 'ssl-bio[figures]')." in words(found)
    assert "svg" not in [tag for tag, _ in found.elements]


@pytest.mark.usefixtures("here")
def test_pictures_stop_at_their_limit_and_the_leaders_have_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "MOST_PICTURES", 1)
    found = page()
    titles = {str(attributes["aria-label"]).partition(" of ")[2] for tag, attributes in found.elements if tag == "svg"}
    assert len(titles) == 1
    assert "Pictures of 1 of 5 runs" in words(found)
    assert "Pictures in its folder: bland_altman.png, curves.png, people.png, scatter.png." in words(found)


@pytest.mark.usefixtures("here")
def test_what_is_broken_is_a_line_on_the_page() -> None:
    home = Path("checkpoints/rate")
    (home / "finetune-scratch-seed0/predictions.npz").write_bytes(b"x")
    (home / "finetune-scratch-seed1/recipe.toml").write_text('name = "x"\nnonsense = 1\n')
    np.savez(home / "finetune-scratch-folds3-seed0/predictions.npz", row=np.arange(3))
    with Path("results.csv").open("a", encoding="utf-8") as file:
        file.write("x,synthetic_heart_rate,many\n")
    text = words(page())
    for expected in (
        "finetune-scratch-seed0: predictions.npz: cannot be read",
        "finetune-scratch-seed1: ",
        "finetune-scratch-folds3-seed0: ",
        "row 7: MAE is no number: 'many'",
    ):
        assert expected in text, expected


def test_what_is_refused_leaves_nothing_behind() -> None:
    assert "nothing to report" in refused("report")
    assert "no such sheet" in refused("report", "--sheet", "none.csv")
    Path("results.csv").write_text("a,b\n1,2\n")
    assert "not a results sheet" in refused("report")
    Path("results.csv").write_text("model_name,task_name,MAE\nx,hr,2\n")
    assert "no such folder of runs" in refused("report", "--runs", "none")
    assert "another file than an earlier report" in refused("report", "--out", "results.csv")
    Path("folder").mkdir()
    assert "a folder" in refused("report", "--out", "folder")
    assert "cannot be written" in refused("report", "--out", "results.csv/page.html")
    assert sorted(path.name for path in Path().iterdir()) == ["folder", "results.csv"]
    succeed("report")
    succeed("report")
