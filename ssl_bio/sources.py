"""Where datasets come from: the table of publishers, and a recipe's dataset made, found, downloaded or read."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ssl_bio.data import archive, convert, har, physionet, store, synthetic
from ssl_bio.data.archive import Files
from ssl_bio.data.convert import MAX_SKIPPED, Conversion
from ssl_bio.data.store import PreparedDataset, ReadOptions
from ssl_bio.errors import DataError
from ssl_bio.schema import DataSection, Recipe
from ssl_bio.terminal import note


class Source(NamedTuple):
    """A publisher's dataset: how to read it and where it comes from."""

    title: str
    read: Callable[[Files, ReadOptions], Conversion]
    url: str
    sha256: str  # of what the address gives; empty: the publisher names none
    homepage: str


SOURCES: dict[str, Source] = {
    "har": Source(har.TITLE, har.read, har.URL, har.SHA256, har.HOMEPAGE),
    "mitdb": Source(physionet.MITDB_TITLE, physionet.read_mitdb, physionet.MITDB_URL, "", physionet.MITDB_HOMEPAGE),
    "cinc2017": Source(physionet.CINC_TITLE, physionet.read_cinc2017, physionet.CINC_URL, "", physionet.CINC_HOMEPAGE),
}


def read_options(section: DataSection) -> ReadOptions:
    """What a recipe says of how recordings are cut."""
    return ReadOptions(section.sampling_rate, section.window, section.stride, section.highpass, section.standardize)


def dataset(section: DataSection) -> PreparedDataset:
    """Open the recipe's dataset; make the synthetic one, or download and prepare a published one, when absent.

    Raises DataError when it can be neither found nor had.
    """
    return _found(section).with_channels(section.channels)


def _found(section: DataSection) -> PreparedDataset:
    root, name = store.data_root(section.root), section.dataset
    options = read_options(section)
    if name == "synthetic":
        options.refuse()
        return _synthetic(root, section)
    folder = root / options.folder(name)
    if store.is_prepared(folder):
        return store.open_dataset(folder)
    source = _source(name)
    note(f"{folder.name} is not prepared under {root}: downloading {name} from {source.homepage}")
    try:
        return prepare(name, source.url, root, options)
    except DataError as error:
        chosen = "" if options == ReadOptions() else " --recipe THIS_RECIPE"
        raise DataError(
            f"{error}. Get it from {source.homepage} on any machine, then: "
            f"ssl-bio data prepare {name} --from PATH_OF_THE_ZIP_OR_FOLDER{chosen}"
        ) from error


def prepare(
    name: str, origin: str, root: Path, options: ReadOptions, max_skipped: float = MAX_SKIPPED
) -> PreparedDataset:
    """Prepare a published dataset from a folder, a zip or a URL, whether it was prepared before or not.

    Of its records a share `max_skipped` may be broken; they are left out.
    """
    source = _source(name)
    if origin.startswith(("http://", "https://")):
        checksum = source.sha256 if origin == source.url else ""
        path = archive.download(origin, root / "downloads", checksum or None)
    else:
        path = Path(origin).expanduser()
    folder = root / options.folder(name)
    return _convert(folder, source, path, options, max_skipped)


def external(name_or_path: str, run: Recipe, root: Path) -> PreparedDataset:
    """Another dataset for validation: a prepared one by name or folder, or a publisher's archive that is
    read by the reader of the run's own dataset.

    Raises DataError.
    """
    return _found_external(name_or_path, run, root).with_channels(run.data.channels)


def _found_external(name_or_path: str, run: Recipe, root: Path) -> PreparedDataset:
    path = Path(name_or_path).expanduser()
    for folder in (path, root / name_or_path):
        if store.is_prepared(folder):
            return store.open_dataset(folder)
    if name_or_path == "synthetic":
        return _synthetic(root, run.data)
    if not path.exists():
        prepared = sorted(entry.parent.name for entry in root.glob("*/dataset.json"))
        raise DataError(
            f"--data {name_or_path}: neither a prepared dataset ({', '.join(prepared) or 'none is prepared'}) "
            "nor a file or folder"
        )
    folder = root / f"{run.data.dataset}-external-{path.stem.replace(' ', '-').lower()}"
    return _convert(folder, _source(run.data.dataset), path, read_options(run.data))


def _convert(
    folder: Path, source: Source, path: Path, options: ReadOptions, max_skipped: float = MAX_SKIPPED
) -> PreparedDataset:
    with store.preparing(folder), archive.opened(path) as files:
        return convert.convert(folder, source.read(files, options), max_skipped)


def _source(name: str) -> Source:
    if name == "synthetic":
        raise DataError("the synthetic dataset has no files to read: it is made when a recipe asks for it")
    if name not in SOURCES:
        raise DataError(f"data.dataset: no dataset {name!r}; there are {', '.join(['synthetic', *SOURCES])}")
    return SOURCES[name]


def _synthetic(root: Path, section: DataSection) -> PreparedDataset:
    size = section.synthetic
    if size.windows_per_subject < 4:
        raise DataError("data.synthetic.windows_per_subject: four rhythms need at least 4 windows a person")
    folder = root / f"synthetic-{size.n_subjects}x{size.windows_per_subject}-seed{size.seed}-v{synthetic.VERSION}"
    if store.is_prepared(folder):  # a shared root may be read-only
        return store.open_dataset(folder)
    with store.preparing(folder):
        if store.is_prepared(folder):
            return store.open_dataset(folder)
        return convert.write(folder, synthetic.generate(size.n_subjects, size.windows_per_subject, size.seed))
