"""In what form signals come to a network."""

import pytest

from ssl_bio.data.dataset import DatasetInfo
from ssl_bio.runs.inputs import InputSpec, input_spec, stored_input_spec
from tests.runs.checkpoints import metadata

INFO = DatasetInfo(
    name="s",
    title="t",
    source="s",
    sampling_rate=50.0,
    channels=("ecg", "ppg"),
    unit="mV",
    n=4,
    length=500,
    targets={},
    schemes={},
)


def rate_length_window(spec: InputSpec) -> tuple[float, int, int]:
    return spec.sampling_rate, spec.length, spec.window


def test_a_new_network_takes_windows_as_they_are_or_crops() -> None:
    whole = input_spec(INFO, window=0)
    assert rate_length_window(whole) == (50.0, 500, 500)
    assert (whole.n_channels, whole.channels, whole.crop) == (2, ("ecg", "ppg"), 0)
    cropped = input_spec(INFO, window=4)
    assert rate_length_window(cropped) == (50.0, 500, 200)
    assert cropped.crop == 200
    assert rate_length_window(input_spec(INFO, window=40)) == (50.0, 500, 500)


@pytest.mark.parametrize(("learns_positions", "window"), [(True, 300), (False, 1000)])
def test_a_pretrained_network_keeps_its_rate_and_learnt_positions_reach_no_further(
    learns_positions: bool, window: int
) -> None:
    start = metadata(channels=("ecg",), length=300, window=300, sampling_rate=100.0)
    spec = input_spec(INFO, window=0, start=start, learns_positions=learns_positions)
    assert rate_length_window(spec) == (100.0, 1000, window)


def test_a_finished_run_says_its_own() -> None:
    said = metadata(channels=("ecg",), length=300, window=200, sampling_rate=100.0)
    assert stored_input_spec(said) == InputSpec(("ecg",), 100.0, 300, 200)
