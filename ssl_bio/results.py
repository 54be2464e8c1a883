"""Judging a finetuned run: predictions, figures, the table a person reads and the row a lab shares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import ssl_bio
from ssl_bio import build, metrics, samples
from ssl_bio.checkpoint import METRICS_FILE, Facts, RunFolder, now, read_metrics
from ssl_bio.data.store import DatasetInfo, PreparedDataset
from ssl_bio.data.transforms import even_crops, played
from ssl_bio.data.view import Batches, Features
from ssl_bio.errors import DataError
from ssl_bio.forecasts import forecast
from ssl_bio.models.forecaster import Forecaster
from ssl_bio.models.heads import Predictor
from ssl_bio.outcome import Answers, Classes, Labels, OfWindow, Outcome, Series, Values
from ssl_bio.schema import Recipe
from ssl_bio.sheet import METRIC_COLUMNS, figure
from ssl_bio.terminal import note, progress, table, warn


@dataclass(frozen=True)
class Judged:
    """A finetuned run's answers on one split."""

    outcome: Outcome
    targets: NDArray[Any]  # (n,) codes, or (n, n_outputs)
    answers: Answers  # (n, n_outputs)
    constants: Mapping[str, Answers]  # what constants of the training windows answer

    @property
    def n(self) -> int:
        """How many windows."""
        return len(self.targets)

    @cached_property
    def figures(self) -> dict[str, float]:
        """The metric columns."""
        return _columns_of(self.outcome, self.targets, self.answers)

    @cached_property
    def beside(self) -> dict[str, dict[str, float]]:
        """The same of the constants."""
        return {name: _columns_of(self.outcome, self.targets, each) for name, each in self.constants.items()}

    def of_output(self, index: int) -> "Judged":
        """One value alone."""
        assert isinstance(self.outcome, Values)
        part = slice(index, index + 1)
        names = {key: getattr(self.outcome, key)[part] for key in ("names", "units", "mean", "std", "median", "bins")}
        constants = {name: each[:, part] for name, each in self.constants.items()}
        outcome = self.outcome.model_copy(update=names)
        return Judged(outcome, self.targets[:, part], self.answers[:, part], constants)


def pooled(parts: Sequence[Judged]) -> Judged:
    """Answers of several folds as one: every window is answered by the network that did not learn from its person."""
    first = parts[0]
    constants = {name: np.concatenate([part.constants[name] for part in parts]) for name in first.constants}
    return Judged(
        first.outcome,
        np.concatenate([part.targets for part in parts]),
        np.concatenate([part.answers for part in parts]),
        constants,
    )


@torch.no_grad()
def predict(
    model: Predictor, outcome: OfWindow, batches: Batches, device: torch.device, paces: Sequence[float] = (1.0,)
) -> tuple[Answers, NDArray[Any]]:
    """Answers `(n, n_outputs)` and targets of all batches, in order. A window longer than the network's is answered by
    the mean over crops that cover it evenly; rates by the mean over `paces` at which the window is played."""
    training = model.training
    model.to(device).eval()
    of_features = isinstance(batches.source, Features)
    answers, targets = [], []
    with progress("predict", len(batches)) as tick:
        for step, batch in enumerate(batches.ordered(), 1):
            if of_features:
                found = [outcome.answers(model.answer(torch.from_numpy(batch.inputs).to(device)))]
            else:
                found = []
                for part in even_crops(batch.inputs, model.window or batch.inputs.shape[-1]):
                    for pace in paces:
                        shown = part if pace == 1 else played(part, np.full((len(part), 1), pace))
                        found.append(outcome.answers(model(torch.from_numpy(shown).to(device))) / pace)
            answers.append(torch.stack(found).mean(dim=0).cpu().numpy())
            targets.append(np.asarray(batch.targets))
            tick(step)
    model.train(training)
    return np.concatenate(answers), np.concatenate(targets)


def figures_of(
    model: Predictor, outcome: OfWindow, batches: Batches, device: torch.device, paces: Sequence[float] = (1.0,)
) -> dict[str, float]:
    """The metric columns, and the loss as `loss`."""
    answers, targets = predict(model, outcome, batches, device, paces)
    return outcome.figures(targets, answers)


