"""What a person sees of a long work: a bar that fits the terminal, and lines in a log."""

import io

import pytest
from rich.console import Console

from ssl_bio import console
from ssl_bio.console import bar_line, duration, progress, silenced, stage, training_progress

FIGURES = ["loss 0.4123", "val_loss 0.3901", "mse 0.2"]


class Clock:
    """A clock that a test turns."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr("time.monotonic", found)
    return found


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A terminal of 80 columns, as what was written to it."""
    written = io.StringIO()
    monkeypatch.setattr(console, "console", Console(file=written, force_terminal=True, width=80, highlight=False))
    return written


class TestBarLine:
    """What gives way on a narrow terminal."""

    def line(self, width: int, title: str = "seed 2 of 3, epoch 8 of 15") -> str:
        return bar_line(
            title, share=0.5, count="800/1500", eta="eta 0:03:12", figures=FIGURES, width=width, ascii_only=True
        ).plain

    @pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 140])
    def test_it_is_never_wider_than_the_terminal_and_never_without_its_eta(self, width: int) -> None:
        line = self.line(width)
        assert len(line) <= width
        assert "eta 0:03:12" in line

    def test_what_gives_way_and_in_which_order(self) -> None:
        assert self.line(140).endswith("800/1500  eta 0:03:12  loss 0.4123  val_loss 0.3901  mse 0.2")
        assert self.line(100).split("  ")[2:] == ["800/1500", "eta 0:03:12", "loss 0.4123"]
        assert self.line(80).split("  ")[1:] == ["############------------", "eta 0:03:12", "loss 0.4123"]
        assert self.line(65).split("  ")[1:] == ["######-----", "eta 0:03:12", "loss 0.4123"]
        assert self.line(52) == "seed 2 of 3, epoch 8 of 15  eta 0:03:12  loss 0.4123"
        assert self.line(40) == "seed 2 of 3, epoch 8 of 15  eta 0:03:12"
        assert self.line(30) == "seed 2 of 3, e...  eta 0:03:12"


class TestTerminal:
    """A bar on a terminal."""

    def test_seeds_folds_and_epochs_stand_before_the_bar(self, terminal: io.StringIO) -> None:
        with (
            stage("seed", 2, 3),
            stage("fold", 1, 1),
            training_progress(epochs=15, steps=10, done=7) as watch,
        ):
            watch.step(71, {"loss": 0.5})
            watch.epoch(8, {"loss": 0.5, "val_loss": 0.25})
            watch.step(81, {"loss": 0.4, "mse": 0.1})
        said = terminal.getvalue()
        assert "seed 2 of 3, epoch 9 of 15" in said
        assert "fold" not in said
        assert "loss 0.4" in said

    def test_a_bar_inside_a_bar_shows_nothing(self, terminal: io.StringIO) -> None:
        with progress("outer", 4) as tick, training_progress(epochs=3, steps=1, done=0) as watch:
            tick(1, {"best": 0.5})
            watch.epoch(1, {"loss": 0.5})
        assert "outer" in terminal.getvalue()
        assert "epoch" not in terminal.getvalue()

    def test_what_is_silenced_shows_nothing(self, terminal: io.StringIO) -> None:
        with silenced(), training_progress(epochs=3, steps=1, done=0) as watch:
            watch.epoch(1, {"loss": 0.5})
        assert terminal.getvalue() == ""


class TestLog:
    """Lines where there is no terminal."""

    def test_a_line_an_epoch_with_its_eta(self, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
        with stage("fold", 2, 5), training_progress(epochs=4, steps=9, done=1) as watch:
            for epoch in (2, 3, 4):
                clock.now += 200
                watch.step(9 * epoch, {"loss": 0.1})
                watch.epoch(epoch, {"loss": 1 / epoch, "val_loss": 0.5})
        assert capsys.readouterr().out.splitlines() == [
            "fold 2/5, epoch 2/4  loss 0.5  val_loss 0.5  eta 7 min",
            "fold 2/5, epoch 3/4  loss 0.3333  val_loss 0.5  eta 3 min",
            "fold 2/5, epoch 4/4  loss 0.25  val_loss 0.5  after 10 min",
        ]

    def test_of_short_epochs_one_in_two_seconds_and_always_the_last(
        self, clock: Clock, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with training_progress(epochs=9, steps=1, done=0) as watch:
            for epoch in range(1, 6):  # it stops early
                clock.now += 0.9
                watch.epoch(epoch, {"loss": 1.0})
        shown = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()]
        assert shown == ["epoch 3/9", "epoch 5/9"]

    def test_a_run_that_has_nothing_left_to_do_says_nothing(self, capsys: pytest.CaptureFixture[str]) -> None:
        with training_progress(epochs=3, steps=1, done=3):
            pass
        assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.42, "0.4 s"), (45.2, "45 s"), (100, "2 min"), (5400, "1 h 30 min"), (12000, "3 h 20 min")]
)
def test_durations_as_people_say_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said
