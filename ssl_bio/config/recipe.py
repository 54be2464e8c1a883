"""A complete recipe, composed of the sections that its kinds ask for."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, get_args, get_origin

from pydantic import Field, SerializeAsAny, TypeAdapter, ValidationError

from ssl_bio.config.data import DataConfig, ReferenceConfig
from ssl_bio.config.kinds import BACKBONES, PRETEXTS, TASKS
from ssl_bio.config.models import BackboneConfig, TimeMAEConfig
from ssl_bio.config.pretexts import PretextConfig, TimeMAEPretextConfig
from ssl_bio.config.registry import KindRegistry
from ssl_bio.config.section import Section, Seed, key
from ssl_bio.config.tasks import ClassificationConfig, EvaluateConfig, TaskConfig
from ssl_bio.config.tune import NOT_SEARCHED, OTHER_QUESTIONS, Axis, Range, TuneConfig
from ssl_bio.errors import RecipeError

Values = Mapping[str, Any]


class RecipeHead(Section):
    """The keys that stand above all sections."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = key("demo", "names the folder of its runs")
    seed: Seed = key(0, "seed of everything random")
    model_name: str = key("", "for the sheet; empty: the recipe's name")
    task_name: str = key("", "for the sheet; empty: dataset and target")


class Recipe(RecipeHead):
    """Everything a run does follows from its recipe and the prepared data."""

    data: DataConfig = DataConfig()
    model: SerializeAsAny[BackboneConfig] = TimeMAEConfig()
    pretrain: SerializeAsAny[PretextConfig] = TimeMAEPretextConfig()
    finetune: SerializeAsAny[TaskConfig] = ClassificationConfig()
    evaluate: SerializeAsAny[EvaluateConfig] = EvaluateConfig()
    reference: ReferenceConfig = ReferenceConfig()
    tune: TuneConfig = TuneConfig()


#: Sections whose class depends on a key of theirs.
UNIONS: dict[str, KindRegistry[Any]] = {"model": BACKBONES, "pretrain": PRETEXTS, "finetune": TASKS}
_DEFAULT_BACKBONE, _DEFAULT_TASK = "timemae", "classification"


def kind_of(values: Values, section: str) -> str:
    """Return the kind that values choose for a section of `UNIONS`, or what it is by default."""
    table = values.get(section)
    chosen = table.get(UNIONS[section].discriminator) if isinstance(table, Mapping) else None
    if isinstance(chosen, str):
        return chosen
    if section == "pretrain":
        backbone = kind_of(values, "model")
        return str(BACKBONES.config(backbone).default_pretext) if backbone in BACKBONES.names() else "timemae"
    return _DEFAULT_BACKBONE if section == "model" else _DEFAULT_TASK


def section_classes(values: Values) -> dict[str, type[Section]]:
    """Return the class of every section for the kinds that values choose.

    Raises RecipeError for an unknown kind.
    """
    found, problems = _known_classes(values)
    if problems:
        raise RecipeError("; ".join(text for _, text in problems))
    return found


def _known_classes(values: Values) -> tuple[dict[str, type[Section]], list[tuple[str, str]]]:
    """Return the class of every section whose kind is known, and what is wrong with the other kinds, by their keys."""
    found: dict[str, type[Section]] = {"data": DataConfig}
    problems: list[tuple[str, str]] = []
    for section, registry in UNIONS.items():
        path, table = f"{section}.{registry.discriminator}", values.get(section)
        chosen = table.get(registry.discriminator, "") if isinstance(table, Mapping) else ""
        if not isinstance(chosen, str):
            problems.append((path, f"{path} must be one of {', '.join(registry.names())}, not {chosen!r}"))
            continue
        try:
            found[section] = registry.config(kind_of(values, section))
        except RecipeError as error:
            problems.append((path, f"{path}: {error}"))
    task = found.get("finetune")
    found["evaluate"] = task.Evaluate if task is not None and issubclass(task, TaskConfig) else EvaluateConfig
    found["reference"] = ReferenceConfig
    found["tune"] = TuneConfig
    return found, problems