def judge(
    model: Predictor | Forecaster,
    run: RunFolder,
    facts: Facts,
    plan: Recipe,
    data: PreparedDataset,
    device: torch.device,
    external: bool = False,
) -> Judged:
    """Predict the recipe's split, write `predictions*.npz` and compute the figures. Windows whose target is not known
    are left out.

    An external dataset is judged on its own split of that name if it has one under its first scheme. Its
    labels are matched by name.

    Raises DataError when its labels are not the run's.
    """
    outcome = facts.outcome
    assert outcome is not None
    if external:
        plan = with_scheme(plan, next(iter(data.info.schemes)))
        _check_same_question(data.info, plan, outcome)
    rows = samples.labelled_rows(data, plan, plan.evaluate.split)
    build.check_channels(facts, data.info)
    view = samples.view(data, plan, rows, samples.form_of(facts))
    batches = Batches(view, plan.evaluate.batch_size)
    suffix = "" if plan.evaluate.split == "test" and not external else f"-{data.info.name}-{plan.evaluate.split}"
    whose = {"row": rows, "subject": data.subjects[rows]}
    if isinstance(model, Forecaster):
        assert isinstance(outcome, Series)
        found = forecast(model, outcome, batches, device, plan.evaluate.horizon)
        free, one_step = found.answers.astype(np.float32).swapaxes(0, 1)
        arrays = {"target": found.targets, "free_running": free, "one_step": one_step}
        run.write_arrays(f"predictions{suffix}.npz", {**whose, **arrays})
        return Judged(outcome, found.targets, found.answers, found.naive)
    assert not isinstance(outcome, Series)
    answers, targets = predict(model, outcome, batches, device, plan.evaluate.paces)
    if external and not isinstance(outcome, Values):
        targets = _recoded(targets, data.info.targets[plan.data.target].classes, outcome, data.info.name)
    run.write_arrays(
        f"predictions{suffix}.npz",
        {
            **whose,
            "target": targets,
            "value" if isinstance(outcome, Values) else "probability": answers.astype(np.float32),
            "classes": np.array(outcome.names),
        },
    )
    return Judged(outcome, targets, answers, outcome.constants(len(rows)))


def _check_same_question(info: DatasetInfo, plan: Recipe, outcome: Outcome) -> None:
    """Raise DataError when another dataset's target of the same name is of another kind or in another unit."""
    if isinstance(outcome, Series):
        return  # a series is its own target
    kind = {"class": "classes", "labels": "labels", "value": "values"}[samples.target_kind(info, plan)]
    units = [info.targets[name].unit for name in samples.target_names(plan)]
    if kind != outcome.kind or (isinstance(outcome, Values) and units != list(outcome.units)):
        ours = f"{outcome.kind} in {', '.join(outcome.units)}" if isinstance(outcome, Values) else outcome.kind
        raise DataError(
            f"dataset {info.name}: its {plan.data.target!r} holds {kind} {', '.join(units)}".rstrip()
            + f", and this run answers {ours}: choose another --data"
        )


def with_scheme(plan: Recipe, scheme: str) -> Recipe:
    """The recipe under another split scheme."""
    return plan.model_copy(update={"data": plan.data.model_copy(update={"validation": scheme})})


def rows(
    facts: Facts, plan: Recipe, data: PreparedDataset, judged: Judged, n_parameters: int, run: RunFolder
) -> list[dict[str, object]]:
    """The sheet's rows: one, or one for each of several values."""
    outcome = judged.outcome
    if not isinstance(outcome, Values) or len(outcome.names) == 1:
        name = plan.task_name or f"{plan.data.dataset}_{plan.data.target}"
        return [_row(name, facts, plan, data, judged, n_parameters, run)]
    base = plan.task_name or plan.data.dataset
    return [
        _row(f"{base}_{name}", facts, plan, data, judged.of_output(index), n_parameters, run)
        for index, name in enumerate(outcome.names)
    ]


