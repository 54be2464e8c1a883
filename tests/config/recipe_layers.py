"""Layers as tests write them."""

from ssl_bio.config import COMMAND_LINE, ConfigLayer, Recipe
from ssl_bio.config.recipe import compose


def layer(source: str, **values: object) -> ConfigLayer:
    """Return a layer of a recipe file, checked as `load_recipe` does."""
    compose(values, source=source)
    return ConfigLayer(values, source)


def command_line(**values: object) -> ConfigLayer:
    """Return a layer of the command line, which nobody has checked yet."""
    return ConfigLayer(values, COMMAND_LINE)


def recipe(**values: object) -> Recipe:
    """Return a recipe with defaults for all that is not given."""
    return compose(values, source="test")
