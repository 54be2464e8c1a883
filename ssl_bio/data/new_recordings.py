"""Windows of new recordings, without labels, as a run's own recordings were divided."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.channels import match_channels
from ssl_bio.data.chunks import ReadChunk
from ssl_bio.data.dataset import DatasetInfo, PreparedDataset
from ssl_bio.data.formats.array_table import TABLE
from ssl_bio.data.formats.signal_files import FORMATS, SignalFile, open_file
from ssl_bio.data.options import WindowOptions
from ssl_bio.data.windowed import WindowedArray
from ssl_bio.data.windows import WindowedRecord, Windower
from ssl_bio.errors import DataError

_DERIVED_FROM = ("ppg",)


class Preprocessing(NamedTuple):
    """How recordings become what a run takes: channels by name, their unit, and windows."""

    channels: tuple[str, ...]
    unit: str
    options: WindowOptions

    def with_stride(self, stride: float) -> "Preprocessing":
        """Return this with another time in s from one window's start to the next. Raises DataError for none."""
        if not (isfinite(stride) and stride > 0):
            raise DataError(f"--stride: {stride:g} s is no time from one window's start to the next")
        return self._replace(options=replace(self.options, stride=stride))

    def windower(self, duration: float) -> Windower:
        """Return what divides a recording of so many s.

        A run that took the middle of each record takes all of one that lasts two windows or longer.
        """
        options = self.options
        if options.stride == 0 and duration >= 2 * options.window:
            options = replace(options, stride=options.window)
        return Windower(options)


class NewRecording(NamedTuple):
    """The windows of a new recording, and what was done that a person would like to know."""

    windows: PreparedDataset  # without targets and splits
    remarks: tuple[str, ...]

    @property
    def starts(self) -> NDArray[np.float64]:
        """When windows start, in s."""
        return self.windows.starts

    @property
    def ends(self) -> NDArray[np.float64]:
        """When windows end, in s."""
        return self.windows.starts + float(self.windows.info.options["window"])


