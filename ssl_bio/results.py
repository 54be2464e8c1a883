"""What people see of a judged run: tables, comparisons, and the rows a lab shares."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import ssl_bio
from ssl_bio import metrics
from ssl_bio.checkpoint import METRICS_FILE, Facts, RunFolder, now, read_metrics
from ssl_bio.data.store import DatasetInfo, PreparedDataset
from ssl_bio.judging import Judged
from ssl_bio.outcome import Classes, Labels, Outcome, Series, Signal, Values
from ssl_bio.schema import Recipe
from ssl_bio.sheet import METRIC_COLUMNS, figure
from ssl_bio.terminal import note, table, warn


def rows(
    facts: Facts, plan: Recipe, data: PreparedDataset, judged: Judged, n_parameters: int, run: RunFolder
) -> list[dict[str, object]]:
    """The sheet's rows: one, or one for each of several values, or for each type of noise at each level."""
    outcome = judged.outcome
    if isinstance(outcome, Signal):
        base = plan.task_name or f"{plan.data.dataset}_denoise"
        names = [f"{base}_{cell.label.replace(' ', '_')}" for cell in outcome.cells]
        return [
            _row(name, facts, plan, data, judged.of_cell(index), n_parameters, run) for index, name in enumerate(names)
        ]
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
        "snr_gain_classical": judged.beside.get("classical", {}).get("snr_gain"),
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
    if isinstance(outcome, Values | Series | Signal):
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
    if isinstance(outcome, Signal):
        show_cells([judged])
    elif isinstance(outcome, Classes):
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


def show_cells(judged: Sequence[Judged]) -> None:
    """A denoiser's figures, a row for each type of noise at each level: mean ± std over seeds, beside the noisy signal
    and the classical answer."""
    outcome = judged[0].outcome
    assert isinstance(outcome, Signal)
    asked = {
        "SNR gain (dB)": ("snr_gain", ("classical",)),
        "correlation": ("correlation", ("noisy",)),
        "F1 of beats": ("beat_F1", ("noisy", "classical")),
    }
    known = {
        title: (name, [other for other in others if other in judged[0].constants])
        for title, (name, others) in asked.items()
        if all(name in one.figures for one in judged)
    }
    rows = []
    for index, cell in enumerate(outcome.cells):
        parts = [one.of_cell(index) for one in judged]
        row = [cell.label + ("" if cell.noise in (outcome.learnt or [cell.noise]) else " *")]
        for name, others in known.values():
            values = np.array([part.figures.get(name, np.nan) for part in parts])
            beside = [parts[0].beside[other].get(name, np.nan) for other in others]
            row.append(" -> ".join([*(_short(name, value) for value in beside), _short(name, *values)]))
        rows.append(row)
    legend = "; ".join(f"{title} {' -> '.join([*others, 'ours'])}" for title, (_, others) in known.items())
    strange = "; * not learnt" if any(row[0].endswith("*") for row in rows) else ""
    table(f"noise by noise: {legend}{strange}", ["", *known], rows)


def _short(name: str, *values: float) -> str:
    """Mean ± std with as many digits as these figures bear."""
    digits = 1 if name == "snr_gain" else 3
    if not np.isfinite(values).all():
        return "none"
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


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
    if isinstance(judged[0].outcome, Signal):
        show_cells(judged)
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
    "signal": ("snr_gain", "correlation", "RMSE"),
}
