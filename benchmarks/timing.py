"""Timing side by side: blocks of steps alternate, so that all candidates meet the same machine; the median counts."""

import time
from collections.abc import Callable, Mapping
from statistics import median

Step = Callable[[], None]


def race(candidates: Mapping[str, Step], n_blocks: int = 8, steps_in_block: int = 12) -> dict[str, float]:
    """Median seconds of a step for each candidate, after a block of each to warm up."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for step in candidates.values():
        _time(step, steps_in_block)
    for _ in range(n_blocks):
        for name, step in candidates.items():
            times[name].append(_time(step, steps_in_block))
    return {name: median(blocks) for name, blocks in times.items()}


def _time(step: Step, n_steps: int) -> float:
    started = time.perf_counter()
    for _ in range(n_steps):
        step()
    return (time.perf_counter() - started) / n_steps
