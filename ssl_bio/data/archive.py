"""Getting at a publisher's files: download with checksum, safe unpacking, zips inside zips."""

import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import pooch
import requests

from ssl_bio.errors import DataError
from ssl_bio.terminal import console


def download(url: str, folder: Path, sha256: str | None = None) -> Path:
    """Fetch `url` into `folder`, once, with a progress bar on a terminal, and check its SHA-256.

    Raises DataError when there is no connection or the checksum differs.
    """
    name = PurePosixPath(url.split("?")[0]).name or "download"
    try:
        pooch.get_logger().setLevel("ERROR")
        path = pooch.retrieve(
            url,
            known_hash=f"sha256:{sha256}" if sha256 else None,
            fname=name,
            path=folder,
            downloader=pooch.HTTPDownloader(progressbar=console.is_terminal, timeout=30),
        )
    except (requests.exceptions.RequestException, OSError) as error:
        raise DataError(f"{url}: cannot be downloaded ({type(error).__name__})") from error
    except ValueError as error:
        if "hash" not in str(error):
            raise DataError(f"{url}: not an address that can be downloaded ({error})") from error
        raise DataError(f"{url}: the download's SHA-256 is not {sha256}; it was not kept") from error
    return Path(path)


@contextmanager
def unpacked(source: Path, wanted: tuple[str, ...]) -> Iterator[Path]:
    """The folder with the publisher's files: `source` itself, or a zip unpacked for as long as the block runs.

    A zip may hold another one, as the UCI archive does. Only members that contain one of `wanted` in
    their path, and inner zips, are unpacked.

    Raises DataError for a missing source, a broken zip, or a member whose path leaves the folder.
    """
    if source.is_dir():
        yield source
        return
    if not source.is_file():
        raise DataError(f"{source}: no such file or folder")
    with tempfile.TemporaryDirectory(prefix="ssl-bio-") as temporary:
        unzip(source, Path(temporary), wanted)
        for inner in sorted(Path(temporary).rglob("*.zip")):
            unzip(inner, inner.with_suffix(""), wanted)
        yield Path(temporary)


def unzip(archive: Path, folder: Path, wanted: tuple[str, ...]) -> None:
    """Unpack wanted members and inner zips of `archive` into `folder`.

    Raises DataError for a file that is no zip, is truncated, or has a member that leaves the folder.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            for member in file.infolist():
                _refuse_escape(archive, member)
            for member in file.infolist():
                name = member.filename
                if member.is_dir() or name.startswith("__MACOSX"):
                    continue
                if name.endswith(".zip") or any(part in name for part in wanted):
                    target = folder / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with file.open(member) as source, target.open("wb") as sink:
                        shutil.copyfileobj(source, sink)
    # RuntimeError is an encrypted member, NotImplementedError an unknown compression.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise DataError(f"{archive}: not a whole zip archive ({error}); download it again") from error
    except OSError as error:
        raise DataError(f"{archive}: cannot be unpacked: {error.strerror or error}") from error


def _refuse_escape(archive: Path, member: zipfile.ZipInfo) -> None:
    path = PurePosixPath(member.filename.replace("\\", "/"))
    is_link = stat.S_ISLNK(member.external_attr >> 16)
    if path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1]) or is_link:
        raise DataError(f"{archive}: member {member.filename!r} leaves the folder; the archive was not unpacked")
