"""Where prepared datasets live."""

from pathlib import Path

import pytest

from ssl_bio.data.locations import data_root


def test_data_root_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_BIO_DATA", "/from/environment")
    assert data_root("/from/recipe") == Path("/from/recipe")
    assert data_root() == Path("/from/environment")
    monkeypatch.delenv("SSL_BIO_DATA")
    assert "ssl-bio" in str(data_root())
