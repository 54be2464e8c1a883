"""Denoising through the real command line, on embedded signals and embedded noise."""

import csv
from pathlib import Path

import numpy as np
import pytest

from ssl_bio.results import sheet
from ssl_bio.runs.files import load_tensors
from tests.command_line import TINY, TINY_VQVAE, only_run, refused, run, succeed

SHEET = Path("results.csv")
DENOISE = """
name = "tiny-denoise"
[data]
dataset = "synthetic"
target = "clean"
[data.synthetic]
n_subjects = 10
windows_per_subject = 8
[model]
kind = "wave_unet"
width = 8
n_layers = 3
stride = 2
n_heads = 2
dropout = 0.0
[finetune]
task = "denoising"
mode = "scratch"
epochs = 3
batch_size = 8
lr = 1e-2
[finetune.noise]
dataset = "simulated-noise"
[evaluate]
levels = [-5.0, 5.0]
per_subject = 2
classical_band = [0.67, 20.0]
"""


NOISE = '[finetune.noise]\ndataset = "simulated-noise"\n'


@pytest.fixture(autouse=True)
def tiny() -> None:
    Path("tiny.toml").write_text(DENOISE)


def run_folder() -> Path:
    return only_run("tiny-denoise/finetune-*")


def history() -> list[dict[str, str]]:
    with (run_folder() / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_for_every_noise_and_level_beside_the_classical_answer() -> None:
    said = succeed("finetune", "--recipe", "tiny.toml", "--set", "finetune.epochs=12", "--set", "finetune.loss=snr")
    assert "noise by noise" in said
    assert "classical" in said
    rows = sheet.read(SHEET)
    wanted = [f"synthetic_denoise_{kind}_{level}_dB" for kind in ("wander", "muscle") for level in (-5, 5)]
    assert [row["task_name"] for row in rows] == wanted
    assert float(rows[0]["snr_gain"]) > 2
    assert all(row["snr_gain_classical"] and row["RMSE"] and row["correlation"] for row in rows)
    assert {row["beat_F1"] for row in rows} == {""}  # this dataset has no annotated beats
    with np.load(run_folder() / "predictions.npz") as file:
        assert file["statistics_ours"].shape == file["statistics_noisy"].shape == (4, 4, 7)
        assert file["cells"].tolist() == ["wander -5 dB", "wander 5 dB", "muscle -5 dB", "muscle 5 dB"]
    for name in ("denoise.png", "gain.png"):
        assert (run_folder() / "figures" / name).read_bytes().startswith(b"\x89PNG")
    succeed("evaluate", "--set", "evaluate.noises=['muscle']", "--set", "evaluate.levels=[5]")
    assert sheet.read(SHEET)[-1]["snr_gain"] == rows[3]["snr_gain"]


@pytest.mark.parametrize(
    "options",
    [
        ["model.bottleneck_layers=1", "finetune.loss=peak+wavelet"],
        ["model.kind=pixel_shuffle", "finetune.loss=mse"],
        ["model.kind=pixel_shuffle", "model.bottleneck_layers=1"],
        ["model.kind=diffusion", "model.sampling_steps=2"],
        ["model.window=4.0", "finetune.noise.shuffle=phase", "finetune.noise.band=[1, 20]"],
        [
            "finetune.noise.level=gain",
            "finetune.noise.range=[0.25, 1.0]",
            "finetune.noise.shuffle=samples",
            "evaluate.levels=[0.5, 1.0]",
        ],
        ["data.channels=['ecg']", "finetune.draw_channels=['ecg', 'ppg']", "finetune.augment=['flip', 'scale']"],
        ["data.target=", "data.channels=['ppg']"],
        ["finetune.noise.dataset=", "evaluate.levels=[0.0]"],
        ["model.kind=timemae", "model.d_model=16", "model.n_layers=1", "model.wave_length=25"],
    ],
    ids=lambda options: options[0],
)
def test_networks_losses_and_noises(options: list[str]) -> None:
    asked = [part for option in options for part in ("--set", option)]
    if "finetune.noise.dataset=" in options:
        Path("tiny.toml").write_text(DENOISE.replace(NOISE, ""))
        asked = ["--set", "evaluate.levels=[0.0]"]
    succeed("finetune", "--recipe", "tiny.toml", "--set", "finetune.epochs=2", *asked)
    rows = sheet.read(SHEET)
    assert all(np.isfinite(float(row["snr_gain"])) for row in rows)
    first, last = (float(row["loss"]) for row in (history()[0], history()[-1]))
    assert last < first
    succeed("evaluate")
    assert [row["snr_gain"] for row in sheet.read(SHEET)] == [row["snr_gain"] for row in rows]


def test_a_noise_that_was_not_learnt_is_judged_and_marked() -> None:
    said = succeed("finetune", "--recipe", "tiny.toml", "--set", "finetune.noise.types=['muscle']")
    assert "* not learnt" in said
    assert said.count("dB * ") == 2
    assert len(sheet.read(SHEET)) == 4


def test_noise_and_peaks_grow_while_the_best_epoch_is_of_the_final_level() -> None:
    grow = ["--set", "finetune.noise.ramp_epochs=3", "--set", "finetune.peak_ramp_epochs=2", "--loss", "peak"]
    succeed("finetune", "--recipe", "tiny.toml", *grow, "--set", "finetune.epochs=4")
    rows = history()
    best = min(rows, key=lambda row: float(row["val_loss"]))
    assert sheet.read(SHEET)[0]["best_epoch"] == best["epoch"]


def test_an_interrupted_run_goes_on_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    from ssl_bio.training import fit

    command = ["finetune", "--recipe", "tiny.toml", "--set", "finetune.noise.ramp_epochs=2", "--out", "cut"]
    save, calls = fit._save, 0

    def pull_the_plug(*arguments: object) -> None:
        nonlocal calls
        calls += 1
        save(*arguments)  # type: ignore[arg-type]  # passed through
        if calls == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(fit, "_save", pull_the_plug)
        assert run(*command).code == 130
    succeed(*command, "--resume")
    succeed(*command[:-1], "whole")
    first, second = (load_tensors(Path(name) / "model.safetensors")[0] for name in ("cut", "whole"))
    for name, tensor in first.items():
        assert tensor.equal(second[name]), name


def test_pretraining_without_noise_and_going_on_from_it() -> None:
    recipe = DENOISE.replace('mode = "scratch"', 'mode = "full"\nbackbone_lr = 3e-3') + "[pretrain]\nepochs = 2\n"
    Path("tiny.toml").write_text(recipe)
    succeed("pretrain", "--recipe", "tiny.toml")
    succeed("finetune", "--recipe", "tiny.toml")
    assert [row["mode"] for row in sheet.read(SHEET)] == ["full"] * 4


@pytest.mark.parametrize(("text", "kind"), [(TINY, "timemae"), (TINY_VQVAE, "vqvae")])
def test_a_pretrained_backbone_with_a_decoder(text: str, kind: str) -> None:
    Path("pretext.toml").write_text(text)
    succeed("pretrain", "--recipe", "pretext.toml", "--set", "pretrain.epochs=1", "--out", "start")
    recipe = DENOISE.split("[model]")[0] + "[finetune]" + DENOISE.split("[finetune]")[1]
    Path("tiny.toml").write_text(recipe.replace('mode = "scratch"', 'mode = "full"\nbackbone_lr = 1e-3'))
    only = ["--set", "data.channels=['ecg']"] if kind == "vqvae" else []
    succeed("finetune", "--recipe", "tiny.toml", "--checkpoint", "start", *only)
    rows = sheet.read(SHEET)
    assert float(rows[0]["snr_gain"]) > 0


@pytest.fixture
def trained() -> Path:
    chosen = ["--set", "data.channels=['ecg']", "--set", "finetune.epochs=12"]
    succeed("finetune", "--recipe", "tiny.toml", *chosen)
    return run_folder()


def test_a_recording_of_any_length_and_channels_is_cleaned(trained: Path) -> None:
    time = np.arange(50 * 900) / 50
    beats = np.exp(-0.5 * (((time % 0.9) - 0.4) / 0.03) ** 2)
    clean = np.stack([beats, 3 * beats, 0 * beats])
    noisy = clean + np.array([[0.4], [1.2], [0]]) * np.random.default_rng(0).normal(size=clean.shape) + 7
    noisy[2] = 7
    noisy[0, 1000:1100] = np.nan
    np.savez("ride.npz", signals=noisy, sampling_rate=50.0)
    said = succeed("denoise", "--checkpoint", str(trained), "--input", "ride.npz", "--output", "clean.npz")
    assert "900.0 s at 50 Hz, 3 channels each on its own" in said
    assert "100 samples are missing" in said
    with np.load("clean.npz") as file:
        found, rate = file["signals"], float(file["sampling_rate"])
    assert (found.shape, rate) == (noisy.shape, 50.0)
    assert np.isnan(found[0, 1000:1100]).all()
    assert np.isfinite(np.delete(found[0], np.arange(1000, 1100))).all()
    assert not found[2].any()  # a silent channel stays silent
    for channel in (0, 1):
        known = np.isfinite(noisy[channel])
        before, after = (np.corrcoef(part[channel][known], clean[channel][known])[0, 1] for part in (noisy, found))
        assert after > before
    # The same at another rate: resampled there and back.
    np.save("fast.npy", np.repeat(noisy[1:2], 2, axis=1))
    command = ["denoise", "--checkpoint", str(trained), "--input", "fast.npy", "--output", "fast.hea"]
    assert "does not say its sampling rate" in refused(*command)
    assert "resampled to 50 Hz" in succeed(*command, "--sampling-rate", "100")
    assert "is there already" in refused(*command, "--sampling-rate", "100")
    succeed(*command, "--sampling-rate", "100", "--overwrite")
    assert sorted(path.name for path in Path().glob("fast.*")) == ["fast.dat", "fast.hea", "fast.npy"]
    assert "is the input itself" in refused(
        "denoise", "--checkpoint", str(trained), "--input", "ride.npz", "--output", "./ride.npz"
    )


def test_recordings_and_runs_that_cannot_be(trained: Path) -> None:
    np.save("x.npy", np.zeros((1, 500)))
    command = ["denoise", "--checkpoint", str(trained), "--input", "x.npy", "--output"]
    assert "no folder" in refused(*command, "there/y.npy", "--sampling-rate", "50")
    assert "one of .hea" in refused(*command, "y.txt", "--sampling-rate", "50")
    assert "no such weight file" in refused(
        "denoise", "--checkpoint", "nowhere", "--input", "x.npy", "--output", "y.npy"
    )
    Path("forecast.toml").write_text(TINY)
    succeed("pretrain", "--recipe", "forecast.toml", "--set", "pretrain.epochs=1", "--out", "other")
    other = ["denoise", "--checkpoint", "other", "--input", "x.npy", "--output", "y.npy", "--sampling-rate", "50"]
    assert "a pretraining run has no head" in refused(*other)
    assert not list(Path().glob("y.*"))
    assert not list(Path().glob(".denoise-*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["finetune.noise.types=['motor']"], "no type 'motor'; it has wander, muscle"),
        (["finetune.noise.target=kind"], "no classes 'kind'; it has noise"),
        (["evaluate.noises=['motor']"], "no type 'motor'"),
        (["finetune.noise.dataset=nothing"], "no dataset 'nothing'"),
        (["finetune.noise.range=[5, -5]"], "from the lower to the higher"),
        (["finetune.noise.band=[20, 30]"], "finetune.noise.band [20.0, 30.0]: it ends below half of 50 Hz"),
        (["evaluate.classical_band=[5]"], "evaluate.classical_band must be from and to in Hz"),
        (["data.target=rhythm"], "'rhythm' holds no signals"),
        (["data.target=", "finetune.noise.dataset="], "nothing to take away"),
        (["finetune.mode=random-frozen"], "finetune.mode must be 'full' or 'scratch'"),
        (["model.kind=lstm"], "gives sequence and finetune.task 'denoising' does not go"),
        (["data.normalize=channel"], "leave out data.normalize"),
        (
            ["finetune.mixup=0.2"],
            "unknown key finetune.mixup (a key of finetune.task classification and multilabel and regression, not of",
        ),
        (
            ["finetune.dense=true"],
            "unknown key finetune.dense (a key of finetune.task regression and forecasting, not of denoising)",
        ),
        (["finetune.loss=huber"], "finetune.loss must be one of l1"),
        (
            ["finetune.task=classification", "data.target=rhythm"],
            "gives signals and finetune.task 'classification' does not",
        ),
        (
            ["finetune.task=classification", "finetune.noise.types=['muscle']"],
            "unknown key finetune.noise (a key of finetune.task denoising",
        ),
        (["finetune.draw_channels=['ecg']"], "shows one channel at a time"),
        (["finetune.noise.clean=still"], "no class 'still'"),
        (["finetune.loss=peaks"], "finetune.loss must be one of l1"),
        (["finetune.peak_weight=2.0"], 'it is of the loss "peak"'),
        (
            ["model.sampling_steps=3"],
            "unknown key model.sampling_steps (a key of model.kind diffusion, not of wave_unet)",
        ),
        (
            ["finetune.noise.ramp_epochs=3"],
            "finetune.noise.ramp_epochs 3: of 3 finetune.epochs none would come after it",
        ),
        (["finetune.noise.level=gain", "finetune.noise.range=[0.0, 1.0]"], "evaluate.levels [-5.0, 5.0]: gains"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_said_before_anything_runs(options: list[str], message: str) -> None:
    asked = [part for option in options for part in ("--set", option)]
    said = refused("finetune", "--recipe", "tiny.toml", *asked)
    assert any(part in said for part in message.split("|")), said
    assert not SHEET.exists()
    assert not Path("checkpoints").exists()


def test_one_table_of_clean_and_noisy_recordings(tmp_path: Path) -> None:
    folder = tmp_path / "car"
    folder.mkdir()
    rng = np.random.default_rng(0)
    time = np.arange(60 * 100) / 100
    np.save(folder / "stop.npy", np.exp(-0.5 * (((time % 0.9) - 0.4) / 0.02) ** 2)[None])
    for speed in (30, 100):
        np.save(folder / f"{speed}km.npy", speed / 100 * rng.normal(size=(1, 6000)))
    lines = ["file,sampling_rate,kind,start,end,split"]
    for name, kind in (("stop", "stop"), ("30km", "slow"), ("100km", "fast")):
        for split, start, end in (("train", 0, 40), ("val", 40, 50), ("test", 50, 60)):
            lines.append(f"{name}.npy,100,{kind},{start},{end},{split}")
    (folder / "table.csv").write_text("\n".join(lines))
    recipe = DENOISE.replace('dataset = "synthetic"\ntarget = "clean"', 'dataset = "arrays"\nwindow = 10.0')
    noise = '"arrays"\ntarget = "kind"\nclean = "stop"\nlevel = "gain"\nrange = [0.0, 1.0]'
    recipe = recipe.replace('"simulated-noise"', noise)
    Path("car.toml").write_text(recipe.replace("levels = [-5.0, 5.0]", "levels = [0.5, 1.0]"))
    succeed("data", "prepare", "arrays", "--from", str(folder), "--recipe", "car.toml")
    succeed("finetune", "--recipe", "car.toml")
    rows = sheet.read(SHEET)
    wanted = [f"arrays_denoise_{kind}_x{gain}" for kind in ("fast", "slow") for gain in ("0.5", "1")]
    assert sorted(row["task_name"] for row in rows) == wanted
    assert {row["n_test"] for row in rows} == {"1"}
    succeed("finetune", "--recipe", "car.toml", "--out", "other", "--set", "data.window=5.0")
    assert {row["n_test"] for row in sheet.read(SHEET)} == {"1", "2"}, "prepared once, whatever the window"
