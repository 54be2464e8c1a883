"""End to end through the real command line, on embedded data and on a small HAR archive."""

import csv
import json
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ssl_bio.results import sheet
from ssl_bio.runs.checkpoint import load_checkpoint
from tests import har_layout
from tests.command_line import TINY, refused, run, succeed

PRETRAINED = Path("checkpoints/tiny/pretrain-seed0")
PROBED = Path("checkpoints/tiny/finetune-linear-probe-seed0")


@pytest.fixture
def tiny() -> str:
    Path("tiny.toml").write_text(TINY)
    return "tiny.toml"


@pytest.fixture
def pretrained(tiny: str) -> str:
    return succeed("pretrain", "--recipe", tiny)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_three_commands(pretrained: str) -> None:
    written = ["data.json", "figures", "history.csv", "metrics.json", "model.safetensors", "recipe.toml", "run.json"]
    assert files(PRETRAINED) == written
    assert files(PRETRAINED / "figures") == ["curves.png"]
    logged = history(PRETRAINED)
    assert len(logged) == 3
    assert {"loss", "mse", "ce", "hits", "hit_rate", "ndcg10", "perplexity", "lr_pretext"} <= set(logged[0])

    said = succeed("finetune")
    assert f"starting from the newest complete pretraining run: {PRETRAINED}" in said
    assert files(PROBED) == sorted({*written, "predictions.npz"} - {"history.csv"})
    assert files(PROBED / "figures") == ["confusion.png", "precision_recall.png", "roc.png"]

    said = succeed("evaluate")
    assert "evaluating checkpoints/tiny/finetune-linear-probe-seed0" in said
    for part in ("Accuracy", "F1_macro", "true class (rows) against predicted", "irregular", "one row in"):
        assert part in said
    (first,) = sheet.read(Path("results.csv"))  # the same evaluation is the same row
    assert (first["model_name"], first["task_name"], first["mode"]) == ("tiny", "synthetic_rhythm", "linear-probe")
    assert (first["split"], first["selected_on"], first["seed"]) == ("test", "last", "0")
    with np.load(PROBED / "predictions.npz", allow_pickle=False) as file:
        accuracy = (file["probability"].argmax(1) == file["target"]).mean()
        assert f"{accuracy:.4f}" == first["Accuracy"]
        assert len(file["subject"]) == int(first["n_test"])


def test_pretraining_says_what_validation_and_chance_are() -> None:
    Path("tiny.toml").write_text(TINY)
    for fit_on in ("train", "train+val"):
        options = ("--set", f"pretrain.fit_on={fit_on}", "--out", f"checkpoints/{fit_on}")
        succeed("pretrain", "--recipe", "tiny.toml", *options)
    for row in history(Path("checkpoints/train")):
        assert float(row["val_hit_rate_chance"]) == pytest.approx(1 / 12)
        assert 0 <= float(row["val_hit_rate"]) <= 1
        assert 1 <= float(row["val_rankme"]) <= 16  # the width of a token
    assert not [name for name in history(Path("checkpoints/train+val"))[0] if name.startswith("val_")]


def test_backbone_lr_alone(pretrained: str) -> None:
    said = succeed("finetune", "--backbone-lr", "2e-5")
    assert "--backbone-lr trains the backbone: --mode full" in said
    folder = Path("checkpoints/tiny/finetune-full-backbone_lr=2e-05-seed0")
    rates = history(folder)[0]
    assert float(rates["lr_backbone"]) == pytest.approx(2e-5)
    assert float(rates["lr_head"]) == pytest.approx(1e-3)
    (row,) = sheet.read(Path("results.csv"))
    assert (row["selected_on"], row["backbone_lr"], row["fit_on"]) == ("val", "2e-05", "train")
    recipe_text = (folder / "recipe.toml").read_text()
    assert "backbone_lr = 2e-05 # from command line" in recipe_text
    assert "d_model = 16 # from checkpoint" in recipe_text
    succeed("finetune", "--backbone-lr", "1e-5")
    assert len(sheet.read(Path("results.csv"))) == 2, "another setting has another folder"
    assert "keeps the backbone as it is" in refused("finetune", "--mode", "linear-probe", "--backbone-lr", "2e-5")
    assert "pretrain.mask_ratio" in refused("finetune", "--set", "pretrain.mask_ratio=0.5")
    assert "would change nothing" in refused("finetune", "--lr", "0.1")


