"""A recipe composed of its sections: strict, a class for each kind, every problem at once."""

import pytest

from ssl_bio.config import Recipe, flatten
from ssl_bio.config.kinds import BACKBONES, PRETEXTS, TASKS
from ssl_bio.config.models import LSTMConfig, TimeMAEConfig
from ssl_bio.config.recipe import UNIONS, RecipeHead, chosen_values, compose, fields_of, keys_of, known_keys
from ssl_bio.config.section import Section
from ssl_bio.config.tasks import DenoisingConfig, DenoisingEvaluateConfig
from ssl_bio.errors import RecipeError
from tests.config.recipe_layers import recipe


def all_sections() -> list[tuple[str, type[Section]]]:
    """Every section of every kind, with a name."""
    found: list[tuple[str, type[Section]]] = [("above all sections", RecipeHead)]
    found += [("data", type(Recipe().data)), ("reference", type(Recipe().reference))]
    for section, registry in UNIONS.items():
        found += [(f"{section}.{kind}", registry.config(kind)) for kind in registry.names()]
    return [*found, *((f"evaluate of {kind}", TASKS.config(kind).Evaluate) for kind in TASKS.names())]


def problems(values: dict[str, object], origins: dict[str, str] | None = None) -> str:
    """Return the one line that refuses these values."""
    with pytest.raises(RecipeError) as caught:
        compose(values, source="x.toml", origins=origins)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestKinds:
    """Sections whose class depends on a key of theirs."""

    def test_a_kind_chooses_the_class_of_its_section(self) -> None:
        assert isinstance(recipe().model, TimeMAEConfig)
        assert isinstance(recipe(model={"kind": "lstm"}).model, LSTMConfig)
        denoising = recipe(finetune={"task": "denoising"})
        assert isinstance(denoising.finetune, DenoisingConfig)
        assert isinstance(denoising.evaluate, DenoisingEvaluateConfig)

    @pytest.mark.parametrize("section", UNIONS)
    def test_every_kind_composes_from_its_name_alone(self, section: str) -> None:
        registry = UNIONS[section]
        for kind in registry.names():
            composed = getattr(recipe(**{section: {registry.discriminator: kind}}), section)
            assert type(composed) is registry.config(kind)
            assert getattr(composed, registry.discriminator) == kind

    def test_the_pretext_task_follows_the_backbone(self) -> None:
        for kind in BACKBONES.names():
            chosen = recipe(model={"kind": kind}).pretrain.pretext
            assert chosen == BACKBONES.config(kind).default_pretext
            assert chosen in PRETEXTS.names()
        explicit = recipe(model={"kind": "vqvae"}, pretrain={"pretext": "timemae"})
        assert explicit.pretrain.pretext == "timemae"

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"pretrain": {"temperature": 0.1}}, "a key of pretrain.pretext contrast, not of timemae"),
            (
                {"model": {"kind": "lstm", "wave_length": 8}},
                "a key of model.kind timemae and convnet and dilated and vqvae, not of lstm",
            ),
            (
                {"finetune": {"task": "forecasting", "pooling": ["mean"]}},
                "a key of finetune.task classification and multilabel and regression, not of forecasting",
            ),
            # Another kind's key is named as such even where a key of this kind looks like it.
            (
                {"model": {"kind": "vqvae"}, "pretrain": {"vocab_size": 8}},
                "a key of pretrain.pretext timemae, not of vqvae",
            ),
        ],
    )
    def test_a_key_of_another_kind_is_unknown(self, values: dict[str, object], message: str) -> None:
        assert problems(values).endswith(f" ({message})")

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"model": {"kind": "lsmt"}}, "x.toml: model.kind: no backbone 'lsmt' (did you mean 'lstm'? There are "),
            ({"pretrain": {"pretext": "timema"}}, "x.toml: pretrain.pretext: no pretext task 'timema' (did you mean"),
            ({"finetune": {"task": "classify"}}, "x.toml: finetune.task: no task 'classify' ("),
        ],
    )
    def test_an_unknown_kind_names_the_nearest_and_all(self, values: dict[str, object], message: str) -> None:
        found = problems(values)
        assert found.startswith(message)
        (section,) = values
        assert all(name in found for name in UNIONS[section].names())

    def test_an_unknown_kind_is_told_with_its_origin(self) -> None:
        found = problems({"model": {"kind": "lsmt"}}, origins={"model.kind": "command line"})
        assert found.startswith("command line: model.kind: no backbone 'lsmt'")


