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
    with pytest.raises(DataError, match="leaves the folder"), archive.opened(Path("bad.zip")):
        pytest.fail("it was opened")
    assert not list(tmp_path.rglob("evil*"))


def test_symbolic_link_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.txt")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile("bad.zip", "w") as file:
        file.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match="leaves the folder"), archive.opened(Path("bad.zip")):
        pytest.fail("it was opened")


def test_truncated_zip_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile("x.zip", "w") as file:
        file.writestr("a.txt", "1" * 1000)
    Path("x.zip").write_bytes(Path("x.zip").read_bytes()[:-30])
    with pytest.raises(DataError, match=r"x\.zip: not a whole zip"), archive.opened(Path("x.zip")):
        pytest.fail("it was opened")


@pytest.mark.parametrize(("field", "value", "message"), [(6, 1, "is encrypted"), (8, 99, "packed by method 99")])
def test_what_python_cannot_unpack_is_refused(field: int, value: int, message: str) -> None:
    with zipfile.ZipFile("x.zip", "w") as file:
        file.writestr("a.txt", "1" * 1000)
    raw = bytearray(Path("x.zip").read_bytes())
    directory = raw.index(b"PK\x01\x02")
    raw[directory + field + 2] = value  # flags and method stand two bytes later in the directory
    Path("x.zip").write_bytes(raw)
    with pytest.raises(DataError, match=message), archive.opened(Path("x.zip")):
        pytest.fail("it was opened")


def test_broken_member_is_named() -> None:
    with zipfile.ZipFile("x.zip", "w") as file:
        file.writestr("a.txt", "1" * 1000)
    raw = bytearray(Path("x.zip").read_bytes())
    raw[raw.index(b"1" * 50)] = ord("2")
    Path("x.zip").write_bytes(raw)
    with archive.opened(Path("x.zip")) as files, pytest.raises(DataError, match=r"a\.txt is broken"):
        files.fetch("a.txt")


def test_files_of_a_zip_are_unpacked_when_asked_for_and_not_kept() -> None:
    with zipfile.ZipFile("inner.zip", "w") as file:
        file.writestr("deep/b.txt", "2")
    with zipfile.ZipFile("x.zip", "w") as file:
        file.writestr("a.txt", "1")
        file.writestr("__MACOSX/a.txt", "junk")
        file.write("inner.zip", "in/inner.zip")
    with archive.opened(Path("x.zip")) as files:
        assert files.names == ["a.txt", "in/inner/deep/b.txt"]
        assert not (files.root / "a.txt").exists()
        with files.borrowed("a.txt", "in/inner/deep/b.txt") as (first, second):
            assert (first.read_text(), second.read_text()) == ("1", "2")
        assert not first.exists()
        root = files.root
    assert not root.exists()


def test_borrowed_files_of_a_folder_stay(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f/a.txt").write_text("1")
    with archive.opened(tmp_path / "f") as files, files.borrowed("a.txt"):
        pass
    assert (tmp_path / "f/a.txt").read_text() == "1"


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
