"""Which value counts: command line over recipe over checkpoint over defaults; what a resumed run keeps."""

import pytest

from ssl_bio.config import ConfigLayer, flatten, parse_overrides, resolve
from ssl_bio.config.resolve import (
    check_architecture,
    check_pretext,
    check_task,
    check_unused,
    from_checkpoint,
    on_resume,
    recipe_of,
)
from ssl_bio.errors import CheckpointError, RecipeError
from tests.config.recipe_layers import command_line, layer, recipe


def stored(**values: object) -> dict[str, object]:
    """Return the complete recipe of a checkpoint."""
    return recipe(**values).model_dump(mode="json")


def test_precedence_and_origins() -> None:
    checkpoint = ConfigLayer({"model": {"d_model": 32}, "finetune": {"lr": 0.1, "epochs": 7}}, "checkpoint")
    mine = layer("mine.toml", finetune={"lr": 0.2, "patience": 3})
    resolved = resolve([checkpoint, mine, command_line(finetune={"lr": 0.3})])
    assert resolved.recipe.finetune.lr == 0.3
    assert resolved.recipe.finetune.epochs == 7
    assert resolved.origins == {
        "model.d_model": "checkpoint",
        "finetune.epochs": "checkpoint",
        "finetune.patience": "mine.toml",
        "finetune.lr": "command line",
    }


def test_problems_of_merged_layers_are_told_layer_by_layer() -> None:
    wrong = parse_overrides(["model.kind=lstm", "model.wave_length=3", "pretrain.epohcs=3"])
    with pytest.raises(RecipeError) as caught:
        resolve([layer("mine.toml", finetune={"lr": 0.1}), wrong])
    assert str(caught.value).startswith("command line: unknown key model.wave_length")
    assert "unknown key pretrain.epohcs (did you mean pretrain.epochs?)" in str(caught.value)
    assert "mine.toml" not in str(caught.value)


class TestAnotherKind:
    """A layer that chooses another kind than those below it."""

    BELOW = layer("theirs.toml", model={"n_heads": 2, "d_model": 32, "stem": "conv", "dropout": 0.1}, seed=3)

    def test_keys_that_the_new_kind_lacks_fall_away(self) -> None:
        resolved = resolve([self.BELOW, command_line(model={"kind": "lstm"})])
        assert flatten(resolved.recipe.model.model_dump()) == {
            "kind": "lstm",
            "window": 0.0,
            "d_model": 32,
            "n_layers": 8,
            "dropout": 0.1,
        }
        assert resolved.origins == {
            "model.kind": "command line",
            "model.d_model": "theirs.toml",
            "model.dropout": "theirs.toml",
            "seed": "theirs.toml",
        }

    def test_keys_that_it_writes_itself_stay_and_are_checked(self) -> None:
        with pytest.raises(RecipeError, match=r"^command line: unknown key model\.stem \(a key of model\.kind timemae"):
            resolve([self.BELOW, command_line(model={"kind": "lstm", "stem": "conv"})])

    def test_so_do_those_of_evaluation_that_go_with_a_task(self) -> None:
        below = layer(
            "theirs.toml", finetune={"task": "regression"}, evaluate={"tta_rates": [1.0, 2.0], "split": "val"}
        )
        resolved = resolve([below, command_line(finetune={"task": "classification"})])
        assert resolved.recipe.evaluate.model_dump() == {"split": "val", "per_subject": 0, "batch_size": 512}
        again = command_line(finetune={"task": "classification"}, evaluate={"tta_rates": [1.0]})
        with pytest.raises(RecipeError, match=r"command line: unknown key evaluate\.tta_rates"):
            resolve([below, again])

    def test_a_backbone_that_brings_another_pretext_task(self) -> None:
        below = layer("theirs.toml", model={"kind": "vqvae"}, pretrain={"quantizer": {"codebook_size": 8}, "epochs": 3})
        resolved = resolve([below, command_line(model={"kind": "timemae"})])
        assert resolved.recipe.pretrain.pretext == "timemae"
        assert resolved.recipe.pretrain.epochs == 3
        assert "pretrain.quantizer.codebook_size" not in resolved.origins

    def test_a_shared_name_with_another_meaning_falls_away(self) -> None:
        below = layer("theirs.toml", finetune={"task": "regression", "loss": "huber", "mode": "linear-probe"})
        resolved = resolve([below, command_line(finetune={"task": "denoising"})])
        assert (resolved.recipe.finetune.mode, "finetune.loss" in resolved.origins) == ("full", False)

    def test_what_fell_away_does_not_come_back(self) -> None:
        back = resolve([self.BELOW, layer("middle", model={"kind": "lstm"}), command_line(model={"kind": "timemae"})])
        assert back.recipe.model == recipe(model={"d_model": 32, "dropout": 0.1}).model


