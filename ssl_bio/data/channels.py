"""Channels by name, whatever the spelling: "II", "ECG II" and "MLII" are one lead."""

import re
from collections.abc import Sequence

from ssl_bio.errors import DataError

_PREFIX = re.compile(r"^(ecg|ekg|eeg|lead|channel)(?=[ivx]|av[rlf]|ml|[a-z]{1,2}\d|$)")
_SYNONYMS = {
    "ekg": "ecg",
    "mlii": "ii",
    "mli": "i",
    "mliii": "iii",
    "pleth": "ppg",
    "plethysmogram": "ppg",
    "plethysmograph": "ppg",
    "bvp": "ppg",
    "respiration": "resp",
    "breathing": "resp",
    "abp": "art",
    "arterialpressure": "art",
}


def plain_name(channel: str) -> str:
    """Return a channel's name without case, punctuation, and what kind of signal a lead is of."""
    text = re.sub(r"[^\w]|_", "", channel.casefold())
    shorter = _PREFIX.sub("", text) or text
    return _SYNONYMS.get(shorter, shorter)


def match_channels(wanted: Sequence[str], found: Sequence[str], *, where: str) -> list[int]:
    """Return the places in `found` of the channels `wanted`, in that order: by the very name, else by `plain_name`.

    Raises DataError that names `where` for a channel that is missing or could be several.
    """
    plain = [plain_name(name) for name in found]
    places = []
    for name in wanted:
        exact = [place for place, other in enumerate(found) if other == name]
        same = exact or [place for place, other in enumerate(plain) if other == plain_name(name)]
        if len(same) != 1:
            what = f"channels {', '.join(found[place] for place in same)} could each be" if same else "no channel"
            raise DataError(f"{where}: {what} {name}; it has {', '.join(found)}")
        places.append(same[0])
    return places
