"""Datasets by name: those of this package, a line each, and those that other installed packages add.

A lab adds its own dataset without touching this package: a module that declares a `Dataset`, and in the package's
pyproject.toml

    [project.entry-points."ssl_bio.datasets"]
    my-dataset = "my_package.my_dataset:DATASET"
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ssl_bio.config.registry import Registry
from ssl_bio.data.ingest.archive import Files
from ssl_bio.data.ingest.ingest import Ingest
from ssl_bio.data.windowing import ReadyWindows, WindowingFactory, ready_windowing
from ssl_bio.errors import DataError, RecipeError

Reader = Callable[[Files], Ingest]
Generator = Callable[..., ReadyWindows]

DATASETS = {
    "synthetic": "ssl_bio.data.readers.synthetic:DATASET",
    "two-peaks": "ssl_bio.data.readers.series:TWO_PEAKS",
    "long-pattern": "ssl_bio.data.readers.series:LONG_PATTERN",
    "simulated-noise": "ssl_bio.data.readers.simulated_noise:DATASET",
    "har": "ssl_bio.data.readers.har:DATASET",
    "mitdb": "ssl_bio.data.readers.mitdb:DATASET",
    "cinc2017": "ssl_bio.data.readers.cinc2017:DATASET",
    "nstdb": "ssl_bio.data.readers.nstdb:DATASET",
    "bidmc": "ssl_bio.data.readers.bidmc:DATASET",
    "dalia": "ssl_bio.data.readers.dalia:DATASET",
    "uci_bp": "ssl_bio.data.readers.uci_bp:DATASET",
    "ptbxl": "ssl_bio.data.readers.ptbxl:DATASET",
    "csn": "ssl_bio.data.readers.csn:DATASET",
    "uwave": "ssl_bio.data.readers.uea:UWAVE",
    "phoneme-spectra": "ssl_bio.data.readers.uea:PHONEME_SPECTRA",
    "arabic-digits": "ssl_bio.data.readers.uea:ARABIC_DIGITS",
    "uea": "ssl_bio.data.readers.uea:ANY",
    "epilepsy": "ssl_bio.data.readers.epilepsy:DATASET",
    "arrays": "ssl_bio.data.readers.arrays:DATASET",
}
OWN_READER = "arrays"  # of recordings under a name that no registered dataset has


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A dataset that can be had: either `read` from a publisher's files, or embedded in the package by `generate`.

    Of a published one: `homepage`, and if it is a single download its `url`, and the `sha256` of that file, if the
    publisher names it. `read` turns files into an `Ingest` and raises DataError for files that are not this dataset's;
    `windowing` says, for recordings that were read and for chosen options, how they become labelled windows: unless it
    is declared, every recording is one.

    `version` is to be raised with every change of what is generated or read. Of an embedded one, `parameters` are the
    arguments of `generate` and their defaults, and `folder_label`, such as "{n_subjects}-seed{seed}", shows them in the
    name of the prepared folder.
    """

    title: str
    homepage: str = ""
    url: str = ""
    sha256: str = ""
    read: Reader | None = None
    windowing: WindowingFactory = ready_windowing
    generate: Generator | None = None
    version: int = 0
    parameters: Mapping[str, int] = field(default_factory=dict)
    folder_label: str = ""

    def __post_init__(self) -> None:
        if (self.read is None) == (self.generate is None):
            raise TypeError(f"dataset {self.title!r}: one of read and generate is wanted")

    @property
    def is_embedded(self) -> bool:
        """Whether the dataset is generated instead of read."""
        return self.generate is not None


_REGISTRY = Registry(group="ssl_bio.datasets", what="dataset", builtin=DATASETS)


def dataset_names() -> list[str]:
    """Return the names of all datasets, those of this package first.

    Raises DataError when two installed packages have a dataset of one name.
    """
    try:
        return _REGISTRY.names()
    except RecipeError as error:
        raise DataError(str(error)) from error


def load_dataset(name: str) -> Dataset:
    """Return the declaration of a dataset.

    Raises DataError for an unknown name, with the nearest one, for a name that two packages have taken, and for a
    plugin that cannot be imported or declares something else.
    """
    try:
        _REGISTRY.names()  # a name that is taken twice is an error even where the first one would do
        found = _REGISTRY.load(name)
        if not isinstance(found, Dataset):
            raise _REGISTRY.broken(name, f"a {type(found).__name__}, not an ssl_bio.data.registry.Dataset")
    except RecipeError as error:
        raise DataError(f"data.dataset: {error}") from error
    return found
