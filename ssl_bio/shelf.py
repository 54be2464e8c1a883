"""`ssl-bio recipes`: what there is. Nothing here needs torch, so that it answers at once."""

from ssl_bio import recipe
from ssl_bio.terminal import note, table


def list_recipes() -> None:
    """Every recipe found by name, with the first line of its header."""
    rows = [[name, " ".join(recipe.header(path)[:1]), str(path.parent)] for name, path in recipe.available().items()]
    table("recipes", ["name", "what", "from"], rows)


def show_recipe(name: str) -> None:
    """A recipe as it stands."""
    note(recipe.read_text(recipe.find(name)).rstrip())


def validate_recipe(name: str) -> None:
    """Check a recipe against the schema. Raises RecipeError that lists all errors."""
    written = recipe.load(name)
    note(f"{written.source}: valid")
