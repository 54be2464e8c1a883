"""Getting at a publisher's files: download with checksum, safe unpacking, zips inside zips."""

import hashlib
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple

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


class _Member(NamedTuple):
    """A file inside an open zip."""

    archive: zipfile.ZipFile
    info: zipfile.ZipInfo


class Files:
    """A publisher's files by their path below one folder, with "/" between.

    Those of a folder lie where they lie; those of a zip are unpacked one by one when they are asked for, so
    that an archive of any size needs the disk of a few of its files.
    """

    def __init__(self, source: Path, root: Path, members: Mapping[str, _Member] | None = None) -> None:
        self.source, self.root = source, root
        self._members = dict(members or {})
        if members is None:
            self.names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
        else:
            self.names = sorted(self._members)

    def identity(self) -> str:
        """Where the files are, and a digest of their sizes and times: an edited file gives another."""
        digest = hashlib.sha256()
        for name in self.names:
            if name in self._members:
                info = self._members[name].info
                digest.update(f"{name} {info.file_size} {info.CRC}\n".encode())
            else:
                facts = (self.root / name).stat()
                digest.update(f"{name} {facts.st_size} {facts.st_mtime_ns}\n".encode())
        return f"{self.source.resolve()} {digest.hexdigest()}"

    def find(self, suffix: str) -> list[str]:
        """Names that end so, in order."""
        return [name for name in self.names if name.endswith(suffix)]

    def one(self, suffix: str) -> str:
        """The first name that ends so. Raises DataError when there is none."""
        for name in self.find(suffix):
            return name
        raise DataError(f"{self.source}: no {suffix} inside: not this dataset")

    def has(self, name: str) -> bool:
        """Whether a file of this name is there."""
        return name in self._members or (self.root / name).is_file()

    def fetch(self, name: str) -> Path:
        """Where a file lies, unpacked if need be. Raises DataError when it is missing or broken."""
        path = self.root / name
        if name in self._members and not path.exists():
            _unpack(self.source, self._members[name], path)
        if not path.is_file():
            raise DataError(f"{self.source}: no {name} inside")
        return path

    def fetch_all(self, *parts: str) -> Path:
        """Unpack all files with one of `parts` in their path; the folder they lie in."""
        for name in self.names:
            if any(part in name for part in parts):
                self.fetch(name)
        return self.root

    @contextmanager
    def borrowed(self, *names: str) -> Iterator[list[Path]]:
        """Where files lie for as long as the block runs; those of a zip are gone after it."""
        try:
            yield [self.fetch(name) for name in names]
        finally:
            for name in names:
                if name in self._members:
                    (self.root / name).unlink(missing_ok=True)


@contextmanager
def opened(source: Path) -> Iterator[Files]:
    """A publisher's folder or zip; zips inside it count as folders of their name, as in the UCI archives.

    Raises DataError for a missing source, a broken, encrypted or oddly packed zip, or a member whose path
    leaves the folder.
    """
    if source.is_file() and not zipfile.is_zipfile(source) and source.suffix != ".zip":
        yield Files(source, source.parent)
        return
    if not source.exists():
        raise DataError(f"{source}: no such file or folder")
    with ExitStack() as stack:
        zips = sorted(source.rglob("*.zip")) if source.is_dir() else [source]
        if source.is_dir() and not zips:
            yield Files(source, source)
            return
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ssl-bio-")))
        members: dict[str, _Member] = {}
        for path in zips:
            below = path.relative_to(source).with_suffix("").as_posix() + "/" if source.is_dir() else ""
            members |= _members(source, path, below, root, stack)
        yield Files(source, root, members)


def _members(source: Path, path: Path, below: str, root: Path, stack: ExitStack) -> dict[str, _Member]:
    """The files of a zip and of the zips inside it, by path."""
    found: dict[str, _Member] = {}
    try:
        archive = stack.enter_context(zipfile.ZipFile(path))
    except (zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{source}: not a whole zip archive ({error}); download it again") from error
    except OSError as error:
        raise DataError(f"{source}: cannot be read: {error.strerror or error}") from error
    for info in archive.infolist():
        _refuse_strange(source, info)
    for info in archive.infolist():
        if info.is_dir() or info.filename.startswith("__MACOSX"):
            continue
        name = below + info.filename
        found[name] = _Member(archive, info)
        if name.endswith(".zip"):
            inner = root / name
            _unpack(source, found.pop(name), inner)
            found |= _members(source, inner, name.removesuffix(".zip") + "/", root, stack)
    return found


def _unpack(source: Path, member: _Member, path: Path) -> None:
    temporary = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with member.archive.open(member.info) as packed, temporary.open("wb") as sink:
            shutil.copyfileobj(packed, sink)
        temporary.rename(path)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"{source}: {member.info.filename} is broken ({error}); download it again") from error
    except OSError as error:
        raise DataError(f"{source}: cannot be unpacked: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


_ENCRYPTED = 0x1
_KNOWN_PACKING = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def _refuse_strange(source: Path, member: zipfile.ZipInfo) -> None:
    path = PurePosixPath(member.filename.replace("\\", "/"))
    is_link = stat.S_ISLNK(member.external_attr >> 16)
    if path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1]) or is_link:
        raise DataError(f"{source}: member {member.filename!r} leaves the folder; the archive was not unpacked")
    if member.flag_bits & _ENCRYPTED:
        raise DataError(f"{source}: member {member.filename!r} is encrypted: unpack it yourself and give the folder")
    if member.compress_type not in _KNOWN_PACKING:
        raise DataError(
            f"{source}: member {member.filename!r} is packed by method {member.compress_type}, which Python cannot "
            "read: unpack it yourself and give the folder"
        )
