"""Recipes: their schema (one class a kind), reading, resolving and explaining them. Nothing here needs torch."""

from ssl_bio.config.data import DataConfig, QuantizerConfig, ReferenceConfig, SyntheticConfig
from ssl_bio.config.load import COMMAND_LINE, ConfigLayer, load_recipe, parse_overrides, to_toml, with_value
from ssl_bio.config.models import BackboneConfig
from ssl_bio.config.pretexts import PretextConfig
from ssl_bio.config.recipe import Recipe, flatten
from ssl_bio.config.resolve import Resolved, resolve
from ssl_bio.config.tasks import EvaluateConfig, TaskConfig, WindowTaskConfig
from ssl_bio.config.tune import TuneConfig

__all__ = [
    "COMMAND_LINE",
    "BackboneConfig",
    "ConfigLayer",
    "DataConfig",
    "EvaluateConfig",
    "PretextConfig",
    "QuantizerConfig",
    "Recipe",
    "ReferenceConfig",
    "Resolved",
    "SyntheticConfig",
    "TaskConfig",
    "TuneConfig",
    "WindowTaskConfig",
    "flatten",
    "load_recipe",
    "parse_overrides",
    "resolve",
    "to_toml",
    "with_value",
]
