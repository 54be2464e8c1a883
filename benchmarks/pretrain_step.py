"""A pretraining step of har.toml, ours and a plain rewrite's, side by side in one run.

Run: make bench. Blocks of steps alternate, so that both meet the same machine; the median counts.
"""

import time
from collections.abc import Callable
from statistics import median

import torch

from benchmarks import plain_timemae
from ssl_bio import build, optim, recipe, resolve, runtime
from ssl_bio.schema import Recipe
from ssl_bio.terminal import note, table

N_BLOCKS, STEPS_IN_BLOCK = 8, 12
N_WINDOWS = 7428  # unlabelled training windows of HAR, rebuilt


def main() -> None:
    """Measure and print."""
    plan = resolve.resolve([recipe.load("har.toml")]).recipe
    torch.manual_seed(0)
    signals = torch.randn(plan.pretrain.batch_size, 9, 128)
    candidates = {"plain rewrite": plain_timemae.stepper(signals), "ssl-bio": _ours(plan, signals)}
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for step in candidates.values():
        _time(step)  # warm-up
    for _ in range(N_BLOCKS):
        for name, step in candidates.items():
            times[name].append(_time(step))
    plain = median(times["plain rewrite"])
    rows = [
        [
            name,
            f"{1000 * median(t):.1f}",
            f"{median(t) * -(-N_WINDOWS // len(signals)):.1f}",
            f"{plain / median(t):.2f}",
        ]
        for name, t in times.items()
    ]
    note(f"har.toml, batch {len(signals)}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    table("a pretraining step", ["", "ms a step", "s an epoch", "speed"], rows)


def _ours(plan: Recipe, signals: torch.Tensor) -> Callable[[], None]:
    task = build.pretext_task(plan, build.backbone(plan, 9, 128))
    task.model.train()
    optimizer = optim.adamw(task.parameter_groups(), plan.pretrain.weight_decay)
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        runtime.seed_torch(0, "step", 0, count)
        result = task.step(signals, None)
        optimizer.zero_grad()
        result.loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        task.after_step()

    return step


def _time(step: Callable[[], None]) -> float:
    started = time.perf_counter()
    for _ in range(STEPS_IN_BLOCK):
        step()
    return (time.perf_counter() - started) / STEPS_IN_BLOCK


if __name__ == "__main__":
    main()
