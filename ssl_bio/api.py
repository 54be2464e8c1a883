"""ssl-bio from Python: the commands' functions, and finished runs as scikit-learn knows estimators.

`help(ssl_bio)` has an example that runs.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from ssl_bio.config import ConfigLayer
from ssl_bio.config.load import put
from ssl_bio.console import silenced
from ssl_bio.data import catalog
from ssl_bio.data.new_recordings import Preprocessing, windows_of_array
from ssl_bio.data.readers.arrays import of_memory
from ssl_bio.tasks.inference import Ensemble, TrainedEncoder, check_pooling, windows_in_memory
from ssl_bio.training import runtime

if TYPE_CHECKING:
    import pandas as pd

    from ssl_bio.commands.plan import RunOptions

__all__ = ["Data", "Encoder", "Model", "finetune", "prepare", "pretrain"]


class Data(NamedTuple):
    """Recordings that were prepared: `data.dataset` and `data.root` of recipes."""

    name: str
    root: str


def prepare(
    signals: Sequence[NDArray[Any]],
    targets: Mapping[str, Sequence[Any]] | None = None,
    *,
    sampling_rate: float,
    groups: Sequence[Any] | None = None,
    channels: Sequence[str] | None = None,
    splits: Sequence[str] = (),
    name: str = "recordings",
    root: str | Path | None = None,
    overwrite: bool = False,
) -> Data:
    """Prepare recordings that are in memory, for `pretrain` and `finetune`.

    `signals`: arrays `(channels, samples)`, NaN in gaps, or one array of equally long ones. `targets`: for each
    recording a number or the name of a class. `groups`: whom it is of; people are never divided between splits; without
    it every recording counts as a person. `splits`: "train", "val" or "test" for each, else people are drawn 80 / 10 /
    10. They are written below `root` (a temporary folder if there is none), and stay there.

    Raises DataError when these do not fit together.
    """
    arrays = [np.asarray(array) for array in signals]
    width = len(arrays[0]) if arrays and arrays[0].ndim == 2 else 0
    source = of_memory(
        arrays,
        targets=targets or {},
        groups=[str(group) for group in groups] if groups is not None else [f"{i:05d}" for i in range(len(arrays))],
        channels=channels or [f"ch{index}" for index in range(width)],
        sampling_rate=sampling_rate,
        splits=splits,
    )
    home = str(root) if root else mkdtemp(prefix="ssl-bio-")
    with silenced():
        catalog.prepare_ingest(name=name, source=source, root=home, overwrite=overwrite)
    return Data(name, home)


def pretrain(
    recipe: str | Path | Mapping[str, Any],
    data: Data | None = None,
    *,
    out: str | Path | None = None,
    seed: int | None = None,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    overrides: Mapping[str, Any] = {},
    verbose: bool = False,
) -> Path:
    """Pretrain a backbone without labels, as `ssl-bio pretrain` does, and return its run folder.

    `recipe`: a file, a name from `ssl-bio recipes list`, or nested tables. `overrides`, such as
    `{"pretrain.epochs": 5}`, replace its keys. `data`: from `prepare`; else the recipe's own dataset.

    Raises SslBioError, with the line that the command would print.
    """
    from ssl_bio.commands import pretrain as command

    options = _options(recipe, data, overrides, seed=seed)._replace(
        out=Path(out) if out is not None else None, device=device, resume=resume, overwrite=overwrite
    )
    with silenced(not verbose):
        return command.pretrain(options)[0].path


def finetune(
    recipe: str | Path | Mapping[str, Any],
    data: Data | None = None,
    *,
    checkpoint: str | Path | None = None,
    out: str | Path | None = None,
    seed: int | None = None,
    sheet: str | Path = "results.csv",
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    overrides: Mapping[str, Any] = {},
    verbose: bool = False,
) -> Path:
    """Finetune and evaluate, as `ssl-bio finetune` does, and return the run folder; a row goes into the sheet.

    `checkpoint`: the pretraining run to start from; without one, training starts from random weights, whatever the
    recipe's mode is. Everything else as in `pretrain`.

    Raises SslBioError, with the line that the command would print.
    """
    from ssl_bio.commands import finetune as command

    if checkpoint is None:
        overrides = {"finetune.mode": "scratch", **overrides}
    options = _options(recipe, data, overrides, seed=seed)._replace(
        out=Path(out) if out is not None else None, device=device, resume=resume, overwrite=overwrite
    )
    with silenced(not verbose):
        runs = command.finetune(
            options._replace(sheet=Path(sheet)), str(checkpoint) if checkpoint is not None else None, None
        )
    return runs[0].path


def _options(
    recipe: str | Path | Mapping[str, Any], data: Data | None, overrides: Mapping[str, Any], *, seed: int | None
) -> "RunOptions":
    from ssl_bio.commands.plan import RunOptions

    asked: dict[str, Any] = {}
    for key, value in overrides.items():
        put(asked, key, value)
    if data is not None:
        put(asked, "data.dataset", data.name)
        put(asked, "data.root", data.root)
    if seed is not None:
        asked["seed"] = seed
    return RunOptions(
        overrides=ConfigLayer(asked, "overrides"),
        recipe=_written(recipe, data) if isinstance(recipe, Mapping) else str(recipe),
    )


def _written(recipe: Mapping[str, Any], data: Data | None) -> str:
    """Return the file of a recipe that was given as tables."""
    import tomlkit

    path = Path(mkdtemp(prefix="ssl-bio-")) / "recipe.toml"
    tables = {"name": data.name if data else "recipe", **recipe}
    path.write_text(tomlkit.dumps(tables), encoding="utf-8")
    return str(path)


class Model:
    """One or several finetuned runs, which answer about new signals; several are averaged.

    Attributes: `channels` and `sampling_rate` (Hz) that it takes, `window` in s, `names` of what it answers.
    """

    def __init__(self, ensemble: Ensemble, device: str = "auto") -> None:
        self._ensemble, self._device = ensemble, runtime.pick_device(device)
        options = ensemble.preprocessing.options
        self.channels = ensemble.preprocessing.channels
        self.sampling_rate, self.window = options.sampling_rate, options.window
        self.names: tuple[str, ...] = ensemble.runs[0].target.names

    @classmethod
    def load(cls, *runs: str | Path, device: str = "auto") -> Self:
        """Load finetuned runs from their folders. Raises CheckpointError when they are none, or do not go together."""
        return cls(Ensemble.load([Path(run) for run in runs]), device)

    def predict(self, signals: NDArray[Any], *, sampling_rate: float, stride: float = 0) -> "pd.DataFrame":
        """Return what the runs answer about a recording `(channels, samples)`, a line a window: start and end in s, the
        answer, and probabilities; of several runs their standard deviation.

        `stride` in s from one window's start to the next, else as the runs' own windows.

        Raises DataError for another number of channels.
        """
        import pandas as pd

        preprocessing = self._ensemble.preprocessing
        recording = windows_of_array(
            np.asarray(signals),
            preprocessing.with_stride(stride) if stride else preprocessing,
            sampling_rate=sampling_rate,
        )
        with silenced():
            answers, spread = self._ensemble.answer(recording.windows, self._device)
        return pd.DataFrame(
            {"start": recording.starts, "end": recording.ends, **self._ensemble.columns(answers, spread)}
        )

    def predict_windows(self, windows: NDArray[Any]) -> "pd.DataFrame":
        """Return what the runs answer about windows `(n, channels, length)`, cut and treated as theirs were.

        Raises DataError for another shape.
        """
        import pandas as pd

        with silenced():
            answers, spread = self._ensemble.answer(
                windows_in_memory(np.asarray(windows), self._ensemble.preprocessing), self._device
            )
        return pd.DataFrame(self._ensemble.columns(answers, spread))


class Encoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A run's backbone as a scikit-learn transformer: windows `(n, channels, length)` -> embeddings `(n, width)`.

    `run`: the folder of a run, pretrained or finetuned. `pooling` over tokens: "mean", "max", "std", "middle", or
    several of them side by side. There is nothing to fit: the run is trained.
    """

    def __init__(self, run: str | Path, *, pooling: str | Sequence[str] = "mean", device: str = "auto") -> None:
        self.run, self.pooling, self.device = run, pooling, device

    @classmethod
    def load(cls, run: str | Path, *, pooling: str | Sequence[str] = "mean", device: str = "auto") -> Self:
        """Load a run from its folder. Raises CheckpointError when it is none."""
        return cls(run, pooling=pooling, device=device).fit()

    def fit(self, X: Any = None, y: Any = None) -> Self:  # noqa: N803  # scikit-learn's name
        """Load the run."""
        check_pooling(self._kinds())
        self.encoder_ = TrainedEncoder.load(Path(self.run))
        return self

    @property
    def preprocessing(self) -> Preprocessing:
        """How recordings become the windows that the run takes."""
        found: Preprocessing = self._fitted().preprocessing
        return found

    def transform(self, X: NDArray[Any]) -> NDArray[np.float32]:  # noqa: N803
        """Return the embeddings of windows, cut and treated as the run's were. Raises DataError for another shape."""
        encoder = self._fitted()
        windows = windows_in_memory(np.asarray(X), encoder.preprocessing)
        with silenced():
            return encoder.embed(windows, pooling=self._kinds(), device=runtime.pick_device(self.device))

    def transform_recording(self, signals: NDArray[Any], *, sampling_rate: float) -> NDArray[np.float32]:
        """Return the embeddings of a recording's windows; `signals` are `(channels, samples)`."""
        encoder = self._fitted()
        recording = windows_of_array(np.asarray(signals), encoder.preprocessing, sampling_rate=sampling_rate)
        with silenced():
            return encoder.embed(recording.windows, pooling=self._kinds(), device=runtime.pick_device(self.device))

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the embedding's numbers."""
        width = self._fitted().backbone.d_model
        return np.array([f"{kind}_{place}" for kind in self._kinds() for place in range(width)], object)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "encoder_")

    def _fitted(self) -> TrainedEncoder:
        if not self.__sklearn_is_fitted__():
            self.fit()
        return self.encoder_

    def _kinds(self) -> list[str]:
        return [self.pooling] if isinstance(self.pooling, str) else list(self.pooling)
