"""`ssl-bio baselines`: simple answers to a recipe's question, on its data and splits, as rows beside its runs."""

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ssl_bio.commands.finetune import Prepared, prepare
from ssl_bio.commands.plan import RunOptions, SeedPlan, plan_baselines
from ssl_bio.commands.result import RunResult, pooled, write_predictions
from ssl_bio.commands.rows import append_rows
from ssl_bio.commands.steps import checkpoint_metadata
from ssl_bio.config import to_toml
from ssl_bio.console import note
from ssl_bio.results import sheet, tables
from ssl_bio.results.tables import Ranked
from ssl_bio.runs.folder import RECIPE_FILE, RunFolder
from ssl_bio.tasks.baselines.base import Answer, Baseline, Question, load_baseline
from ssl_bio.training.fit import FitResult


class _Asked(NamedTuple):
    """A baseline, where what it gives goes, and the parts that it is asked: of a cross-validation all, else one."""

    name: str
    baseline: Baseline
    run: RunFolder
    parts: list[Prepared]
    questions: list[Question]

    @staticmethod
    def of(name: str, baseline: Baseline, plan: SeedPlan) -> "_Asked":
        """Open the data of a plan. Raises for all that cannot be."""
        parts = [prepare(part.resolved) for part in plan.runs]
        return _Asked(name, baseline, plan.run, parts, [Question.of(part.task, part.dataset) for part in parts])


class _Answered(NamedTuple):
    """What a baseline gave on all parts together, and on each; how many rows that made."""

    result: RunResult
    answers: list[Answer]
    n_rows: int


def baselines(options: RunOptions, names: Sequence[str], seeds: Sequence[int] | None) -> list[RunFolder]:
    """Ask baselines what a recipe asks, once for each seed, which draws shares of the labels; return their folders.

    A baseline that was asked before is asked again, from features that were kept, and its row replaced.
    """
    sheet.check(options.sheet)
    found: dict[str, list[_Answered]] = {}
    refusals: dict[str, str] = {}
    runs = []
    plans = plan_baselines(options, names, seeds)
    loaded = {name: load_baseline(name) for name, _ in plans}
    # What cannot be is said before anything is computed.
    for asked in [_Asked.of(name, loaded[name], plan) for name, plan in plans]:
        why = asked.baseline.refusal(asked.questions[0])
        if why:
            refusals[asked.name] = why
            continue
        found.setdefault(asked.name, []).append(_run(options, asked))
        runs.append(asked.run)
    for name, why in refusals.items():
        note(f"{name} is left out: {why}")
    if found:
        _show(found)
        n_rows = sum(one.n_rows for answered in found.values() for one in answered)
        note(f"{'one row' if n_rows == 1 else f'{n_rows} rows'} in {options.sheet}")
    return runs


def _run(options: RunOptions, asked: _Asked) -> _Answered:
    """Have a baseline answer all parts, and write what it gave into its folder and the sheet."""
    run, first = asked.run, asked.parts[0]
    with run.owned(kind="baseline", resume=False, overwrite=run.path.exists()):
        run.write_text(RECIPE_FILE, to_toml(first.recipe, first.resolved.origins))
        results, answers = [], []
        for part, question in zip(asked.parts, asked.questions, strict=True):
            started = time.perf_counter()
            answer = asked.baseline.answer(question)
            seconds = time.perf_counter() - started
            results.append(_result(asked.name, answer, question, part=part, run=run, seconds=seconds))
            answers.append(answer)
        result = pooled(results, run) if len(results) > 1 else results[0]
        write_predictions(run, result.evaluation, split=first.recipe.evaluate.split)
        n_rows = append_rows(result, sheet_path=options.sheet, run=run)
        run.finish_folds(result.metadata)
    return _Answered(result, answers, n_rows)


def _result(
    name: str, answer: Answer, question: Question, *, part: Prepared, run: RunFolder, seconds: float
) -> RunResult:
    """Return an answer with its metrics, as those of networks are."""
    evaluation = question.score(answer, question.evaluated_rows)
    metadata = checkpoint_metadata(
        "baseline",
        run=run,
        recipe=part.recipe,
        dataset=part.dataset,
        spec=part.task.input_spec(part.dataset.info),
        result=FitResult({}, 0, 0, {}, seconds, n_train=len(question.fit_rows)),
    ).model_copy(
        update={
            "baseline": name,
            "target": question.target.model_dump(mode="json"),
            "split": part.recipe.evaluate.split,
            "metrics": dict(evaluation.metrics),
        }
    )
    return RunResult(
        part.recipe, question.task, question.target, evaluation, metadata, answer.n_parameters, part.dataset
    )


def _show(found: Mapping[str, Sequence[_Answered]]) -> None:
    """Show all baselines, the best first."""
    first = next(iter(found.values()))[0].result
    entries = [
        Ranked([name, str(len(answered))], [one.result.metadata.metrics for one in answered], _remarks(answered))
        for name, answered in found.items()
    ]
    title = f"{first.recipe.name}: baselines, {first.metadata.split} ({first.evaluation.n} windows)"
    leading = first.task.leading_metrics
    names = [name for name in leading if all(name in one for entry in entries for one in entry.metrics)]
    head, remarks = ["baseline", "runs"], ["seconds", "features", "alpha"]
    tables.show([tables.ranked_table(entries, title=title, names=names, head=head, remarks=remarks)])


def _remarks(answered: Sequence[_Answered]) -> list[str]:
    """Return the seconds of all runs, the features, and the penalties that their parts chose."""
    answers = [answer for one in answered for answer in one.answers]
    alphas = sorted({answer.alpha for answer in answers if answer.alpha is not None})
    shown = [f"{alpha:.4g}" for alpha in (alphas[:1] + alphas[-1:] if len(alphas) > 1 else alphas)]
    seconds = sum(one.result.metadata.seconds for one in answered)
    return [f"{seconds:.1f}", str(answers[0].n_features or ""), " to ".join(shown)]
