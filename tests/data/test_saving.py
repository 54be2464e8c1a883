"""Recordings are written in the formats that can hold them."""

from pathlib import Path

import pytest

from ssl_bio.data.saving import check_recording_name
from ssl_bio.errors import DataError


@pytest.mark.parametrize(
    ("name", "rate", "message"),
    [("my rec.hea", 360.0, "letters, digits"), ("a.b.hea", 360.0, "letters, digits"), ("a.wav", 173.61, "whole rates")],
)
def test_what_a_format_cannot_hold(name: str, rate: float, message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_recording_name(Path(name), rate)
