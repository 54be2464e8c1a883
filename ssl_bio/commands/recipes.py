"""`ssl-bio recipes`: what there is, and what every key means. Nothing here needs torch, so that it answers at once."""

import json

from ssl_bio.config.explain import explained_recipe, json_schema, schema_rows
from ssl_bio.config.load import available, header, load_recipe
from ssl_bio.console import note, table


def list_recipes() -> None:
    """List every recipe found by name, with the first line of its header."""
    rows = [[name, " ".join(header(path)[:1]), str(path.parent)] for name, path in available().items()]
    table("recipes", ["name", "what", "from"], rows)


def show_recipe(name: str, *, all_keys: bool) -> None:
    """Print a recipe's values with their meaning and origin."""
    note(explained_recipe(load_recipe(name), all_keys=all_keys))


def validate_recipe(name: str) -> None:
    """Check a recipe against the schema. Raises RecipeError that lists all errors."""
    note(f"{load_recipe(name).source}: valid")


def list_keys(section: str) -> None:
    """List the keys of a section, or of all, with type, default and meaning."""
    for title, rows in schema_rows(section).items():
        table(title, ["key", "type", "default", "meaning"], rows)


def print_schema() -> None:
    """Print the JSON schema of recipes, for editors."""
    note(json.dumps(json_schema(), indent=2))
