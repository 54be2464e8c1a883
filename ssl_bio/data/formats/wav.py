"""Sound files (.wav)."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ssl_bio.data.formats.signal_files import SignalFile, of_array
from ssl_bio.errors import DataError


@contextmanager
def open_signals(path: Path, scratch: Path) -> Iterator[SignalFile]:
    """Open a .wav file; numbers are as they are stored. Raises DataError when it is not whole."""
    from scipy.io import wavfile  # imported when needed: it takes its time

    try:
        try:
            rate, samples = wavfile.read(path, mmap=True)
        except ValueError:  # of 24 bits there is no memory map
            rate, samples = wavfile.read(path)
    except (ValueError, OSError) as error:
        raise DataError(f"{path.name}: not a whole .wav file ({error})") from error
    if not samples.size:
        raise DataError(f"{path.name}: holds no signal")
    found = of_array(path, samples.reshape(len(samples), -1).T, float(rate))
    yield found._replace(remarks=())
