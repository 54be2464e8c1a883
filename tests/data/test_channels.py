"""Channels are found by name, whatever the spelling."""

import pytest

from ssl_bio.data.channels import match_channels
from ssl_bio.errors import DataError


@pytest.mark.parametrize(
    ("wanted", "found", "places"),
    [
        (["II"], ["V1", "MLII"], [1]),
        (["II", "V1"], ["ECG V1", "ecg ii"], [1, 0]),
        (["ppg", "ecg"], ["ECG", "PLETH", "Resp"], [1, 0]),
        (["AVR"], ["aVL", "Lead aVR"], [1]),
        (["x", "X"], ["X", "x"], [1, 0]),
        (["acc_x", "acc_y"], ["acc y", "acc x"], [1, 0]),
        (["EEG Fp1"], ["Fp2", "Fp1"], [1]),
    ],
)
def test_names_and_their_spellings(wanted: list[str], found: list[str], places: list[int]) -> None:
    assert match_channels(wanted, found, where="a.csv") == places


def test_what_is_missing_or_could_be_several() -> None:
    with pytest.raises(DataError, match=r"a\.csv: no channel V6; it has I, II"):
        match_channels(["V6"], ["I", "II"], where="a.csv")
    with pytest.raises(DataError, match=r"channels MLII, ECG II could each be II"):
        match_channels(["II"], ["MLII", "ECG II"], where="a.csv")