def files_of(source: Path) -> list[Path]:
    """Return the recordings that a path names: a file, or all of a folder and the folders in it.

    Raises DataError when there is none.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise DataError(f"{source}: no such file or folder")
    found = sorted(
        path for path in source.rglob("*") if path.suffix.lower() in FORMATS and path.name != TABLE and path.is_file()
    )
    # A .mat file with a header beside it is read through that.
    found = [path for path in found if path.suffix != ".mat" or not path.with_suffix(".hea").is_file()]
    if not found:
        raise DataError(f"{source}: no recording inside; known are {', '.join(FORMATS)}")
    return found


@contextmanager
def open_recording(
    path: Path, preprocessing: Preprocessing, *, sampling_rate: float = 0, only_if_unsaid: bool = False
) -> Iterator[NewRecording]:
    """Open the windows of a recording; memory does not grow with it, unless the run takes what is derived from a pulse.

    `sampling_rate`: in Hz, where the file does not say it; one that the file denies is an error, or with
    `only_if_unsaid` passed over.

    Raises DataError for a file that is broken or lacks a channel, or where nothing says the sampling rate.
    """
    with TemporaryDirectory(prefix="ssl-bio-") as folder, open_file(path, Path(folder)) as file:
        said_rate = 0 if only_if_unsaid and file.sampling_rate else sampling_rate
        rate = sampling_rate_of(path, said=said_rate, stored=file.sampling_rate)
        derived = preprocessing.options.derive == "breathing"
        places, remarks = _places(file, _DERIVED_FROM if derived else preprocessing.channels, where=path.name)
        read: ReadChunk = file.read
        if places != list(range(len(file.channels))):
            read = lambda first, last: file.read(first, last)[places]  # noqa: E731
        windower = preprocessing.windower(file.n_samples / rate)
        if derived:
            signals, treated_rate = _modulations(read(0, file.n_samples), rate)
            record = windower.windows(signals, treated_rate)
        else:
            shape = (len(places), file.n_samples)
            record = windower.windows_of_file(read, shape, rate, scratch=Path(folder))
        said = file.said(file.channels[place] for place in places)
        yield NewRecording(
            _dataset(record, preprocessing, name=path.name),
            (*remarks, *said, *_said(record, rate, file.n_samples), *_units(file.units, places, preprocessing)),
        )


def windows_of_array(
    signals: NDArray[Any], preprocessing: Preprocessing, *, sampling_rate: float, name: str = "signals"
) -> NewRecording:
    """Return the windows of signals `(channels, samples)` in memory, in the order of the run's channels; of the pulse
    alone, where the run takes what is derived from it.

    Raises DataError for another number of channels.
    """
    derived = preprocessing.options.derive == "breathing"
    channels = _DERIVED_FROM if derived else preprocessing.channels
    if signals.ndim != 2 or len(signals) != len(channels) or not signals.size:
        raise DataError(f"{name}: shape {signals.shape}, not ({len(channels)}, samples): {', '.join(channels)}")
    rate = sampling_rate_of(Path(name), said=sampling_rate, stored=0)
    values, treated_rate = np.asarray(signals, np.float64), rate
    if derived:
        values, treated_rate = _modulations(values, rate)
    record = preprocessing.windower(signals.shape[1] / rate).windows(values, treated_rate)
    return NewRecording(_dataset(record, preprocessing, name=name), _said(record, rate, signals.shape[1]))


def _modulations(ppg: NDArray[Any], sampling_rate: float) -> tuple[NDArray[Any], float]:
    """Return the respiratory modulations of a pulse `(1, samples)`, and their rate in Hz."""
    from ssl_bio.data import respiration  # imported when needed: it takes its time

    return respiration.respiratory_modulations(ppg[0], sampling_rate), respiration.RATE


def dataset_of(
    signals: WindowedArray | NDArray[np.float32],
    preprocessing: Preprocessing,
    *,
    name: str,
    starts: NDArray[np.float64],
) -> PreparedDataset:
    """Return windows without targets and splits as a dataset: `signals` `(n, channels, length)`, `starts` in s."""
    n = len(signals)
    info = DatasetInfo(
        name=name,
        title=name,
        source=name,
        sampling_rate=preprocessing.options.sampling_rate,
        channels=preprocessing.channels,
        unit=preprocessing.unit,
        n=n,
        length=signals.shape[-1],
        targets={},
        schemes={},
        options=vars(preprocessing.options),
    )
    return PreparedDataset(
        folder=Path(),
        info=info,
        signals=signals,
        subjects=np.full(n, name),
        targets={},
        splits={},
        recordings=np.zeros(n, np.int64),
        starts=starts,
        names=np.array([name]),
    )


def _dataset(record: WindowedRecord, preprocessing: Preprocessing, *, name: str) -> PreparedDataset:
    signals = WindowedArray.of_record(record)
    return dataset_of(signals, preprocessing, name=name, starts=record.bounds()[0])


def _places(file: SignalFile, channels: Sequence[str], *, where: str) -> tuple[list[int], tuple[str, ...]]:
    """Return where a run's channels stand in a file, in their order where it has no names, and what to remark."""
    if len(channels) == len(file.channels) == 1:
        return [0], ()  # a single channel stands for a single one, whatever their names
    if not file.named and len(file.channels) == len(channels):
        order = list(range(len(channels)))
        return order, (f"channels without names are taken for {', '.join(channels)}",) if len(channels) > 1 else ()
    return match_channels(channels, file.channels, where=where), ()


def sampling_rate_of(path: Path, *, said: float, stored: float) -> float:
    """Return a recording's rate in Hz, as its file says it (`stored`, 0 if it does not) or its user.

    Raises DataError when nobody says it, when they differ, or for no rate at all.
    """
    rate = stored or said
    if not rate:
        raise DataError(f"{path.name} does not say its sampling rate: give --sampling-rate HZ")
    if not (isfinite(rate) and rate > 0):
        raise DataError(f"{path.name}: {rate:g} Hz is no sampling rate")
    if said and said != rate:
        raise DataError(f"{path.name} was recorded at {rate:g} Hz, not --sampling-rate {said:g}")
    return rate


def _said(record: WindowedRecord, rate: float, n_samples: int) -> tuple[str, ...]:
    remarks = [f"{many} {why}" for why, many in record.dropped.items()]
    if rate != record.sampling_rate:
        lost = f"; what is faster than {record.sampling_rate / 2:g} Hz is lost" if rate > record.sampling_rate else ""
        remarks.append(f"resampled from {rate:g} to {record.sampling_rate:g} Hz{lost}")
    if n_samples / rate < record.window - 1 / rate:
        remarks.append(f"{n_samples / rate:.1f} s, padded to a window of {record.window:g} s")
    return tuple(remarks)


def _units(units: Sequence[str], places: Sequence[int], preprocessing: Preprocessing) -> tuple[str, ...]:
    """Return a remark where a file's units are plainly others than the run's."""
    wanted = {unit for unit in ("mV", "uV", "µV", "V", "g") if unit == preprocessing.unit}
    other = sorted({units[place] for place in places if units and units[place] != "NU"} - wanted) if wanted else []
    return (f"in {', '.join(other)}; the run learnt from {preprocessing.unit}",) if other else ()
