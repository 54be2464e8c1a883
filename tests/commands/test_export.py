"""A run's network as ONNX with its card: what other programs compute is what the run was evaluated with."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ssl_bio.commands import export
from ssl_bio.config import load_recipe, resolve
from ssl_bio.models.onnx import Floats, run_onnx
from ssl_bio.tasks.datasets import open_recipe_dataset
from tests.command_line import TINY, TINY_VQVAE, refused, succeed

PROBE = Path("checkpoints/tiny/finetune-linear-probe-seed0")
PRETRAINED = Path("checkpoints/tiny/pretrain-seed0")

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def _extra() -> None:
    for name in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(name)


@pytest.fixture
def pretrained() -> None:
    Path("tiny.toml").write_text(TINY.replace("epochs = 3", "epochs = 1"))
    succeed("pretrain", "--recipe", "tiny.toml")


@pytest.fixture
def probe(pretrained: None) -> None:
    succeed("finetune")


def outputs(folder: Path, signals: Floats) -> list[NDArray[Any]]:
    """Return what the exported network gives, as any program would run it."""
    return run_onnx((folder / "model.onnx").read_bytes(), signals)


def test_it_answers_recordings_as_the_run_was_evaluated(probe: None) -> None:
    said = succeed("export", str(PROBE), "--format", "onnx")
    assert re.search(r"random windows: differs from torch by [\d.]+e-\d\d at most", said)
    assert "16 windows of synthetic-10x8-seed0-v2: differs" in said
    with np.load(PROBE / "predictions.npz", allow_pickle=False) as file:
        predicted = dict(file)
    dataset = open_recipe_dataset(resolve([load_recipe("tiny.toml")]).recipe.data)
    (found,) = outputs(PROBE / "export", dataset.read(predicted["row"]).astype(np.float32))
    np.testing.assert_allclose(found, predicted["probability"], atol=1e-6)
    card = (PROBE / "export/README.md").read_text()
    for part in (
        "| test | 16 | 2 |",
        "| Accuracy |",
        "synthetic_rhythm",
        f"started from: {PRETRAINED}",
    ):
        assert part in card, part


def test_the_cards_own_lines_run(probe: None, monkeypatch: pytest.MonkeyPatch) -> None:
    succeed("export", str(PROBE))
    (lines,) = re.findall(r"```python\n(.*?)```", (PROBE / "export/README.md").read_text(), flags=re.DOTALL)
    monkeypatch.chdir(PROBE / "export")
    found: dict[str, object] = {}
    exec(lines, found)
    assert np.asarray(found["probability"]).shape == (1, 4)


def test_a_pretrained_run_gives_embeddings(pretrained: None) -> None:
    succeed("export", str(PRETRAINED / "model.safetensors"), "--out", "embeddings")
    tokens, embedding = outputs(Path("embeddings"), np.ones((3, 2, 500), np.float32))
    assert tokens.shape == (3, 20, 16)
    np.testing.assert_allclose(embedding, tokens.mean(axis=1), atol=1e-6)
    assert "| embedding | output | (batch, 16): the mean of the tokens |" in Path("embeddings/README.md").read_text()


def test_of_values_the_card_has_baselines_units_and_what_chose_the_epoch() -> None:
    Path("hr.toml").write_text(TINY_VQVAE.replace('mode = "linear-probe"', 'mode = "scratch"\ntask = "regression"'))
    chosen = ["--set", "data.target=heart_rate", "--set", "finetune.selected_on=test", "--out", "run"]
    succeed("finetune", "--recipe", "hr.toml", *chosen)
    succeed("export", "run")
    card = Path("run/export/README.md").read_text()
    for part in ("heart_rate in beats/min", "| metric | this network | always the mean |", "epoch was chosen on test"):
        assert part in card, part


def test_without_its_dataset_it_says_so_and_tells_what_the_run_knows(
    probe: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = PROBE / "model.safetensors"
    monkeypatch.setattr(export, "open_recipe_dataset", lambda config, download: _other_dataset())
    said = succeed("export", str(recipe))
    assert "is not at hand: compared on simulated windows alone" in said
    assert "| test | 16 | 2 |" in (PROBE / "export/README.md").read_text()


def _other_dataset() -> object:
    config = resolve([load_recipe("tiny.toml")]).recipe.data
    synthetic = config.synthetic.model_copy(update={"seed": 9})
    return open_recipe_dataset(config.model_copy(update={"synthetic": synthetic}))


def test_what_onnxruntime_computes_otherwise_is_not_written(probe: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "MOST_DIFFERENCE", 0.0)
    assert "onnxruntime computes otherwise than torch" in refused("export", str(PROBE))
    assert not (PROBE / "export").exists()


def test_what_cannot_be_exported_is_refused_in_a_line(probe: None) -> None:
    assert "choose onnx" in refused("export", str(PROBE), "--format", "tflite")
    assert "no such weight file" in refused("export", "nowhere")
    succeed("export", str(PROBE))
    assert "--overwrite replaces it" in refused("export", str(PROBE))
    succeed("export", str(PROBE), "--overwrite")
    (PROBE / "export/notes.txt").write_text("mine")
    assert "holds other files (notes.txt)" in refused("export", str(PROBE), "--overwrite")
    succeed("finetune", "--recipe", "tiny.toml", "--mode", "scratch", "--folds", "2", "--out", "parts")
    assert "parts holds 2 networks: export one of its parts" in refused("export", "parts")


def test_an_export_is_no_obstacle_to_another_run(probe: None) -> None:
    succeed("export", str(PROBE))
    succeed("finetune", "--overwrite")
    assert not (PROBE / "export").exists()
