"""The winner of a search: trained as the recipe says, evaluated on test for itself alone, and written as a recipe."""

import shlex
from collections.abc import Sequence
from typing import NamedTuple

import optuna

from ssl_bio.commands import search
from ssl_bio.commands.finetune import finetune
from ssl_bio.commands.plan import RunOptions, SeedPlan, plan_seeds
from ssl_bio.commands.trials import TrialPlan, nested
from ssl_bio.config import ConfigLayer, to_toml
from ssl_bio.console import note, warn
from ssl_bio.metrics import metric_text
from ssl_bio.results.search import SearchRecord, TrialRecord
from ssl_bio.runs.study import BEST_FOLDER, BEST_RECIPE_FILE, StudyFolder


def train_winner(
    plan: TrialPlan,
    study: search.Search,
    base: SeedPlan,
    *,
    record: SearchRecord,
    best: TrialRecord,
    seeds: Sequence[int] | None,
) -> None:
    """Train the best trial's values as the recipe says, and evaluate them on the split that it names."""
    folder = StudyFolder(plan.folder)
    with folder.owned_winner() as mine:
        if not mine:
            note(f"another process is training the winner, trial {best.number}, in {folder.path / BEST_FOLDER}")
            return
        score, n = metric_text(plan.metric, best.score or 0.0), len(record.trials)
        chosen = ConfigLayer(nested(best.values), f"trial {best.number}")
        options = plan.options._replace(out=folder.path / BEST_FOLDER, chosen=chosen, trials=n)
        _write_best_recipe(plan, options, best=best, score=score, n_trials=n, seeds=seeds)
        note(f"the winner's recipe: {folder.path / BEST_RECIPE_FILE}")
        claim, elsewhere = study.claim_winner()
        if elsewhere:
            note(f"the winner, trial {best.number}, {elsewhere}")
            return
        before = _Asked.of(claim)
        now = _Asked(best.number, n, list(seeds or []))
        if before and before.seeds != now.seeds:
            warn(
                f"the winner was trained for {before.seeds_text}: for others run "
                f"ssl-bio finetune --recipe {folder.path / BEST_RECIPE_FILE}"
            )
            return
        with search.beating(claim):
            _say_what_is_asked(plan, base, best=best, before=before, now=now)
            if before not in (None, now):
                folder.clear_winner()
            claim.set_user_attr("done", False)
            claim.set_user_attr("asked", now._asdict())  # only now: what stood for another trial is gone
            replaces = folder.winner_is_cleared
            resume = bool(folder.winners()) and not replaces
            finetune(options._replace(resume=resume, overwrite=replaces), plan.checkpoint, seeds)
            claim.set_user_attr("done", True)


class _Asked(NamedTuple):
    """For what the test split was asked: a trial, the best of how many, and for which seeds (none: the recipe's)."""

    trial: int
    trials: int
    seeds: list[int]

    @classmethod
    def of(cls, claim: optuna.Study) -> "_Asked | None":
        """Return what a claim on the winner says; None where test has not been asked."""
        stored = claim.user_attrs.get("asked")
        return cls(**stored) if stored else None

    @property
    def seeds_text(self) -> str:
        """Return the seeds as a sentence has them."""
        return f"--seeds {','.join(map(str, self.seeds))}" if self.seeds else "the recipe's seed alone"


def _say_what_is_asked(
    plan: TrialPlan, base: SeedPlan, *, best: TrialRecord, before: _Asked | None, now: _Asked
) -> None:
    split, score = base.resolved.recipe.evaluate.split, metric_text(plan.metric, best.score or 0.0)
    text = f"the winner is trial {best.number}: {plan.metric} {score} on val, flattered as the best of {now.trials}"
    if split == "val":
        note(f'{text}; evaluate.split is "val" as well')
        return
    if before and before.trial != now.trial:
        note(text)
        warn(f"{split} has been asked before, by trial {before.trial}, which won among {before.trials} trials")
    else:
        note(f"{text}; {split} is asked for it alone")
    if base.is_cross_validation:
        warn(
            "people who validate in one part are tested in another, so that the values were chosen with their labels: "
            "to keep test people out, search within one part (--set data.fold=0)"
        )


def _write_best_recipe(
    plan: TrialPlan, options: RunOptions, *, best: TrialRecord, score: str, n_trials: int, seeds: Sequence[int] | None
) -> None:
    folder = StudyFolder(plan.folder)
    seed_plan = plan_seeds(options, plan.checkpoint, seeds)[0]
    resolved = seed_plan.resolved.without_search()
    words = ["ssl-bio finetune --recipe", shlex.quote(str(folder.path / BEST_RECIPE_FILE))]
    if seed_plan.runs[0].start and plan.checkpoint:
        words += ["--checkpoint", shlex.quote(plan.checkpoint)]
    if seeds:
        words += ["--seeds", ",".join(map(str, seeds))]
    header = (
        f"# Trial {best.number}, the best of {n_trials} in study {plan.study!r}: {plan.metric} {score} on val.\n"
        f"# A row of the sheet that this file makes does not say so itself.\n#\n#   {' '.join(words)}\n\n"
    )
    folder.files.write_text(BEST_RECIPE_FILE, header + to_toml(resolved.recipe, resolved.origins))
