"""A run's epochs as TensorBoard reads them."""

from pathlib import Path

import pytest

from ssl_bio.results.tensorboard import tag
from ssl_bio.runs.folder import RunFolder
from tests.command_line import TINY, refused, run, succeed

RUN = Path("checkpoints/tiny/finetune-scratch-seed0")
SCRATCH = ("finetune", "--recipe", "tiny.toml", "--mode", "scratch", "--tensorboard")


@pytest.fixture(autouse=True)
def _recipe() -> None:
    pytest.importorskip("tensorboard")
    Path("tiny.toml").write_text(TINY)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return the steps and values of every tag, as TensorBoard reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder / "events"))
    found.Reload()
    return {name: [(one.step, one.value) for one in found.Scalars(name)] for name in found.Tags()["scalars"]}


def test_every_epoch_of_finetuning_is_there_as_in_the_history() -> None:
    succeed(*SCRATCH)
    found, history = scalars(RUN), RunFolder(RUN).read_history()
    assert {"loss/train", "loss/val", "Accuracy/val", "lr/head"} <= found.keys()
    for name in ("loss", "val_loss", "val_AUROC", "lr_backbone"):
        assert [step for step, _ in found[tag(name)]] == [1, 2]
        assert [value for _, value in found[tag(name)]] == pytest.approx(history[name], rel=1e-4)


def test_pretraining_that_was_interrupted_has_every_step_once(monkeypatch: pytest.MonkeyPatch) -> None:
    save, calls = RunFolder.save_state, 0

    def pull_the_plug(self: RunFolder, *arguments: object) -> None:
        nonlocal calls
        calls += 1
        save(self, *arguments)  # type: ignore[arg-type]  # passed through
        if calls == 2:
            raise KeyboardInterrupt

    command = ("pretrain", "--recipe", "tiny.toml", "--out", "broken", "--tensorboard")
    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "save_state", pull_the_plug)
        assert run(*command).code == 130
    assert [step for step, _ in scalars(Path("broken"))["loss/train"]] == [1]
    succeed(*command, "--resume")
    assert [step for step, _ in scalars(Path("broken"))["loss/train"]] == [1, 2, 3]


def test_without_being_asked_there_are_none_and_a_solved_head_has_none() -> None:
    succeed(*SCRATCH[:-1])
    assert not (RUN / "events").exists()
    said = refused("finetune", "--recipe", "tiny.toml", "--mode", "random-frozen", "--tensorboard")
    assert "this head is solved for, without epochs" in said


def test_without_the_library_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ssl_bio.results.tensorboard.find_spec", lambda name: None)
    assert 'pip install "ssl-bio[tensorboard]"' in refused(*SCRATCH)
    assert not RUN.exists()
