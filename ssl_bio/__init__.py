"""Self-supervised pretraining, finetuning and honest evaluation for biosignals.

From Python, what the commands do:

- `prepare(signals, targets, sampling_rate=..., groups=...)`: recordings in memory become a dataset;
- `pretrain(recipe, data)` and `finetune(recipe, data, checkpoint=...)`: train, and return the run's folder;
- `Model.load(run).predict(signals, sampling_rate=...)`: what finished runs answer;
- `Encoder.load(run).transform(windows)`: embeddings, as a scikit-learn transformer.

`help(ssl_bio.api)` shows them with an example that runs.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Data", "Encoder", "Model", "finetune", "prepare", "pretrain"]

if TYPE_CHECKING:
    from ssl_bio.api import Data, Encoder, Model, finetune, prepare, pretrain


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is: torch takes its time."""
    if name in __all__:
        from ssl_bio import api

        return getattr(api, name)
    raise AttributeError(f"module 'ssl_bio' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