class TestCheckpoint:
    """What a checkpoint's recipe says to the ones above it."""

    @pytest.mark.parametrize(
        ("above", "message"),
        [
            (
                layer("big.toml", model={"d_model": 128}),
                r"model\.d_model is 128 from big\.toml but 64 in the checkpoint",
            ),
            (command_line(model={"n_heads": 8}), r"model\.n_heads is 8 from command line but 4"),
            (command_line(model={"kind": "lstm"}), r"model\.kind is 'lstm' from command line but 'timemae'"),
            (
                command_line(data={"normalize": "window"}),
                r"data\.normalize is 'window' from command line but 'none'",
            ),
        ],
    )
    def test_another_network_than_it_holds_is_refused(self, above: ConfigLayer, message: str) -> None:
        theirs = stored()
        with pytest.raises(RecipeError, match=message):
            check_architecture(theirs, resolve([from_checkpoint(theirs), above]))
        check_architecture(theirs, resolve([from_checkpoint(theirs)]))

    def test_what_makes_no_other_network_may_change(self) -> None:
        theirs = stored()
        changed = command_line(model={"dropout": 0.5, "window": 3.0}, pretrain={"lr": 0.5})
        check_architecture(theirs, resolve([from_checkpoint(theirs), changed]))

    def test_its_defaults_are_nobodys_choice(self) -> None:
        checkpoint = from_checkpoint(stored(finetune={"lr": 0.5}))
        assert resolve([checkpoint]).origins == {
            "model.kind": "checkpoint",
            "pretrain.pretext": "checkpoint",
            "finetune.task": "checkpoint",
            "finetune.lr": "checkpoint",
        }

    def test_another_dataset_leaves_its_own_behind(self) -> None:
        theirs = stored(data={"dataset": "mitdb", "channels": ["lead_1"], "normalize": "channel"})
        mine = layer("mine", data={"dataset": "cinc2017"})
        data = resolve([from_checkpoint(theirs, [mine]), mine]).recipe.data
        assert (data.dataset, data.channels, data.normalize) == ("cinc2017", [], "channel")
        same = layer("mine", data={"dataset": "mitdb"})
        data = resolve([from_checkpoint(theirs, [same]), same]).recipe.data
        assert (data.dataset, data.channels) == ("mitdb", ["lead_1"])
        data = resolve([from_checkpoint(theirs, [layer("mine")])]).recipe.data
        assert (data.dataset, data.channels) == ("mitdb", ["lead_1"])

    def test_a_cross_validation_does_not_take_over_which_part_it_is_of(self) -> None:
        theirs = stored(data={"folds": 5, "fold": 2, "target": "rhythm"})
        asked = command_line(data={"folds": 5})
        data = resolve([from_checkpoint(theirs, [asked]), asked]).recipe.data
        assert (data.folds, data.fold, data.target) == (5, -1, "rhythm")
        assert resolve([from_checkpoint(theirs)]).recipe.data.fold == 2

    def test_a_recipe_that_says_how_to_finetune_is_not_mixed_with_its(self) -> None:
        theirs = stored(
            finetune={"layers": "all", "epochs": 7}, model={"d_model": 16}, evaluate={"split": "val"}, model_name="m"
        )
        mine = layer("mine.toml", finetune={"lr": 0.01})
        merged = resolve([from_checkpoint(theirs, [mine]), mine]).recipe
        assert (merged.finetune.epochs, merged.finetune.lr, merged.model.model_dump()["d_model"]) == (100, 0.01, 16)
        assert merged.finetune.model_dump()["layers"] == "last"
        assert (merged.evaluate.split, merged.model_name) == ("test", "")
        typed = command_line(finetune={"lr": 0.01})
        merged = resolve([from_checkpoint(theirs, [typed]), typed]).recipe
        assert (merged.finetune.epochs, merged.finetune.lr) == (7, 0.01)
        assert merged.finetune.model_dump()["layers"] == "all"

    def test_one_of_another_version_says_to_train_again(self) -> None:
        with pytest.raises(CheckpointError, match=r"run: unknown key data\.validation .*: train again"):
            recipe_of({**stored(), "data": {"validation": "subject"}}, "run")
        assert recipe_of(stored(seed=3), "run").seed == 3


