"""Which value counts: command line over recipe over checkpoint over what the data says over defaults.

The result is a complete, frozen recipe and the origin of every value that is no default.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ssl_bio.config.load import COMMAND_LINE, ConfigLayer, put
from ssl_bio.config.recipe import (
    UNIONS,
    Recipe,
    chosen_values,
    compose,
    fields_of,
    flatten,
    keys_of,
    kind_of,
    number_type,
    searchable_keys,
    section_classes,
    takes,
)
from ssl_bio.config.tune import Axis, Range, TuneConfig
from ssl_bio.errors import CheckpointError, RecipeError

CHECKPOINT = "checkpoint"
DATASET = "dataset"

#: On resume the newly given value of these keys wins; of every other key the run's own does.
NEW_WINS_ON_RESUME = (
    "pretrain.epochs",
    "pretrain.probe_every",
    "finetune.epochs",
    "finetune.patience",
    "evaluate.",
    "reference.",
    "tune.",
    "data.root",
    "finetune.noise.root",
    "model_name",
    "task_name",
)

_OF_FINETUNING = ("finetune", "evaluate", "reference", "model_name", "task_name")


class Resolved(NamedTuple):
    """A complete recipe and `section.key` -> where its value came from, defaults left out."""

    recipe: Recipe
    origins: Mapping[str, str]

    def with_recipe(self, **changes: object) -> "Resolved":
        """Return the same with other values of top-level fields."""
        return Resolved(self.recipe.model_copy(update=changes), self.origins)

    def without_search(self) -> "Resolved":
        """Return the same without `[tune]`, which is about a search and not about one run."""
        origins = {path: origin for path, origin in self.origins.items() if not path.startswith("tune.")}
        return Resolved(self.recipe.model_copy(update={"tune": TuneConfig()}), origins)


def resolve(layers: Sequence[ConfigLayer]) -> Resolved:
    """Merge layers, the later over the earlier, over the defaults.

    Where a layer chooses another kind of a section than those before it, their keys that the new kind does not
    share fall away.

    Raises RecipeError when the merged recipe is not valid.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        merged = _merged(values, layer.values)
        values = _without_keys_of_other_kinds(values, merged, layer.values)
        origins = {**origins, **dict.fromkeys(flatten(layer.values), layer.source)}
    flat = flatten(values)
    origins = {path: origin for path, origin in origins.items() if path in flat}
    recipe = compose(values, source=" + ".join(layer.source for layer in layers) or "defaults", origins=origins)
    return Resolved(recipe, origins)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for name, value in above.items():
        inner = result.get(name)
        result[name] = (
            _merged(inner if isinstance(inner, Mapping) else {}, value) if isinstance(value, Mapping) else value
        )
    return result


def _without_keys_of_other_kinds(
    before: Mapping[str, Any], merged: dict[str, Any], layer: Mapping[str, Any]
) -> dict[str, Any]:
    """Return merged values without what the earlier layers said of kinds that the last layer replaces."""
    try:
        old, new = section_classes(before), section_classes(merged)
    except RecipeError:
        return merged  # an unknown kind, which `compose` reports
    written = flatten(layer)
    result = dict(merged)
    for section in (*UNIONS, "evaluate"):
        table = merged.get(section)
        if old[section] is new[section] or not isinstance(table, Mapping):
            continue
        shared = {info.path for info in fields_of(old[section])}
        fields = {info.path: info for info in fields_of(new[section]) if info.path in shared}
        chosen: dict[str, Any] = {}
        for path, value in flatten(table).items():
            if f"{section}.{path}" in written or (path in fields and takes(fields[path], value)):
                put(chosen, path, value)
        result[section] = chosen
    return result


def from_checkpoint(stored: Mapping[str, Any], above: Sequence[ConfigLayer] = ()) -> ConfigLayer:
    """Return a checkpoint's recipe as a layer under others; a search that it was part of does not carry over.

    Where those name another dataset, what it says of its own (channels, windows, target, splits) does not carry over;
    the scaling of its input does. Where they ask for a cross-validation, which part the checkpoint is of does not; and
    where a recipe says how to finetune, what the checkpoint's recipe said of that does not either.
    """
    values = chosen_values(compose(stored, source=CHECKPOINT))
    values.pop("tune", None)
    if any("finetune" in layer.values for layer in above if layer.source != COMMAND_LINE):
        values = {name: value for name, value in values.items() if name not in _OF_FINETUNING}
    data = values.get("data", {})
    asked = {path: value for layer in above for path, value in flatten(layer.values).items()}
    own = data.get("dataset", Recipe().data.dataset)
    if asked.get("data.dataset", own) != own:
        values["data"] = {name: data[name] for name in ("normalize",) if name in data}
    elif "data.folds" in asked:
        values["data"] = {name: value for name, value in data.items() if name != "fold"}
    return ConfigLayer(values, CHECKPOINT)


