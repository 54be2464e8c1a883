"""Forecasts of prepared series, and what needs no learning beside them."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ssl_bio.data.view import Batches
from ssl_bio.errors import DataError
from ssl_bio.models.forecaster import Forecaster
from ssl_bio.outcome import Answers, Series
from ssl_bio.terminal import progress


class Forecasts(NamedTuple):
    """Forecasts `(n, 2, horizon)` as `Series` has them, the true samples `(n, horizon)`, and forecasts of baselines."""

    answers: Answers
    targets: NDArray[np.float64]
    naive: Mapping[str, Answers]


@torch.no_grad()
def forecast(model: Forecaster, outcome: Series, batches: Batches, device: torch.device, horizon: int = 0) -> Forecasts:
    """Forecast `horizon` samples (0: all that follow the first `time_steps`) of every series, in order.

    Raises DataError when the series are shorter.
    """
    training = model.training
    model.to(device).eval()
    answers, series = [], []
    with progress("forecast", len(batches)) as tick:
        for step, batch in enumerate(batches.ordered(), 1):
            length = batch.inputs.shape[-1]
            end = outcome.time_steps + horizon if horizon else length
            if not outcome.time_steps < end <= length:
                raise DataError(
                    f"evaluate.horizon {horizon} after {outcome.time_steps} samples is longer than series of {length}"
                )
            shown = torch.from_numpy(batch.inputs[:, 0, :end]).to(device)
            free = model.rollout(shown[:, : outcome.time_steps], end - outcome.time_steps)
            answers.append(torch.stack([free, model.one_step(shown)], dim=1).double().cpu().numpy())
            series.append(batch.inputs[:, 0, :end].astype(np.float64))
            tick(step)
    model.train(training)
    whole = np.concatenate(series)
    targets = whole[:, outcome.time_steps :]
    return Forecasts(np.concatenate(answers), targets, outcome.naive(whole, targets.shape[1]))
