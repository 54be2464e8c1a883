"""A publisher's files: downloaded and checked, read from a folder or a zip, from zips inside zips too."""

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

from ssl_bio.console import console
from ssl_bio.errors import DataError

_TABLE = "table.csv"
_DEEPEST = 4  # zips inside one another


def download(url: str, folder: Path, sha256: str | None = None) -> Path:
    """Fetch `url` into `folder`, once, with a progress bar on a terminal, and check its SHA-256.

    Raises DataError when there is no connection or the checksum differs.
    """
    import pooch  # imported when needed: these take their time
    import requests

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
    """A publisher's files by their path below one folder, with "/" between its parts.

    Those of a folder are read where they are; those of a zip are unpacked one by one when they are asked for, so
    that an archive of any size needs the disk of a few of its files. No name leads out of the folder.
    """

    def __init__(self, source: Path, root: Path, members: Mapping[str, _Member] | None = None) -> None:
        self.source, self.root = source, root
        self._members = dict(members or {})
        if members is None:
            self.names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
        else:
            self.names = sorted(self._members)

    def identity(self) -> str:
        """Return where the files are, and a digest of their sizes and times: an edited file gives another."""
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
        """Return the names that end so, in order."""
        return [name for name in self.names if name.endswith(suffix)]

    def first(self, suffix: str) -> str:
        """Return the first name that ends so. Raises DataError when there is none."""
        for name in self.find(suffix):
            return name
        raise DataError(f"{self.source}: no {suffix} inside: not this dataset")

    def has(self, name: str) -> bool:
        """Return whether there is a file of this name."""
        return name in self._members or (_stays_inside(name) and (self.root / name).is_file())

    def fetch(self, name: str) -> Path:
        """Return the path of a file, unpacked if need be.

        Raises DataError when it is missing or broken, or when its name leads out of the folder.
        """
        if not _stays_inside(name):
            raise DataError(f"{self.source}: {name!r} leads out of the folder; it was not read")
        path = self.root / name
        if name in self._members and not path.exists():
            _unpack(self.source, self._members[name], root=self.root, name=name)
        if not path.is_file():
            raise DataError(f"{self.source}: no {name} inside")
        return path

    def fetch_all(self, *parts: str) -> Path:
        """Unpack all files with one of `parts` in their path, and return the folder they lie in."""
        for name in self.names:
            if any(part in name for part in parts):
                self.fetch(name)
        return self.root

    @contextmanager
    def borrowed(self, *names: str) -> Iterator[list[Path]]:
        """Give the paths of files for as long as the block runs; those of a zip are deleted after it."""
        fetched: list[Path] = []
        try:
            for name in names:
                fetched.append(self.fetch(name))
            yield fetched
        finally:
            for name, path in zip(names, fetched, strict=False):
                if name in self._members:
                    path.unlink(missing_ok=True)


@contextmanager
def open_archive(source: Path) -> Iterator[Files]:
    """Open a publisher's folder or zip; zips inside it count as folders of their name, as in the UCI archives.

    Raises DataError for a missing source, a broken, encrypted or oddly packed zip, or a member whose path
    leads out of the folder.
    """
    if source.is_file() and not zipfile.is_zipfile(source) and source.suffix != ".zip":
        yield Files(source, source.parent)
        return
    if not source.exists():
        raise DataError(f"{source}: no such file or folder")
    with ExitStack() as stack:
        zips = sorted(source.rglob("*.zip")) if source.is_dir() else [source]
        if source.is_dir() and (not zips or (source / _TABLE).is_file()):  # beside a table zips are but backups
            yield Files(source, source)
            return
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ssl-bio-"))).resolve()
        opening = _Opening(source, root, stack)
        members: dict[str, _Member] = {}
        for path in zips:
            prefix = opening.folder_of(path.relative_to(source).as_posix()) if source.is_dir() else ""
            members |= opening.members(path, prefix)
        yield Files(source, root, members)


class _Opening(NamedTuple):
    """A source whose zips are being opened, the temporary folder they are unpacked to, and what closes them."""

    source: Path
    root: Path
    stack: ExitStack

    def members(self, path: Path, prefix: str, depth: int = 1) -> dict[str, _Member]:
        """Return the files of a zip and of the zips inside it, by `prefix` and path."""
        found: dict[str, _Member] = {}
        if depth > _DEEPEST:
            raise DataError(f"{self.source}: zips inside one another, more than {_DEEPEST} deep; it was not unpacked")
        try:
            archive = self.stack.enter_context(zipfile.ZipFile(path))
        except (zipfile.BadZipFile, EOFError) as error:
            raise DataError(f"{self.source}: not a whole zip archive ({error}); download it again") from error
        except OSError as error:
            raise DataError(f"{self.source}: cannot be read: {error.strerror or error}") from error
        for info in archive.infolist():
            _refuse_strange(self.source, info)
        for info in archive.infolist():
            if info.is_dir() or info.filename.startswith("__MACOSX"):
                continue
            name = prefix + info.filename
            member = _Member(archive, info)
            if name.endswith(".zip"):
                inner = _unpack(self.source, member, root=self.root, name=name)
                found |= self.members(inner, self.folder_of(name), depth + 1)
            else:
                found[name] = member
        return found

    def folder_of(self, name: str) -> str:
        """Return the folder, with a "/" at its end, that stands for a zip in the names of its files.

        Raises DataError for a zip whose name without its suffix is empty or dots only: that is no folder, or the one
        above.
        """
        folder = name.removesuffix(".zip")
        if not folder.rpartition("/")[2].strip(". "):
            raise DataError(f"{self.source}: zip {name!r} has no name for its folder; rename it; nothing was unpacked")
        return folder + "/"


def _stays_inside(name: str) -> bool:
    """Return whether a name, with "/" or "\\" between its parts, stays below the folder it is joined to."""
    path = PurePosixPath(name.replace("\\", "/"))
    return not (path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1]))


def _unpack(source: Path, member: _Member, *, root: Path, name: str) -> Path:
    """Unpack a member of a zip to `root / name`, and return that path.

    Raises DataError when the path leads out of `root`, links on the disk resolved, or when the member is broken.
    """
    path = root / name
    if not _stays_inside(name) or not path.resolve().is_relative_to(root.resolve()):
        raise DataError(f"{source}: member {name!r} leads out of the folder; it was not unpacked")
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
    return path


_ENCRYPTED = 0x1
_KNOWN_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def _refuse_strange(source: Path, member: zipfile.ZipInfo) -> None:
    is_link = stat.S_ISLNK(member.external_attr >> 16)
    if not _stays_inside(member.filename) or is_link:
        raise DataError(f"{source}: member {member.filename!r} leads out of the folder; the archive was not unpacked")
    if member.flag_bits & _ENCRYPTED:
        raise DataError(f"{source}: member {member.filename!r} is encrypted: unpack it yourself and give the folder")
    if member.compress_type not in _KNOWN_METHODS:
        raise DataError(
            f"{source}: member {member.filename!r} is packed by method {member.compress_type}, which Python cannot "
            "read: unpack it yourself and give the folder"
        )
