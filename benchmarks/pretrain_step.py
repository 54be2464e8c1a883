"""A pretraining step of har.toml, ours and a plain rewrite's, side by side in one run.

Run: make bench.
"""

import torch

from benchmarks import plain_timemae
from benchmarks.timing import Step, race
from ssl_bio import build, optim, recipe, resolve, runtime
from ssl_bio.schema import Recipe
from ssl_bio.terminal import note, table

N_WINDOWS = 7428  # unlabelled training windows of HAR, rebuilt


def main() -> None:
    """Measure and print."""
    plan = resolve.resolve([recipe.load("har.toml")]).recipe
    torch.manual_seed(0)
    signals = torch.randn(plan.pretrain.batch_size, 9, 128)
    candidates = {"plain rewrite": plain_timemae.stepper(signals), "ssl-bio": _ours(plan, signals)}
    times = race(candidates)
    plain = times["plain rewrite"]
    n_steps = -(-N_WINDOWS // len(signals))
    rows = [[name, f"{1000 * t:.1f}", f"{t * n_steps:.1f}", f"{plain / t:.2f}"] for name, t in times.items()]
    note(f"har.toml, batch {len(signals)}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    table("a pretraining step", ["", "ms a step", "s an epoch", "speed"], rows)


def _ours(plan: Recipe, signals: torch.Tensor) -> Step:
    task = build.pretext_task(plan, build.backbone(plan, 9, 128))
    task.model.train()
    optimizer = optim.optimizer(plan.pretrain.optimizer, task.parameter_groups(), plan.pretrain.weight_decay)
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


if __name__ == "__main__":
    main()
