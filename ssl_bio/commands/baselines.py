"""`ssl-bio baselines`: simple answers to a recipe's question, on its data and splits, as rows beside its runs."""

import time
from collections.abc import Sequence
from typing import NamedTuple

from ssl_bio.commands.finetune import Prepared, prepare
from ssl_bio.commands.plan import RunOptions, SeedPlan, plan_baselines
from ssl_bio.commands.report import append_rows
from ssl_bio.commands.result import RunResult, pooled, write_predictions
from ssl_bio.commands.steps import checkpoint_metadata
from ssl_bio.config import to_toml
from ssl_bio.console import note
from ssl_bio.results import sheet, tables
from ssl_bio.results.tables import Ranked
from ssl_bio.runs.folder import RECIPE_FILE, RunFolder
from ssl_bio.tasks.baselines.base import Baseline, Question, load_baseline
from ssl_bio.training.fit import FitResult


class _Answered(NamedTuple):
    """What a baseline gave, and what it tells about how."""

    result: RunResult
    remark: str


def baselines(options: RunOptions, names: Sequence[str], seeds: Sequence[int] | None) -> list[RunFolder]:
    """Ask baselines what a recipe asks, once for each seed, which draws shares of the labels; return their folders.

    A baseline that was asked before is asked again, from features that were kept, and its row replaced.
    """
    sheet.check(options.sheet)
    found: dict[str, list[_Answered]] = {}
    runs = []
    for name, plan in plan_baselines(options, names, seeds):
        answered = _run(options, name, plan)
        if answered:
            found.setdefault(name, []).append(answered)
            runs.append(plan.run)
    if found:
        _show(found)
    return runs


def _run(options: RunOptions, name: str, plan: SeedPlan) -> _Answered | None:
    """Have a baseline answer all parts of a seed and write what it gave; None where it cannot answer."""
    baseline, parts = load_baseline(name), [prepare(part.resolved) for part in plan.runs]
    questions = [Question.of(part.task, part.dataset) for part in parts]
    why = baseline.refusal(questions[0])
    if why:
        note(f"{name} is left out: {why}")
        return None
    run, there = plan.run, plan.run.path.exists()
    with run.owned(kind="baseline", resume=False, overwrite=there):
        run.write_text(RECIPE_FILE, to_toml(parts[0].recipe, parts[0].resolved.origins))
        answered = [
            _answer(name, baseline, question, run=run, part=part)
            for part, question in zip(parts, questions, strict=True)
        ]
        result, remark = answered[0]
        if len(answered) > 1:
            result = pooled([one.result for one in answered], run)
        write_predictions(run, result.evaluation, split=parts[0].recipe.evaluate.split)
        append_rows(result, sheet_path=options.sheet, run=run)
        run.finish_folds(result.metadata)
    return _Answered(result, remark)


def _answer(name: str, baseline: Baseline, question: Question, *, run: RunFolder, part: Prepared) -> _Answered:
    started = time.perf_counter()
    answer = baseline.answer(question)
    evaluation = question.score(answer, question.evaluated_rows)
    seconds = time.perf_counter() - started
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
    result = RunResult(
        part.recipe, question.task, question.target, evaluation, metadata, answer.n_parameters, part.dataset
    )
    return _Answered(result, answer.remark)


def _show(found: dict[str, list[_Answered]]) -> None:
    """Show all baselines, the best first."""
    first = next(iter(found.values()))[0].result
    entries = [
        Ranked(
            [name, str(len(answered))],
            [one.result.evaluation.metrics for one in answered],
            [f"{sum(one.result.metadata.seconds for one in answered):.1f}", answered[0].remark],
        )
        for name, answered in found.items()
    ]
    title = f"{first.recipe.name}: baselines, {first.metadata.split} ({first.evaluation.n} windows)"
    names = [
        name for name in first.task.leading_metrics if all(name in one for each in entries for one in each.metrics)
    ]
    head, remarks = ["baseline", "seeds"], ["seconds", "how"]
    tables.show([tables.ranked_table(entries, title=title, names=names, head=head, remarks=remarks)])
