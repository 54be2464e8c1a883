"""The text of a model card."""

from dataclasses import replace

from ssl_bio.results.card import ModelCard
from ssl_bio.results.evaluation import Table

CARD = ModelCard(
    title="hr: finetune-full-seed0",
    summary="From windows of signals to `bidmc_hr`.",
    model_file="model.onnx",
    channels=("ppg", "a|b"),
    unit="mV",
    sampling_rate=50.0,
    length=500,
    outputs={"value": "(batch, 1): heart_rate in beats/min"},
    dataset="`bidmc`",
    preparation=["highpass = 0.5"],
    people=Table("", ["split", "windows", "people"], [["test", "40", "5"]]),
    metrics=Table("test, 40 windows", ["metric", "this network", "always the mean"], [["MAE", "1.4", "9.7"]]),
    limits=["One split and one seed."],
    differences={"random windows": 1.2e-7},
    origin={"run": "r", "started from": ""},
)


def test_it_says_all_that_it_was_given() -> None:
    text = CARD.text()
    assert text.startswith("# hr: finetune-full-seed0\n\nFrom windows")
    for part in (
        "| signals | input | float32 (batch, 2, 500): ppg, a\\|b, in this order, unit: mV; 10 s at 50 Hz; any",
        "| value | output | (batch, 1): heart_rate in beats/min |",
        "[data]\nhighpass = 0.5\n",
        "| test | 40 | 5 |",
        "## Metrics: test, 40 windows\n\n| metric | this network | always the mean |\n",
        "| --- | --- | --- |\n| MAE | 1.4 | 9.7 |",
        "- One split and one seed.",
        "- random windows: differs by 1.2e-07 at most",
        "- run: r\n",
    ):
        assert part in text, part
    assert "started from" not in text
    assert "What needs no learning" not in text


def test_what_is_not_known_is_left_out_or_said() -> None:
    nothing = Table("test", ["metric", "this network"], [])
    bare = replace(CARD, people=Table("", ["split"], []), preparation=[], metrics=nothing, unit="")
    assert "None were measured." in bare.text()
    assert "[data]" not in bare.text()
    assert "unit: that of the dataset" in bare.text()
    alone = nothing._replace(rows=[["MAE", "1.4"]])
    assert "What needs no learning was not measured" in replace(CARD, metrics=alone).text()
