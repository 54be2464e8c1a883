"""A pretraining step of har.toml, ours and a plain rewrite's, side by side in one run.

Run: make bench.
"""

import torch

from benchmarks import plain_timemae
from benchmarks.timing import Step, race
from ssl_bio.config import Recipe
from ssl_bio.config.load import load_recipe
from ssl_bio.config.resolve import resolve
from ssl_bio.console import note, table
from ssl_bio.pretexts.base import load_pretext
from ssl_bio.runs.inputs import InputSpec
from ssl_bio.tasks.load import recipe_backbone
from ssl_bio.training import optim, runtime
from ssl_bio.training.objective import TensorBatch

N_WINDOWS = 7428  # unlabelled training windows of HAR, rebuilt


def main() -> None:
    """Measure and print."""
    recipe = resolve([load_recipe("har.toml")]).recipe
    torch.manual_seed(0)
    signals = torch.randn(recipe.pretrain.batch_size, 9, 128)
    candidates = {"plain rewrite": plain_timemae.stepper(signals), "ssl-bio": _ours(recipe, signals)}
    times = race(candidates)
    plain = times["plain rewrite"]
    n_steps = -(-N_WINDOWS // len(signals))
    rows = [[name, f"{1000 * t:.1f}", f"{t * n_steps:.1f}", f"{plain / t:.2f}"] for name, t in times.items()]
    note(f"har.toml, batch {len(signals)}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    table("a pretraining step", ["", "ms a step", "s an epoch", "speed"], rows)


def _ours(recipe: Recipe, signals: torch.Tensor) -> Step:
    channels = tuple(f"channel {index}" for index in range(9))
    spec = InputSpec(channels=channels, sampling_rate=50, length=128, window=128)
    objective = load_pretext(recipe).build(recipe_backbone(recipe, spec), spec)
    objective.module.train()
    settings = recipe.pretrain
    optimizer = optim.optimizer(settings.optimizer, objective.parameter_groups(), settings.weight_decay)
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        runtime.seed_torch(0, "step", 0, count)
        output = objective.step(TensorBatch(signals))
        optimizer.zero_grad()
        output.loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        objective.after_step()

    return step


if __name__ == "__main__":
    main()
