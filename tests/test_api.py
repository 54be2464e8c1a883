"""ssl-bio from Python: the example of its documentation runs, and runs are estimators as scikit-learn knows them."""

import doctest
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import ssl_bio
from ssl_bio.errors import DataError, RecipeError, SslBioError

RECIPE = {
    "data": {"target": "pace", "window": 5.0},
    "model": {"d_model": 16, "n_layers": 1, "n_heads": 2, "wave_length": 10},
}
RATES = np.linspace(50, 100, 12)


def beat(rate: float, seconds: float = 30) -> np.ndarray:
    time = np.arange(round(seconds * 20)) / 20
    return np.stack([np.sin(2 * np.pi * rate / 60 * time), np.cos(time)])


def prepared(tmp_path: Path) -> ssl_bio.Data:
    return ssl_bio.prepare(
        [beat(rate) for rate in RATES],
        {"pace": ["fast" if rate > 75 else "slow" for rate in RATES], "rate": RATES.tolist()},
        groups=[f"p{index // 2}" for index in range(12)],
        channels=["ppg", "resp"],
        sampling_rate=20,
        name="walks",
        root=tmp_path / "data",
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finetuned run on recordings from memory."""
    return ssl_bio.finetune(RECIPE, prepared(tmp_path), overrides={"finetune.epochs": 2})


def windows(rate: float = 60) -> np.ndarray:
    return np.stack([beat(rate, 5), beat(rate + 10, 5), beat(rate + 20, 5)])


def test_the_example_of_the_documentation_runs() -> None:
    found = doctest.testmod(ssl_bio)
    assert found.attempted > 8
    assert not found.failed


def test_every_public_name_is_documented() -> None:
    for name in ssl_bio.__all__:
        assert inspect.getdoc(getattr(ssl_bio, name)), name
        assert name in dir(ssl_bio)
    with pytest.raises(AttributeError, match="no attribute 'predicted'"):
        ssl_bio.predicted  # noqa: B018  # the access is what is tested


def test_importing_is_quick() -> None:
    heavy = ("torch", "pandas", "scipy", "sklearn", "numpy", "wfdb", "typer", "pydantic")
    code = f"import ssl_bio, sys; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_people_are_not_divided(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = ssl_bio.finetune(RECIPE, prepared(tmp_path), overrides={"finetune.epochs": 1}, out=tmp_path / "run")
    assert run == tmp_path / "run"
    with np.load(run / "predictions.npz") as arrays:
        assert len(np.unique(arrays["subject"])) == 1
        assert len(np.unique(arrays["recording"])) == 2
    assert capsys.readouterr().out == "", "quiet unless asked"


def test_answers_about_a_recording(run: Path) -> None:
    model = ssl_bio.Model.load(run)
    assert (model.channels, model.names, model.window) == (("ppg", "resp"), ("fast", "slow"), 5.0)
    answers = model.predict(beat(60), sampling_rate=20)
    assert list(answers.columns) == ["start", "end", "pace", "probability fast", "probability slow"]
    assert answers["start"].tolist() == [0, 5, 10, 15, 20, 25]
    whole = model.predict_windows(np.stack([beat(60)[:, :100]]))
    np.testing.assert_allclose(whole["probability fast"][0], answers["probability fast"][0], atol=1e-6)
    finer = model.predict(beat(60), sampling_rate=20, stride=2.5)
    assert len(finer) == 11
    time = np.arange(30 * 60) / 60
    faster = np.stack([np.sin(2 * np.pi * time), np.cos(time)])
    np.testing.assert_allclose(
        model.predict(faster, sampling_rate=60)["probability fast"][1:5], answers["probability fast"][1:5], atol=0.05
    )
    with pytest.raises(DataError, match=r"shape \(1, 600\), not \(2, samples\): ppg, resp"):
        model.predict(beat(60)[:1], sampling_rate=20)


def test_two_models_have_a_spread(run: Path, tmp_path: Path) -> None:
    other = ssl_bio.finetune(
        RECIPE, ssl_bio.Data("walks", str(tmp_path / "data")), overrides={"finetune.epochs": 2}, seed=1
    )
    both = ssl_bio.Model.load(run, other).predict(beat(60), sampling_rate=20)
    alone = [ssl_bio.Model.load(one).predict(beat(60), sampling_rate=20)["probability fast"] for one in (run, other)]
    np.testing.assert_allclose(both["probability fast"], (alone[0] + alone[1]) / 2)
    np.testing.assert_allclose(both["std probability fast"], abs(alone[0] - alone[1]) / 2**0.5, atol=1e-9)


def test_an_encoder_is_a_transformer_of_scikit_learn(run: Path) -> None:
    encoder = ssl_bio.Encoder.load(run)
    assert encoder.transform(windows()).shape == (3, 16)
    copied = clone(encoder)
    assert copied.get_params() == {"run": run, "pooling": "mean", "device": "auto"}
    np.testing.assert_array_equal(copied.fit_transform(windows()), encoder.transform(windows()))
    table = ssl_bio.Encoder(run, pooling=["mean", "std"]).set_output(transform="pandas").fit_transform(windows())
    assert table.shape == (3, 32)
    assert list(table.columns[:2]) == ["mean_0", "mean_1"]
    many = np.concatenate([windows(rate) for rate in (50, 55, 60, 65)])
    values = np.array([rate + more for rate in (50, 55, 60, 65) for more in (0, 10, 20)])
    pipeline = make_pipeline(ssl_bio.Encoder(run), Ridge(alpha=1e-3))
    assert pipeline.fit(many, values).score(many, values) > 0.5
    grid = {"encoder__pooling": ["mean", "max", ("mean", "std")], "ridge__alpha": [0.1, 1.0]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(many, values)
    assert search.best_params_["encoder__pooling"] in ("mean", "max", ("mean", "std"))
    assert encoder.transform_recording(beat(60), sampling_rate=20).shape == (6, 16)
    with pytest.raises(DataError, match=r"windows of shape \(3, 2, 99\), not \(n, 2, 100\)"):
        encoder.transform(windows()[:, :, :99])
    with pytest.raises(DataError, match="pooling median: one of mean"):
        ssl_bio.Encoder.load(run, pooling="median")


def test_pretraining_then_finetuning(tmp_path: Path) -> None:
    data = prepared(tmp_path)
    small = {"pretrain.decoder_layers": 1, "pretrain.vocab_size": 12, "pretrain.epochs": 1}
    pretrained = ssl_bio.pretrain(RECIPE, data, overrides=small, out=tmp_path / "pretrained")
    full = {"finetune.mode": "full", "finetune.epochs": 1}
    tuned = ssl_bio.finetune(RECIPE, data, checkpoint=pretrained, overrides=full, sheet=tmp_path / "sheet.csv")
    assert (tmp_path / "sheet.csv").read_text().count("\n") == 2
    assert ssl_bio.Encoder.load(tuned).transform(windows()).shape == (3, 16)


def test_a_recipe_by_name_and_what_is_wrong_is_one_line(tmp_path: Path) -> None:
    small = {"pretrain.epochs": 1, "data.synthetic.n_subjects": 6}
    run = ssl_bio.pretrain("demo.toml", out=tmp_path / "demo", overrides=small)
    assert (run / "model.safetensors").is_file()
    with pytest.raises(RecipeError, match=r"unknown key model\.wide"):
        ssl_bio.pretrain({"model": {"wide": 3}}, prepared(tmp_path))
    with pytest.raises(SslBioError, match="no such weight file"):
        ssl_bio.Model.load(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": {"pace": ["fast"]}}, "pace: 1 values for 12 recordings"),
        ({"groups": ["p"]}, "group: 1 values for 12 recordings"),
        ({"channels": ["ppg"]}, r"recording 0: shape \(2, 600\), not \(1, samples\)"),
        ({"name": "bidmc"}, "bidmc is the name of a known dataset"),
        ({"groups": ["a", "b"] * 6}, "fewer than 3 people cannot be split"),
        ({"targets": {"start": [1.0] * 12}}, "target 'start': this name has another meaning"),
        ({"sampling_rate": float("nan")}, "nan Hz is no sampling rate"),
        ({"targets": {"pace": ["fast", 3] * 6}}, "column pace has both text"),
    ],
)
def test_recordings_that_do_not_fit_are_refused(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    arguments = {"sampling_rate": 20, "root": tmp_path, **changes}
    with pytest.raises(DataError, match=message):
        ssl_bio.prepare([beat(rate) for rate in RATES], **arguments)  # type: ignore[arg-type]  # what is tested
