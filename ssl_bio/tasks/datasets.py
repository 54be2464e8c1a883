"""A recipe's `[data]` section as a dataset: opened, its channels chosen, cut into parts for cross-validation."""

from ssl_bio.config import DataConfig
from ssl_bio.data.catalog import open_dataset
from ssl_bio.data.dataset import PreparedDataset
from ssl_bio.data.options import WindowOptions


def window_options(config: DataConfig) -> WindowOptions:
    """Return what a recipe says of how recordings become windows."""
    return WindowOptions(
        sampling_rate=config.sampling_rate,
        window=config.window,
        stride=config.stride,
        highpass=config.highpass,
        standardize=config.standardize,
        padding=config.padding,
        context=config.context,
        derive=config.derive,
    )


def open_recipe_dataset(config: DataConfig, *, download: bool = True) -> PreparedDataset:
    """Open a recipe's dataset: the embedded ones are made, a published one is downloaded and prepared when absent.

    `download`: else a published one must be prepared already.

    Raises DataError when it can be neither found nor had.
    """
    data = open_dataset(
        name=config.dataset,
        root=config.root,
        options=window_options(config),
        channels=config.channels,
        synthetic=config.synthetic.model_dump(),
        download=download,
    )
    if config.folds:
        return data.with_folds(config.split_scheme, config.folds, config.fold)
    return data.with_validation(config.split_scheme, config.val_share) if config.val_share else data
