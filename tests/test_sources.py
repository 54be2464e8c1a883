"""The table of publishers: whatever can be asked for says where it comes from."""

from urllib.parse import urlparse

import pytest

from ssl_bio import sources
from ssl_bio.errors import DataError
from ssl_bio.schema import DataSection


@pytest.mark.parametrize("name", sources.SOURCES)
def test_source_says_what_and_whence(name: str) -> None:
    source = sources.SOURCES[name]
    assert source.title
    assert source.homepage
    assert urlparse(source.url).scheme in ("https", "")
    assert not source.url or urlparse(source.url).path.endswith(".zip")


def test_what_cannot_be_downloaded_says_how_to_prepare_it() -> None:
    assert sources.SOURCES["epilepsy"].url == "", "five zips of folders"
    with pytest.raises(DataError, match=r"epilepsy-s5 is not prepared .*ukbonn.*data prepare epilepsy --from .*recipe"):
        sources.dataset(DataSection(dataset="epilepsy", window=5.0))
