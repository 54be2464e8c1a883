"""Who wins: command line over recipe over checkpoint over what the data says over defaults.

The result is a complete, frozen recipe and the origin of every value that is no default.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ssl_bio.checkpoint import Facts
from ssl_bio.data.store import DatasetInfo
from ssl_bio.errors import DataError, RecipeError
from ssl_bio.recipe import COMMAND_LINE, Written, complete, flatten, put
from ssl_bio.schema import Recipe

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
    "data.root",
    "model_name",
    "task_name",
)

#: What decides a network's shape: a checkpoint's values cannot be changed afterwards.
_ARCHITECTURE = (
    "model.kind",
    "model.d_model",
    "model.n_layers",
    "model.n_heads",
    "model.wave_length",
    "model.stem",
    "model.encoder",
    "model.width",
    "model.stride",
    "model.bottleneck_layers",
    "model.bridge",
    "model.batch_norm",
    "model.s4d.d_state",
    "model.s4d.discretisation",
    "model.s4d.bidirectional",
    "data.normalize",
)

_OF_FINETUNING = ("finetune", "evaluate", "reference", "model_name", "task_name")


class Resolved(NamedTuple):
    """A complete recipe and `section.key` -> where its value came from, defaults left out."""

    recipe: Recipe
    origins: Mapping[str, str]


def resolve(layers: Sequence[Written]) -> Resolved:
    """Merge layers, the later over the earlier, over the schema's defaults.

    Raises RecipeError when the merged recipe is not valid.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        _merge(values, layer.values)
        origins |= dict.fromkeys(flatten(layer.values), layer.source)
    recipe = complete(values, " + ".join(layer.source for layer in layers) or "defaults")
    flat, defaults = flatten(recipe.model_dump()), flatten(Recipe().model_dump())
    # A checkpoint holds every key; only where it departs from the defaults did somebody choose.
    kept = {
        key: origin
        for key, origin in origins.items()
        if key in flat and (origin != CHECKPOINT or flat[key] != defaults.get(key))
    }
    return Resolved(recipe, kept)


def from_checkpoint(facts: Facts, above: Sequence[Written] = ()) -> Written:
    """A checkpoint's recipe as a layer under others. Where those name another dataset, what it says of its own
    (channels, windows, target, splits) does not carry over; the scaling of its input does. Where they ask for a
    cross-validation, which part the checkpoint is of does not; and where a recipe says how to finetune, what the
    checkpoint's recipe said of that does not either."""
    told = any("finetune" in layer.values for layer in above if layer.source != COMMAND_LINE)
    theirs = {key: value for key, value in facts.recipe.items() if not (told and key in _OF_FINETUNING)}
    data = theirs["data"]
    asked = {key: value for layer in above for key, value in flatten(layer.values).items()}
    if asked.get("data.dataset", data["dataset"]) == data["dataset"]:
        anew = {"fold": Recipe().data.fold} if "data.folds" in asked else {}
        return Written({**theirs, "data": {**data, **anew}}, CHECKPOINT)
    return Written({**theirs, "data": {"normalize": data["normalize"]}}, CHECKPOINT)


def check_architecture(facts: Facts, resolved: Resolved) -> None:
    """Raise RecipeError when the resolved recipe asks for another network than the checkpoint holds."""
    theirs = flatten(facts.recipe)
    mine = flatten(resolved.recipe.model_dump(mode="json"))
    for key in _ARCHITECTURE:
        if key in theirs and mine[key] != theirs[key]:
            raise RecipeError(
                f"{key} is {mine[key]!r} from {resolved.origins.get(key, 'defaults')} but {theirs[key]!r} in the "
                "checkpoint: give the checkpoint of that recipe, or leave the key out"
            )


def with_dataset(resolved: Resolved, info: DatasetInfo) -> Resolved:
    """Fill in what only the prepared dataset knows.

    Raises DataError when the dataset cannot serve the recipe.
    """
    target = resolved.recipe.data.target
    unknown = [name for name in target.split("+") if name and name not in info.targets]
    if unknown:
        raise DataError(
            f"data.target: dataset {info.name} has no target {unknown[0]!r}; it has {', '.join(info.targets)}"
        )
    if resolved.recipe.data.validation not in info.schemes:
        raise DataError(
            f"data.validation: dataset {info.name} has no split scheme {resolved.recipe.data.validation!r}; "
            f"it has {', '.join(info.schemes)}"
        )
    if target or resolved.recipe.finetune.task in ("forecast", "denoise"):  # signals are their own target
        return resolved
    if not info.targets:
        raise DataError(
            f"dataset {info.name} has no targets: it can serve to pretrain, to forecast and to denoise, no more"
        )
    filled = resolved.recipe.data.model_copy(update={"target": next(iter(info.targets))})
    return Resolved(resolved.recipe.model_copy(update={"data": filled}), {**resolved.origins, "data.target": DATASET})


def on_resume(stored: Written, wanted: Resolved) -> tuple[Resolved, list[str]]:
    """The recipe of a run that goes on, and one line for each value that was asked for and not taken."""
    stored_flat = flatten(complete(stored.values, stored.source).model_dump())
    wanted_flat = flatten(wanted.recipe.model_dump())
    taken: dict[str, Any] = {}
    refused = []
    for key, origin in wanted.origins.items():
        if origin == CHECKPOINT or wanted_flat[key] == stored_flat.get(key):
            continue  # nobody asked for what the pretraining run says
        if key.startswith(NEW_WINS_ON_RESUME):
            put(taken, key, wanted_flat[key])
        else:
            refused.append(f"--resume keeps {key} = {stored_flat.get(key)!r}, not {wanted_flat[key]!r} from {origin}")
    return resolve([stored, Written(taken, COMMAND_LINE)]), refused


def _merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, Mapping):
            child = into.setdefault(key, {})
            _merge(child, value)
        else:
            into[key] = value
