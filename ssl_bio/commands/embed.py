"""`ssl-bio embed`: how a run's backbone sees new recordings."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_bio.commands.recordings import NewRecordings
from ssl_bio.console import note
from ssl_bio.data.new_recordings import NewRecording
from ssl_bio.errors import DataError
from ssl_bio.results.output_table import check_output, open_table, writing
from ssl_bio.runs.folder import RUNS, newest_run
from ssl_bio.tasks.inference import TrainedEncoder, check_pooling
from ssl_bio.training import runtime

SUFFIXES = (".npz", ".parquet")


class EmbedOptions(NamedTuple):
    """What the command line asks for."""

    checkpoint: Path | None
    source: Path
    output: Path
    pooling: Sequence[str] = ("mean",)
    sampling_rate: float = 0.0  # Hz, where files do not say it
    stride: float = 0.0  # s from one window's start to the next; 0: as the run's own windows
    device: str = "auto"
    overwrite: bool = False


def embed(options: EmbedOptions) -> None:
    """Write the embedding of every window of new recordings, with recording, subject, start and end.

    An .npz file holds the arrays `embedding` `(n, width)`, or of tokens `(n, n_tokens, width)`, and `recording`,
    `subject`, `start`, `end` `(n,)`; a Parquet file has a column of numbers for each of the embedding's.

    Raises CheckpointError, and DataError when nothing can be read, or the output cannot be written.
    """
    check_output(options.output, SUFFIXES, overwrite=options.overwrite)
    if "tokens" in options.pooling and options.output.suffix.lower() == ".parquet":
        raise DataError(f"--output {options.output}: tokens have three axes: choose .npz")
    check_pooling(options.pooling)
    device = runtime.pick_device(options.device)
    path = options.checkpoint or newest_run(RUNS, kind="pretrain").path
    encoder = TrainedEncoder.load(path)
    note(f"embedding with {path}")
    preprocessing = encoder.preprocessing.with_stride(options.stride) if options.stride else encoder.preprocessing
    recordings = NewRecordings(options.source, preprocessing, sampling_rate=options.sampling_rate)
    write = _write_parquet if options.output.suffix.lower() == ".parquet" else _write_npz
    n, width = write(options, encoder=encoder, recordings=recordings, device_name=str(device))
    recordings.say()
    note(f"{n} windows, {width} numbers each, in {options.output}")


def _places(name: str, recording: NewRecording, subject: str) -> dict[str, NDArray[np.str_] | NDArray[np.float64]]:
    n = len(recording.starts)
    return {
        "recording": np.full(n, name),
        "subject": np.full(n, subject),
        "start": recording.starts,
        "end": recording.ends,
    }


def _write_parquet(
    options: EmbedOptions, *, encoder: TrainedEncoder, recordings: NewRecordings, device_name: str
) -> tuple[int, int]:
    n, width = 0, 0
    device = runtime.pick_device(device_name)
    with open_table(options.output) as append:
        for name, recording in recordings:
            found = encoder.embed(recording.windows, pooling=options.pooling, device=device)
            columns = {f"embedding_{place}": found[:, place] for place in range(found.shape[1])}
            append({**_places(name, recording, recordings.subjects[name]), **columns})
            n, width = n + len(found), found.shape[1]
    return n, width


def _write_npz(
    options: EmbedOptions, *, encoder: TrainedEncoder, recordings: NewRecordings, device_name: str
) -> tuple[int, int]:
    """Embeddings go to a file first, so that memory does not grow with their number."""
    places: list[dict[str, NDArray[np.str_] | NDArray[np.float64]]] = []
    shape: tuple[int, ...] = ()
    n, device = 0, runtime.pick_device(device_name)
    with TemporaryDirectory(prefix="ssl-bio-") as folder, writing(options.output) as temporary:
        raw = Path(folder) / "embeddings"
        with raw.open("wb") as file:
            for name, recording in recordings:
                places.append(_places(name, recording, recordings.subjects[name]))

                def take(part: NDArray[np.float32]) -> None:
                    nonlocal n, shape
                    file.write(np.ascontiguousarray(part).data)
                    n, shape = n + len(part), part.shape[1:]

                encoder.embed_each(recording.windows, take, pooling=options.pooling, device=device)
        if not n:
            raise DataError(f"{options.source}: no window in its recordings")
        arrays = {key: np.concatenate([part[key] for part in places]) for key in places[0]}
        embedding = np.memmap(raw, np.float32, "r", shape=(n, *shape))
        np.savez(temporary, embedding=embedding, **arrays)  # type: ignore[arg-type]  # numpy types keyword arrays loosely
    return n, int(np.prod(shape))
