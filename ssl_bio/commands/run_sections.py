"""What the page of results says of each run: how it came about, its metrics, its data and its recipe."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ssl_bio.commands.plan import value_text
from ssl_bio.config import flatten
from ssl_bio.results.page import Picture, RecipeChange, RunSection
from ssl_bio.runs.audit import DataAudit
from ssl_bio.runs.finished import FinishedRun
from ssl_bio.runs.folder import FIGURES_FOLDER

#: Bytes of whole recipes, beyond which they are told by their differences: a page of 500 runs stays below 5 MB.
MOST_RECIPES = 500_000


def title_of(run: FinishedRun, root: Path) -> str:
    """Return a run's path below the folder of all runs."""
    return run.path.relative_to(root).as_posix()


def sections_of(
    runs: Sequence[FinishedRun], *, root: Path, pictures: Mapping[str, Sequence[Picture]]
) -> list[RunSection]:
    """Return a section for each run below a folder; `pictures`: of each, by its path.

    A recipe is told in full once for each name, then by its differences; beyond `MOST_RECIPES` also those of other
    names are told by their differences from the first of their kind.
    """
    told: dict[tuple[str, str], tuple[RunSection, Mapping[str, object]]] = {}
    sections: list[RunSection] = []
    size = 0
    for index, run in enumerate(runs):
        values = flatten(tomllib.loads(run.recipe_text))
        key = run.metadata.kind, str(values.get("name", ""))
        first = told.get((run.metadata.kind, "")) if size > MOST_RECIPES else None
        like, theirs = told.get(key) or first or (None, {})
        shown = pictures.get(str(run.path), ())
        drawn = {one.name.replace(" ", "_") for one in shown}
        section = RunSection(
            anchor=f"run-{index + 1}",
            title=title_of(run, root),
            kind="pretraining" if run.metadata.kind == "pretrain" else "finetuning",
            facts=_facts(run),
            metrics={name: value for name, value in run.metadata.metrics.items() if not name.startswith("lr_")},
            recipe="" if like else run.recipe_text,
            changes=list(_changes(values, theirs)) if like else [],
            like=like,
            audits=_audits(run),
            pictures=shown,
            files=sorted(path.name for path in (run.path / FIGURES_FOLDER).glob("*.png") if path.stem not in drawn),
        )
        told.setdefault(key, (section, values))
        told.setdefault((run.metadata.kind, ""), (section, values))
        size += len(section.recipe)
        sections.append(section)
    return sections


def _facts(run: FinishedRun) -> dict[str, str]:
    """Return what the folder says of how a run came about."""
    metadata = run.metadata
    by, tried = metadata.selected_on, metadata.trials or metadata.grid
    chosen = "the last epoch" if by == "last" else f"epoch {metadata.best_epoch}, by {by}"
    among = "trials of a search on validation" if metadata.trials else "combinations"
    facts = {
        "metrics on": metadata.split,
        "weights of": chosen if metadata.epochs else "",
        "one of": f"{tried} {among}" if tried else "",
        "from": metadata.origin,
        "epochs": str(metadata.epochs or ""),
        "training windows": str(metadata.n_train or ""),
        "seconds": f"{metadata.seconds:.0f}",
        "finished": metadata.finished_at[:16].replace("T", " "),
        "run": run.run_id,
        "versions": ", ".join(f"{name} {version}" for name, version in metadata.versions.items()),
    }
    return {name: text for name, text in facts.items() if text}


def _audits(run: FinishedRun) -> dict[str, DataAudit]:
    found = {part.path.name: part.audit for part in run.folds if part.audit}
    return {"": run.audit} if run.audit else found


def _changes(values: Mapping[str, object], others: Mapping[str, object]) -> Iterator[RecipeChange]:
    """Yield where a recipe departs from another one, in the order of keys."""
    for key in sorted({*values, *others}):
        ours, theirs = values.get(key), others.get(key)
        if ours != theirs:
            yield RecipeChange(key, _text(ours), _text(theirs))


def _text(value: object) -> str:
    return "not set" if value is None else value_text(value)
