"""Every test runs in an empty folder of its own with its own data root."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import har_layout

REPOSITORY = Path(__file__).parent.parent
_REAL = Path(os.environ.get("SSL_BIO_TEST_DATA", REPOSITORY.parent / "shared" / "data"))


# Time limits belong in benchmarks, and the isolating fixture is the same for every example.
settings.register_profile("ssl-bio", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
settings.load_profile("ssl-bio")


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SSL_BIO_DATA", str(tmp_path / "data"))


@pytest.fixture
def har_folder(tmp_path: Path) -> Path:
    """A small archive in the publisher's layout."""
    return har_layout.write(tmp_path / "UCI HAR Dataset")


@pytest.fixture
def real_archive() -> Path:
    """The folder of publishers' archives, when somebody laid it beside the checkout."""
    if not _REAL.is_dir():
        pytest.skip(f"no recordings in {_REAL}; set SSL_BIO_TEST_DATA")
    return _REAL
