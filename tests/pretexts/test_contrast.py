"""Masked window contrast: a window finds its partner."""

import pytest
import torch

from ssl_bio.models.contrast import MaskedContrast
from ssl_bio.models.timemae import TimeMAEBackbone
from ssl_bio.pretexts.base import load_pretext
from ssl_bio.pretexts.contrast import ContrastObjective
from ssl_bio.runs.inputs import input_spec
from ssl_bio.training.objective import TensorBatch
from tests.tasks.small_recipes import prepared, pretext_recipe
from tests.training.steps import first_batch


def test_windows_learn_to_find_their_partners() -> None:
    torch.manual_seed(0)
    backbone = TimeMAEBackbone(n_channels=3, length=64, d_model=16, n_layers=2, dropout=0.0)
    learner = ContrastObjective(MaskedContrast(backbone), lr=1e-3, mask_ratio=0.5, momentum=0.99, temperature=0.2)
    optimizer = torch.optim.AdamW(learner.parameter_groups()[0].parameters, lr=3e-3)
    signals = torch.randn(24, 3, 64)
    for step in range(60):
        torch.manual_seed(step)
        output = learner.step(TensorBatch(signals, signals))
        optimizer.zero_grad()
        output.loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        learner.after_step()
    found = learner.metrics(output.sums)
    assert found["hit_rate"] > 0.5
    assert found["hit_rate_chance"] == pytest.approx(1 / 24)
    copies = learner.module.get_submodule("target")
    assert all(p.grad is None for p in copies.parameters())


@pytest.mark.parametrize("neighbours", [0, 2])
def test_partners_are_other_views_of_the_same_or_a_neighbouring_window(neighbours: int) -> None:
    recipe = pretext_recipe("contrast", "timemae", neighbours=neighbours)
    pretext, dataset = load_pretext(recipe), prepared(recipe)
    batch = first_batch(pretext.training_loader(dataset, input_spec(dataset.info, window=0), torch.device("cpu")))
    assert batch.targets is not None
    assert batch.targets.shape == batch.inputs.shape
    same = (batch.inputs == batch.targets).flatten(1).all(dim=1)
    assert bool(same.all()) == (neighbours == 0)
