"""Small recipes of every kind on the embedded datasets, which are prepared once for all tests."""

import atexit
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from ssl_bio.config import Recipe
from ssl_bio.config.kinds import BACKBONES, PRETEXTS, TASKS
from ssl_bio.config.recipe import compose, fields_of
from ssl_bio.config.section import Section
from ssl_bio.data.dataset import PreparedDataset
from ssl_bio.models.base import Backbone, SignalNetwork
from ssl_bio.pretexts.base import load_pretext
from ssl_bio.runs.folder import RunFolder
from ssl_bio.runs.inputs import InputSpec, input_spec
from ssl_bio.tasks.base import AnyTask, load_task
from ssl_bio.tasks.datasets import open_recipe_dataset
from ssl_bio.tasks.load import recipe_backbone
from ssl_bio.training import optim
from ssl_bio.training.objective import TensorBatch
from tests.runs.checkpoints import metadata

#: Values of keys that make any network small, wherever a section has such a key.
_SMALL = {
    "d_model": 16,
    "width": 8,
    "n_layers": 2,
    "n_heads": 2,
    "wave_length": 16,
    "s4d.d_state": 8,
    "decoder_layers": 1,
    "vocab_size": 12,
    "quantizer.codebook_size": 8,
    "stride": 4,
    "sampling_steps": 2,
    "epochs": 2,
    "batch_size": 8,
}
#: What a task needs besides its name; a new task may need nothing.
_TASKS: dict[str, dict[str, Any]] = {
    "forecasting": {
        "data": {"dataset": "two-peaks"},
        "finetune": {"time_steps": 60, "mode": "scratch"},
        "evaluate": {"horizon": 30},
    },
    "denoising": {"data": {"target": "clean"}},
}


def small_recipe(values: Mapping[str, Any]) -> Recipe:
    """Return a recipe with these values, all else small, on the smaller synthetic dataset."""
    data = {"synthetic": {"n_subjects": 10, "windows_per_subject": 8}, "root": _root()}
    merged = {**values, "data": {**data, **values.get("data", {})}}
    defaults = compose(merged, source="test")
    for section in ("model", "pretrain", "finetune"):
        merged[section] = {**_small_values(type(getattr(defaults, section))), **merged.get(section, {})}
    return compose(merged, source="test")


def task_recipe(task: str, backbone: str, **finetune: Any) -> Recipe:
    """Return a small recipe of a task on a backbone, with its target named."""
    needed = _TASKS.get(task, {})
    values = {
        **needed,
        "model": {"kind": backbone},
        "finetune": {"task": task, "selected_on": "val", **needed.get("finetune", {}), **finetune},
    }
    recipe = small_recipe(values)
    target = recipe.data.target or load_task(recipe).default_target(prepared(recipe).info)
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"target": target})})


def pretext_recipe(pretext: str, backbone: str, **pretrain: Any) -> Recipe:
    """Return a small recipe of a pretext task on a backbone."""
    needed = {"tokenizer": tokenizer_run()} if pretext == "joint_tokens" else {}
    return small_recipe(
        {
            "model": {"kind": backbone},
            "pretrain": {"pretext": pretext, **needed, **pretrain},
            "data": {"target": "rhythm"},
        }
    )


def tokenizer_run(backbone: str = "vqvae") -> str:
    """Return the folder of a finished run of a VQ-VAE of both synthetic channels, with a code for every 16 samples."""
    return _tokenizer_run(backbone)


@cache
def _tokenizer_run(backbone: str) -> str:
    recipe = pretext_recipe("vqvae", backbone)
    dataset = prepared(recipe)
    spec = input_spec(dataset.info, window=0)
    objective = load_pretext(recipe).build(backbone_of(recipe, spec), spec)
    signals = torch.from_numpy(dataset.read(dataset.rows("subject", "train")))
    optimizer = optim.optimizer("adamw", objective.parameter_groups(), 0.0)
    for _ in range(10):  # until its codes differ
        optimizer.zero_grad()
        objective.step(TensorBatch(signals)).loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
    run = RunFolder(Path(_root()) / f"tokenizer-{backbone}")
    with run.owned(kind="pretrain", resume=False, overwrite=False):
        said = metadata(
            recipe=recipe.model_dump(mode="json"),
            channels=dataset.info.channels,
            length=spec.length,
            window=spec.window,
        )
        run.finish(objective.module.state_dict(), said)
    return str(run.path)


def prepared(recipe: Recipe) -> PreparedDataset:
    """Open a recipe's dataset."""
    return open_recipe_dataset(recipe.data)


def backbone_of(recipe: Recipe, spec: InputSpec, seed: int = 0) -> Backbone | SignalNetwork:
    """Return the recipe's backbone with random weights."""
    torch.manual_seed(seed)
    return recipe_backbone(recipe, spec)


def backbones_for(task: AnyTask | str) -> list[str]:
    """Return the kinds of backbones that a task accepts, one for each kind of output."""
    accepts = TASKS.config(task).accepts if isinstance(task, str) else task.config.accepts
    found: dict[str, str] = {}
    for name in BACKBONES.names():
        output = BACKBONES.config(name).output
        if output in accepts:
            found.setdefault(output, name)
    return list(found.values())


def backbones_pretrained_by(pretext: str) -> list[str]:
    """Return the kinds of backbones that a pretext task goes with."""
    fitting = list(PRETEXTS.config(pretext).backbones)
    return fitting or [name for name in BACKBONES.names() if BACKBONES.config(name).output == "tokens"]


def _small_values(section: type[Section]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for info in fields_of(section):
        if info.path in _SMALL:
            name, _, inner = info.path.partition(".")
            found[name] = {inner: _SMALL[info.path]} if inner else _SMALL[info.path]
    return found


@cache
def _root() -> str:
    folder = TemporaryDirectory(prefix="ssl-bio-tests-")
    atexit.register(folder.cleanup)
    return str(Path(folder.name))
