"""Where datasets come from: the table of publishers, and a recipe's dataset made, found, downloaded or read."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ssl_bio.data import (
    archive,
    arrays,
    convert,
    ecg12,
    har,
    noises,
    physionet,
    ppg,
    pressure,
    series,
    store,
    synthetic,
    ucr,
)
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
    url: str  # empty: no single download
    sha256: str  # of what the address gives; empty: the publisher names none
    homepage: str


def _uea(problem: str, title: str) -> Source:
    return Source(
        title, ucr.read_uea(problem, title), ucr.UEA_URL.format(problem), "", ucr.UEA_HOMEPAGE.format(problem)
    )


SOURCES: dict[str, Source] = {
    "har": Source(har.TITLE, har.read, har.URL, har.SHA256, har.HOMEPAGE),
    "mitdb": Source(physionet.MITDB_TITLE, physionet.read_mitdb, physionet.MITDB_URL, "", physionet.MITDB_HOMEPAGE),
    "cinc2017": Source(physionet.CINC_TITLE, physionet.read_cinc2017, physionet.CINC_URL, "", physionet.CINC_HOMEPAGE),
    "nstdb": Source(noises.TITLE, noises.read_nstdb, noises.URL, "", noises.HOMEPAGE),
    "bidmc": Source(ppg.BIDMC_TITLE, ppg.read_bidmc, ppg.BIDMC_URL, "", ppg.BIDMC_HOMEPAGE),
    "dalia": Source(ppg.DALIA_TITLE, ppg.read_dalia, ppg.DALIA_URL, "", ppg.DALIA_HOMEPAGE),
    "uci_bp": Source(pressure.TITLE, pressure.read_uci_bp, pressure.URL, "", pressure.HOMEPAGE),
    "ptbxl": Source(ecg12.PTBXL_TITLE, ecg12.read_ptbxl, ecg12.PTBXL_URL, "", ecg12.PTBXL_HOMEPAGE),
    "csn": Source(ecg12.CSN_TITLE, ecg12.read_csn, ecg12.CSN_URL, "", ecg12.CSN_HOMEPAGE),
    "uwave": _uea("UWaveGestureLibrary", ucr.UWAVE_TITLE),
    "phoneme-spectra": _uea("PhonemeSpectra", ucr.PHONEME_TITLE),
    "arabic-digits": _uea("SpokenArabicDigits", ucr.DIGITS_TITLE),
    "epilepsy": Source(ucr.EPILEPSY_TITLE, ucr.read_epilepsy, "", "", ucr.EPILEPSY_HOMEPAGE),
    "arrays": Source(arrays.TITLE, arrays.read_arrays, "", "", arrays.HOMEPAGE),
}

#: Made when a recipe asks for them.
EMBEDDED = {"synthetic": synthetic.TITLE, **series.TITLES, noises.SIMULATED: noises.SIMULATED_TITLE}


def read_options(section: DataSection) -> ReadOptions:
    """What a recipe says of how recordings are cut."""
    return ReadOptions(
        section.sampling_rate,
        section.window,
        section.stride,
        section.highpass,
        section.standardize,
        section.padding,
        section.context,
        section.derive,
    )


def dataset(section: DataSection) -> PreparedDataset:
    """Open the recipe's dataset; make the synthetic one, or download and prepare a published one, when absent.

    Raises DataError when it can be neither found nor had.
    """
    data = _found(section).with_channels(section.channels)
    return data.with_folds(section.validation, section.folds, section.fold) if section.folds else data


def noise(plan: Recipe) -> PreparedDataset | None:
    """The dataset that a recipe's noise comes from, if it names one: the signals' own, cut as they are, or another one
    as its publisher has it.

    Raises DataError when it can be neither found nor had.
    """
    wanted, data = plan.noise, plan.data
    if not wanted.dataset:
        return None
    same_root = not wanted.root or store.data_root(wanted.root).resolve() == store.data_root(data.root).resolve()
    if wanted.dataset == data.dataset and same_root:
        return _found(data)
    return _found(DataSection(dataset=wanted.dataset, root=wanted.root or data.root))


def _found(section: DataSection) -> PreparedDataset:
    root, name = store.data_root(section.root), section.dataset
    options = read_options(section)
    if name in EMBEDDED:
        options.refuse()
        return _embedded(root, section, name)
    folder = root / options.folder(name)
    if store.is_prepared(folder):
        return store.open_dataset(folder)
    source = _source(name)
    chosen = "" if options == ReadOptions() else " --recipe THIS_RECIPE"
    by_hand = f"ssl-bio data prepare {name} --from PATH_OF_THE_ZIP_OR_FOLDER{chosen}"
    if not source.url:
        raise DataError(f"{folder.name} is not prepared under {root}; with the files of {source.homepage}: {by_hand}")
    note(f"{folder.name} is not prepared under {root}: downloading {name} from {source.homepage}")
    try:
        return prepare(name, source.url, root, options)
    except DataError as error:
        raise DataError(f"{error}. Get it from {source.homepage} on any machine, then: {by_hand}") from error


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
    if name_or_path in EMBEDDED:
        return _embedded(root, run.data, name_or_path)
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
        conversion = replace(source.read(files, options), origin=files.identity())
        return convert.convert(folder, conversion, max_skipped)


def _source(name: str) -> Source:
    if name in EMBEDDED:
        raise DataError(f"the embedded dataset {name} has no files to read: it is made when a recipe asks for it")
    if name not in SOURCES:
        raise DataError(f"data.dataset: no dataset {name!r}; there are {', '.join([*EMBEDDED, *SOURCES])}")
    return SOURCES[name]


def _embedded(root: Path, section: DataSection, name: str) -> PreparedDataset:
    size = section.synthetic
    if name == "synthetic" and size.windows_per_subject < 4:
        raise DataError("data.synthetic.windows_per_subject: four rhythms need at least 4 windows a person")
    version = noises.SIMULATED_VERSION if name == noises.SIMULATED else series.VERSION
    folder = root / f"{name}-v{version}"
    if name == "synthetic":
        folder = root / f"{name}-{size.n_subjects}x{size.windows_per_subject}-seed{size.seed}-v{synthetic.VERSION}"
    if store.is_prepared(folder):  # a shared root may be read-only
        return store.open_dataset(folder)
    with store.preparing(folder):
        if store.is_prepared(folder):
            return store.open_dataset(folder)
        if name == "synthetic":
            return convert.write(folder, synthetic.generate(size.n_subjects, size.windows_per_subject, size.seed))
        return convert.write(folder, noises.simulate() if name == noises.SIMULATED else series.generate(name))
