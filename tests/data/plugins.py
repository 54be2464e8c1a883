"""Installs entry points of other packages for a test."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, EntryPoints
from unittest.mock import patch

from ssl_bio.config.registry import Registry
from ssl_bio.data import registry


@contextmanager
def installed(**points: str) -> Iterator[None]:
    """Other packages add these datasets, "module:attribute" by name."""
    found = EntryPoints(EntryPoint(name, value, "ssl_bio.datasets") for name, value in points.items())
    fresh = Registry(group="ssl_bio.datasets", what="dataset", builtin=registry.DATASETS)
    with (
        patch("ssl_bio.config.registry.entry_points", lambda group: found.select(group=group)),
        patch.object(registry, "_REGISTRY", fresh),
    ):
        yield