class TestResume:
    """What a run that goes on keeps."""

    def test_value_that_equals_a_default_is_still_somebodys_choice(self) -> None:
        run = layer("run", pretrain={"epochs": 4, "batch_size": 16})
        wanted = resolve([command_line(pretrain={"epochs": 100, "batch_size": 128})])
        assert wanted.origins == {"pretrain.epochs": "command line", "pretrain.batch_size": "command line"}
        kept, refused = on_resume(run, wanted)
        assert kept.recipe.pretrain.epochs == 100
        assert len(refused) == 1
        assert "pretrain.batch_size = 16, not 128" in refused[0]

    def test_it_takes_more_epochs_and_keeps_the_rest(self) -> None:
        run = layer("run", pretrain={"epochs": 10, "lr": 0.5}, seed=3)
        wanted = resolve([layer("x.toml", pretrain={"epochs": 20, "lr": 0.25}, seed=4)])
        kept, refused = on_resume(run, wanted)
        assert (kept.recipe.pretrain.epochs, kept.recipe.pretrain.lr, kept.recipe.seed) == (20, 0.5, 3)
        assert any("pretrain.lr" in line and "0.5" in line and "x.toml" in line for line in refused)
        assert any("seed" in line for line in refused)
        assert len(refused) == 2

    def test_it_takes_what_changes_nothing_that_was_trained(self) -> None:
        run = layer("run", finetune={"epochs": 10, "patience": 2})
        changes = {
            "finetune": {"epochs": 12, "patience": 3},
            "evaluate": {"split": "val"},
            "reference": {"full": {"Accuracy": 0.9}},
            "data": {"root": "elsewhere"},
            "model_name": "m",
            "task_name": "t",
        }
        kept, refused = on_resume(run, resolve([command_line(**changes)]))
        assert refused == []
        assert kept.recipe == recipe(**changes)

    def test_what_only_the_pretraining_run_says_is_no_wish(self) -> None:
        run = layer("run", model={"d_model": 16}, finetune={"lr": 0.5})
        kept, refused = on_resume(run, resolve([from_checkpoint(stored(finetune={"lr": 0.1}))]))
        assert refused == []
        assert kept.recipe.finetune.lr == 0.5

    def test_another_kind_is_not_taken(self) -> None:
        run = layer("run", model={"kind": "vqvae", "width": 8})
        kept, refused = on_resume(run, resolve([command_line(model={"kind": "timemae"})]))
        assert kept.recipe.model == recipe(model={"kind": "vqvae", "width": 8}).model
        assert refused == ["--resume keeps model.kind = 'vqvae', not 'timemae' from command line"]


class TestChecks:
    """What a resolved recipe must not be."""

    @pytest.mark.parametrize(
        ("finetune", "message"),
        [
            ({"mode": "scratch", "backbone_lr": 0.1}, "from scratch everything learns at finetune.lr"),
            ({"mode": "linear-probe", "lr": 0.1}, "a logistic probe is solved, not trained"),
            ({"mode": "linear-probe", "probe": "gradient", "backbone_lr": 0.1}, "keeps the backbone as it is"),
            ({"mode": "random-frozen", "unfreeze_epochs": 3}, "keeps the backbone as it is"),
            ({"task": "denoising", "loss": "l1", "peak_weight": 2.0}, 'of the loss "peak", not "l1"'),
        ],
    )
    def test_a_key_of_the_command_line_that_would_change_nothing_is_refused(
        self, finetune: dict[str, object], message: str
    ) -> None:
        *_, unused = finetune
        line = command_line(finetune=finetune)
        with pytest.raises(
            RecipeError, match=rf"finetune\.{unused} from the command line would change nothing"
        ) as caught:
            check_unused(resolve([line]))
        assert message in str(caught.value)
        check_unused(resolve([layer("x.toml", finetune=finetune)]))  # a recipe serves all modes

    def test_keys_that_change_something_are_not(self) -> None:
        check_unused(resolve([command_line(finetune={"mode": "full", "lr": 0.1, "backbone_lr": 0.1})]))
        check_unused(resolve([command_line(finetune={"mode": "linear-probe", "probe": "gradient", "lr": 0.1})]))
        check_unused(resolve([command_line(finetune={"task": "denoising", "loss": "l1+peak", "peak_weight": 2.0})]))

    @pytest.mark.parametrize(
        ("kind", "task", "fits"),
        [
            ("timemae", "classification", True),
            ("timemae", "forecasting", True),
            ("timemae", "denoising", True),
            ("lstm", "forecasting", True),
            ("lstm", "classification", False),
            ("lstm", "denoising", False),
            ("wave_unet", "denoising", True),
            ("wave_unet", "regression", False),
            ("wave_unet", "forecasting", False),
        ],
    )
    def test_a_backbone_that_cannot_serve_a_task(self, kind: str, task: str, fits: bool) -> None:
        wanted = recipe(model={"kind": kind}, finetune={"task": task})
        if fits:
            check_task(wanted)
            return
        with pytest.raises(
            RecipeError, match=f"model.kind '{kind}' gives .* finetune.task '{task}' does not go with it"
        ):
            check_task(wanted)

    @pytest.mark.parametrize(
        ("kind", "pretext", "fits"),
        [
            ("timemae", "timemae", True),
            ("timemae", "contrast", True),
            ("vqvae", "vqvae", True),
            ("convnet", "timemae", False),
            ("timemae", "vqvae", True),
            ("convnet", "vqvae", False),
            ("convnet", "joint_tokens", True),
            ("lstm", "joint_tokens", False),
            ("diffusion", "reconstruction", True),
            ("timemae", "reconstruction", False),
        ],
    )
    def test_a_backbone_that_a_pretext_task_cannot_train(self, kind: str, pretext: str, fits: bool) -> None:
        wanted = recipe(model={"kind": kind}, pretrain={"pretext": pretext})
        if fits:
            check_pretext(wanted)
            return
        with pytest.raises(RecipeError, match=f"'{kind}' and pretrain.pretext '{pretext}' do not go together"):
            check_pretext(wanted)