def compose(values: Values, *, source: str, origins: Mapping[str, str] | None = None) -> Recipe:
    """Return the recipe that values make with defaults for the rest.

    `origins`: where each `section.key` was written; `source`: where, if it does not say.

    Raises RecipeError that lists every problem, each as `section.key` with the nearest valid name.
    """
    classes, problems = _known_classes(values)
    sections: dict[str, Section] = {}
    for name, section in classes.items():
        table = values.get(name, {})
        if not isinstance(table, Mapping):
            problems.append((name, f"{name} must be a section, not {table!r}"))
            continue
        discriminator = {UNIONS[name].discriminator: kind_of(values, name)} if name in UNIONS else {}
        try:
            sections[name] = section.model_validate({**discriminator, **table})
        except ValidationError as error:
            problems += [_explain(dict(detail), section, prefix=name, values=values) for detail in error.errors()]
    head = {name: value for name, value in values.items() if name not in (*classes, *UNIONS)}
    try:
        RecipeHead.model_validate(head)
    except ValidationError as error:
        problems += [_explain(dict(detail), Recipe, prefix="", values=values) for detail in error.errors()]
    tune = sections.get("tune")
    if isinstance(tune, TuneConfig):
        problems += _space_problems(tune, values)
    if problems:
        where = origins or {}
        lines = dict.fromkeys((_origin(path, where, source), text) for path, text in problems)
        by_origin: dict[str, list[str]] = {}
        for origin, text in lines:
            by_origin.setdefault(origin, []).append(text)
        raise RecipeError("; ".join(f"{origin}: {'; '.join(texts)}" for origin, texts in by_origin.items()))
    return Recipe.model_validate({**head, **sections})


def _origin(path: str, origins: Mapping[str, str], source: str) -> str:
    found = [origin for name, origin in origins.items() if name == path or name.startswith(f"{path}.")]
    return found[0] if found and path else source


def _explain(detail: dict[str, Any], section: type[Section], *, prefix: str, values: Values) -> tuple[str, str]:
    location = [*([prefix] if prefix else []), *(str(part) for part in detail["loc"])]
    path = ".".join(location)
    if detail["type"] == "rule":
        return path, str(detail["msg"])
    if detail["type"] == "extra_forbidden":
        return path, f"unknown key {path}{_suggestion(location, section, values)}"
    message = str(detail["msg"])
    for before, after in (
        ("Value error, ", "must be "),
        ("Input should be ", "must be "),
        ("String should match", "must match"),
        ("List should have", "must have"),
    ):
        message = message.replace(before, after)
    return path, f"{path} {message}, not {detail['input']!r}"


def _suggestion(location: list[str], section: type[Section], values: Values) -> str:
    """Return a hint at the key that was probably meant."""
    parent, name = ".".join(location[:-1]), location[-1]
    own = "" if section is Recipe else f"{location[0]}."
    siblings = [
        path.rpartition(".")[2]
        for path in (f"{own}{field.path}" for field in fields_of(section))
        if path.rpartition(".")[0] == parent
    ]
    siblings += [*_known_classes(values)[0]] if not parent else []
    of_task = location[0] == "evaluate"
    if (of_task or location[0] in UNIONS) and len(location) == 2:
        union = "finetune" if of_task else location[0]
        registry = UNIONS[union]
        configs = {kind: registry.config(kind) for kind in registry.builtin}
        kinds = [kind for kind, one in configs.items() if name in (one.Evaluate if of_task else one).model_fields]
        if kinds:
            what = f"{union}.{registry.discriminator}"
            return f" (a key of {what} {' and '.join(kinds)}, not of {kind_of(values, union)})"
    near = difflib.get_close_matches(name, siblings, n=1)
    if near:
        return f" (did you mean {parent}{'.' if parent else ''}{near[0]}?)"
    elsewhere = [path for path in keys_of(values) if path.rpartition(".")[2] == name]
    return f" (did you mean {elsewhere[0]}?)" if elsewhere else f" (valid here: {', '.join(sorted(siblings))})"


