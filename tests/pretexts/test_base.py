"""What all pretext tasks share: which windows, what is wrong, which epoch is kept."""

from typing import Any

import numpy as np
import pytest
import torch

from ssl_bio.data.loader import Loader
from ssl_bio.metrics.embeddings import rankme
from ssl_bio.models.base import Backbone
from ssl_bio.pretexts.base import embedding_rank, load_pretext, probe_metrics, validation_metrics
from ssl_bio.runs.inputs import input_spec
from ssl_bio.tasks.base import expect
from ssl_bio.training.objective import BaseObjective, StepOutput, TensorBatch
from ssl_bio.training.optim import ParameterGroup
from tests.tasks.small_recipes import backbone_of, prepared, pretext_recipe, small_recipe, task_recipe

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("pretrain", "validates", "probes", "monitor"),
    [
        ({}, False, False, ""),
        ({"fit_on": "train", "select": "val_loss"}, True, False, "val_loss"),
        ({"fit_on": "train", "select": "probe"}, True, True, "probe_Accuracy"),
        ({"probe_every": 2}, False, True, ""),
        ({"fit_on": "train"}, True, False, ""),
    ],
)
def test_what_is_looked_at_while_it_trains(
    pretrain: dict[str, Any], validates: bool, probes: bool, monitor: str
) -> None:
    recipe = pretext_recipe("timemae", "timemae", **pretrain)
    pretext, dataset = load_pretext(recipe), prepared(recipe)
    assert (pretext.validates(dataset), pretext.probes()) == (validates, probes)
    assert pretext.fit_settings().monitor == monitor
    assert pretext.fit_settings().epochs == 2


def test_the_rank_of_embeddings_is_that_of_all_windows_at_once() -> None:
    recipe = pretext_recipe("timemae", "timemae", fit_on="train")
    pretext, dataset = load_pretext(recipe), prepared(recipe)
    spec = input_spec(dataset.info, window=0)
    backbone = expect(Backbone, backbone_of(recipe, spec)).eval()
    signals = pretext.signals(dataset, "val")
    found = embedding_rank(backbone, Loader(source=signals, batch_size=3), window=spec.window, device=CPU)
    with torch.no_grad():
        embeddings = backbone(torch.from_numpy(signals.read(np.arange(len(signals))))).mean(dim=1).double()
    assert found == pytest.approx(rankme(embeddings.T @ embeddings), rel=1e-4)
    assert 1 < found <= backbone.d_model


def test_a_vqvae_always_validates_on_windows_it_has_not_seen() -> None:
    for fit_on, validates in (("train", True), ("train+val", False)):
        recipe = pretext_recipe("vqvae", "vqvae", fit_on=fit_on)
        assert load_pretext(recipe).validates(prepared(recipe)) == validates


def test_which_windows_it_sees() -> None:
    recipe = pretext_recipe("timemae", "timemae")
    pretext, dataset = load_pretext(recipe), prepared(recipe)
    assert len(pretext.signals(dataset, "train")) == 48
    loader = pretext.training_loader(dataset, _spec(recipe), CPU)
    assert len(pretext.signals(dataset, "train+val")) == len(loader.source) == 64


def test_a_denoiser_is_pretrained_on_clean_signals() -> None:
    recipe = task_recipe("denoising", "wave_unet")
    dataset = prepared(recipe)
    shown = load_pretext(recipe).signals(dataset, "train").read(slice(0, 4))
    rows = dataset.rows("subject", "train")[:4]
    np.testing.assert_array_equal(shown, dataset.targets["clean"][rows])


def _spec(recipe: Any) -> Any:
    return input_spec(prepared(recipe).info, window=recipe.model.window)


@pytest.mark.parametrize(
    ("pretrain", "message"),
    [
        ({"draw_channels": ["ecg"]}, "shows one channel at a time: name one in data.channels"),
        ({"draw_channels": ["emg"]}, "no channel emg"),
        ({"augment": ["rotate"]}, "rotate"),
    ],
)
def test_what_only_the_data_tell_is_wrong(pretrain: dict[str, Any], message: str) -> None:
    recipe = pretext_recipe("timemae", "timemae", **pretrain)
    assert any(message in problem for problem in load_pretext(recipe).check(prepared(recipe)))


def test_a_probe_needs_a_target() -> None:
    recipe = small_recipe({"pretrain": {"probe_every": 1}, "data": {"target": "mood"}})
    (problem,) = load_pretext(recipe).check(prepared(recipe))
    assert "no target 'mood'" in problem


def test_a_probe_leaves_the_backbone_as_it_is() -> None:
    recipe = pretext_recipe("timemae", "timemae", probe_every=1, fit_on="train")
    pretext, dataset, spec = load_pretext(recipe), prepared(recipe), _spec(recipe)
    backbone = backbone_of(recipe, spec).train()
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    found = probe_metrics(pretext, backbone, dataset=dataset, spec=spec, device=CPU)
    assert set(found) == {"probe_Accuracy"}
    assert 0 < found["probe_Accuracy"] <= 1
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())
    assert backbone.training
    assert probe_metrics(pretext, backbone, dataset=dataset, spec=spec, device=CPU) == found


class Drawing(BaseObjective):
    """Has a loss that is drawn, and says how long the windows are that it sees."""

    def __init__(self) -> None:
        self.module = torch.nn.Linear(1, 1)
        self.lengths: list[int] = []

    def step(self, batch: TensorBatch) -> StepOutput:
        assert not self.module.training
        self.lengths.append(batch.inputs.shape[-1])
        n = torch.tensor(float(len(batch.inputs)))
        loss = torch.rand(())
        return StepOutput(loss, {"windows": n, "loss": loss * n})

    def parameter_groups(self) -> list[ParameterGroup]:
        return []


def test_validation_draws_the_same_after_every_epoch_whatever_was_drawn_before() -> None:
    recipe = pretext_recipe("timemae", "timemae", fit_on="train")
    objective, loader = Drawing(), load_pretext(recipe).validation_loader(prepared(recipe), CPU)
    found = []
    for n_draws, seed in ((0, 4), (3, 4), (50, 4), (0, 5)):
        torch.rand(n_draws)
        found.append(validation_metrics(objective, loader, window=200, device=CPU, seed=seed)["loss"])
    assert found[0] == found[1] == found[2] != found[3]
    assert set(objective.lengths) == {200}
    assert objective.module.training