def check_architecture(stored: Mapping[str, Any], resolved: Resolved) -> None:
    """Raise RecipeError when the resolved recipe asks for another network than a checkpoint's recipe describes."""
    theirs = flatten(stored)
    mine = flatten(resolved.recipe.model_dump(mode="json"))
    keys = [path for path, info in keys_of(mine_kinds(resolved.recipe)).items() if info.architecture]
    for path in keys:
        if path.startswith(("model.", "data.")) and mine[path] != theirs.get(path, mine[path]):
            raise RecipeError(
                f"{path} is {mine[path]!r} from {resolved.origins.get(path, 'defaults')} but {theirs[path]!r} in the "
                "checkpoint: give the checkpoint of that recipe, or leave the key out"
            )


def mine_kinds(recipe: Recipe) -> dict[str, Any]:
    """Return the kinds that a recipe chooses, as values of a recipe."""
    return {
        section: {registry.discriminator: getattr(getattr(recipe, section), registry.discriminator)}
        for section, registry in UNIONS.items()
    }


def search_axes(recipe: Recipe) -> dict[str, Axis]:
    """Return the axes of a recipe's search: whole numbers for the keys that take nothing else.

    Raises RecipeError when there is none.
    """
    axes = recipe.tune.axes()
    if not axes:
        raise RecipeError(
            "[tune.space] is empty: name the keys to vary, as in finetune.lr = { low = 1e-4, high = 1e-2, log = true }"
        )
    infos = searchable_keys(mine_kinds(recipe), axes)
    return {
        path: axis._replace(integer=number_type(infos[path]) is int) if isinstance(axis, Range) else axis
        for path, axis in axes.items()
    }


def check_task(recipe: Recipe) -> None:
    """Raise RecipeError unless the backbone can serve the downstream task."""
    model, task = recipe.model, recipe.finetune
    if model.output not in task.accepts:
        fitting = [name for name, output in _outputs().items() if output in task.accepts]
        raise RecipeError(
            f"model.kind {model.kind!r} gives {model.output} and finetune.task {task.task!r} does not go with it: "
            f"choose {', '.join(fitting)}"
        )


def check_pretext(recipe: Recipe) -> None:
    """Raise RecipeError unless the backbone can serve the pretext task."""
    model, pretext = recipe.model, recipe.pretrain
    fitting = pretext.backbones or [name for name, output in _outputs().items() if output == "tokens"]
    if model.kind not in fitting:
        raise RecipeError(
            f"model.kind {model.kind!r} and pretrain.pretext {pretext.pretext!r} do not go together: "
            f"{pretext.pretext} pretrains {', '.join(fitting)}"
        )


def _outputs() -> dict[str, str]:
    registry = UNIONS["model"]
    return {name: registry.config(name).output for name in registry.names()}


def check_unused(resolved: Resolved) -> None:
    """Raise RecipeError for a `[finetune]` key of the command line that would change nothing."""
    for name, why in resolved.recipe.finetune.unused_keys().items():
        if resolved.origins.get(f"finetune.{name}") == COMMAND_LINE:
            raise RecipeError(f"finetune.{name} from the command line would change nothing: {why}")
    for path, origin in resolved.origins.items():
        if path.startswith("pretrain.") and origin == COMMAND_LINE:
            raise RecipeError(f"{path} from the command line would change nothing: finetune does not pretrain")


def on_resume(stored: ConfigLayer, wanted: Resolved) -> tuple[Resolved, list[str]]:
    """Return the recipe of a run that goes on, and one line for each value that was asked for and not taken."""
    stored_recipe = compose(stored.values, source=stored.source)
    stored_flat = flatten(stored_recipe.model_dump())
    wanted_flat = flatten(wanted.recipe.model_dump())
    taken: dict[str, Any] = {}
    refused = []
    for path, origin in wanted.origins.items():
        if origin == CHECKPOINT or wanted_flat.get(path) == stored_flat.get(path):
            continue  # nobody asked for what the pretraining run says
        if path.startswith(NEW_WINS_ON_RESUME):
            put(taken, path, wanted_flat[path])
        else:
            refused.append(
                f"--resume keeps {path} = {stored_flat.get(path)!r}, not {wanted_flat[path]!r} from {origin}"
            )
    layers = [ConfigLayer(chosen_values(stored_recipe), stored.source), ConfigLayer(taken, COMMAND_LINE)]
    return resolve(layers), refused


def recipe_of(stored: Mapping[str, Any], source: str) -> Recipe:
    """Return the recipe that a checkpoint holds. Raises CheckpointError when it is not valid."""
    try:
        return compose(stored, source=source)
    except RecipeError as error:
        raise CheckpointError(f"{error}; the run was made by another version of ssl-bio: train again") from error


__all__ = [
    "CHECKPOINT",
    "DATASET",
    "Resolved",
    "check_architecture",
    "check_pretext",
    "check_task",
    "check_unused",
    "from_checkpoint",
    "kind_of",
    "on_resume",
    "recipe_of",
    "resolve",
]
