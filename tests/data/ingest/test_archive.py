"""Downloading and unpacking: checksums hold, nothing leads out of the folder."""

import functools
import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ssl_bio.data.ingest import archive
from ssl_bio.errors import DataError


@pytest.mark.parametrize("name", ["../evil.txt", "/etc/evil.txt", "a/../../evil.txt", "..\\evil.txt", "C:\\evil.txt"])
def test_member_that_leaves_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile("bad.zip", "w") as file:
        file.writestr("good.txt", "1")
        file.writestr(name, "boo")
    with pytest.raises(DataError, match="leads out of the folder"), archive.open_archive(Path("bad.zip")):
        pytest.fail("it was opened")
    assert not list(tmp_path.rglob("evil*"))


def test_symbolic_link_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.txt")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile("bad.zip", "w") as file:
        file.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match="leads out of the folder"), archive.open_archive(Path("bad.zip")):
        pytest.fail("it was opened")


def test_truncated_zip_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile("x.zip", "w") as file:
        file.writestr("a.txt", "1" * 1000)
    Path("x.zip").write_bytes(Path("x.zip").read_bytes()[:-30])
    with pytest.raises(DataError, match=r"x\.zip: not a whole zip"), archive.open_archive(Path("x.zip")):
        pytest.fail("it was opened")


@pytest.mark.parametrize(("field", "value", "message"), [(6, 1, "is encrypted"), (8, 99, "packed by method 99")])
def test_what_python_cannot_unpack_is_refused(field: int, value: int, message: str) -> None:
    with zipfile.ZipFile("x.zip", "w") as file:
        file.writestr("a.txt", "1" * 1000)
    raw = bytearray(Path("x.zip").read_bytes())
    directory = raw.index(b"PK\x01\x02")
    raw[directory + field + 2] = value  # flags and method stand two bytes later in the directory
    Path("x.zip").write_bytes(raw)
    with pytest.raises(DataError, match=message), archive.open_archive(Path("x.zip")):
        pytest.fail("it was opened")


def test_broken_member_is_named() -> None:
    with zipfile.ZipFile("x.zip", "w") as file:
        file.writestr("a.txt", "1" * 1000)
    raw = bytearray(Path("x.zip").read_bytes())
    raw[raw.index(b"1" * 50)] = ord("2")
    Path("x.zip").write_bytes(raw)
    with archive.open_archive(Path("x.zip")) as files, pytest.raises(DataError, match=r"a\.txt is broken"):
        files.fetch("a.txt")


def test_files_of_a_zip_are_unpacked_when_asked_for_and_not_kept() -> None:
    with zipfile.ZipFile("inner.zip", "w") as file:
        file.writestr("deep/b.txt", "2")
    with zipfile.ZipFile("x.zip", "w") as file:
        file.writestr("a.txt", "1")
        file.writestr("__MACOSX/a.txt", "junk")
        file.write("inner.zip", "in/inner.zip")
    with archive.open_archive(Path("x.zip")) as files:
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
    with archive.open_archive(tmp_path / "f") as files, files.borrowed("a.txt"):
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


def zip_of(members: dict[str, bytes]) -> bytes:
    """A zip with these members, whatever their names."""
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return raw.getvalue()


@pytest.mark.parametrize("name", [".zip", "...zip", "..zip", "....zip", ". .zip", "a/.zip", "a/...zip"])
@pytest.mark.parametrize("as_folder", [False, True])
def test_zips_whose_names_lead_out_of_the_folder_are_refused(name: str, as_folder: bool, tmp_path: Path) -> None:
    """A zip called .zip would stand for the folder "/", one called ...zip for "../"."""
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    inner = zip_of({victim.as_posix().lstrip("/"): b"theirs", "victim.txt": b"theirs"})
    source = tmp_path / "source"
    if as_folder:
        (source / name).parent.mkdir(parents=True)
        (source / name).write_bytes(inner)
    else:
        source = tmp_path / "outer.zip"
        source.write_bytes(zip_of({name: inner}))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match="has no name for its folder"), archive.open_archive(source):
        pytest.fail("it was opened")
    assert victim.read_text() == "mine"
    assert sorted(tmp_path.rglob("*")) == before


def test_names_that_lead_out_of_the_folder_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("mine")
    (tmp_path / "f").mkdir()
    (tmp_path / "f/a.txt").write_text("1")
    with archive.open_archive(tmp_path / "f") as files:
        for name in ("../secret.txt", (tmp_path / "secret.txt").as_posix(), "..\\secret.txt"):
            assert not files.has(name)
            with pytest.raises(DataError, match="leads out of the folder"):
                files.fetch(name)


def test_nothing_is_unpacked_through_a_link(tmp_path: Path) -> None:
    """Should a link ever come to lie in the temporary folder, what it leads to stays as it is."""
    (tmp_path / "x.zip").write_bytes(zip_of({"a/b.txt": b"theirs"}))
    (tmp_path / "outside").mkdir()
    with archive.open_archive(tmp_path / "x.zip") as files:
        (files.root / "a").symlink_to(tmp_path / "outside")
        with pytest.raises(DataError, match="leads out of the folder"), files.borrowed("a/b.txt"):
            pytest.fail("it was unpacked")
    assert not list((tmp_path / "outside").iterdir())


def test_zips_deep_inside_one_another_are_refused(tmp_path: Path) -> None:
    packed = zip_of({"a.txt": b"1"})
    for _ in range(3):
        packed = zip_of({"inner.zip": packed})
    (tmp_path / "x.zip").write_bytes(packed)
    with archive.open_archive(tmp_path / "x.zip") as files:
        assert files.names == ["inner/inner/inner/a.txt"]
    (tmp_path / "x.zip").write_bytes(zip_of({"inner.zip": packed}))
    with pytest.raises(DataError, match="more than 4 deep"), archive.open_archive(tmp_path / "x.zip"):
        pytest.fail("it was opened")
