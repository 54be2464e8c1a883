"""`predict` and `embed`: finished runs in use on new recordings, through the real command line."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ssl_bio.results import sheet
from tests.command_line import TINY, refused, succeed

RECIPE = """
name = "walks"
[data]
dataset = "walks"
target = "pace"
window = 4.0
stride = 2.0
highpass = 0.3
val_share = 0.3
[model]
d_model = 16
n_layers = 1
n_heads = 2
wave_length = 8
[finetune]
mode = "scratch"
epochs = 2
[evaluate]
split = "test"
"""


def wave(person: int, seconds: float = 30.0) -> np.ndarray:
    time = np.arange(round(seconds * 40)) / 40
    steps = np.sin(2 * np.pi * (1 + person % 2) * time + person)
    return np.stack([steps, np.cos(time)]) + 0.1 * np.random.default_rng(person).normal(size=(2, len(time)))


def write_walks(folder: Path, n: int = 6) -> Path:
    folder.mkdir(parents=True)
    lines = ["file,pace,split"]
    for person in range(n):
        table = pd.DataFrame({"time [s]": np.arange(1200) / 40, "x": wave(person)[0], "y": wave(person)[1]})
        table.to_csv(folder / f"p{person}.csv", index=False)
        lines.append(f"p{person}.csv,{'fast' if person % 2 else 'slow'},{'test' if person > 3 else 'train'}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def walks(tmp_path: Path) -> Path:
    """A folder of recordings, prepared, and a run trained on it, checkpoints/walks/finetune-scratch-seed0."""
    folder = write_walks(tmp_path / "recordings")
    Path("walks.toml").write_text(RECIPE)
    succeed("data", "prepare", "walks", "--from", str(folder))
    succeed("finetune", "--recipe", "walks.toml")
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_predictions_are_those_of_the_evaluation(walks: Path) -> None:
    said = succeed("predict", "--input", str(walks), "--output", "answers.csv")
    assert "84 windows in answers.csv" in said
    found = {(row["recording"], float(row["start"])): row for row in rows(Path("answers.csv"))}
    with np.load("checkpoints/walks/finetune-scratch-seed0/predictions.npz") as arrays:
        assert len(arrays["target"]) == 28
        for recording, start, probability in zip(
            arrays["recording"], arrays["start"], arrays["probability"], strict=True
        ):
            row = found[str(recording), float(start)]
            assert float(row["end"]) == float(start) + 4
            assert [float(row["probability fast"]), float(row["probability slow"])] == pytest.approx(
                probability.tolist(), abs=1e-6
            )
            assert row["pace"] == ("fast", "slow")[int(probability.argmax())]


def test_labels_in_the_input_change_nothing(walks: Path) -> None:
    succeed("predict", "--input", str(walks), "--output", "with.csv")
    (walks / "table.csv").unlink()
    succeed("predict", "--input", str(walks), "--output", "without.csv")
    assert Path("with.csv").read_bytes() == Path("without.csv").read_bytes()
    assert len(sheet.read(Path("results.csv"))) == 1, "no row for predictions"


def test_several_runs_are_averaged_with_their_spread(walks: Path) -> None:
    succeed("finetune", "--recipe", "walks.toml", "--seed", "1")
    runs = [f"checkpoints/walks/finetune-scratch-seed{seed}" for seed in (0, 1)]
    one = str(walks / "p5.csv")
    for number, run in enumerate(runs):
        succeed("predict", "--checkpoint", run, "--input", one, "--output", f"{number}.csv")
    succeed("predict", "--checkpoint", runs[0], "--checkpoint", runs[1], "--input", one, "--output", "both.csv")
    first, second, both = (
        np.array([float(row["probability fast"]) for row in rows(Path(name))])
        for name in ("0.csv", "1.csv", "both.csv")
    )
    np.testing.assert_allclose(both, (first + second) / 2, atol=1e-6)
    spread = [float(row["std probability fast"]) for row in rows(Path("both.csv"))]
    np.testing.assert_allclose(spread, np.abs(first - second) / 2**0.5, atol=1e-6)


def test_the_parts_of_a_cross_validation_are_averaged(walks: Path) -> None:
    succeed("finetune", "--recipe", "walks.toml", "--folds", "3")
    said = succeed("predict", "--input", str(walks / "p0.csv"), "--output", "a.parquet", "--plot")
    assert "finetune-scratch-folds3-seed0: 3 runs" in said
    table = pd.read_parquet("a.parquet")
    assert list(table.columns[:4]) == ["recording", "start", "end", "pace"]
    assert (table["std probability fast"] >= 0).all()
    assert Path("a.figures/p0.csv.png").stat().st_size > 5000


def test_new_recordings_in_another_format_rate_and_order(walks: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    np.savez(other / "night.npz", signals=wave(5), sampling_rate=40.0)
    wide = pd.DataFrame({"Y": wave(5)[1], "spare": 1.0, "X": wave(5)[0]})
    wide.to_csv(other / "wide.csv", index=False)
    assert "does not say its sampling rate: give --sampling-rate HZ" in refused(
        "predict", "--input", str(other / "wide.csv"), "--output", "a.csv"
    )
    succeed("predict", "--input", str(other / "wide.csv"), "--sampling-rate", "40", "--output", "a.csv")
    succeed("predict", "--input", str(walks / "p5.csv"), "--output", "b.csv")
    first, second = ([float(row["probability fast"]) for row in rows(Path(name))] for name in ("a.csv", "b.csv"))
    assert first == pytest.approx(second, abs=1e-5)
    said = succeed("predict", "--input", str(other / "night.npz"), "--output", "c.csv")
    assert "night.npz: channels without names are taken for x, y" in said
    assert [float(row["probability fast"]) for row in rows(Path("c.csv"))] == pytest.approx(second, abs=1e-5)
    np.savez(other / "night.npz", signals=wave(5)[:1], sampling_rate=40.0)
    said = refused("predict", "--input", str(other / "night.npz"), "--output", "d.csv")
    assert "night.npz: no channel x; it has ch0" in said


def test_another_stride(walks: Path) -> None:
    succeed("predict", "--input", str(walks / "p5.csv"), "--stride", "0.5", "--output", "a.csv")
    starts = [float(row["start"]) for row in rows(Path("a.csv"))]
    assert starts == [0.5 * index for index in range(53)]


def test_what_cannot_be_read_is_passed_over_unless_it_is_all(walks: Path) -> None:
    (walks / "p1.csv").write_text("x,y\n1,oops\n")
    said = succeed("predict", "--input", str(walks), "--output", "a.csv")
    assert "'oops' where a number belongs" in said
    assert "1 of 6 recordings could not be read" in said
    assert {row["recording"] for row in rows(Path("a.csv"))} == {f"p{person}.csv" for person in (0, 2, 3, 4, 5)}
    assert "where a number belongs" in refused("predict", "--input", str(walks / "p1.csv"), "--output", "b.csv")
    assert not Path("b.csv").exists()
    assert not [path for path in Path().iterdir() if path.name.startswith(".b")], "nothing half-written"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "a.xls"], "one of .csv, .parquet is wanted"),
        (["--output", "nowhere/a.csv"], "no folder nowhere"),
        (["--output", "a.csv", "--input", "nothing"], "nothing: no such file or folder"),
        (["--output", "a.csv", "--stride", "inf"], "no time from one window's start to the next"),
        (["--output", "a.csv", "--checkpoint", "nothing"], "no such weight file"),
    ],
)
def test_what_cannot_be_is_said_first(walks: Path, arguments: list[str], message: str) -> None:
    inputs = [] if "--input" in arguments else ["--input", str(walks)]
    assert message in refused("predict", *inputs, *arguments)
    assert not Path("a.csv").exists()


def test_an_output_that_is_there_is_kept(walks: Path) -> None:
    Path("a.csv").write_text("precious")
    command = ["predict", "--input", str(walks), "--output", "a.csv"]
    assert "a.csv is there already" in refused(*command)
    assert Path("a.csv").read_text() == "precious"
    succeed(*command, "--overwrite")


def test_runs_that_differ_are_not_averaged(walks: Path) -> None:
    succeed("finetune", "--recipe", "walks.toml", "--set", "data.window=3", "--seed", "2")
    runs = sorted(str(path) for path in Path("checkpoints/walks").iterdir())
    both = [part for run in runs for part in ("--checkpoint", run)]
    said = refused("predict", *both, "--input", str(walks), "--output", "a.csv")
    assert "its windows are not those of" in said


def test_a_run_that_answers_no_windows_is_refused(tmp_path: Path) -> None:
    Path("tiny.toml").write_text(TINY)
    succeed("pretrain", "--recipe", "tiny.toml")
    np.save(tmp_path / "a.npy", np.zeros((2, 800)))
    said = refused(
        "predict", "--checkpoint", "checkpoints/tiny/pretrain-seed0", "--input", str(tmp_path), "--output", "a.csv"
    )
    assert "a pretraining run has no head" in said


def test_embeddings_of_windows_and_tokens(walks: Path) -> None:
    command = ["embed", "--checkpoint", "checkpoints/walks/finetune-scratch-seed0", "--input", str(walks), "--output"]
    succeed(*command, "e.npz", "--pooling", "mean", "--pooling", "max")
    succeed(*command, "t.npz", "--pooling", "tokens")
    succeed(*command, "e.parquet")
    with np.load("e.npz") as pooled, np.load("t.npz") as tokens:
        assert pooled["embedding"].shape == (84, 32)
        assert tokens["embedding"].shape == (84, 20, 16)
        np.testing.assert_allclose(pooled["embedding"][:, :16], tokens["embedding"].mean(axis=1), atol=1e-5)
        assert pooled["recording"][:15].tolist() == ["p0.csv"] * 14 + ["p1.csv"]
        assert pooled["subject"][0] == "p-00"
        assert pooled["start"][:3].tolist() == [0, 2, 4]
        np.testing.assert_allclose(
            pd.read_parquet("e.parquet").filter(like="embedding").to_numpy(), pooled["embedding"][:, :16], atol=1e-6
        )
    assert "tokens have three axes" in refused(*command, "t.parquet", "--pooling", "tokens")
    assert "pooling median: one of mean, max" in refused(*command, "x.npz", "--pooling", "median")


def test_embeddings_of_a_pretrained_run(tmp_path: Path) -> None:
    Path("tiny.toml").write_text(TINY)
    succeed("pretrain", "--recipe", "tiny.toml")
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(1700, 2)), columns=["ppg", "ecg"])
    table.to_csv(tmp_path / "a.csv", index=False)
    said = succeed("embed", "--input", str(tmp_path / "a.csv"), "--sampling-rate", "50", "--output", "e.npz")
    assert "embedding with checkpoints/tiny/pretrain-seed0" in said
    with np.load("e.npz") as arrays:
        assert arrays["start"].tolist() == [0, 10, 20]