def test_resolved_recipe_repeats_the_run(pretrained: str) -> None:
    succeed("pretrain", "--recipe", str(PRETRAINED / "recipe.toml"), "--out", "again")
    first, second = load_checkpoint(PRETRAINED), load_checkpoint(Path("again"))
    assert all((first.tensors[name] == second.tensors[name]).all() for name in first.tensors)


def test_interrupted_pretraining_goes_on_bit_for_bit(pretrained: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from ssl_bio.runs.folder import RunFolder

    save = RunFolder.save_state
    calls = 0

    def pull_the_plug(self: RunFolder, *arguments: object) -> None:
        nonlocal calls
        calls += 1
        save(self, *arguments)  # type: ignore[arg-type]  # passed through
        if calls == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "save_state", pull_the_plug)
        done = run("pretrain", "--recipe", "tiny.toml", "--out", "broken")
    assert done.code == 130
    assert "--resume" in done.err
    assert "resume" in files(Path("broken"))
    assert "metrics.json" not in files(Path("broken"))
    succeed("pretrain", "--recipe", "tiny.toml", "--out", "broken", "--resume")
    whole, resumed = load_checkpoint(PRETRAINED), load_checkpoint(Path("broken"))
    assert all((whole.tensors[name] == resumed.tensors[name]).all() for name in whole.tensors)
    assert files(Path("broken")) == files(PRETRAINED)
    assert "complete already" in succeed("pretrain", "--recipe", "tiny.toml", "--out", "broken", "--resume")


def test_resume_of_nothing_starts_from_the_beginning(tiny: str) -> None:
    assert "nothing to resume in" in succeed("pretrain", "--recipe", tiny, "--resume")
    said = succeed("finetune", "--mode", "full", "--seeds", "0,1", "--resume")
    assert "nothing to resume" in said
    assert "complete already" in succeed("finetune", "--mode", "full", "--seeds", "0,1,2", "--resume")
    assert len(sheet.read(Path("results.csv"))) == 3, "a complete run adds no second row"


