"""The folder of a search: what may stand in it, who owns which trial, what replacing it leaves."""

from pathlib import Path

import pytest

from ssl_bio.errors import CheckpointError
from ssl_bio.runs.study import StudyFolder


def begun(name: str = "search") -> StudyFolder:
    """Return the folder of a search with a trial and a winner."""
    folder = StudyFolder(Path(name))
    folder.begin(study="s", storage="study.db", overwrite=False)
    for run in ("trial0", "trial12", "best", "best-seed1", "figures"):
        (folder.path / run).mkdir()
        (folder.path / run / "run.json").write_text("{}")
        (folder.path / run / "recipe.toml").write_text("")
    for name in (
        "study.db",
        "study.db-journal",
        "best.toml",
        "trials.csv",
        ".trial0.lock",
        ".ask.lock",
        ".x.toml.7.tmp",
    ):
        (folder.path / name).write_text("")
    return folder


def test_a_search_is_refused_unless_it_goes_on_or_is_replaced() -> None:
    StudyFolder(Path("nothing")).check(resume=False, overwrite=False)
    folder = begun()
    with pytest.raises(CheckpointError, match="--resume goes on with that search, --overwrite replaces it"):
        folder.check(resume=False, overwrite=False)
    folder.check(resume=True, overwrite=False)
    folder.check(resume=False, overwrite=True)
    assert folder.has_study
    assert folder.belongs_to("s", "study.db")
    assert not folder.belongs_to("s", "mysql://me@server/x")


@pytest.mark.parametrize("name", ["notes.txt", "trial", "trialx", "best-of", "model.safetensors", "grid"])
def test_what_no_search_has_is_left_alone(name: str) -> None:
    folder = begun()
    (folder.path / name).write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(CheckpointError, match=name):
            folder.check(resume=not overwrite, overwrite=overwrite)


def test_trials_without_their_study_are_no_search() -> None:
    folder = begun()
    (folder.path / "study.json").unlink()
    with pytest.raises(CheckpointError, match=r"no study\.json"):
        folder.check(resume=False, overwrite=True)


def test_replacing_leaves_the_winners_id_alone() -> None:
    folder = begun()
    assert not folder.winner_is_cleared
    folder.begin(study="t", storage="study.db", overwrite=True)
    left = {path.relative_to(folder.path).as_posix() for path in folder.path.rglob("*") if path.is_file()}
    assert left == {"study.json", "best/run.json", "best-seed1/run.json"}
    assert folder.winner_is_cleared
    assert folder.belongs_to("t", "study.db")


def test_one_owner_a_trial_while_it_is_at_work() -> None:
    folder = begun()
    with folder.owned_trial(0) as mine, folder.owned_trial(1) as other:
        assert mine
        assert other
        with StudyFolder(folder.path).owned_trial(0) as again:
            assert not again
        with pytest.raises(CheckpointError, match="at work in it"):
            folder.begin(study="t", storage="study.db", overwrite=True)
        assert (folder.path / "trial0").exists()
    with folder.owned_trial(0) as mine:
        assert mine
    with folder.owned_winner() as mine, folder.owned_winner() as again:
        assert (mine, again) == (True, False)
