"""Kinds by name: built-in ones from a table, others from the entry points of installed packages.

A lab adds a kind without touching this package by declaring an entry point, for example

    [project.entry-points."ssl_bio.datasets"]
    my-dataset = "my_package.my_dataset:DATASET"

Nothing is imported before it is asked for by name.
"""

import difflib
import importlib
from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, NamedTuple, TypeVar

from ssl_bio.config.section import Section
from ssl_bio.errors import RecipeError

ConfigT = TypeVar("ConfigT", bound=Section)


class Registry:
    """Objects by name, each imported from "module:attribute" when it is first asked for.

    `group`: the entry points that add to it. `what`: what one of them is called in messages.
    """

    def __init__(self, *, group: str, what: str, builtin: Mapping[str, str]) -> None:
        self.group, self.what, self.builtin = group, what, dict(builtin)

    @cached_property
    def plugins(self) -> dict[str, EntryPoint]:
        """Return the entry points of other packages by name.

        Raises RecipeError for a name that is taken.
        """
        found: dict[str, EntryPoint] = {}
        for point in entry_points(group=self.group):
            if point.name in self.builtin or point.name in found:
                other = "ssl-bio itself" if point.name in self.builtin else _distribution(found[point.name])
                raise RecipeError(
                    f"plugin {_distribution(point)}: its {self.what} {point.name!r} has the name of one of {other}: "
                    "rename it, or uninstall one of the two"
                )
            found[point.name] = point
        return found

    def names(self) -> list[str]:
        """Return all names, built-in ones first."""
        return [*self.builtin, *self.plugins]

    def check(self, name: str) -> None:
        """Raise RecipeError with the nearest valid name unless there is one of this name."""
        if name in self.plugins or name in self.builtin:
            return
        near = difflib.get_close_matches(name, self.names(), n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise RecipeError(f"no {self.what} {name!r} ({hint}There are {', '.join(self.names())})")

    def load(self, name: str) -> object:
        """Import what a name stands for.

        Raises RecipeError for an unknown name, and for a plugin that cannot be imported.
        """
        self.check(name)
        if name in self.builtin:
            module, _, attribute = self.builtin[name].partition(":")
            loaded: object = getattr(importlib.import_module(module), attribute)
            return loaded
        point = self.plugins[name]
        try:
            return point.load()
        except Exception as error:  # whatever a foreign module raises while it is imported
            raise self.broken(name, f"{point.value} cannot be imported ({type(error).__name__}: {error})") from error

    def broken(self, name: str, why: str) -> RecipeError:
        """Return the error for a plugin that is not what it should be."""
        origin = _distribution(self.plugins[name]) if name in self.plugins else "ssl-bio"
        return RecipeError(f"plugin {origin}: its {self.what} {name!r}: {why}")


class Kind(NamedTuple):
    """A built-in kind: the section of a recipe that describes it, and where its implementation lies."""

    config: type[Section]
    implementation: str  # "module:Class"


class KindRegistry(Registry, Generic[ConfigT]):
    """Kinds of one recipe section, chosen by its key `discriminator`: each has a config class and an implementation.

    A plugin's entry point names its implementation, whose attribute `Config` is the config class.
    """

    def __init__(
        self,
        *,
        group: str,
        what: str,
        discriminator: str,
        base: type[ConfigT],
        builtin: Mapping[str, Kind],
    ) -> None:
        super().__init__(group=group, what=what, builtin={name: kind.implementation for name, kind in builtin.items()})
        self.discriminator, self.base = discriminator, base
        self._configs = {name: kind.config for name, kind in builtin.items()}

    def config(self, name: str) -> type[ConfigT]:
        """Return the config class of a kind. Only a plugin's implementation is imported for it.

        Raises RecipeError for an unknown name or a broken plugin.
        """
        self.check(name)
        found = self._configs.get(name)
        if found is None:
            found = getattr(self.load(name), "Config", None)
        if not (isinstance(found, type) and issubclass(found, self.base)):
            raise self.broken(name, f"it has no Config that derives from {self.base.__name__}")
        default = found.model_fields[self.discriminator].default
        if default != name:
            raise self.broken(name, f"its Config.{self.discriminator} is {default!r}, not {name!r}")
        return found


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.value
