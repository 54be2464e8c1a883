"""Self-supervised pretraining, finetuning and honest evaluation for biosignals.

From Python, what the commands do:

- `prepare(signals, targets, sampling_rate=..., groups=...)`: recordings in memory become a dataset;
- `pretrain(recipe, data)` and `finetune(recipe, data, checkpoint=...)`: train, and return the run's folder;
- `Model.load(run).predict(signals, sampling_rate=...)`: what finished runs answer;
- `Encoder.load(run).transform(windows)`: embeddings, as a scikit-learn transformer.

All of it in one example:

>>> import numpy as np, ssl_bio
>>> rng = np.random.default_rng(0)
>>> beat = lambda rate: np.sin(2 * np.pi * rate / 60 * np.arange(1500) / 50)[None]
>>> rates = rng.uniform(50, 100, 12)
>>> data = ssl_bio.prepare(
...     [beat(rate) for rate in rates], {"heart_rate": rates}, sampling_rate=50, channels=["ppg"], name="pulse"
... )
>>> recipe = {"data": {"target": "heart_rate", "window": 10.0}, "model": {"d_model": 16, "n_layers": 1}}
>>> pretrained = ssl_bio.pretrain(recipe, data, overrides={"pretrain.epochs": 1})
>>> wanted = {"finetune.task": "regression", "finetune.epochs": 1}
>>> finetuned = ssl_bio.finetune(recipe, data, checkpoint=pretrained, overrides=wanted)
>>> answers = ssl_bio.Model.load(finetuned).predict(beat(72), sampling_rate=50)
>>> list(answers.columns), len(answers)
(['start', 'end', 'heart_rate'], 3)
>>> ssl_bio.Encoder.load(pretrained).transform(np.stack([beat(60)[:, :500], beat(90)[:, :500]])).shape
(2, 16)
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
