"""What a finetune command is made of: for each seed one run, or one for each part of a cross-validation, each with
the pretraining run that it starts from."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ssl_bio import recipe, resolve
from ssl_bio.checkpoint import Checkpoint, RunFolder, load, newest
from ssl_bio.errors import CheckpointError
from ssl_bio.recipe import Written
from ssl_bio.resolve import Resolved
from ssl_bio.schema import DataSection, Recipe
from ssl_bio.terminal import note

RUNS = Path("checkpoints")
DEFAULT_SHEET = Path("results.csv")


class Wishes(NamedTuple):
    """What the command line asks for, the same on every command."""

    overrides: Written
    recipe: str | None = None
    out: Path | None = None
    resume: bool = False
    overwrite: bool = False
    device: str = "auto"
    sheet: Path = DEFAULT_SHEET
    grid: int = 0  # combinations that are tried beside one another


class Job(NamedTuple):
    """One finetuning: where it starts (None: from random weights), its recipe, and where it goes."""

    start: Checkpoint | None
    resolved: Resolved
    run: RunFolder


class Study(NamedTuple):
    """One seed: its run folder and its jobs, one or one for each part."""

    run: RunFolder
    jobs: list[Job]


def studies_of(wishes: Wishes, checkpoint: str | None, seeds: Sequence[int] | None) -> list[Study]:
    """For each seed its run folder and its jobs: one, or one for each part of a cross-validation."""
    written = recipe.load(wishes.recipe) if wishes.recipe else None
    starts = _Starts(wishes, written, checkpoint)
    studies = []
    each: Sequence[int | None] = seeds or [None]
    for seed in each:
        _, resolved = _resolve_job(wishes, written, starts.first(seed))
        resolved = resolved if seed is None else _with(resolved, "seed", seed)
        home = RunFolder(_finetune_folder(wishes, resolved.recipe, several=bool(seeds)))
        jobs = []
        for part in parts(resolved):
            start, again = _resolve_job(wishes, written, starts.of(part.recipe, seed))
            again = _with(
                _with(again, "seed", part.recipe.seed), "data", data_of_fold(again.recipe, part.recipe.data.fold)
            )
            single = part.recipe.data.folds == 0 or resolved.recipe.data.fold >= 0
            run = home if single else RunFolder(fold_folder(home.path, part.recipe))
            jobs.append(Job(start, again, run))
        studies.append(Study(home, jobs))
    return studies


class _Starts:
    """The pretraining runs to start from: the one named, with seed and part for `{seed}` and `{fold}`, else the newest
    complete one; none for a recipe that trains from random weights."""

    def __init__(self, wishes: Wishes, written: Written | None, checkpoint: str | None) -> None:
        self.wishes, self.written, self.checkpoint = wishes, written, checkpoint
        self.loaded: dict[str, Checkpoint | None] = {}
        self.own = resolve.resolve([layer for layer in (written, wishes.overrides) if layer])

    def first(self, seed: int | None) -> Checkpoint | None:
        """The one that the first part starts from."""
        return self.of(parts(self.own)[0].recipe, seed)

    def of(self, plan: Recipe, seed: int | None) -> Checkpoint | None:
        """The one of a seed and the part in the recipe.

        Raises CheckpointError when a run is missing, broken or no pretraining run.
        """
        fold = max(plan.data.fold, 0)
        place = (
            (self.checkpoint or "")
            .replace("{seed}", str(self.own.recipe.seed if seed is None else seed))
            .replace("{fold}", str(fold))
        )
        key = place or f"newest {plan.data.folds} {fold}"
        if key not in self.loaded:
            self.loaded[key] = self._named(place) if place else self._newest(plan, fold)
        return self.loaded[key]

    def _named(self, place: str) -> Checkpoint:
        start = load(Path(place))
        if start.facts.kind != "pretrain":
            raise CheckpointError(f"{place}: a finetuned run; --checkpoint takes a pretraining run")
        return start

    def _newest(self, plan: Recipe, fold: int) -> Checkpoint | None:
        if self.written and plan.finetune.mode in ("scratch", "random-frozen"):
            return None
        name = plan.name if self.written else ""
        below = f"{folds_name(plan)}-seed*/fold{fold}" if plan.data.folds else ""
        run = newest(RUNS, "pretrain", name, below)
        note(f"starting from the newest complete pretraining run{f' of {name}' if name else ''}: {run.path}")
        return run.load()


def _resolve_job(
    wishes: Wishes, written: Written | None, start: Checkpoint | None
) -> tuple[Checkpoint | None, Resolved]:
    above = [layer for layer in (written, wishes.overrides) if layer]
    resolved = resolve.resolve([*([resolve.from_checkpoint(start.facts, above)] if start else []), *above])
    if resolved.recipe.finetune.mode not in ("full", "linear-probe"):
        return None, resolved
    if start:
        resolve.check_architecture(start.facts, resolved)
    return start, resolved


def parts(resolved: Resolved) -> list[Resolved]:
    """The recipe once for each part of its cross-validation, or as it is."""
    data = resolved.recipe.data
    if not data.folds or data.fold >= 0:
        return [resolved]
    return [_with(resolved, "data", data_of_fold(resolved.recipe, fold)) for fold in range(data.folds)]


def data_of_fold(plan: Recipe, fold: int) -> DataSection:
    """The recipe's data section for one part; -1: for all in their turn."""
    return plan.data.model_copy(update={"fold": fold})


def _with(resolved: Resolved, key: str, value: object) -> Resolved:
    return Resolved(resolved.recipe.model_copy(update={key: value}), resolved.origins)


def folds_name(plan: Recipe) -> str:
    """What a cross-validation adds to the name of a run folder."""
    return f"-folds{plan.data.folds}" if plan.data.folds else ""


def fold_folder(home: Path, plan: Recipe) -> Path:
    """Where below a run folder the part in the recipe goes."""
    return home / f"fold{plan.data.fold}" if plan.data.folds else home


def _finetune_folder(wishes: Wishes, plan: Recipe, several: bool) -> Path:
    if wishes.out:
        return Path(f"{wishes.out}-seed{plan.seed}") if several else wishes.out
    name = f"finetune-{_mode_name(plan)}{folds_name(plan)}-seed{plan.seed}"
    return RUNS / plan.name / (f"{name}-fold{plan.data.fold}" if plan.data.folds and plan.data.fold >= 0 else name)


def _mode_name(plan: Recipe) -> str:
    share = plan.finetune.label_fraction
    return plan.finetune.mode + (f"-labels{share:g}" if share < 1 else "")