def _space_problems(tune: TuneConfig, values: Values) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the keys that a search varies and the values that it gives them."""
    axes = tune.axes()
    infos = searchable_keys(values, axes)
    for path, axis in axes.items():
        place = f"tune.space.{path}"
        why = next((why for start, why in NOT_SEARCHED.items() if path.startswith(start)), "")
        if path.startswith(OTHER_QUESTIONS):
            yield place, f"{place}: another {path} asks another question, and metrics do not compare"
        elif why:
            yield place, f"{place}: {why}"
        elif path not in infos:
            yield place, f"{place}: unknown key {path}{_nearest(path, infos, values)}"
        else:
            wrong = _values_problem(infos[path], axis, kinds=_kinds_of(path))
            if wrong:
                yield place, f"{place}: {wrong}"


def searchable_keys(values: Values, axes: Mapping[str, Axis]) -> "dict[str, KeyInfo]":
    """Return the keys of a recipe of these kinds, and of all kinds of a section whose kind is searched as well."""
    found = dict(keys_of(values))
    for section, registry in UNIONS.items():
        if f"{section}.{registry.discriminator}" in axes:
            for kind in registry.names():
                for info in fields_of(registry.config(kind)):
                    found.setdefault(f"{section}.{info.path}", info)
    return found


def _nearest(path: str, infos: "Mapping[str, KeyInfo]", values: Values) -> str:
    location, classes = path.split("."), _known_classes(values)[0]
    if location[0] in classes and len(location) > 1:
        return _suggestion(location, classes[location[0]], values)
    near = difflib.get_close_matches(path, infos, n=1)
    return f" (did you mean {near[0]}?)" if near else " (`ssl-bio recipes keys` lists all)"


def _kinds_of(path: str) -> list[str]:
    """Return the kinds that the key of a section's kind takes; none for other keys."""
    section, _, name = path.partition(".")
    registry = UNIONS.get(section)
    return list(registry.names()) if registry and name == registry.discriminator else []


def _values_problem(info: "KeyInfo", axis: Axis, *, kinds: Sequence[str]) -> str:
    if isinstance(axis, Range):
        kind = number_type(info)
        if kind is None:
            return "it takes no numbers: give a list of values"
        if kind is int and not all(isinstance(value, int) for value in (axis.low, axis.high, axis.step)):
            return "it takes whole numbers: low, high and step must be whole"
        tried: tuple[Any, ...] = (axis.low, axis.high)
    else:
        tried = axis.options
        shown = [repr(value) for value in tried]
        twice = next((text for text in shown if shown.count(text) > 1), "")
        if twice:
            return f"each value once, and {twice} stands there twice"
        if kinds:
            unknown = [value for value in axis.options if value not in kinds]
            return f"it must be one of {', '.join(kinds)}, not {unknown[0]!r}" if unknown else ""
    return next((f"it cannot be {value!r}" for value in tried if not takes(info, value)), "")


def number_type(info: "KeyInfo") -> type[int] | type[float] | None:
    """Return whether a key takes whole numbers or any, or None when it takes other values than numbers."""
    kind = info.annotation
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return kind if kind in (int, float) else None


def takes(info: "KeyInfo", value: object) -> bool:
    """Return whether a key can have a value."""
    try:
        TypeAdapter(info.annotation).validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


class KeyInfo(NamedTuple):
    """What a section declares of one of its keys; `path` starts below the section."""

    path: str
    annotation: Any
    default: Any
    description: str
    unit: str
    architecture: bool


def fields_of(section: type[Section], prefix: str = "") -> Iterator[KeyInfo]:
    """Yield every key of a section and of the sections inside it."""
    for name, info in section.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            yield from fields_of(info.annotation, f"{prefix}{name}.")
            continue
        extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
        yield KeyInfo(
            path=f"{prefix}{name}",
            annotation=Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation,
            default=info.get_default(call_default_factory=False),
            description=info.description or "",
            unit=str(extra.get("unit", "")),
            architecture=bool(extra.get("architecture", False)),
        )


def keys_of(values: Values) -> dict[str, KeyInfo]:
    """Return every `section.key` that a recipe of these kinds may have."""
    head = {info.path: info for info in fields_of(RecipeHead)}
    classes, _ = _known_classes(values)
    return head | {f"{name}.{info.path}": info for name, section in classes.items() for info in fields_of(section)}


def known_keys() -> set[str]:
    """Return every `section.key` of any built-in or installed kind."""
    found = set(keys_of({}))
    for section, registry in UNIONS.items():
        for kind in registry.names():
            config = registry.config(kind)
            found |= {f"{section}.{info.path}" for info in fields_of(config)}
            if section == "finetune":
                found |= {f"evaluate.{info.path}" for info in fields_of(config.Evaluate)}
    return found


def flatten(values: Values, prefix: str = "") -> dict[str, Any]:
    """Return nested tables as `section.key` -> value."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def chosen_values(recipe: Recipe) -> dict[str, Any]:
    """Return the values of a recipe that differ from the defaults of its kinds, and the kinds themselves."""
    values: dict[str, Any] = recipe.model_dump(mode="json", exclude_defaults=True)
    for section, registry in UNIONS.items():
        config = getattr(recipe, section)
        table = config.model_dump(mode="json", exclude_defaults=True)
        values[section] = {registry.discriminator: getattr(config, registry.discriminator), **table}
    values["evaluate"] = recipe.evaluate.model_dump(mode="json", exclude_defaults=True)
    return values