class TestProblems:
    """What is wrong is said with the nearest valid name, all of it, and where it was written."""

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"pretrain": {"epoch": 3}}, "unknown key pretrain.epoch (did you mean pretrain.epochs?)"),
            ({"pretrain": {"d_model": 3}}, "unknown key pretrain.d_model (did you mean model.d_model?)"),
            ({"nmae": "x"}, "unknown key nmae (did you mean name?)"),
            ({"modle": {}}, "unknown key modle (did you mean model?)"),
            (
                {"finetune": {"task": "denoising", "noise": {"dataste": "x"}}},
                "unknown key finetune.noise.dataste (did you mean finetune.noise.dataset?)",
            ),
            ({"model": 3}, "model must be a section, not 3"),
            (
                {"finetune": {"task": "forecasting", "mode": "linear-probe"}},
                "finetune.mode must be 'full' or 'scratch'",
            ),
            ({"name": "a b"}, "name must match pattern"),
            ({"xyz": 1}, "unknown key xyz (valid here: data, evaluate, finetune, model, "),
        ],
    )
    def test_the_nearest_name(self, values: dict[str, object], message: str) -> None:
        assert problems(values).startswith(f"x.toml: {message}")

    def test_all_at_once(self) -> None:
        found = problems({"pretrain": {"epochs": "many", "lr": -1.0}, "modle": {}, "seed": 1.5})
        for part in ("x.toml", "pretrain.epochs", "'many'", "pretrain.lr", "modle", "model", "seed"):
            assert part in found

    def test_each_with_its_origin(self) -> None:
        origins = {"pretrain.epochs": "mine.toml", "finetune.lr": "command line", "data.colour": "mine.toml"}
        values = {"pretrain": {"epochs": 0}, "finetune": {"lr": -1.0}, "data": {"colour": "red"}}
        by_origin = problems(values, origins).split("; command line: ")
        assert by_origin[0].startswith("mine.toml: ")
        assert "data.colour" in by_origin[0]
        assert "pretrain.epochs" in by_origin[0]
        assert by_origin[1].startswith("finetune.lr must be greater than 0, not -1.0")

    def test_whole_number_serves_as_float_but_not_the_other_way(self) -> None:
        assert recipe(pretrain={"lr": 1}).pretrain.lr == 1.0
        assert "pretrain.epochs" in problems({"pretrain": {"epochs": 2.0}})

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"finetune": {"fit_on": "train+val"}}, 'set finetune.selected_on to "last"'),
            ({"pretrain": {"select": "probe"}}, 'set pretrain.fit_on to "train"'),
            (
                {"pretrain": {"pretext": "contrast", "select": "val_loss", "fit_on": "train"}},
                'contrast has no loss of single windows; use "probe"',
            ),
            ({"finetune": {"mode": "linear-probe", "head": "mlp"}}, 'set finetune.probe to "gradient"'),
            ({"finetune": {"mode": "linear-probe", "pooling": ["attention"]}}, "not on a frozen backbone"),
            ({"finetune": {"task": "regression", "dense": True}}, 'set finetune.pooling to ["middle"]'),
            (
                {"finetune": {"task": "regression", "mode": "linear-probe", "loss": "bins"}},
                'finetune.loss "bins" cannot be solved for',
            ),
            (
                {"finetune": {"task": "regression", "loss": "cross-entropy"}},
                "finetune.loss must be 'mse', 'l1', 'huber' or 'bins', not 'cross-entropy'",
            ),
            ({"finetune": {"task": "forecasting", "augment": ["stretch"]}}, "leave out stretch"),
            ({"finetune": {"task": "forecasting", "scheduled_sampling": 0.1}}, "set finetune.dense to true"),
            ({"finetune": {"task": "denoising", "noise": {"band": [1.0, 2.0]}}}, "without noise.dataset"),
            ({"finetune": {"task": "denoising", "peak_ramp_epochs": 100}}, "of 100 finetune.epochs none would come"),
            ({"finetune": {"task": "denoising", "loss": "l1+l3"}}, "one of l1, mse, snr, peak, wavelet"),
            ({"pretrain": {"augment": ["blur"]}}, "pretrain.augment.0 must match pattern"),
        ],
    )
    def test_rules_between_keys(self, values: dict[str, object], message: str) -> None:
        assert message in problems(values)


class TestKeys:
    """What sections declare of their keys."""

    @pytest.mark.parametrize(
        ("name", "section"), all_sections(), ids=lambda part: part if isinstance(part, str) else ""
    )
    def test_every_key_of_every_kind_says_what_it_means(self, name: str, section: type[Section]) -> None:
        keys = list(fields_of(section))
        assert keys
        assert [key.path for key in keys if not key.description.strip()] == []
        assert [key.path for key in keys if "\n" in key.description] == []

    def test_units_and_architecture(self) -> None:
        keys = keys_of({})
        assert keys["data.sampling_rate"].unit == "Hz"
        assert keys["model.wave_length"].unit == "samples"
        assert keys["model.d_model"].architecture
        assert not keys["model.dropout"].architecture
        assert keys["data.normalize"].architecture

    def test_keys_of_all_kinds_are_known(self) -> None:
        known = known_keys()
        assert set(keys_of({})) <= known
        assert {"model.s4d.d_state", "pretrain.temperature", "finetune.noise.range", "evaluate.levels"} <= known
        assert "pretrain.d_model" not in known

    def test_chosen_values_make_the_same_recipe(self) -> None:
        whole = recipe(model={"kind": "vqvae", "s4d": {"d_state": 8}}, finetune={"task": "regression", "bins": 3})
        chosen = chosen_values(whole)
        assert compose(chosen, source="x") == whole
        assert flatten(chosen) == {
            "model.kind": "vqvae",
            "model.s4d.d_state": 8,
            "pretrain.pretext": "vqvae",
            "finetune.task": "regression",
            "finetune.bins": 3,
        }

    def test_a_recipe_is_frozen(self) -> None:
        with pytest.raises(ValueError, match="frozen"):
            Recipe().data.dataset = "har"  # type: ignore[misc]  # what the test is about
