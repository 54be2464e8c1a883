"""Judging a finetuned run: predictions, figures, the table a person reads and the row a lab shares."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import ssl_bio
from ssl_bio import build, metrics
from ssl_bio.checkpoint import METRICS_FILE, Facts, RunFolder, now, read_metrics
from ssl_bio.data.store import DatasetInfo, PreparedDataset
from ssl_bio.data.view import Batches, Features
from ssl_bio.errors import DataError
from ssl_bio.models.heads import Classifier
from ssl_bio.schema import Recipe
from ssl_bio.sheet import METRIC_COLUMNS
from ssl_bio.terminal import note, progress, table, warn


class Judged(NamedTuple):
    """A finetuned run's answer on one split."""

    figures: dict[str, float]
    confusion: NDArray[np.int64]  # (n_classes, n_classes), a row a true class
    classes: tuple[str, ...]
    n: int


@torch.no_grad()
def predict(model: Classifier, batches: Batches, device: torch.device) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Probabilities `(n, n_classes)` and true class codes `(n,)` of all batches, in order."""
    training = model.training
    model.to(device).eval()
    forward = model if not _are_features(batches) else model.classify
    probabilities, targets = [], []
    with progress("predict", len(batches)) as tick:
        for step, batch in enumerate(batches.ordered(), 1):
            logits = forward(torch.from_numpy(batch.inputs).to(device))
            probabilities.append(logits.double().softmax(dim=1).cpu().numpy())
            targets.append(np.asarray(batch.targets))
            tick(step)
    model.train(training)
    return np.concatenate(probabilities), np.concatenate(targets)


def figures_of(model: Classifier, batches: Batches, device: torch.device) -> dict[str, float]:
    """The metric columns, and the cross entropy as `loss`."""
    probabilities, targets = predict(model, batches, device)
    likelihood = probabilities[np.arange(len(targets)), targets]
    return {
        "loss": float(-np.log(np.maximum(likelihood, 1e-12)).mean()),
        **metrics.classification(targets, probabilities),
    }


def judge(
    model: Classifier,
    run: RunFolder,
    facts: Facts,
    plan: Recipe,
    data: PreparedDataset,
    device: torch.device,
    external: bool = False,
) -> Judged:
    """Predict the recipe's split, write `predictions*.npz` and compute the figures.

    An external dataset is judged on its own split of that name if it has one under its first scheme. Its
    labels are matched by name.

    Raises DataError when its labels are not the run's.
    """
    if external:
        scheme = next(iter(data.info.schemes))
        rows = data.rows(scheme, plan.evaluate.split)
        info, _ = data.target(plan.data.target)
        recode = _match_labels(info.classes, facts.classes, data.info.name)
    else:
        rows = data.rows(plan.data.validation, plan.evaluate.split)
        recode = np.arange(len(facts.classes))
    build.check_channels(facts, data.info)
    view = build.view(data, plan.data, rows, facts.sampling_rate, facts.length)
    probabilities, codes = predict(model, Batches(view, plan.evaluate.batch_size), device)
    targets = recode[codes]
    suffix = "" if plan.evaluate.split == "test" and not external else f"-{data.info.name}-{plan.evaluate.split}"
    run.write_arrays(
        f"predictions{suffix}.npz",
        {
            "row": rows,
            "subject": data.subjects[rows],
            "target": targets,
            "probability": probabilities.astype(np.float32),
            "classes": np.array(facts.classes),
        },
    )
    return Judged(
        metrics.classification(targets, probabilities),
        metrics.confusion(targets, probabilities),
        facts.classes,
        len(rows),
    )


def row(
    facts: Facts, plan: Recipe, data: PreparedDataset, judged: Judged, model: nn.Module, run: RunFolder
) -> dict[str, object]:
    """The sheet's row."""
    settings = plan.finetune
    return {
        "model_name": plan.model_name or plan.name,
        "task_name": plan.task_name or f"{plan.data.dataset}_{plan.data.target}",
        **judged.figures,
        "mode": settings.mode,
        "lr": settings.lr if facts.epochs else None,
        "backbone_lr": {"full": settings.backbone_lr, "scratch": settings.lr}.get(settings.mode),
        "loss": "cross-entropy",
        "seed": plan.seed,
        "split": plan.evaluate.split,
        "selected_on": facts.selected_on,
        "validation": plan.data.validation,
        "fit_on": settings.fit_on,
        "label_fraction": settings.label_fraction,
        "epochs": facts.epochs,
        "best_epoch": facts.best_epoch,
        "n_train": facts.n_train,
        "n_test": judged.n,
        "n_parameters": build.n_parameters(model),
        "seconds": round(facts.seconds, 1),
        "dataset": data.info.name,
        "fingerprint": data.info.fingerprint,
        "checkpoint": str(run.path),
        "version": ssl_bio.__version__,
        "finished_at": now(),
    }


