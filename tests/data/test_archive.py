"""Downloading and unpacking: checksums hold, nothing leaves the folder."""

import functools
import hashlib
import threading
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ssl_bio.data import archive
from ssl_bio.errors import DataError


@pytest.mark.parametrize("name", ["../evil.txt", "/etc/evil.txt", "a/../../evil.txt", "..\\evil.txt", "C:\\evil.txt"])
def test_member_that_leaves_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile("bad.zip", "w") as file:
        file.writestr("good.txt", "1")
        file.writestr(name, "boo")
    target = tmp_path / "deep" / "target"
    with pytest.raises(DataError, match="leaves the folder"):
        archive.unzip(Path("bad.zip"), target, ("txt",))
    assert not target.exists()
    assert not list(tmp_path.rglob("evil*"))


def test_symbolic_link_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.txt")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile("bad.zip", "w") as file:
        file.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match="leaves the folder"):
        archive.unzip(Path("bad.zip"), tmp_path / "target", ("txt",))


def test_truncated_zip_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile("x.zip", "w") as file:
        file.writestr("a.txt", "1" * 1000)
    Path("x.zip").write_bytes(Path("x.zip").read_bytes()[:-30])
    with pytest.raises(DataError, match=r"x\.zip: not a whole zip"):
        archive.unzip(Path("x.zip"), tmp_path / "target", ("txt",))


def test_only_wanted_members_are_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile("x.zip", "w") as file:
        file.writestr("keep/a.txt", "1")
        file.writestr("__MACOSX/keep/a.txt", "junk")
        file.writestr("video.mp4", "2")
    with archive.unpacked(Path("x.zip"), ("keep/",)) as folder:
        assert [path.name for path in folder.rglob("*") if path.is_file()] == ["a.txt"]
    assert not folder.exists()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A publisher on loopback."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "data.zip").write_bytes(b"payload")
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site))
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_download_checks_the_checksum(server: str, tmp_path: Path) -> None:
    right = hashlib.sha256(b"payload").hexdigest()
    path = archive.download(f"{server}/data.zip", tmp_path / "d", right)
    assert path.read_bytes() == b"payload"
    with pytest.raises(DataError, match="SHA-256 is not"):
        archive.download(f"{server}/data.zip", tmp_path / "e", "0" * 64)
    assert not (tmp_path / "e/data.zip").exists()


def test_no_connection_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be downloaded"):
        archive.download("http://127.0.0.1:1/data.zip", tmp_path, None)