def _row(
    task_name: str,
    facts: Facts,
    plan: Recipe,
    data: PreparedDataset,
    judged: Judged,
    n_parameters: int,
    run: RunFolder,
) -> dict[str, object]:
    settings = plan.finetune
    return {
        "model_name": plan.model_name or plan.name,
        "task_name": task_name,
        **judged.figures,
        "MAE_constant": judged.beside.get("always the mean", {}).get("MAE"),
        "mode": settings.mode,
        "lr": settings.lr if facts.epochs else None,
        "backbone_lr": {"full": settings.backbone_lr, "scratch": settings.lr}.get(settings.mode),
        "loss": loss_name(judged.outcome),
        "seed": plan.seed,
        "split": facts.split or plan.evaluate.split,
        "selected_on": facts.selected_on,
        "grid": facts.grid or None,
        "validation": plan.data.validation + (f", {plan.data.folds} folds" if plan.data.folds else ""),
        "fit_on": settings.fit_on,
        "label_fraction": settings.label_fraction,
        "epochs": facts.epochs,
        "best_epoch": facts.best_epoch,
        "n_train": facts.n_train,
        "n_test": judged.n,
        "n_parameters": n_parameters,
        "seconds": round(facts.seconds, 1),
        "dataset": data.info.name,
        "fingerprint": data.info.fingerprint,
        "checkpoint": str(run.path),
        "version": ssl_bio.__version__,
        "finished_at": now(),
    }


def loss_name(outcome: Outcome) -> str:
    """What was minimised."""
    if isinstance(outcome, Values | Series):
        return outcome.error
    return "cross-entropy" if isinstance(outcome, Classes) else "binary-cross-entropy"


def show(judged: Judged, title: str) -> None:
    """Figures, and where the errors are: the confusion of classes, each label, or each value."""
    outcome = judged.outcome
    beside = list(judged.beside.items())
    figures = [
        [name, figure(name, value), *(figure(name, constant.get(name, float("nan"))) for _, constant in beside)]
        for name, value in judged.figures.items()
    ]
    table(title, ["metric", "value", *(name for name, _ in beside)], figures)
    if isinstance(outcome, Classes):
        counts = metrics.confusion(judged.targets, judged.answers)
        cells = [[name, *(str(count) for count in row)] for name, row in zip(outcome.names, counts, strict=True)]
        table("true class (rows) against predicted", ["", *outcome.names], cells)
    elif isinstance(outcome, Labels):
        table("label by label", ["", "windows", "AUROC", "AUC_PR", "F1"], _label_cells(judged))
    elif isinstance(outcome, Values) and len(outcome.names) > 1:
        singles = [judged.of_output(index).figures for index in range(len(outcome.names))]
        cells = [
            [f"{name} ({unit})", *(f"{figures[column]:.4f}" for column in outcome.columns if column in figures)]
            for name, unit, figures in zip(outcome.names, outcome.units, singles, strict=True)
        ]
        table("value by value", ["", *(column for column in outcome.columns if column in singles[0])], cells)


def _label_cells(judged: Judged) -> list[list[str]]:
    cells = []
    for label, name in enumerate(judged.outcome.names):
        part = slice(label, label + 1)
        figures = metrics.multilabel(judged.targets[:, part], judged.answers[:, part])
        shown = [f"{figures[column]:.4f}" if column in figures else "" for column in ("AUROC", "AUC_PR", "F1_macro")]
        cells.append([name, str(int(judged.targets[:, label].sum())), *shown])
    return cells


def compare(plan: Recipe, seeds: Sequence[int], judged: Sequence[Judged], split: str) -> None:
    """Each seed's figures and mean ± std; then what constants give and what others published, with ours minus it."""
    names = [name for name in METRIC_COLUMNS if name in judged[0].figures]
    values = {name: np.array([one.figures[name] for one in judged]) for name in names}
    rows = [[name, *(figure(name, value) for value in values[name]), mean_std(name, values[name])] for name in names]
    if len(judged) == 1:
        rows = [row[:2] for row in rows]
    headings = [*(f"seed {seed}" for seed in seeds), "mean ± std"] if len(judged) > 1 else ["value"]
    title = f"{plan.name}, {plan.finetune.mode}, {split} ({judged[0].n} windows)"
    table(title, ["metric", *headings], rows)
    others = judged[0].beside | _published(plan)
    if not others:
        return
    shown = [name for name in names if any(name in figures for figures in others.values())]
    cells = [["", *shown], ["ours", *(mean_std(name, values[name]) for name in shown)]]
    for other, figures in others.items():
        beside = [
            f"{figure(name, figures[name])} ({_difference(name, values[name].mean() - figures[name])})"
            if name in figures
            else ""
            for name in shown
        ]
        cells.append([other, *beside])
    if len(shown) > len(others):  # the narrower way round
        cells = [list(column) for column in zip(*cells, strict=True)]
    table("beside it (ours - it)", cells[0], cells[1:])
    if len(others) > len(judged[0].beside) and plan.reference.source:
        note(f"reference: {plan.reference.source}")


