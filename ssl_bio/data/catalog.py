"""A dataset by name: generated, opened as prepared before, downloaded, or read from a publisher's files."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from ssl_bio.console import note
from ssl_bio.data.dataset import PreparedDataset
from ssl_bio.data.formats.array_table import TABLE
from ssl_bio.data.ingest import archive
from ssl_bio.data.ingest.archive import Files
from ssl_bio.data.ingest.ingest import MAX_SKIPPED, Ingest, Origin, ingest
from ssl_bio.data.locations import data_root, preparing
from ssl_bio.data.options import WindowOptions
from ssl_bio.data.readers.uea import problems_in
from ssl_bio.data.recording_store import INFO_FILE, RecordingStore, is_store, open_store, read_info
from ssl_bio.data.registry import OWN_READER, Dataset, dataset_names, load_dataset
from ssl_bio.data.window_store import open_windows
from ssl_bio.data.windowing import has_ready_windows
from ssl_bio.data.workers import ParallelReader, ParallelWindower
from ssl_bio.errors import DataError

_NO_OPTIONS = WindowOptions()


def open_dataset(
    *,
    name: str,
    root: str = "",
    options: WindowOptions = _NO_OPTIONS,
    channels: Sequence[str] = (),
    synthetic: Mapping[str, int] | None = None,
    download: bool = True,
    workers: int = 1,
) -> PreparedDataset:
    """Open a dataset with the named channels, or all, in windows as the options say: generate an embedded one, download
    a published one when absent.

    `root`: see `locations.data_root`. `download`: else a published one must be prepared already. `synthetic`:
    parameters of the embedded dataset that has some. `workers`: how many processes cut windows.

    Raises DataError when it can be neither found nor had.
    """
    store = _open_store(name, home=data_root(root), synthetic=synthetic or {}, download=download)
    return _windows(store, options, workers=workers).with_channels(channels)


def prepare(
    *,
    name: str,
    origin: str,
    root: str = "",
    max_skipped: float = MAX_SKIPPED,
    overwrite: bool = False,
    workers: int = 1,
) -> RecordingStore:
    """Prepare a dataset from a folder, a zip or a URL, even where it was prepared before.

    A `name` that no registered dataset has is that of somebody's own recordings. Of the records a share `max_skipped`
    may be broken; they are left out. `workers`: how many processes read them; what they read is the same.

    Raises DataError, also when something else was prepared under this name, unless `overwrite`.
    """
    folder = data_root(root) / _checked_name(name)
    known = _published(name)[1] if name in dataset_names() else None
    if origin.startswith(("http://", "https://")):
        checksum = known.sha256 if known and origin == known.url else ""
        path = archive.download(origin, folder.parent / "downloads", checksum or None)
    else:
        path = Path(origin).expanduser()
    with archive.open_archive(path) as files:
        reader, dataset = _published(name if known else _own_reader(files))
        place = str(files.source.resolve())
        if is_store(folder) and not overwrite and (before := read_info(folder).origin) != place:
            raise DataError(f"{name} was prepared from {before}: choose another name, or --overwrite it")
        parallel = ParallelReader(path, reader, workers) if workers > 1 else None
        return _ingest(folder, files, reader=reader, dataset=dataset, max_skipped=max_skipped, parallel=parallel)


def prepare_ingest(*, name: str, source: Ingest, root: str = "", overwrite: bool = False) -> RecordingStore:
    """Prepare somebody's own recordings that are in memory, under a name.

    Raises DataError when there are others of this name, unless `overwrite`.
    """
    folder = data_root(root) / _checked_name(name)
    if name in dataset_names():
        raise DataError(f"{name} is the name of a known dataset: choose another")
    if is_store(folder) and not overwrite:
        raise DataError(f"{name} is prepared already: choose another name, or overwrite it")
    origin = Origin(reader=OWN_READER, reader_version=load_dataset(OWN_READER).version)
    with preparing(folder, complete=INFO_FILE):
        return ingest(folder, source, origin=origin, max_skipped=0)


def _own_reader(files: Files) -> str:
    """Return which dataset's reader knows somebody's own files. Raises DataError when none does."""
    if any(name.rpartition("/")[2] == TABLE for name in files.names):
        return OWN_READER
    if problems_in(files):
        return "uea"
    raise DataError(
        f"{files.source}: no {TABLE} inside, with a line for each recording; ssl-bio init {files.source} writes one"
    )


def _checked_name(name: str) -> str:
    if not name or name != Path(name).name or name.startswith("."):
        raise DataError(f"{name!r} is no name of a dataset: use letters, digits, - and _")
    return name


def open_external(
    name_or_path: str,
    *,
    reader: str,
    root: str = "",
    options: WindowOptions = _NO_OPTIONS,
    synthetic: Mapping[str, int] | None = None,
) -> PreparedDataset:
    """Open another dataset for validation, with all of its channels: a prepared or embedded one by name or folder, or
    an archive that is read by the reader of the dataset `reader`. Its windows are as the options say.

    Raises DataError.
    """
    path, home = Path(name_or_path).expanduser(), data_root(root)
    for folder in (path, home / name_or_path):
        if is_store(folder):
            store = open_store(folder)
            return _windows(store, _NO_OPTIONS if has_ready_windows(store) else options)
    if name_or_path in dataset_names() and (dataset := load_dataset(name_or_path)).is_embedded:
        return _windows(_open_embedded(name_or_path, dataset, home=home, parameters=synthetic or {}), _NO_OPTIONS)
    if not path.exists():
        raise DataError(
            f"--data {name_or_path}: neither a prepared dataset ({', '.join(_prepared(home)) or 'none is prepared'}) "
            "nor a file or folder"
        )
    reader, dataset = _published(read_info(home / reader).reader if is_store(home / reader) else reader)
    with archive.open_archive(path) as files:
        # Of two archives of one name, or one that has changed, each has a folder of its own.
        digest = hashlib.sha256(files.identity().encode()).hexdigest()[:8]
        stem = path.resolve().stem.replace(" ", "-").lower()
        folder = home / f"{reader}-external-{stem}-{digest}"
        if is_store(folder):
            return _windows(open_store(folder), options)
        return _windows(_ingest(folder, files, reader=reader, dataset=dataset, anew=False), options)


def _prepared(home: Path) -> list[str]:
    return sorted(path.parent.name for path in home.glob(f"*/{INFO_FILE}"))


def _windows(store: RecordingStore, options: WindowOptions, *, workers: int = 1) -> PreparedDataset:
    dataset = load_dataset(store.info.reader)
    if dataset.version != store.info.reader_version:
        raise DataError(f"{store.folder}: prepared by another version of its reader; prepare the dataset again")
    parallel = ParallelWindower(store.folder, options, workers) if workers > 1 and len(store) > 1 else None
    label = options.label(store.info.name)
    return open_windows(store, dataset.windowing(store, options), label=label, window=parallel)


def _open_store(name: str, *, home: Path, synthetic: Mapping[str, int], download: bool) -> RecordingStore:
    folder = home / name
    if is_store(folder):
        return open_store(folder)
    try:
        dataset = load_dataset(name)
    except DataError as error:
        raise DataError(f"{error}; prepared under {home}: {', '.join(_prepared(home)) or 'nothing'}") from error
    if dataset.is_embedded:
        return _open_embedded(name, dataset, home=home, parameters=synthetic)
    by_hand = f"ssl-bio data prepare {name} --from PATH_OF_THE_ZIP_OR_FOLDER"
    if not dataset.url or not download:
        raise DataError(f"{name} is not prepared under {home}; with the files of {dataset.homepage}: {by_hand}")
    note(f"{name} is not prepared under {home}: downloading it from {dataset.homepage}")
    try:
        path = archive.download(dataset.url, home / "downloads", dataset.sha256 or None)
        with archive.open_archive(path) as files:
            return _ingest(folder, files, reader=name, dataset=dataset, anew=False)
    except DataError as error:
        raise DataError(f"{error}. Get it from {dataset.homepage} on any machine, then: {by_hand}") from error


def _ingest(
    folder: Path,
    files: Files,
    *,
    reader: str,
    dataset: Dataset,
    anew: bool = True,
    max_skipped: float = MAX_SKIPPED,
    parallel: ParallelReader | None = None,
) -> RecordingStore:
    """Read files into a store of recordings, one process at a time.

    What another process has completed while this one waited is used instead; unless `anew`, so is what was there.
    """
    if dataset.read is None:
        raise DataError(f"{folder.name}: an embedded dataset has no files to read")
    origin = Origin(
        reader=reader,
        reader_version=dataset.version,
        place=str(files.source.resolve()),
        identity=files.identity(),
    )
    with preparing(folder, complete=INFO_FILE) as completed_meanwhile:
        if completed_meanwhile or (not anew and is_store(folder)):
            found = open_store(folder)
            if not anew or found.info.origin == origin.place:
                note(f"{folder.name} was prepared by another process meanwhile")
                return found
        source = dataset.read(files)
        return ingest(folder, source, origin=origin, max_skipped=max_skipped, read=parallel)


def _published(name: str) -> tuple[str, Dataset]:
    """Return the name and declaration of a dataset that is read from files. Raises DataError for an embedded one."""
    dataset = load_dataset(name)
    if dataset.is_embedded:
        raise DataError(f"the embedded dataset {name} has no files to read: it is made when a recipe asks for it")
    return name, dataset


def _open_embedded(name: str, dataset: Dataset, *, home: Path, parameters: Mapping[str, int]) -> RecordingStore:
    """Open an embedded dataset, generated when absent. `parameters` it does not have are left out."""
    if dataset.generate is None:
        raise DataError(f"dataset {name} is not embedded")
    arguments = {key: parameters.get(key, default) for key, default in dataset.parameters.items()}
    label = dataset.folder_label.format(**arguments)
    folder = home / "-".join(part for part in (name, label, f"v{dataset.version}") if part)
    if is_store(folder):  # a shared root may be read-only
        return open_store(folder)
    with preparing(folder, complete=INFO_FILE):
        if is_store(folder):
            return open_store(folder)
        source: Ingest = dataset.generate(**arguments).as_ingest()
        return ingest(folder, source, origin=Origin(reader=name, reader_version=dataset.version), max_skipped=0)
