"""Tasks: parameter groups, sums that add up, losses by hand."""

import pytest
import torch
from ssl_bio.outcome import Classes
from torch.nn import functional as F

from ssl_bio.models.contrast import MaskedContrast
from ssl_bio.models.denoiser import Denoiser
from ssl_bio.models.heads import Predictor
from ssl_bio.models.timemae import TimeMAE, TimeMAEBackbone
from ssl_bio.models.wave_unet import Shape, WaveUNet
from ssl_bio.pretexts import ContrastTask, TimeMAETask
from ssl_bio.tasks import DenoiseTask, DownstreamTask

FOUR = Classes(names=("a", "b", "c", "d"))


def backbone() -> TimeMAEBackbone:
    torch.manual_seed(0)
    return TimeMAEBackbone(3, 64, d_model=16, n_layers=2, dropout=0.0)


def timemae(**changes: object) -> TimeMAETask:
    model = TimeMAE(backbone(), decoder_layers=1, vocab_size=8, dropout=0.0)
    values = {"lr": 1e-3, "mask_ratio": 0.6, "momentum": 0.99, "alpha": 5.0, "beta": 1.0, "label_smoothing": 0.2}
    return TimeMAETask(model, **{**values, **changes})  # type: ignore[arg-type]  # loosely typed on purpose


def test_loss_is_the_weighted_sum_of_its_terms() -> None:
    figures = {}
    for name, changes in {"both": {}, "mrr": {"beta": 0.0}, "mcc": {"alpha": 0.0}}.items():
        task = timemae(**changes)
        torch.manual_seed(1)
        figures[name] = task.figures(task.step(torch.randn(10, 3, 64)).sums)
    assert figures["mrr"]["loss"] == pytest.approx(5 * figures["both"]["mse"], rel=1e-5)
    assert figures["mcc"]["loss"] == pytest.approx(figures["both"]["ce"], rel=1e-5)
    assert figures["both"]["loss"] == pytest.approx(5 * figures["both"]["mse"] + figures["both"]["ce"], rel=1e-5)
    assert figures["both"]["hit_rate"] == figures["both"]["hits"] / 40
    assert 1 <= figures["both"]["perplexity"] <= 8


def test_label_smoothing_is_torchs() -> None:
    scores, codewords = torch.randn(6, 8), torch.randint(8, (6,))
    smooth = F.cross_entropy(scores, F.one_hot(codewords, 8).float(), label_smoothing=0.2)
    torch.testing.assert_close(smooth, F.cross_entropy(scores, codewords, label_smoothing=0.2))


@pytest.mark.parametrize("straight_through", [False, True])
def test_codebook_learns_from_its_targets_only_straight_through(straight_through: bool) -> None:
    task = timemae(straight_through=straight_through, alpha=0.0)
    task.step(torch.randn(4, 3, 64)).loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    assert task.model.tokenizer.codebook.weight.grad is not None
    with_it = timemae(straight_through=not straight_through, alpha=0.0)
    torch.manual_seed(0)
    first = task.step(torch.ones(4, 3, 64))
    torch.manual_seed(0)
    second = with_it.step(torch.ones(4, 3, 64))
    assert first.loss.item() == pytest.approx(second.loss.item()), "the value is the same, the gradient is not"
    grads = []
    for result, model in ((first, task.model), (second, with_it.model)):
        grads.append(torch.autograd.grad(result.loss, model.tokenizer.codebook.weight)[0])
    assert not torch.allclose(grads[0], grads[1])


def test_pretext_groups_leave_the_target_out() -> None:
    task = timemae()
    (group,) = task.parameter_groups()
    ids = {id(parameter) for parameter in group.parameters}
    assert not ids & {id(parameter) for parameter in task.model.target.parameters()}
    assert ids >= {id(parameter) for parameter in task.model.backbone.parameters()}


def test_head_and_backbone_train_at_their_own_rates() -> None:
    task = DownstreamTask(Predictor(backbone(), 4), FOUR, lr=1e-3, backbone_lr=2e-5)
    groups = {group.name: group for group in task.parameter_groups()}
    assert (groups["head"].lr, groups["backbone"].lr) == (1e-3, 2e-5)
    together = [id(p) for group in groups.values() for p in group.parameters]
    assert sorted(together) == sorted(id(p) for p in task.model.parameters())
    probe = DownstreamTask(Predictor(backbone(), 4), FOUR, lr=1e-3, backbone_lr=2e-5, frozen_features=True)
    assert [group.name for group in probe.parameter_groups()] == ["head"]


def test_mixup_mixes_in_training_alone() -> None:
    task = DownstreamTask(Predictor(backbone(), 4), FOUR, 1e-3, 1e-3, mixup=1.0)
    inputs, targets = torch.randn(8, 3, 64), torch.arange(8) % 4
    plain = F.cross_entropy(task.model.eval()(inputs), targets)
    torch.testing.assert_close(task.step(inputs, targets).loss, plain)
    task.model.train()
    assert task.step(inputs, targets).loss.item() != pytest.approx(plain.item(), abs=1e-6)


def test_contrast_knows_its_partner() -> None:
    torch.manual_seed(0)
    task = ContrastTask(MaskedContrast(backbone()), lr=1e-3, mask_ratio=0.5, momentum=0.99, temperature=0.2)
    optimizer = torch.optim.AdamW(task.parameter_groups()[0].parameters, lr=3e-3)
    signals = torch.randn(24, 3, 64)
    for step in range(60):
        torch.manual_seed(step)
        result = task.step(signals, signals)
        optimizer.zero_grad()
        result.loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        task.after_step()
    assert task.figures(result.sums)["hit_rate"] > 0.5
    assert all(p.grad is None for p in task.model.target.parameters())


@torch.no_grad()
def test_noise_and_the_weight_of_peaks_grow_from_nothing_to_their_levels() -> None:
    torch.manual_seed(0)
    clean, noise = torch.randn(4, 1, 64), 5 * torch.randn(4, 1, 64)
    model = Denoiser(WaveUNet(1, 1, Shape(4, 1, 1))).eval()

    def loss(epoch: int, added: torch.Tensor) -> float:
        task = DenoiseTask(model, 1e-3, 1e-3, "peak", peak_weight=4.0, ramp_epochs=4, peak_ramp_epochs=2)
        task.begin_epoch(epoch)
        return float(task.step(clean, added).loss)

    plain = DenoiseTask(model, 1e-3, 1e-3, "l1")
    assert loss(0, noise) == pytest.approx(float(plain.step(clean, 0 * noise).loss))
    weighted = DenoiseTask(model, 1e-3, 1e-3, "peak", peak_weight=4.0)
    assert loss(2, noise) == pytest.approx(float(weighted.step(clean, 0.5 * noise).loss))
    assert loss(4, noise) == loss(9, noise) == pytest.approx(float(weighted.step(clean, noise).loss))
    assert loss(4, noise) != pytest.approx(loss(2, noise))
