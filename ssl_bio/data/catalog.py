"""A dataset by name: generated, opened as prepared before, downloaded, or read from a publisher's files."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ssl_bio.console import note
from ssl_bio.data import store
from ssl_bio.data.ingest import archive
from ssl_bio.data.ingest.archive import Files
from ssl_bio.data.ingest.ingest import MAX_SKIPPED, ingest, write_prepared
from ssl_bio.data.registry import Dataset, dataset_names, load_dataset
from ssl_bio.data.store import PreparedDataset, ReadOptions
from ssl_bio.errors import DataError

_NO_OPTIONS = ReadOptions()


def open_dataset(
    *,
    name: str,
    root: str = "",
    options: ReadOptions = _NO_OPTIONS,
    channels: Sequence[str] = (),
    synthetic: Mapping[str, int] | None = None,
    download: bool = True,
) -> PreparedDataset:
    """Open a dataset with the named channels, or all: generate an embedded one, download a published one when absent.

    `root`: see `store.data_root`. `download`: else a published one must be prepared already. `synthetic`: parameters of
    the embedded dataset that has some.

    Raises DataError when it can be neither found nor had.
    """
    found = _open(name, root=root, options=options, synthetic=synthetic or {}, download=download)
    return found.with_channels(channels)


def _open(
    name: str, *, root: str, options: ReadOptions, synthetic: Mapping[str, int], download: bool
) -> PreparedDataset:
    dataset, home = load_dataset(name), store.data_root(root)
    if dataset.is_embedded:
        options.require_unset()
        return _open_embedded(name, dataset, home=home, parameters=synthetic)
    folder = home / options.folder_name(name)
    if store.is_prepared(folder):
        return store.open_prepared(folder)
    chosen = " --recipe THIS_RECIPE" if options.chosen else ""
    by_hand = f"ssl-bio data prepare {name} --from PATH_OF_THE_ZIP_OR_FOLDER{chosen}"
    if not dataset.url or not download:
        raise DataError(f"{folder.name} is not prepared under {home}; with the files of {dataset.homepage}: {by_hand}")
    note(f"{folder.name} is not prepared under {home}: downloading {name} from {dataset.homepage}")
    try:
        path = archive.download(dataset.url, home / "downloads", dataset.sha256 or None)
        with archive.open_archive(path) as files:
            return _ingest(folder, dataset, files, options=options, anew=False)
    except DataError as error:
        raise DataError(f"{error}. Get it from {dataset.homepage} on any machine, then: {by_hand}") from error


def prepare(
    *,
    name: str,
    origin: str,
    root: str = "",
    options: ReadOptions = _NO_OPTIONS,
    max_skipped: float = MAX_SKIPPED,
) -> PreparedDataset:
    """Prepare a published dataset from a folder, a zip or a URL, even where it was prepared before.

    Of its records a share `max_skipped` may be broken; they are left out.

    Raises DataError.
    """
    dataset, home = _published(name), store.data_root(root)
    if origin.startswith(("http://", "https://")):
        checksum = dataset.sha256 if origin == dataset.url else ""
        path = archive.download(origin, home / "downloads", checksum or None)
    else:
        path = Path(origin).expanduser()
    with archive.open_archive(path) as files:
        folder = home / options.folder_name(name)
        return _ingest(folder, dataset, files, options=options, max_skipped=max_skipped)


def open_external(
    name_or_path: str,
    *,
    reader: str,
    root: str = "",
    options: ReadOptions = _NO_OPTIONS,
    synthetic: Mapping[str, int] | None = None,
) -> PreparedDataset:
    """Open another dataset for validation, with all of its channels: a prepared or embedded one by name or folder, or
    an archive that is read, with these options, by the reader of the dataset `reader`.

    Raises DataError.
    """
    path, home = Path(name_or_path).expanduser(), store.data_root(root)
    for folder in (path, home / name_or_path):
        if store.is_prepared(folder):
            return store.open_prepared(folder)
    if name_or_path in dataset_names() and (dataset := load_dataset(name_or_path)).is_embedded:
        return _open_embedded(name_or_path, dataset, home=home, parameters=synthetic or {})
    if not path.exists():
        prepared = sorted(entry.parent.name for entry in home.glob("*/dataset.json"))
        raise DataError(
            f"--data {name_or_path}: neither a prepared dataset ({', '.join(prepared) or 'none is prepared'}) "
            "nor a file or folder"
        )
    dataset = _published(reader)
    with archive.open_archive(path) as files:
        # Of two archives of one name, or one that has changed, each has a folder of its own.
        digest = hashlib.sha256(files.identity().encode()).hexdigest()[:8]
        stem = path.resolve().stem.replace(" ", "-").lower()
        folder = home / f"{options.folder_name(reader)}-external-{stem}-{digest}"
        if store.is_prepared(folder):
            return store.open_prepared(folder)
        return _ingest(folder, dataset, files, options=options, anew=False)


def _ingest(
    folder: Path,
    dataset: Dataset,
    files: Files,
    *,
    options: ReadOptions,
    anew: bool = True,
    max_skipped: float = MAX_SKIPPED,
) -> PreparedDataset:
    """Read files into a prepared dataset, one process at a time.

    What another process has completed while this one waited is used instead; unless `anew`, so is what was there.
    """
    if dataset.read is None:
        raise DataError(f"{folder.name}: an embedded dataset has no files to read")
    with store.preparing(folder) as completed_meanwhile:
        if completed_meanwhile or (not anew and store.is_prepared(folder)):
            found = store.open_prepared(folder)
            if not anew or found.info.source == files.source.name:
                note(f"{folder.name} was prepared by another process meanwhile")
                return found
        source = replace(dataset.read(files, options), origin=files.identity(), options=options)
        return ingest(folder, source, max_skipped)


def _published(name: str) -> Dataset:
    """Return the declaration of a dataset that is read from files. Raises DataError for an embedded one."""
    dataset = load_dataset(name)
    if dataset.is_embedded:
        raise DataError(f"the embedded dataset {name} has no files to read: it is made when a recipe asks for it")
    return dataset


def _open_embedded(name: str, dataset: Dataset, *, home: Path, parameters: Mapping[str, int]) -> PreparedDataset:
    """Open an embedded dataset, generated when absent. `parameters` it does not have are left out."""
    if dataset.generate is None:
        raise DataError(f"dataset {name} is not embedded")
    arguments = {key: parameters.get(key, default) for key, default in dataset.parameters.items()}
    label = dataset.folder_label.format(**arguments)
    folder = home / "-".join(part for part in (name, label, f"v{dataset.version}") if part)
    if store.is_prepared(folder):  # a shared root may be read-only
        return store.open_prepared(folder)
    with store.preparing(folder):
        if store.is_prepared(folder):
            return store.open_prepared(folder)
        return write_prepared(folder, dataset.generate(**arguments))
