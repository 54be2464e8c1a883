"""Chapman-Shaoxing-Ningbo database (Zheng et al. 2020, 2022): 12-lead ECGs of 10 s with SNOMED CT diagnoses.

A record is one window unless `WindowOptions` say otherwise, and may carry several labels.
"""

import re
from collections.abc import Sequence

from ssl_bio.console import progress
from ssl_bio.data.formats.wfdb_records import read_record
from ssl_bio.data.ingest.archive import Files
from ssl_bio.data.ingest.ingest import Ingest
from ssl_bio.data.options import WindowOptions
from ssl_bio.data.readers.twelve_leads import LEADS, labelled_windows, many_hot, read_table, twelve_leads
from ssl_bio.data.recording import Recording
from ssl_bio.data.recording_store import RecordingStore
from ssl_bio.data.registry import Dataset
from ssl_bio.data.splits import draw_subjects
from ssl_bio.data.targets import TargetInfo
from ssl_bio.data.windowing import LabelledWindows, Windowing
from ssl_bio.data.windows import Windower
from ssl_bio.errors import DataError

TITLE = "Chapman-Shaoxing-Ningbo: 45,152 12-lead ECGs of 10 s, SNOMED CT diagnoses"
#: 1,250 samples a record, as CM-SSL's protocol has it.
PROTOCOL = WindowOptions(sampling_rate=125.0, window=10.0, stride=0.0, highpass=0.0, standardize="none")
SCHEMES = {"subject": "records, one a person, are drawn 80 / 10 / 10, seed 42"}

_DIAGNOSES = re.compile(rb"^#\s*Dx:(.*)$", re.MULTILINE)


def read(files: Files) -> Ingest:
    """Read WFDB records of 12 leads, 500 Hz, 10 s, mV, and the SNOMED CT codes in their headers' `#Dx:` lines.

    Codes are called by the acronym of `ConditionNames_SNOMED-CT.csv` where that table has one (the first, where it has
    several) and by their number elsewhere. Some records of the database are broken (JS01052, JS23074): they are skipped
    and counted as any other that is.

    Raises DataError for a record that is missing a file, broken or of other leads.
    """
    names = [name.removesuffix(".hea") for name in files.find(".hea")]
    if not names:
        raise DataError(f"{files.source}: no *.hea file inside: not this database")
    diagnoses = _diagnoses(files, names)
    codes = sorted({code for found in diagnoses.values() for code in found})
    if not codes:
        raise DataError(f"{files.source}: no header has a line '#Dx: CODE': not this database")

    def read_one(name: str) -> list[Recording]:
        with files.borrowed(f"{name}.hea", f"{name}.mat") as (header, _):
            record = read_record(header.with_suffix(""))
        facts = {"sampling_rate": record.sampling_rate, "diagnoses": list(diagnoses[name])}
        arrays = {"signals": twelve_leads(record)}
        return [Recording(name=record.name, subject=record.name, arrays=arrays, facts=facts)]

    facts = {"codes": codes, "classes": list(_acronyms(files, codes))}
    return Ingest(title=TITLE, source=files.source.name, records=names, read=read_one, facts=facts)


def windowing(store: RecordingStore, options: WindowOptions) -> Windowing:
    """Return windows with the target `diagnosis`: every code that occurs (94 in the whole database) is a class of its
    own, in the order of the codes. Records without a code are left out and counted.

    A record is a window, resampled to 125 Hz: 1,250 samples, the protocol of CM-SSL. It is a person's only one, so
    records are split 80 / 10 / 10, seed 42; how the protocol drew is not published.
    """
    windower = Windower(options.with_defaults(PROTOCOL))

    def label(recording: Recording) -> LabelledWindows:
        windows = windower.windows(recording.signals, recording.facts["sampling_rate"])
        labels = many_hot(recording.facts["diagnoses"], store.facts["codes"])
        return labelled_windows(windows, target="diagnosis", labels=labels)

    return Windowing(
        options=windower.options,
        channels=LEADS,
        unit=windower.unit("mV"),
        targets={"diagnosis": TargetInfo(kind="labels", classes=tuple(store.facts["classes"]))},
        window=label,
        split=lambda table: {"subject": draw_subjects(table.subjects)},
        schemes=SCHEMES,
    )


DATASET = Dataset(
    title=TITLE,
    homepage="https://physionet.org/content/ecg-arrhythmia/1.0.0/",
    url="https://physionet.org/static/published-projects/ecg-arrhythmia/"
    "a-large-scale-12-lead-electrocardiogram-database-for-arrhythmia-study-1.0.0.zip",
    read=read,
    windowing=windowing,
)


def _diagnoses(files: Files, names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return the SNOMED CT codes in each record's header."""
    found = {}
    with progress("reading headers", len(names)) as tick:
        for index, name in enumerate(names, 1):
            with files.borrowed(f"{name}.hea") as (header,):
                lines = _DIAGNOSES.findall(header.read_bytes())
            found[name] = tuple(int(code) for line in lines for code in re.findall(rb"\d+", line))
            tick(index)
    return found


def _acronyms(files: Files, codes: Sequence[int]) -> tuple[str, ...]:
    names: dict[int, str] = {}
    for path in files.find("ConditionNames_SNOMED-CT.csv"):
        for line in read_table(files, path, ("Acronym Name", "Snomed_CT")):
            if line["Snomed_CT"].strip().isdigit():
                names.setdefault(int(line["Snomed_CT"]), line["Acronym Name"].strip())
    found = [names.get(code, str(code)) for code in codes]
    # Two codes of one acronym stay two classes.
    return tuple(f"{name} ({code})" if found.count(name) > 1 else name for name, code in zip(found, codes, strict=True))
