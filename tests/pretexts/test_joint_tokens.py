"""Joint tokens: the loss by hand, what the encoder may see, and that the tokenizer stays what it is."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from ssl_bio.errors import RecipeError
from ssl_bio.models.code_predictor import CodePredictor
from ssl_bio.models.timemae import TimeMAEBackbone
from ssl_bio.pretexts.base import load_pretext
from ssl_bio.pretexts.joint_tokens import JointTokensObjective
from ssl_bio.pretexts.tokenizer import Tokenizer, TokenPretext
from ssl_bio.runs.inputs import input_spec
from ssl_bio.tasks.base import expect
from ssl_bio.tasks.load import fit_input_scaling
from ssl_bio.training.objective import TensorBatch
from tests.tasks.small_recipes import backbone_of, prepared, pretext_recipe, tokenizer_run
from tests.training.steps import first_batch, take_step

CPU = torch.device("cpu")


def objective(vocab_size: int = 20, label_smoothing: float = 0.0) -> JointTokensObjective:
    torch.manual_seed(0)
    backbone = TimeMAEBackbone(n_channels=1, length=64, d_model=16, n_layers=1, n_heads=2, dropout=0.0)
    model = CodePredictor(backbone=backbone, vocab_size=vocab_size, code_length=16)
    return JointTokensObjective(model, lr=1e-2, label_smoothing=label_smoothing)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_the_loss_is_the_cross_entropy_of_every_code(label_smoothing: float) -> None:
    learner, signals, codes = (
        objective(label_smoothing=label_smoothing),
        torch.randn(6, 1, 64),
        torch.randint(20, (6, 4)),
    )
    output = learner.step(TensorBatch(signals, codes))
    scores = learner.module(signals).reshape(24, 20)
    expected = F.cross_entropy(scores, codes.reshape(24), label_smoothing=label_smoothing)
    torch.testing.assert_close(output.loss, expected)
    metrics = learner.metrics(output.sums)
    assert metrics["accuracy"] == pytest.approx(float((scores.argmax(1) == codes.flatten()).float().mean()))
    ranks = (scores > scores.gather(1, codes.reshape(24, 1))).sum(dim=1)
    assert metrics["top10"] == pytest.approx(float((ranks < 10).float().mean()))
    assert (metrics["accuracy_chance"], metrics["top10_chance"]) == (1 / 20, 10 / 20)
    counts = torch.bincount(codes.flatten(), minlength=20).sort(descending=True).values
    assert metrics["accuracy_constant"] == pytest.approx(float(counts[0]) / 24)
    assert metrics["top10_constant"] == pytest.approx(float(counts[:10].sum()) / 24)


def test_fewer_codes_than_ten_are_all_among_the_likeliest() -> None:
    learner = objective(vocab_size=6)
    metrics = learner.metrics(learner.step(TensorBatch(torch.randn(6, 1, 64), torch.randint(6, (6, 4)))).sums)
    assert metrics["top10"] == metrics["top10_chance"] == metrics["top10_constant"] == 1


def test_it_learns_what_the_signal_tells() -> None:
    learner = objective(vocab_size=4)
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(4, (64, 4), generator=generator)
    signals = codes.float().repeat_interleave(16, dim=1)[:, None] + 0.1 * torch.randn(64, 1, 64, generator=generator)
    optimizer = torch.optim.AdamW(learner.parameter_groups()[0].parameters, lr=learner.lr)
    for _ in range(60):
        output = learner.step(TensorBatch(signals, codes))
        optimizer.zero_grad()
        output.loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
    assert learner.metrics(output.sums)["accuracy"] > 0.9


@pytest.mark.parametrize("pretext_name", ["joint_tokens", "timemae"])
@pytest.mark.parametrize(("seen", "other"), [("ppg", 0), ("ecg", 1)])
def test_the_input_holds_nothing_of_the_other_signal(pretext_name: str, seen: str, other: int) -> None:
    named = {} if pretext_name == "joint_tokens" else {"codewords": tokenizer_run(), "vocab_size": 192}
    recipe = pretext_recipe(pretext_name, "timemae", fit_on="train", augment=["scale", "jitter"], **named)
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"normalize": "channel"})})
    whole = prepared(recipe)
    changed = whole.signals[:]
    changed[:, other] = changed[::-1, other]
    found = []
    for signals in (whole.signals, changed):
        dataset = replace(whole, signals=signals).with_channels([seen])
        spec, pretext = input_spec(dataset.info, window=0), load_pretext(recipe)
        batch = first_batch(pretext.training_loader(dataset, spec, CPU))
        backbone = backbone_of(recipe, spec)
        fit_input_scaling(backbone, dataset, recipe=recipe, spec=spec)
        pretext.build(backbone, spec).module.eval()
        found.append((batch, backbone(batch.inputs)))
    (first, output), (second, output_again) = found
    assert torch.equal(first.inputs, second.inputs)
    assert torch.equal(output, output_again)
    assert first.targets is not None
    assert second.targets is not None
    assert not torch.equal(first.targets, second.targets), "the codes are of both"


def test_every_window_comes_with_its_own_codes() -> None:
    recipe = pretext_recipe("joint_tokens", "timemae", fit_on="train")
    whole = prepared(recipe)
    dataset = whole.with_channels(["ppg"])
    spec, pretext = input_spec(dataset.info, window=0), load_pretext(recipe)
    model = expect(Tokenizer, expect(TokenPretext, pretext).tokenizer).model
    for split, batch in (
        ("train", first_batch(pretext.training_loader(dataset, spec, CPU))),
        ("val", first_batch(pretext.validation_loader(dataset, CPU))),
    ):
        rows = whole.rows("subject", split)
        shown = torch.from_numpy(whole.signals[rows].copy())
        places = [int((shown[:, 1] == window[0]).all(dim=1).nonzero()) for window in batch.inputs]
        assert batch.targets is not None
        assert torch.equal(batch.targets, model.codes(shown[places])[..., 0])


def test_no_gradient_reaches_the_tokenizer() -> None:
    recipe = pretext_recipe("joint_tokens", "timemae", fit_on="train")
    dataset = prepared(recipe).with_channels(["ppg"])
    spec, pretext = input_spec(dataset.info, window=0), load_pretext(recipe)
    tokenizer = expect(Tokenizer, expect(TokenPretext, pretext).tokenizer)
    before = {name: tensor.clone() for name, tensor in tokenizer.model.state_dict().items()}
    learner = pretext.build(backbone_of(recipe, spec), spec)
    take_step(learner, first_batch(pretext.training_loader(dataset, spec, CPU)))
    theirs = {id(tensor) for tensor in [*tokenizer.model.parameters(), *tokenizer.model.buffers()]}
    assert theirs.isdisjoint(id(tensor) for tensor in [*learner.module.parameters(), *learner.module.buffers()])
    assert all(parameter.grad is None for parameter in tokenizer.model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in tokenizer.model.state_dict().items())


def test_tokens_longer_than_codes_are_refused() -> None:
    recipe = pretext_recipe("joint_tokens", "timemae")
    recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"wave_length": 32})})
    spec = input_spec(prepared(recipe).info, window=0)
    with pytest.raises(RecipeError, match="its codes stand for 16 samples, this model's tokens for 32"):
        load_pretext(recipe).build(backbone_of(recipe, spec), spec)


def test_a_recipe_names_its_tokenizer() -> None:
    recipe = pretext_recipe("joint_tokens", "timemae", tokenizer="")
    (problem,) = load_pretext(recipe).check(prepared(recipe))
    assert problem.startswith("pretrain.tokenizer: name the run or the recipe of a VQ-VAE")


def test_the_recipes_label_smoothing_is_the_losss() -> None:
    recipe = pretext_recipe("joint_tokens", "timemae", label_smoothing=0.3)
    spec = input_spec(prepared(recipe).info, window=0)
    learner = load_pretext(recipe).build(backbone_of(recipe, spec), spec)
    learner.module.eval()
    signals, codes = torch.randn(3, 2, 500), torch.randint(8, (3, 32))
    scores = learner.module(signals).flatten(0, 1)
    expected = F.cross_entropy(scores, codes.flatten(), label_smoothing=0.3)
    torch.testing.assert_close(learner.step(TensorBatch(signals, codes)).loss, expected)
