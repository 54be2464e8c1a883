"""Files that appear whole or not at all: written to a temporary name in the same folder, flushed, renamed.

Torch is imported where tensors are: to look into a run it is not needed.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from ssl_bio.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

_HEADER_KEY = "ssl_bio"


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield the name of an empty temporary file to write to, flushed and renamed to `path` when the block ends well.

    Its rights are those that the umask gives, also where a library replaces it by a file of its own.

    Raises CheckpointError when it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.touch()
        rights = temporary.stat().st_mode
        yield temporary
        if temporary.stat().st_mode != rights:
            temporary.chmod(rights)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a binary file."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def read_json(path: Path) -> dict[str, Any]:
    """Return what a JSON file holds; empty when it cannot be read or holds something else than an object."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return result if isinstance(result, dict) else {}


def save_tensors(path: Path, tensors: "Mapping[str, Tensor]", header: Mapping[str, Any]) -> None:
    """Write a safetensors file with a JSON header."""
    from safetensors.torch import save_file

    detached = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    with atomic_write(path) as temporary:
        try:
            save_file(detached, temporary, metadata={_HEADER_KEY: json.dumps(header)})
        except SafetensorError as error:  # such as a full disk, which the library does not call an OSError
            raise CheckpointError(f"{path}: cannot be written: {error}") from error


def load_tensors(path: Path) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    """Read a safetensors file and its JSON header. Raises CheckpointError."""
    header = load_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: truncated or no safetensors file ({error})") from error
    return tensors, header


def load_header(path: Path) -> dict[str, Any]:
    """Read the JSON header of a safetensors file alone. Raises CheckpointError."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such weight file")
    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get(_HEADER_KEY, "null"))
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: truncated or no safetensors file ({error})") from error
    if not isinstance(header, dict):
        raise CheckpointError(f"{path}: a safetensors file, but not one of ssl-bio's: it has no {_HEADER_KEY!r} header")
    return header


def entries_of(folder: Path) -> set[str]:
    """Return the names in a folder; none where there is no folder. Raises CheckpointError when it cannot be read."""
    try:
        return {entry.name for entry in folder.iterdir()} if folder.exists() else set()
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be written: {error.strerror or error}") from error
