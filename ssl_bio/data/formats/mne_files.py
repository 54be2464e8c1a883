"""Recordings in formats of brain research (.fif, BrainVision .vhdr), read with the library mne, an extra."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ssl_bio.data.formats.signal_files import SignalFile
from ssl_bio.errors import DataError

_TYPES = ("eeg", "meg", "ecg", "eog", "emg", "resp", "bio", "ecog", "seeg", "misc", "ref_meg")


@contextmanager
def open_signals(path: Path, scratch: Path) -> Iterator[SignalFile]:
    """Open a file; channels of events are left out. Units are those of SI, as mne gives them.

    Raises DataError when mne is not installed, or the file is broken.
    """
    try:
        import mne  # imported when needed: it takes its time
    except ImportError as error:
        raise DataError(f"{path.name}: needs the extra mne: pip install 'ssl-bio[mne]'") from error
    try:
        raw = mne.io.read_raw(path, preload=False, verbose="error")
        kinds = raw.get_channel_types()
    # mne raises whatever its readers met.
    except Exception as error:
        raise DataError(f"{path.name}: cannot be read ({type(error).__name__}: {error})") from error
    chosen = [index for index, kind in enumerate(kinds) if kind in _TYPES]
    if not chosen:
        raise DataError(f"{path.name}: holds no signal")
    yield SignalFile(
        lambda first, last: np.asarray(raw.get_data(picks=chosen, start=first, stop=last, verbose="error")),
        int(raw.n_times),
        tuple(raw.ch_names[index] for index in chosen),
        float(raw.info["sfreq"]),
        tuple("V" if kinds[index] in ("eeg", "ecg", "eog", "emg", "ecog", "seeg") else "NU" for index in chosen),
    )
