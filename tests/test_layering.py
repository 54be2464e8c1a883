"""How the package hangs together: imports point one way, commands that only list start at once, and what a task is
stays in the task's own file."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import nn

import ssl_bio
from ssl_bio.config.kinds import BACKBONES, PRETEXTS, TASKS
from ssl_bio.models.denoiser import Denoiser
from ssl_bio.models.forecaster import Forecaster
from ssl_bio.models.heads import Predictor
from ssl_bio.tasks.base import TargetSpec, Task, expect

ROOT = Path(ssl_bio.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

#: What a part of the package may import besides itself, from the lowest to the highest.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "console": set(),
    "metrics": {"errors"},
    "config": {"errors"},
    "data": {"config", "console", "errors"},
    "models": {"config", "errors"},
    "runs": {"data", "errors", "models"},
    "training": {"console", "data", "errors", "metrics", "models", "runs"},
    "results": {"console", "data", "errors", "metrics", "models", "runs"},
    "tasks": {"config", "console", "data", "errors", "metrics", "models", "results", "runs", "training"},
    "pretexts": {"config", "console", "data", "errors", "metrics", "models", "results", "runs", "tasks", "training"},
    "commands": {
        *("config", "console", "data", "errors", "metrics", "models"),
        *("pretexts", "results", "runs", "tasks", "training"),
    },
    "api": {"commands", "config", "console", "data", "tasks", "training"},
    "cli": {"commands", "config", "errors"},
    "__main__": {"cli"},
}
#: Below tasks and pretext tasks nobody sees recipes. These files know the names of kinds, and how plugins are found.
MAY_SEE_CONFIG = {
    "models/build.py": {"ssl_bio.config.kinds"},
    "data/registry.py": {"ssl_bio.config.registry"},
}
SEE_RECIPES = {"api", "cli", "commands", "config", "pretexts", "tasks"}
MOST_ENTRIES = 16
HEAVY = (
    *("torch", "pandas", "sklearn", "scipy", "matplotlib", "h5py", "wfdb", "optuna"),
    *("onnxruntime", "onnxscript", "tensorboard"),
)


def inside(path: Path) -> str:
    """Return a file's path below the package."""
    return path.relative_to(ROOT).as_posix()


