"""Networks by the kind that a recipe names."""

from collections.abc import Mapping

from ssl_bio.config.kinds import BACKBONES
from ssl_bio.errors import RecipeError
from ssl_bio.models.base import Backbone, SignalNetwork


def build_backbone(
    kind: str, *, n_channels: int, length: int, normalize: str, architecture: Mapping[str, object]
) -> Backbone | SignalNetwork:
    """Return a network with random weights, drawn from torch's global generator.

    `architecture`: the other arguments of its constructor.

    Raises RecipeError for an unknown kind, a broken plugin and values that make no network.
    """
    network = BACKBONES.load(kind)
    if not callable(network):
        raise BACKBONES.broken(kind, "it is no class")
    try:
        built = network(n_channels=n_channels, length=length, normalize=normalize, **architecture)
    except ValueError as error:
        raise RecipeError(f"model: {error}") from error
    except TypeError as error:
        if kind in BACKBONES.builtin:
            raise
        raise BACKBONES.broken(kind, f"it cannot be built from its own Config ({error})") from error
    if not isinstance(built, Backbone | SignalNetwork):
        raise BACKBONES.broken(kind, "it derives from neither Backbone nor SignalNetwork of ssl_bio.models.base")
    return built
