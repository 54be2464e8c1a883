"""Of which runs a command is made: for each seed one, or one for each part of a cross-validation, each with the
pretraining run that it starts from and the folder that it goes to.

Nothing here needs torch, so that a recipe, an option or a checkpoint that cannot be is refused at once.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ssl_bio.config import COMMAND_LINE, ConfigLayer, Recipe, Resolved, flatten, load_recipe, resolve, with_value
from ssl_bio.config.kinds import BASELINES
from ssl_bio.config.resolve import check_architecture, check_pretext, check_task, check_unused, from_checkpoint
from ssl_bio.errors import CheckpointError, RecipeError
from ssl_bio.runs.checkpoint import CheckpointMetadata, load_metadata
from ssl_bio.runs.folder import RUNS, RunFolder, newest_run, pretraining_run

DEFAULT_RECIPE = "demo.toml"  # of pretraining
DEFAULT_SHEET = Path("results.csv")
_LONGEST_NAME = 100

#: What does not name a run's folder: it stands there anyway, or changes nothing that is trained.
_NOT_IN_FOLDER_NAMES = (
    "seed",
    "name",
    "model_name",
    "task_name",
    "data.folds",
    "data.fold",
    "data.root",
    "finetune.mode",
    "finetune.label_fraction",
    "finetune.noise.root",
    "evaluate.",
    "reference.",
    "tune.",
)

#: What `evaluate` may change, for nothing is trained for it.
_CHANGEABLE = (
    "evaluate.",
    "finetune.noise.dataset",
    "finetune.noise.root",
    "finetune.noise.target",
    "data.root",
    "data.missing",
    "model_name",
    "task_name",
)


class RunOptions(NamedTuple):
    """What the command line asks for, the same on every command.

    `chosen`: the values that a search chose for one trial, over all others.
    """

    overrides: ConfigLayer
    recipe: str | None = None
    out: Path | None = None
    resume: bool = False
    overwrite: bool = False
    device: str = "auto"
    sheet: Path = DEFAULT_SHEET
    tensorboard: bool = False
    grid: int = 0  # combinations or trials that are tried beside one another
    trials: int = 0  # of a search whose best values these are
    chosen: ConfigLayer = ConfigLayer({}, "")


class Start(NamedTuple):
    """A pretraining run that finetuning starts from, without its weights."""

    path: Path
    metadata: CheckpointMetadata


class RunPlan(NamedTuple):
    """One finetuning: where it starts (None: from random weights), its recipe, and where it goes."""

    start: Start | None
    resolved: Resolved
    run: RunFolder


class SeedPlan(NamedTuple):
    """One seed: its run folder, its runs, one or one for each part of a cross-validation, and the recipe with its
    search."""

    run: RunFolder
    runs: list[RunPlan]
    resolved: Resolved

    @property
    def is_cross_validation(self) -> bool:
        """Return whether the runs are parts of one."""
        return self.runs[0].run is not self.run

    @property
    def seed(self) -> int:
        """Return the seed."""
        return self.runs[0].resolved.recipe.seed


class PretrainPlan(NamedTuple):
    """One pretraining: its recipe and where it goes."""

    resolved: Resolved
    run: RunFolder


def plan_pretraining(options: RunOptions, seeds: Sequence[int] | None) -> list[PretrainPlan]:
    """Return the pretraining of each seed and each part of a cross-validation.

    Raises RecipeError when the recipe is not valid.
    """
    resolved = resolve([load_recipe(options.recipe or DEFAULT_RECIPE), options.overrides])
    check_pretext(resolved.recipe)
    plans = []
    for one in [resolved.with_recipe(seed=seed) for seed in seeds] if seeds else [resolved]:
        home = pretrain_folder(options, one.recipe, several=bool(seeds))
        plans += [PretrainPlan(part, RunFolder(fold_folder(home, part.recipe))) for part in parts_of(one)]
    return plans


def plan_baselines(
    options: RunOptions, names: Sequence[str], seeds: Sequence[int] | None
) -> list[tuple[str, SeedPlan]]:
    """Return for each seed every baseline of these names (of none: all) with its folder and its parts, which share it.

    Raises RecipeError when the recipe is not valid, and for an unknown baseline.
    """
    for name in names:
        BASELINES.check(name)
    resolved = resolve([load_recipe(options.recipe or DEFAULT_RECIPE), options.overrides]).without_search()
    check_task(resolved.recipe)
    plans = []
    for one in [resolved.with_recipe(seed=seed) for seed in seeds] if seeds else [resolved]:
        for name in names or BASELINES.names():
            run = RunFolder(_labelled_folder(options, one.recipe, f"baseline-{name}"))
            plans.append((name, SeedPlan(run, [RunPlan(None, part, run) for part in parts_of(one)], one)))
    return plans


def plan_evaluation(options: RunOptions, checkpoint: str | None) -> RunFolder:
    """Return the finetuned run to be evaluated: the one named (or whose weight file is), else the newest.

    Raises CheckpointError when it is not there or not complete, and RecipeError for what evaluation cannot change.
    """
    run = RunFolder(Path(checkpoint)) if checkpoint else newest_run(RUNS, kind="finetune")
    if run.path.is_file():
        run = RunFolder(run.path.parent)
    for path in flatten(options.overrides.values):
        if not path.startswith(_CHANGEABLE):
            raise RecipeError(f"--set {path}: evaluate does not train, so it would change nothing")
    parts = run.folds()
    if parts and not run.complete_folds:
        raise CheckpointError(f"{run.path}: its cross-validation is not complete: finetune again with --resume")
    stored = load_metadata(parts[0].path if parts else run.path).recipe
    resolve([from_checkpoint(stored), options.overrides])
    return run


def plan_export(checkpoint: str) -> RunFolder:
    """Return the complete run to be exported: a run folder, or the one whose weight file is given.

    Raises CheckpointError when it is not there, or holds several networks.
    """
    run = RunFolder(Path(checkpoint))
    if run.path.is_file():
        run = RunFolder(run.path.parent)
    if run.folds():
        raise CheckpointError(f"{run.path} holds {len(run.folds())} networks: export one of its parts")
    load_metadata(run.path)
    return run


def plan_seeds(options: RunOptions, checkpoint: str | None, seeds: Sequence[int] | None) -> list[SeedPlan]:
    """Return for each seed its run folder and its runs.

    Raises RecipeError or CheckpointError when a recipe is not valid or a pretraining run is not there.
    """
    if asks_for_full(options.overrides):
        options = options._replace(overrides=with_value(options.overrides, "finetune.mode", "full"))
    written = load_recipe(options.recipe) if options.recipe else None
    starts = _Starts(options, written, checkpoint)
    plans = []
    each: Sequence[int | None] = seeds or [None]
    for seed in each:
        _, resolved = _resolve_run(options, written, starts.first(seed))
        resolved = resolved if seed is None else resolved.with_recipe(seed=seed)
        if options.tensorboard and resolved.recipe.finetune.solved:
            raise RecipeError(
                "--tensorboard would change nothing: this head is solved for, without epochs; --mode full, or "
                'finetune.probe "gradient", trains one'
            )
        home = RunFolder(_finetune_folder(options, resolved.recipe, several=bool(seeds)))
        runs = []
        for part in parts_of(resolved):
            start, again = _resolve_run(options, written, starts.of(part.recipe, seed))
            data = again.recipe.data.model_copy(update={"fold": part.recipe.data.fold})
            again = again.with_recipe(seed=part.recipe.seed, data=data)
            single = part.recipe.data.folds == 0 or resolved.recipe.data.fold >= 0
            run = home if single else RunFolder(fold_folder(home.path, part.recipe))
            runs.append(RunPlan(start, again.without_search(), run))
        plans.append(SeedPlan(home, runs, resolved))
    return plans


def asks_for_full(overrides: ConfigLayer) -> bool:
    """Return whether the command line gives the backbone a rate and says no mode, which then is "full"."""
    asked = flatten(overrides.values)
    return "finetune.backbone_lr" in asked and "finetune.mode" not in asked


class _Starts:
    """The pretraining runs to start from: the one named, with seed and part for `{seed}` and `{fold}`, else the newest
    complete one; none for a recipe that trains from random weights."""

    def __init__(self, options: RunOptions, written: ConfigLayer | None, checkpoint: str | None) -> None:
        self.options, self.written, self.checkpoint = options, written, checkpoint
        self.known: dict[str, Start | None] = {}
        self.own = resolve([written, options.overrides, *_chosen(options)]) if written else None

    def first(self, seed: int | None) -> Start | None:
        """Return the one that the first part starts from."""
        if self.own:
            return self.of(parts_of(self.own)[0].recipe, seed)
        return self.of(_asked_parts(self.options.overrides), seed)

    def of(self, recipe: Recipe, seed: int | None) -> Start | None:
        """Return the one of a seed and of the part in the recipe.

        Raises CheckpointError when a run is missing, broken or no pretraining run.
        """
        fold = max(recipe.data.fold, 0)
        own_seed = recipe.seed if seed is None else seed
        place = (self.checkpoint or "").replace("{seed}", str(own_seed)).replace("{fold}", str(fold))
        key = place or f"newest {recipe.data.folds} {fold}"
        if key not in self.known:
            self.known[key] = self._named(place) if place else self._newest(recipe, fold)
        return self.known[key]

    def _named(self, place: str) -> Start:
        path = Path(place)
        metadata = load_metadata(path)
        if metadata.kind != "pretrain":
            raise CheckpointError(f"{place}: a finetuned run; --checkpoint takes a pretraining run")
        return Start(path if path.is_dir() else path.parent, metadata)

    def _newest(self, recipe: Recipe, fold: int) -> Start | None:
        if self.own and not self.own.recipe.finetune.pretrained:
            return None
        name = recipe.name if self.written else ""
        below = f"{folds_name(recipe)}-seed*/fold{fold}" if recipe.data.folds else ""
        run = newest_run(RUNS, kind="pretrain", name=name, preferred=below)
        return Start(run.path, load_metadata(run.path))


def _asked_parts(overrides: ConfigLayer) -> Recipe:
    """Return a recipe with what the command line says of seed and cross-validation, before any checkpoint is known."""
    asked = flatten(overrides.values)
    recipe = Recipe()
    folds, fold, seed = (
        value if isinstance(value := asked.get(path, default), int) else default
        for path, default in (("data.folds", 0), ("data.fold", -1), ("seed", 0))
    )
    data = recipe.data.model_copy(update={"folds": folds, "fold": max(fold, 0) if folds else fold})
    return recipe.model_copy(update={"seed": seed, "data": data})


def _resolve_run(
    options: RunOptions, written: ConfigLayer | None, start: Start | None
) -> tuple[Start | None, Resolved]:
    above = [layer for layer in (written, options.overrides) if layer]
    below = [from_checkpoint(start.metadata.recipe, above)] if start else []
    resolved = resolve([*below, *above, *_chosen(options)])
    check_unused(resolved)
    check_task(resolved.recipe)
    if not resolved.recipe.finetune.pretrained:
        return None, resolved
    if start:
        check_architecture(start.metadata.recipe, resolved)
    return start, resolved


def _chosen(options: RunOptions) -> list[ConfigLayer]:
    return [options.chosen] if options.chosen.values else []


def parts_of(resolved: Resolved) -> list[Resolved]:
    """Return the recipe once for each part of its cross-validation, or as it is."""
    data = resolved.recipe.data
    if not data.folds or data.fold >= 0:
        return [resolved]
    return [resolved.with_recipe(data=data.model_copy(update={"fold": fold})) for fold in range(data.folds)]


def folds_name(recipe: Recipe) -> str:
    """Return what a cross-validation adds to the name of a run folder."""
    return f"-folds{recipe.data.folds}" if recipe.data.folds else ""


def fold_folder(home: Path, recipe: Recipe) -> Path:
    """Return where below a run folder the part in the recipe goes."""
    return home / f"fold{recipe.data.fold}" if recipe.data.folds else home


def pretrain_folder(options: RunOptions, recipe: Recipe, *, several: bool = False) -> Path:
    """Return where pretraining goes: named by what the command line chose, the parts and the seed."""
    if options.out:
        return Path(f"{options.out}-seed{recipe.seed}") if several else options.out
    chosen = _chosen_name(options.overrides, without="finetune.")
    return pretraining_run(recipe.name, seed=recipe.seed, chosen=chosen, folds=recipe.data.folds)


def _finetune_folder(options: RunOptions, recipe: Recipe, several: bool) -> Path:
    if options.out:
        return Path(f"{options.out}-seed{recipe.seed}") if several else options.out
    return _labelled_folder(options, recipe, f"finetune-{recipe.finetune.mode}")


def _labelled_folder(options: RunOptions, recipe: Recipe, what: str) -> Path:
    """Return where a run goes that learns from labels: named by what learns, their share, what the command line chose,
    the parts and the seed."""
    share = recipe.finetune.label_fraction
    labels = f"-labels{share:g}" if share < 1 else ""
    chosen = _chosen_name(options.overrides, without="pretrain.")
    name = f"{what}{labels}{chosen}{folds_name(recipe)}-seed{recipe.seed}"
    single_part = recipe.data.folds and recipe.data.fold >= 0
    return RUNS / recipe.name / (f"{name}-fold{recipe.data.fold}" if single_part else name)


def _chosen_name(overrides: ConfigLayer, *, without: str) -> str:
    """Return what the values of the command line add to a folder's name, so that other choices get other folders."""
    if overrides.source != COMMAND_LINE:
        return ""
    chosen = {
        path: value
        for path, value in flatten(overrides.values).items()
        if not path.startswith((*_NOT_IN_FOLDER_NAMES, without))
    }
    return f"-{choice_name(chosen)}" if chosen else ""


def choice_name(choice: Mapping[str, Any]) -> str:
    """Return a folder's name from chosen values: keys without their section where that tells them apart."""
    from ssl_bio.results.search import short_keys  # imported when needed: tables need numpy, a plan does not

    names = short_keys(list(choice))
    text = ",".join(f"{name}={value_text(value)}" for name, value in zip(names, choice.values(), strict=True))
    name = re.sub(r"[^A-Za-z0-9.,=+_-]+", "-", text)
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[:_LONGEST_NAME]}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def value_text(value: Any) -> str:
    """Return a recipe's value as short text."""
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return "+".join(value_text(part) for part in value) if isinstance(value, list) else str(value)