def show(judged: Judged, title: str) -> None:
    """Figures and confusion matrix."""
    table(title, ["metric", "value"], [[name, f"{value:.4f}"] for name, value in judged.figures.items()])
    rows = [
        [name, *(str(count) for count in counts)] for name, counts in zip(judged.classes, judged.confusion, strict=True)
    ]
    table("true class (rows) against predicted", ["", *judged.classes], rows)


def compare(plan: Recipe, seeds: Sequence[int], judged: Sequence[Judged]) -> None:
    """Each seed's figures, mean ± std, and the published figure beside ours."""
    mode = plan.finetune.mode
    reference: dict[str, float] = getattr(plan.reference, mode.replace("-", "_"))
    if plan.finetune.label_fraction < 1:
        reference = {}  # it was published for all labels
    names = [name for name in METRIC_COLUMNS if name in judged[0].figures]
    rows = []
    for name in names:
        values = np.array([one.figures[name] for one in judged])
        cells = [f"{value:.4f}" for value in values] if len(values) > 1 else []
        published = (
            [f"{reference[name]:.4f}", f"{values.mean() - reference[name]:+.4f}"] if name in reference else ["", ""]
        )
        rows.append([name, *cells, _mean_std(values), *(published if reference else [])])
    headings = [f"seed {seed}" for seed in seeds] if len(judged) > 1 else []
    title = f"{plan.name}, {mode}, {plan.evaluate.split} ({judged[0].n} windows)"
    table(
        title,
        [
            "metric",
            *headings,
            "mean ± std" if headings else "value",
            *(["reference", "ours - it"] if reference else []),
        ],
        rows,
    )
    if reference and plan.reference.source:
        note(f"reference: {plan.reference.source}")


def side_by_side(root: Path, plan: Recipe, like: Facts) -> None:
    """All complete finetuned runs of a recipe on the same data and split: a row a mode, mean ± std over seeds."""
    groups: dict[str, list[dict[str, float]]] = {}
    for path in sorted((root / plan.name).glob(f"finetune-*-seed*/{METRICS_FILE}")):
        result = read_metrics(path)
        if all(result.get(key) == getattr(like, key) for key in ("kind", "fingerprint", "split")):
            mode = path.parent.name.removeprefix("finetune-").rpartition("-seed")[0]
            groups.setdefault(mode, []).append(result["metrics"])
    if len(groups) < 2:
        return
    names = [
        name
        for name in ("Accuracy", "F1_macro", "AUROC")
        if all(name in one for figures in groups.values() for one in figures)
    ]
    rows = [
        [mode, str(len(figures)), *(_mean_std(np.array([one[name] for one in figures])) for name in names)]
        for mode, figures in sorted(groups.items(), key=lambda item: -np.mean([one["Accuracy"] for one in item[1]]))
    ]
    table(f"{plan.name}: every finetuned run so far, {like.split}", ["mode", "runs", *names], rows)


def say_overlap(info: DatasetInfo, scheme: str) -> None:
    """Warn of people or windows that stand in two splits."""
    for pair, overlap in info.overlap[scheme].items():
        if overlap.subjects or overlap.windows:
            warn(f"{pair} share {overlap.subjects} people and {overlap.windows} identical windows")


def _mean_std(values: NDArray[np.float64]) -> str:
    spread = f" ± {values.std(ddof=1):.4f}" if len(values) > 1 else ""
    return f"{values.mean():.4f}{spread}"


def _are_features(batches: Batches) -> bool:
    return isinstance(batches.source, Features)


def _match_labels(theirs: Sequence[str], ours: Sequence[str], name: str) -> NDArray[np.int64]:
    unknown = [label for label in theirs if label not in ours]
    if unknown:
        raise DataError(
            f"dataset {name} has labels that this run does not know: {', '.join(unknown)}; it knows {', '.join(ours)}"
        )
    return np.array([ours.index(label) for label in theirs])