def _published(plan: Recipe) -> dict[str, dict[str, float]]:
    """The recipe's references for this mode; none with a share of the labels, for they were published for all."""
    if plan.finetune.label_fraction < 1:
        return {}
    reference: dict[str, float] = getattr(plan.reference, plan.finetune.mode.replace("-", "_"))
    named = {"reference": reference, "the lab's log": plan.reference.log, "paper": plan.reference.paper}
    return {name: figures for name, figures in named.items() if figures}


def side_by_side(root: Path, plan: Recipe, like: Facts) -> None:
    """All complete finetuned runs of a recipe on the same data and split: a row a mode, mean ± std over seeds."""
    assert like.outcome is not None
    groups: dict[str, list[dict[str, float]]] = {}
    for path in sorted((root / plan.name).glob(f"finetune-*-seed*/{METRICS_FILE}")):
        result = read_metrics(path)
        asked = result.get("outcome") or {}
        same = (asked.get("kind"), tuple(asked.get("names", ()))) == (like.outcome.kind, like.outcome.names)
        if same and all(result.get(key) == getattr(like, key) for key in ("kind", "fingerprint", "split")):
            mode = path.parent.name.removeprefix("finetune-").rpartition("-seed")[0]
            groups.setdefault(mode, []).append(result["metrics"])
    if len(groups) < 2:
        return
    wanted = FIRST_COLUMNS[like.outcome.kind]
    names = [name for name in wanted if all(name in one for figures in groups.values() for one in figures)]
    sign = 1 if wanted[0].endswith(metrics.LOWER_IS_BETTER) else -1
    ordered = sorted(groups.items(), key=lambda item: sign * np.mean([one[wanted[0]] for one in item[1]]))
    rows = [
        [mode, str(len(figures)), *(mean_std(name, np.array([one[name] for one in figures])) for name in names)]
        for mode, figures in ordered
    ]
    table(f"{plan.name}: every finetuned run so far, {like.split}", ["mode", "runs", *names], rows)


def say_overlap(info: DatasetInfo, scheme: str) -> None:
    """Warn of people or windows that stand in two splits."""
    for pair, overlap in info.overlap[scheme].items():
        if overlap.subjects or overlap.windows:
            warn(f"{pair} share {overlap.subjects} people and {overlap.windows} identical windows")


def mean_std(name: str, values: NDArray[np.float64]) -> str:
    """A metric over seeds as tables show it."""
    spread = f" ± {figure(name, values.std(ddof=1))}" if len(values) > 1 else ""
    return f"{figure(name, values.mean())}{spread}"


def _difference(name: str, value: float) -> str:
    return ("+" if value >= 0 else "") + figure(name, value)


#: By kind of outcome, the figures that tables lead with; the first ranks.
FIRST_COLUMNS = {
    "classes": ("Accuracy", "F1_macro", "AUROC"),
    "labels": ("Accuracy", "F1_macro", "AUROC"),
    "values": ("MAE", "RMSE", "R2"),
    "series": Series.columns,
}


def _columns_of(outcome: Outcome, targets: NDArray[Any], answers: Answers) -> dict[str, float]:
    figures = outcome.figures(targets, answers)
    return {name: value for name, value in figures.items() if name != "loss"}


def _recoded(targets: NDArray[Any], theirs: Sequence[str], outcome: Outcome, name: str) -> NDArray[Any]:
    """Another dataset's classes or labels in this run's order."""
    unknown = [label for label in theirs if label not in outcome.names]
    if unknown:
        raise DataError(
            f"dataset {name} has labels that this run does not know: {', '.join(unknown)}; "
            f"it knows {', '.join(outcome.names)}"
        )
    place = np.array([outcome.names.index(label) for label in theirs])
    if isinstance(outcome, Classes):
        return np.asarray(place[targets])
    recoded = np.zeros((len(targets), outcome.n_outputs), targets.dtype)
    recoded[:, place] = targets
    return recoded
