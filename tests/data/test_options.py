"""Options name the windows they make and replace a protocol's."""

from dataclasses import replace

import pytest

from ssl_bio.data.options import WindowOptions
from ssl_bio.errors import DataError


def test_options_name_the_windows_and_replace_the_protocols() -> None:
    protocol = WindowOptions(sampling_rate=360, window=2.0, stride=2.0, highpass=0.0, standardize="none")
    assert WindowOptions().label("mitdb") == "mitdb"
    chosen = WindowOptions(sampling_rate=125, window=30.72, standardize="record")
    assert chosen.label("c") == "c-hz125-s30.72-by-record"
    everything = WindowOptions(stride=1, highpass=0, padding="repeat", context=2.5, derive="breathing")
    assert everything.label("b") == "b-step1-hp0-pad-repeat-around2.5-derive-breathing"
    assert WindowOptions(window=3).with_defaults(protocol) == replace(protocol, window=3)
    with pytest.raises(DataError, match=r"^data\.window, data\.stride: this dataset's windows come ready-made"):
        WindowOptions(window=3, stride=1).require_unset()
