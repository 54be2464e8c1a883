"""Windows of new recordings are those that the dataset's own reader would cut, and memory stays flat."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ssl_bio.data import respiration, windows
from ssl_bio.data.new_recordings import Preprocessing, files_of, open_recording, windows_of_array
from ssl_bio.data.options import WindowOptions
from ssl_bio.data.windows import Windower
from ssl_bio.errors import DataError

OPTIONS = WindowOptions(sampling_rate=50.0, window=2.0, stride=1.0, highpass=0.5, standardize="record")
PREPROCESSING = Preprocessing(("ecg", "ppg"), "mV", OPTIONS)


def signals(samples: int = 1000) -> np.ndarray:
    return np.cumsum(np.random.default_rng(0).normal(size=(2, samples)), axis=1)


def test_a_file_an_array_and_the_windower_agree(tmp_path: Path) -> None:
    values = np.round(signals(), 4)
    lines = "".join(f"{second},{first}\n" for first, second in values.T)
    (tmp_path / "a.csv").write_text("PPG,ECG\n" + lines)
    expected = Windower(OPTIONS).windows(values, 100.0)
    with open_recording(tmp_path / "a.csv", PREPROCESSING, sampling_rate=100) as found:
        np.testing.assert_array_equal(found.windows.signals, expected.signals)
        assert found.starts.tolist() == expected.bounds()[0].tolist()
        assert found.ends.tolist() == [start + 2 for start in found.starts.tolist()]
        assert "resampled from 100 to 50 Hz; what is faster than 25 Hz is lost" in found.remarks
        assert found.windows.info.channels == ("ecg", "ppg")
    in_memory = windows_of_array(values, PREPROCESSING, sampling_rate=100)
    np.testing.assert_array_equal(in_memory.windows.signals, expected.signals)


def test_what_is_short_is_padded_and_said() -> None:
    found = windows_of_array(signals(60), PREPROCESSING, sampling_rate=50)
    assert found.windows.signals.shape == (1, 2, 100)
    assert not found.windows.signals[0, :, 60:].any()
    assert "1.2 s, padded to a window of 2 s" in found.remarks


def test_windows_with_gaps_are_left_out_and_said() -> None:
    values = signals()
    values[0, 500:520] = np.nan
    found = windows_of_array(values, PREPROCESSING, sampling_rate=50)
    assert len(found.starts) == 17
    assert any("touch a gap" in remark for remark in found.remarks)


@pytest.mark.parametrize(
    ("rate", "message"),
    [(0, "does not say its sampling rate: give --sampling-rate HZ"), (float("inf"), "inf Hz is no sampling rate")],
)
def test_rates_that_cannot_be(rate: float, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", signals())
    with pytest.raises(DataError, match=message), open_recording(tmp_path / "a.npy", PREPROCESSING, sampling_rate=rate):
        pass


def test_a_rate_that_the_file_denies(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", signals=signals(), sampling_rate=100.0)
    with (
        pytest.raises(DataError, match="recorded at 100 Hz, not --sampling-rate 50"),
        open_recording(tmp_path / "a.npz", PREPROCESSING, sampling_rate=50),
    ):
        pass


def test_files_of_a_folder(tmp_path: Path) -> None:
    for name in ("b/1.csv", "a.edf", "a.npy", "table.csv", "notes.md", "r.hea", "r.dat", "r.mat"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    found = [path.relative_to(tmp_path).as_posix() for path in files_of(tmp_path)]
    assert found == ["a.edf", "a.npy", "b/1.csv", "r.hea"], "a header's data are read through it"
    with pytest.raises(DataError, match="no such file or folder"):
        files_of(tmp_path / "nothing")


def test_memory_does_not_grow_with_the_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "LARGEST_AT_ONCE", 2**16)
    one = Preprocessing(("x",), "mV", replace(OPTIONS, sampling_rate=125.0, stride=2.0))

    def peak(hours: float) -> int:
        path = tmp_path / "long.npy"
        np.save(path, np.random.default_rng(0).normal(size=(1, round(hours * 3600 * 250))).astype(np.float32))
        with open_recording(path, one, sampling_rate=250):
            pass  # what is imported when it is needed
        tracemalloc.start()
        with open_recording(path, one, sampling_rate=250) as found:
            for start in range(0, len(found.windows.signals), 256):
                found.windows.signals[start : start + 256]
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    short = peak(1)
    assert peak(6) < short + 6 * 2**20, "a flag a sample, and where windows start"


def test_what_is_derived_from_a_pulse(tmp_path: Path) -> None:
    time = np.arange(60 * 125) / 125
    pulse = np.exp(-0.5 * (((time * 1.2) % 1 - 0.4) / 0.1) ** 2) * (1 + 0.2 * np.sin(2 * np.pi * 0.25 * time))
    options = replace(OPTIONS, sampling_rate=4.0, window=10.0, stride=10.0, highpass=0.0, derive="breathing")
    preprocessing = Preprocessing(respiration.NAMES, respiration.UNIT, options)
    expected = Windower(options).windows(respiration.respiratory_modulations(pulse, 125.0), respiration.RATE)
    np.savez(tmp_path / "a.npz", signals=pulse, sampling_rate=125.0)
    with open_recording(tmp_path / "a.npz", preprocessing) as found:
        np.testing.assert_array_equal(found.windows.signals, expected.signals)
        assert found.windows.signals.shape == (6, len(respiration.NAMES), 40)
    again = windows_of_array(pulse[None], preprocessing, sampling_rate=125)
    np.testing.assert_array_equal(again.windows.signals, expected.signals)
    with pytest.raises(DataError, match=r"shape \(7, 9\), not \(1, samples\): ppg"):
        windows_of_array(np.zeros((7, 9)), preprocessing, sampling_rate=125)


def test_a_run_that_took_the_middle_of_records_takes_all_of_a_long_one() -> None:
    preprocessing = PREPROCESSING._replace(options=replace(OPTIONS, stride=0.0))
    assert windows_of_array(signals(150), preprocessing, sampling_rate=50).starts.tolist() == [0.5]
    assert windows_of_array(signals(250), preprocessing, sampling_rate=50).starts.tolist() == [0, 2]
