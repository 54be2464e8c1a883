"""The section `[tune]`: which recipe keys a search varies, how it chooses their values, and when it stops a trial."""

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator

from ssl_bio.config.section import Count, CountOrNone, Section, broken_rule, key

#: Keys that a trial is not free to choose: metrics of two values would not compare.
OTHER_QUESTIONS = (
    "name",
    "task_name",
    "data.dataset",
    "data.target",
    "data.root",
    "data.split_scheme",
    "data.fold",
    "data.window",
    "data.stride",
    "finetune.task",
    "evaluate.",
)
#: What a search leaves alone besides those, with the reason.
NOT_SEARCHED = {
    "seed": "it is chance, and the luckiest seed is no better recipe",
    "model_name": "it changes nothing that is trained",
    "data.synthetic.": "other data ask another question",
    "finetune.selected_on": "a search compares trials on val, and an epoch is chosen as the recipe says",
    "finetune.fit_on": 'every trial learns from "train" and is scored on "val"',
    "finetune.noise.root": "it changes nothing that is trained",
    "pretrain.": "a trial finetunes and does not pretrain",
    "reference.": "it changes nothing that is trained",
    "tune.": "it is about the search itself",
}
_RANGE_KEYS = ("low", "high", "step", "log")
_DIGITS = 3  # of a suggested number; more would only look exact


class Range(NamedTuple):
    """Numbers from `low` to `high`, both included; `step` 0: all of them; `log`: even in their logarithm."""

    low: float
    high: float
    step: float = 0
    log: bool = False
    integer: bool = False

    def rounded(self, value: float) -> float:
        """Return a suggested number as a recipe shows it: at a step, or with 3 significant digits, inside the range."""
        if self.integer:
            return int(value)
        if self.step:
            return self._at(round((value - self.low) / self.step))
        return min(max(float(f"{value:.{_DIGITS}g}"), self.low), self.high)

    def values(self) -> list[float] | None:
        """Return all numbers of a range with steps; None where there is no end of them."""
        step = self.step or (1 if self.integer and not self.log else 0)
        if not step:
            return None
        axis = self._replace(step=step)
        n_steps = int((Decimal(str(self.high)) - Decimal(str(self.low))) / Decimal(str(step)))
        return [axis._at(index) for index in range(n_steps + 1)]

    def _at(self, index: int) -> float:
        """Return the number after so many steps, without the noise of binary fractions."""
        value = Decimal(str(self.low)) + index * Decimal(str(self.step))
        return int(value) if self.integer else float(value)


class Choices(NamedTuple):
    """Values of any type that a key takes."""

    options: tuple[Any, ...]

    def values(self) -> list[Any]:
        """Return all values."""
        return list(self.options)


Axis = Range | Choices


def space_of(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield `section.key` and the range or the list that nested tables write for it."""
    for name, value in values.items():
        is_section = isinstance(value, Mapping) and not {"low", "high"} & value.keys()
        if is_section and value:
            yield from space_of(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def parse_axis(written: Any) -> Axis | str:
    """Return the range or the choices that a recipe writes for a key, or what is wrong with it."""
    if isinstance(written, list):
        return Choices(tuple(written)) if written else "an empty list chooses nothing"
    if not isinstance(written, Mapping):
        return "write { low = 1e-4, high = 1e-2, log = true } or a list of values"
    unknown = [name for name in written if name not in _RANGE_KEYS]
    if unknown:
        return f"unknown {unknown[0]}: a range has {', '.join(_RANGE_KEYS)}"
    if "low" not in written or "high" not in written:
        return "a range has both low and high"
    log = written.get("log", False)
    numbers = {name: written[name] for name in ("low", "high", "step") if name in written}
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return f"{name} must be a number, not {value!r}"
    if not isinstance(log, bool):
        return f"log must be true or false, not {log!r}"
    return _checked(Range(numbers["low"], numbers["high"], numbers.get("step", 0), log), has_step="step" in numbers)


def _checked(found: Range, *, has_step: bool) -> Range | str:
    if not found.low < found.high:
        return f"low {found.low:g} must be below high {found.high:g}"
    if found.log and found.low <= 0:
        return f"log needs low above 0, not {found.low:g}"
    if has_step and found.step <= 0:
        return f"step must be above 0, not {found.step:g}"
    if found.log and found.step:
        return "log and step exclude each other"
    return found


def _well_formed(space: dict[str, Any]) -> dict[str, Any]:
    found = {path: parse_axis(written) for path, written in space_of(space)}
    wrong = [f"tune.space.{path}: {axis}" for path, axis in found.items() if isinstance(axis, str)]
    if wrong:
        raise broken_rule("; ".join(wrong))
    return space


class TuneConfig(Section):
    """A search over recipe values: trials that finetune, scored on validation."""

    metric: str = key(
        "", "what trials are compared by, on validation; empty: the first that the task's tables lead with"
    )
    trials: Count = key(20, "trials in all, of all workers and machines together")
    sampler: Literal["tpe", "random", "grid"] = key(
        "tpe",
        '"tpe": tree-structured Parzen estimators (Bergstra et al. 2011); "random"; "grid": every combination once',
    )
    startup_trials: Count = key(10, 'of sampler "tpe": random trials before it learns from those that ended')
    pruner: Literal["median", "none"] = key(
        "median", '"median": a trial stops that was never as good as half of the others at the same epoch'
    )
    pruner_startup_trials: CountOrNone = key(5, "trials that run to their end before any is stopped")
    pruner_warmup_epochs: CountOrNone = key(1, "no trial is stopped so early: it may be after one more", unit="epochs")
    space: Annotated[dict[str, Any], AfterValidator(_well_formed)] = key(
        {}, "recipe keys and their values: finetune.lr = { low = 1e-4, high = 1e-2, log = true } or a list"
    )

    def axes(self) -> dict[str, Axis]:
        """Return `section.key` -> its range or choices, in the order that they are written in."""
        found = {path: parse_axis(written) for path, written in space_of(self.space)}
        return {path: axis for path, axis in found.items() if not isinstance(axis, str)}