def part_of(path: Path) -> str:
    """Return the folder of the package, or the single file, that a file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Return the modules of the package that a file imports anywhere, also for types alone."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{inside(path)}: a relative import"
            if node.module == "ssl_bio":
                found |= {f"ssl_bio.{alias.name}" for alias in node.names}
            elif node.module and node.module.startswith("ssl_bio."):
                found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("ssl_bio.")}
    return {name for name in found if not name.startswith("ssl_bio.__")}


class TestImports:
    """Who may import whom."""

    def test_the_directions_make_a_hierarchy(self) -> None:
        lower: set[str] = set()
        for part, allowed in ALLOWED.items():
            assert allowed <= lower, f"{part} would import what stands above it"
            lower.add(part)
        assert "models" not in ALLOWED["data"]
        assert "data" not in ALLOWED["models"]

    def test_every_part_has_its_place(self) -> None:
        assert len(FILES) > 60
        assert {part_of(path) for path in FILES} - {"__init__"} == set(ALLOWED)

    @pytest.mark.parametrize("part", ALLOWED)
    def test_imports_point_down(self, part: str) -> None:
        wrong = [
            f"{inside(path)} imports {module}"
            for path in FILES
            if part_of(path) == part
            for module in sorted(imported(path))
            if module.split(".")[1] not in ALLOWED[part] | {part}
        ]
        assert wrong == []

    def test_who_sees_recipes(self) -> None:
        found = {
            inside(path): seen
            for path in FILES
            if part_of(path) not in SEE_RECIPES
            and (seen := {module for module in imported(path) if module.startswith("ssl_bio.config")})
        }
        assert found == MAY_SEE_CONFIG

    def test_few_entries(self) -> None:
        entries = sorted(path.name for path in ROOT.iterdir() if path.name not in ("__pycache__", "recipes"))
        assert len(entries) <= MOST_ENTRIES, entries


def heavy_imports(arguments: list[str], *, code: int) -> str:
    """Run a command in a process of its own, which must end with a code; return which heavy modules it imported."""
    program = (
        "import sys\nfrom ssl_bio.cli import main\n"
        f"sys.argv = ['ssl-bio', *{arguments!r}]\n"
        f"try:\n    main()\nexcept SystemExit as stop:\n    assert (stop.code or 0) == {code}, stop.code\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["pretrain", "--help"],
        ["tune", "--help"],
        ["recipes", "list"],
        ["recipes", "show", "har.toml", "--all"],
        ["recipes", "keys"],
        ["recipes", "schema"],
        ["recipes", "validate", "ecg-denoise.toml"],
        ["data", "list"],
    ],
    ids=" ".join,
)
def test_what_only_lists_imports_nothing_heavy(arguments: list[str]) -> None:
    assert heavy_imports(arguments, code=0) == "[]"


@pytest.mark.parametrize(
    "arguments",
    [
        ["pretrain", "--recipe", "nowhere"],
        ["pretrain", "--recipe", "har.toml", "--set", "pretrain.epocs=3"],
        ["pretrain", "--seeds", "a,b"],
        ["pretrain", "--epochs", "3"],
        ["finetune", "--recipe", "har-supervised.toml", "--mode", "half"],
        ["finetune", "--set", "finetune.epocs=3"],
        ["finetune", "--checkpoint", "nowhere"],
        ["tune", "--recipe", "nowhere"],
        ["baselines", "--recipe", "nowhere"],
        ["baselines", "--only", "minirocked"],
        ["evaluate", "--set", "finetune.lr=0.1", "--checkpoint", "x"],
        ["evaluate"],
        ["data", "prepare", "har", "--from", "x.zip", "--recipe", "nowhere"],
        ["export", "nowhere"],
        ["export", "run", "--format", "tflite"],
        ["recipes", "show", "nowhere"],
    ],
    ids=" ".join,
)
def test_what_is_refused_before_any_work_imports_nothing_heavy(arguments: list[str]) -> None:
    assert heavy_imports(arguments, code=2) == "[]"


def test_the_package_imports_nothing_heavy() -> None:
    program = f"import sys, ssl_bio\nprint([name for name in {(*HEAVY, 'typer', 'pydantic')} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "ssl_bio", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"ssl-bio {ssl_bio.__version__}\n"


class TestKindsStayAtHome:
    """A task, a pretext task or a backbone is one more class, and no line elsewhere asks which one it is."""

    NAMES = frozenset(name for registry in (TASKS, PRETEXTS, BACKBONES) for name in registry.builtin)
    SUBJECTS = ("kind", "task", "pretext")

    def test_no_line_compares_the_name_of_a_kind(self) -> None:
        assert [line for path in FILES if part_of(path) != "config" for line in self._comparisons(path)] == []

    def test_no_line_asks_for_the_class_of_another_tasks_target_or_network(self) -> None:
        assert [line for path in FILES for line in self._type_questions(path)] == []

    def test_both_questions_are_found_where_they_are_asked(self, tmp_path: Path) -> None:
        path = tmp_path / "x.py"
        path.write_text(
            'a = recipe.finetune.task == "forecasting"\n'
            'b = "vqvae" != recipe.model.kind\n'
            'c = pretext in ("contrast", "x")\n'
            "d = isinstance(target, ValueTarget)\n"
            "e = isinstance(model, (int, heads.Predictor))\n"
            "f = isinstance(model, Denoiser | int)\n"
            "match task:\n    case 'denoising':\n        pass\n"
            'g = target.kind == "class"\n'
            'h = kind == "attention"\n'
        )
        assert sorted(self._comparisons(path)) == ["x.py:1", "x.py:2", "x.py:3", "x.py:7"]
        assert sorted(self._type_questions(path)) == ["x.py:4", "x.py:5", "x.py:6"]

    def _comparisons(self, path: Path) -> Iterator[str]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare):
                sides = [node.left, *node.comparators]
                constants = {part.value for side in sides for part in ast.walk(side) if isinstance(part, ast.Constant)}
                if any(self._is_subject(side) for side in sides) and constants & self.NAMES:
                    yield f"{path.name}:{node.lineno}"
            elif isinstance(node, ast.Match) and self._is_subject(node.subject):
                yield f"{path.name}:{node.lineno}"

    def _is_subject(self, side: ast.expr) -> bool:
        # A bare `kind` is any kind: of pooling, of noise, of a quantizer.
        if isinstance(side, ast.Attribute):
            return side.attr in self.SUBJECTS
        return isinstance(side, ast.Name) and side.id in ("task", "pretext")

    def _type_questions(self, path: Path) -> Iterator[str]:
        foreign = {kind.__name__ for kind in _task_classes()} - self._own_classes(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
                parts = list(ast.walk(node.args[1]))
                names = {part.id for part in parts if isinstance(part, ast.Name)}
                names |= {part.attr for part in parts if isinstance(part, ast.Attribute)}
                if names & foreign:
                    yield f"{path.name}:{node.lineno}"

    def _own_classes(self, path: Path) -> set[str]:
        """Return the target and the network of the task whose file this is."""
        if not path.is_relative_to(ROOT / "tasks"):
            return set()
        name = path.relative_to(ROOT / "tasks").parts[0].removesuffix(".py")
        if name not in TASKS.builtin:
            return set()
        task = expect(type, TASKS.load(name))
        assert issubclass(task, Task)
        return {task.Target.__name__, task.Model.__name__}


def _task_classes() -> set[type]:
    """Return all classes of targets and of networks that answer, and of the tasks themselves."""
    for name in TASKS.builtin:
        TASKS.load(name)
    roots: list[type] = [TargetSpec, Predictor, Forecaster, Denoiser, Task]
    found: set[type] = set()
    while roots:
        kind = roots.pop()
        found.add(kind)
        roots += kind.__subclasses__()
    return found - {nn.Module}