def test_resume_says_what_it_does_not_take(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    succeed("pretrain", "--recipe", tiny, "--set", "pretrain.epochs=1", "--out", "run")
    Path("run/metrics.json").unlink()
    said = succeed("pretrain", "--recipe", tiny, "--out", "run", "--resume", "--set", "pretrain.lr=0.5")
    assert "--resume keeps pretrain.lr = 0.001, not 0.5 from command line" in said
    assert len(history(Path("run"))) == 3, "more epochs are taken"


def test_seeds_end_with_mean_and_reference(pretrained: str) -> None:
    reference = ["--set", "reference.full.Accuracy=0.75", "--set", "reference.source=somebody 2020"]
    said = succeed("finetune", "--mode", "full", "--seeds", "0,1,2", *reference)
    for part in ("seed 0", "seed 2", "mean ± std", "0.7500", "ours - theirs", "somebody 2020"):
        assert part in said
    assert len(sheet.read(Path("results.csv"))) == 3
    assert "every finetuned run so far" in succeed("finetune", "--mode", "random-frozen")


def test_checkpoint_of_each_seed(tiny: str) -> None:
    for seed in ("0", "1"):
        succeed("pretrain", "--recipe", tiny, "--seed", seed)
    succeed("finetune", "--checkpoint", "checkpoints/tiny/pretrain-seed{seed}", "--seeds", "0,1")
    for seed in ("0", "1"):
        assert load_checkpoint(Path(f"checkpoints/tiny/finetune-linear-probe-seed{seed}")).metadata.origin.endswith(
            f"seed{seed}"
        )


def test_scratch_and_random_frozen_need_no_checkpoint(tiny: str) -> None:
    succeed("finetune", "--recipe", tiny, "--mode", "scratch")
    succeed("finetune", "--recipe", tiny, "--mode", "random-frozen")
    modes = [row["mode"] for row in sheet.read(Path("results.csv"))]
    assert modes == ["scratch", "random-frozen"]


def test_few_labels_and_gradient_probe(pretrained: str) -> None:
    succeed("finetune", "--label-fraction", "0.25", "--set", "finetune.probe=gradient")
    (row,) = sheet.read(Path("results.csv"))
    assert row["label_fraction"] == "0.25"
    assert int(row["n_train"]) == 12
    assert row["selected_on"] == "val"
    assert row["epochs"] == "2"
    assert Path("checkpoints/tiny/finetune-linear-probe-labels0.25-probe=gradient-seed0").is_dir()


def test_probe_uses_every_training_window_only_when_it_chooses_nothing(pretrained: str) -> None:
    succeed("finetune", "--set", "finetune.fit_on=train+val")
    (row,) = sheet.read(Path("results.csv"))
    assert (row["fit_on"], row["selected_on"], row["n_train"]) == ("train+val", "last", "64")
    said = refused("finetune", "--mode", "full", "--set", "finetune.fit_on=train+val", "--out", "other")
    assert "finetune.selected_on" in said


def test_test_selection_is_marked(pretrained: str) -> None:
    succeed("finetune", "--mode", "full", "--set", "finetune.selected_on=test")
    (row,) = sheet.read(Path("results.csv"))
    assert row["selected_on"] == "test"


def test_pretraining_can_be_chosen_by_a_probe_on_validation(tiny: str) -> None:
    probes = ["--set", "pretrain.select=probe", "--set", "pretrain.probe_every=1"]
    assert 'set pretrain.fit_on to "train"' in refused("pretrain", "--recipe", tiny, *probes)
    unseen = ["--set", "pretrain.fit_on=train", "--out", str(PRETRAINED)]
    succeed("pretrain", "--recipe", tiny, *probes, *unseen)
    result = json.loads((PRETRAINED / "metrics.json").read_text())
    accuracies = [float(row["probe_Accuracy"]) for row in history(PRETRAINED)]
    assert result["selected_on"] == "val"
    assert result["best_epoch"] == 1 + int(np.argmax(accuracies))


def test_contrast_on_a_conv_stem(tiny: str) -> None:
    extra = ["pretrain.pretext=contrast", "model.stem=conv", "model.wave_length=4", "model.encoder=pre-norm"]
    succeed("pretrain", "--recipe", tiny, *[part for key in extra for part in ("--set", key)])
    succeed("finetune", "--set", "finetune.layers=all")


def test_window_that_is_no_multiple_is_padded_and_says_so(tiny: str) -> None:
    said = succeed("pretrain", "--recipe", tiny, "--set", "model.wave_length=32", "--set", "pretrain.epochs=1")
    assert "padded by 12 samples to whole tokens" in said


def test_har_from_archive_to_external_validation(har_folder: Path, tmp_path: Path) -> None:
    said = succeed("data", "prepare", "har", "--from", str(har_folder))
    assert "train/test" in said
    assert "identical windows" in said
    assert "whole: windows har, fingerprint" in succeed("data", "check", "har")
    assert "144 recordings" in succeed("data", "list")
    small = ["model.d_model=16", "model.n_layers=1", "pretrain.decoder_layers=1", "pretrain.epochs=1"]
    succeed("pretrain", "--recipe", "har.toml", *[part for key in small for part in ("--set", key)])
    succeed("finetune")
    other = har_layout.write(tmp_path / "other" / "UCI HAR Dataset", windows_per_activity=2, seed=5)
    said = succeed("evaluate", "--data", str(other))
    assert "all (96 windows)" in said
    assert "all, unseen (24 windows)" in said
    assert "seen in training or validation" in said
    run_folder = Path("checkpoints/har/finetune-linear-probe-seed0")
    assert len([name for name in files(run_folder) if name.startswith("predictions")]) == 2
    rows = sheet.read(Path("results.csv"))
    assert rows[0]["fingerprint"] != rows[1]["fingerprint"]
    assert [row["n_test"] for row in rows[1:]] == ["96", "24"]
    (other / "activity_labels.txt").write_text("".join(f"{i} X{i}\n" for i in range(1, 7)))
    assert "labels that this run does not know: x1" in refused("evaluate", "--data", str(other))


def test_overlapping_validation_is_announced(har_folder: Path) -> None:
    succeed("data", "prepare", "har", "--from", str(har_folder))
    small = ["model.d_model=16", "model.n_layers=1", "pretrain.decoder_layers=1", "pretrain.epochs=1"]
    small += ["data.split_scheme=overlapping"]
    said = succeed("pretrain", "--recipe", "har.toml", *[part for key in small for part in ("--set", key)])
    assert "train/val share 6 people and 21 identical windows" in said


def test_evaluate_on_another_split(pretrained: str) -> None:
    succeed("finetune")
    succeed("evaluate", "--split", "val")
    assert sheet.read(Path("results.csv"))[-1]["split"] == "val"
    assert any("val" in name for name in files(PROBED))


def test_recipes_commands() -> None:
    listed = succeed("recipes", "list")
    assert "har-strong.toml" in listed
    shown = succeed("recipes", "show", "har")
    assert tomllib.loads(shown)["model"]["d_model"] == 64
    assert "# width of a token" in shown
    assert "temperature" not in succeed("recipes", "show", "har", "--all")
    assert "masked codeword classification" in succeed("recipes", "keys", "pretrain.timemae")
    assert "there are data, reference" in refused("recipes", "keys", "nothing")
    assert json.loads(succeed("recipes", "schema"))["properties"]["data"]
    assert "valid" in succeed("recipes", "validate", "har.toml")


@pytest.mark.parametrize(
    ("typed", "offered"), [("ssl-bio pret", ["pretrain"]), ("ssl-bio finetune --backb", ["--backbone-lr"])]
)
def test_a_shell_completes_what_is_typed(typed: str, offered: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_SSL_BIO_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
    assert run().out.split() == offered


class TestBadInput:
    """One clear line, exit code 2, nothing half-written."""

    @pytest.fixture(autouse=True)
    def _nothing_is_left_behind(self) -> None:
        self.before = set(Path().rglob("*"))

    def unchanged(self) -> bool:
        return {path for path in Path().rglob("*") if ".lock" not in path.name} == self.before

    def test_recipe(self) -> None:
        Path("x.toml").write_text("[pretrain]\nepoch = 3\nlr = 'fast'\n[modle]\nkind = 'x'\n")
        self.before = set(Path().rglob("*"))
        said = refused("pretrain", "--recipe", "x.toml")
        for part in ("x.toml", "did you mean pretrain.epochs?", "pretrain.lr", "did you mean model?"):
            assert part in said
        assert "did you mean pretrain.epochs" in refused("recipes", "validate", "x.toml")
        assert self.unchanged()

    @pytest.mark.parametrize(
        "assignment",
        [
            "finetune.pooling=[]",
            "model.dropout=0.999",
            'pretrain.augment=["rotate"]',
            "pretrain.lr=1e38",
            "seed=99999999999",
        ],
    )
    def test_values_that_cannot_be(self, tiny: str, assignment: str) -> None:
        self.before = set(Path().rglob("*"))
        refused("pretrain", "--recipe", tiny, "--set", assignment)
        assert self.unchanged() or assignment == "pretrain.lr=1e38", "a lost loss keeps its last good state"

    def test_probe_that_cannot_be_leaves_no_folder(self, tiny: str) -> None:
        self.before = set(Path().rglob("*"))
        refused("pretrain", "--recipe", tiny, "--set", "pretrain.probe_every=1", "--set", "data.target=clean")
        assert self.unchanged()

    def test_options(self) -> None:
        assert "har-strong.toml" in refused("pretrain", "--recipe", "nowhere")
        assert "did you mean" in refused("pretrain", "--set", "pretrain.epocs=3")
        assert "section.key=value" in refused("pretrain", "--set", "epochs")
        assert "exclude each other" in refused("pretrain", "--resume", "--overwrite")
        assert "--seeds" in refused("finetune", "--seeds", "a,b")
        assert "--seeds" in refused("finetune", "--seeds", "0,99999999999")
        assert "auto, cpu or cuda" in refused("pretrain", "--device", "tpu")
        assert "ssl-bio pretrain" in refused("finetune")
        assert "ssl-bio finetune" in refused("evaluate")
        assert self.unchanged()

    def test_data(self, tmp_path: Path, har_folder: Path) -> None:
        Path("nan.toml").write_text(
            TINY.replace('"synthetic"\n', '"har"\n').replace("wave_length = 25", "wave_length = 8")
        )
        assert "synthetic, two-peaks" in refused("pretrain", "--set", "data.dataset=nothing")
        path = har_folder / "train/Inertial Signals/body_acc_x_train.txt"
        text = path.read_text()
        path.write_text(text.replace(text.split()[0], "NaN", 1))
        succeed("data", "prepare", "har", "--from", str(har_folder))
        self.before = set(Path().rglob("*"))
        said = refused("pretrain", "--recipe", "nan.toml")
        assert "1 NaN or infinite samples, the first in window 0" in said
        assert "data.missing" in said
        assert self.unchanged()
        succeed("pretrain", "--recipe", "nan.toml", "--set", "data.missing=interpolate", "--set", "pretrain.epochs=1")
        signals = tmp_path / "data/har/recordings.bin"
        signals.write_bytes(signals.read_bytes()[:1000])
        said = refused("pretrain", "--recipe", "nan.toml", "--out", "elsewhere")
        assert "recordings.bin: 1000 bytes instead of" in said
        assert not Path("elsewhere").exists()

    def test_offline_says_where_to_get_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from ssl_bio.data.readers import har

        source = replace(har.DATASET, url="http://127.0.0.1:1/har.zip")
        monkeypatch.setattr(har, "DATASET", source)
        said = refused("pretrain", "--recipe", "har.toml")
        assert source.homepage in said
        assert "ssl-bio data prepare har --from" in said

    def test_run_folder(self, pretrained: str) -> None:
        said = refused("pretrain", "--recipe", "tiny.toml")
        assert "--resume" in said
        assert "--overwrite" in said
        Path("file").write_text("")
        assert "cannot be written" in refused("pretrain", "--recipe", "tiny.toml", "--out", "file/run")

    def test_checkpoint(self, pretrained: str, har_folder: Path) -> None:
        weights = PRETRAINED / "model.safetensors"
        shutil.copytree(PRETRAINED, "cut")
        Path("cut/model.safetensors").write_bytes(weights.read_bytes()[:5000])
        assert "truncated or no safetensors" in refused("finetune", "--checkpoint", "cut")
        assert "no such weight file" in refused("finetune", "--checkpoint", "nowhere")
        assert "no head to evaluate" in refused("evaluate", "--checkpoint", str(PRETRAINED))
        succeed("data", "prepare", "har", "--from", str(har_folder))
        said = refused("finetune", "--checkpoint", str(PRETRAINED), "--recipe", "har.toml")
        assert "from har.toml" in said or "har.toml" in said
        assert not Path("checkpoints/har").exists()

    def test_sheet(self, pretrained: str) -> None:
        Path("notes.csv").write_text("day,text\n1,hello\n")
        said = refused("finetune", "--sheet", "notes.csv")
        assert "notes.csv: not a results sheet" in said
        assert not PROBED.exists(), "refused before any work"
        assert Path("notes.csv").read_text() == "day,text\n1,hello\n"

    def test_mode(self, pretrained: str) -> None:
        assert "finetune.mode" in refused("finetune", "--mode", "half")

    def test_target_of_another_kind(self, pretrained: str) -> None:
        said = refused("finetune", "--set", "data.target=heart_rate", "--set", "finetune.task=classification")
        assert "needs classes" in said
        assert 'set finetune.task to "regression"' in said


def test_a_log_has_the_last_epoch_of_every_seed_and_part(tiny: str) -> None:
    said = succeed("pretrain", "--recipe", tiny, "--seeds", "0,1", "--folds", "2")
    lines = [line.split("  ")[0] for line in said.splitlines() if "epoch 3/3" in line]
    assert lines == [f"seed {seed}/2, fold {fold}/2, epoch 3/3" for seed in (1, 2) for fold in (1, 2)]
    said = succeed("finetune", "--mode", "full", "--folds", "2")
    (first, second) = [line.split("  ") for line in said.splitlines() if "epoch 2/2" in line]
    assert (first[0], second[0]) == ("fold 1/2, epoch 2/2", "fold 2/2, epoch 2/2")
    assert [part.split()[0] for part in first[1:]] == ["loss", "val_loss", "after"]


def test_a_backbone_goes_on_to_other_channels_rate_and_length(pretrained: str, har_folder: Path) -> None:
    succeed("data", "prepare", "har", "--from", str(har_folder))
    other = ["--set", "data.dataset=har", "--set", "data.target=activity", "--set", "name=other"]
    said = succeed("finetune", "--checkpoint", str(PRETRAINED), *other)
    assert "starts anew: the layers that see channels (2 in the checkpoint: ecg, ppg; here 9: body_acc_x" in said
    (folder,) = Path("checkpoints/other").glob("finetune-linear-probe-dataset=har*")
    theirs, mine = load_checkpoint(PRETRAINED).tensors, load_checkpoint(folder).tensors
    assert mine["backbone.stem.project.weight"].shape[1] == 9
    assert (mine["backbone.position"] == theirs["backbone.position"][:6]).all()
    block = "backbone.encoder.blocks.0.up.weight"
    assert (mine[block] == theirs[block]).all()
    assert "one row in" in succeed("evaluate")


def test_other_split_scheme_than_the_pretraining_is_said(har_folder: Path) -> None:
    succeed("data", "prepare", "har", "--from", str(har_folder))
    small = ["--set", "model.d_model=8", "--set", "model.n_layers=1", "--set", "pretrain.decoder_layers=1"]
    succeed("pretrain", "--recipe", "har.toml", *small, "--set", "pretrain.epochs=1")
    said = succeed("finetune", "--set", "data.split_scheme=overlapping")
    assert "learnt under split scheme 'subject', this run is evaluated under 'overlapping'" in said


def test_a_stop_between_the_row_and_the_end_gives_no_second_row(
    pretrained: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ssl_bio.runs.folder import RunFolder

    def pull_the_plug(self: RunFolder, *arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "finish", pull_the_plug)
        assert run("finetune").code == 130
    (before,) = sheet.read(Path("results.csv"))
    succeed("finetune", "--resume")
    (after,) = sheet.read(Path("results.csv"))
    assert before["run_id"] == after["run_id"]
    assert "not empty" in refused("finetune")
    succeed("finetune", "--overwrite")
    assert len(sheet.read(Path("results.csv"))) == 1, "a run that is replaced replaces its row"
