"""Tables of samples as people's programs write them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ssl_bio.data.formats.signal_files import SignalFile, load_file
from ssl_bio.errors import DataError

WAVE = np.round(np.sin(np.arange(500) / 9), 4)


def read(path: Path, text: str) -> tuple[np.ndarray, SignalFile]:
    path.write_text(text, encoding="utf-8")
    return load_file(path)


def lines(*columns: np.ndarray, sep: str = ",", decimal: str = ".") -> str:
    rows = zip(*columns, strict=True)
    return "".join(sep.join(f"{value}".replace(".", decimal) for value in row) + "\n" for row in rows)


def test_a_column_of_time_gives_the_rate_and_is_no_channel(tmp_path: Path) -> None:
    time = np.round(np.arange(500) * 0.008, 3)
    values, file = read(tmp_path / "a.csv", "Time [s], PLETH\n" + lines(time, WAVE))
    assert (file.channels, file.sampling_rate, values.shape) == (("PLETH",), 125.0, (1, 500))
    np.testing.assert_array_equal(values[0], WAVE)
    assert file.remarks == ("column 'Time' is time, 125 Hz",)


@pytest.mark.parametrize(
    ("heading", "step", "rate"),
    [
        ("time", 0.002, 500.0),
        ("Time (ms)", 4, 250.0),
        ("t_ms", 10, 100.0),
        ("timestamp", 0.032, 31.25),
        ("seconds", 0.5, 2.0),
        ("ms", 5, 200.0),
        ("elapsed_time [min]", 1 / 60, 1.0),
    ],
)
def test_times_of_all_kinds(heading: str, step: float, rate: float, tmp_path: Path) -> None:
    _, file = read(tmp_path / "a.csv", f"{heading},ecg\n" + lines(np.arange(500) * step, WAVE))
    assert file.sampling_rate == pytest.approx(rate, rel=1e-5)
    assert file.channels == ("ecg",)


def test_moments_since_1970_and_dates(tmp_path: Path) -> None:
    milliseconds = 1_700_000_000_000 + 20 * np.arange(500)
    assert read(tmp_path / "a.csv", "timestamp,x\n" + lines(milliseconds, WAVE))[1].sampling_rate == 50.0
    dates = pd.date_range("2024-03-01 22:00:00", periods=500, freq="40ms").strftime("%Y-%m-%d %H:%M:%S.%f")
    values, file = read(tmp_path / "b.csv", "datetime;x\n" + lines(dates.to_numpy(), WAVE, sep=";"))
    assert file.sampling_rate == 25.0
    np.testing.assert_array_equal(values[0], WAVE)


def test_samples_are_missing_where_time_jumps(tmp_path: Path) -> None:
    kept = np.r_[0:200, 300:500]
    values, file = read(tmp_path / "a.csv", "time [s],x\n" + lines(np.round(kept * 0.01, 2), WAVE[kept]))
    assert (file.sampling_rate, values.shape) == (100.0, (1, 500))
    assert np.flatnonzero(np.isnan(values[0])).tolist() == list(range(200, 300))
    np.testing.assert_array_equal(values[0, kept], WAVE[kept])
    assert "100 samples are missing where it jumps" in file.remarks[0]


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (np.r_[0:250, 100:350] * 0.01, "time does not go forward at sample 250"),
        (np.cumsum(np.random.default_rng(0).exponential(1, 500)), "steps of all lengths"),
        (np.zeros(500), "does not go forward at sample 1"),
    ],
)
def test_clocks_that_cannot_be_are_refused(times: np.ndarray, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path / "a.csv", "time,x\n" + lines(times, WAVE))


@pytest.mark.parametrize(
    ("name", "head", "sep", "decimal"),
    [
        ("a.csv", "ppg [mV];acc (g)\n", ";", ","),
        ("a.csv", "ppg [mV];acc (g)\n", ";", "."),
        ("a.tsv", "ppg [mV]\tacc (g)\n", "\t", "."),
        ("a.txt", "# exported by a lamp\n#\nppg[mV],acc(g)\n", ",", "."),
        ("a.csv", "\ufeffppg,acc\nmV,g\n", ",", "."),
        ("a.csv", "'ppg','acc'\n'mV','g'\n", ",", "."),
    ],
)
def test_how_tables_are_written(name: str, head: str, sep: str, decimal: str, tmp_path: Path) -> None:
    values, file = read(tmp_path / name, head + lines(WAVE, -WAVE, sep=sep, decimal=decimal))
    assert file.channels == ("ppg", "acc")
    assert file.units == ("mV", "g")
    np.testing.assert_array_equal(values, [WAVE, -WAVE])


def test_tables_without_names(tmp_path: Path) -> None:
    values, file = read(tmp_path / "a.txt", lines(WAVE, -WAVE, sep="  "))
    assert (file.channels, file.named) == (("ch0", "ch1"), False)
    np.testing.assert_array_equal(values, [WAVE, -WAVE])
    values, file = read(tmp_path / "b.txt", lines(WAVE))
    assert (file.channels, values.shape) == (("ch0",), (1, 500))


def test_a_column_that_counts(tmp_path: Path) -> None:
    values, file = read(tmp_path / "a.csv", ",x\n" + lines(np.arange(500), WAVE))
    assert (file.channels, values.shape) == (("x",), (1, 500))
    assert "numbers the samples and is left out" in file.remarks[0]
    with pytest.raises(DataError, match=r"clk rises steadily.*call it time, with its unit"):
        read(tmp_path / "a.csv", "clk,x\n" + lines(np.arange(500), WAVE))


def test_missing_numbers_are_gaps(tmp_path: Path) -> None:
    values, _ = read(tmp_path / "a.csv", "x,y\n1,2\n,4\nNaN,6\n")
    np.testing.assert_array_equal(values, [[1, np.nan, np.nan], [2, 4, 6]])


def test_parquet(tmp_path: Path) -> None:
    table = pd.DataFrame({"time": np.arange(500) / 50, "ppg [mV]": WAVE})
    table.to_parquet(tmp_path / "a.parquet")
    values, file = load_file(tmp_path / "a.parquet")
    assert (file.channels, file.units, file.sampling_rate) == (("ppg",), ("mV",), 50.0)
    np.testing.assert_array_equal(values[0], WAVE)


@pytest.mark.parametrize("rate", [32, 64, 128, 256, 300, 360, 500, 700, 999.5])
@pytest.mark.parametrize("digits", [3, 6])
@pytest.mark.parametrize("gap", [False, True])
def test_written_times_are_rounded_and_the_rate_is_not(rate: float, digits: int, gap: bool, tmp_path: Path) -> None:
    if rate > 500 and digits == 3:
        pytest.skip("two samples fall on one written time")
    time = np.arange(4000) / rate
    if gap:
        time[2000:] += 1
    wave = np.round(np.sin(np.arange(4000) / 9), 4)
    text = "".join(f"{moment:.{digits}f},{value}\n" for moment, value in zip(time, wave, strict=True))
    values, file = read(tmp_path / "a.csv", "time [s],x\n" + text)
    assert file.sampling_rate == pytest.approx(rate, rel=1e-5)
    missing = int(np.isnan(values[0]).sum())
    assert missing == (pytest.approx(rate, abs=1) if gap else 0)
    known = values[0][np.isfinite(values[0])]
    np.testing.assert_array_equal(known, wave)


def test_a_rate_that_is_no_whole_number_stays_so(tmp_path: Path) -> None:
    time = np.arange(60_000) / 32.03
    text = "".join(f"{moment:.5f},{row % 7}\n" for row, moment in enumerate(time))
    assert read(tmp_path / "a.csv", "time,x\n" + text)[1].sampling_rate == pytest.approx(32.03, rel=1e-6)


def test_tables_as_pandas_and_numpy_write_them(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(30, 2))
    for name, options in (("index", {}), ("plain", {"index": False})):
        pd.DataFrame(array).to_csv(tmp_path / f"{name}.csv", **options)  # type: ignore[call-overload]
        values, file = load_file(tmp_path / f"{name}.csv")
        assert file.channels == ("0", "1")
        np.testing.assert_allclose(values, array.T)
    pd.DataFrame(array, columns=["x", "y"]).to_csv(tmp_path / "named.csv")
    assert load_file(tmp_path / "named.csv").file.channels == ("x", "y")
    np.savetxt(tmp_path / "a.txt", array, header="I II")
    values, file = load_file(tmp_path / "a.txt")
    assert file.channels == ("I", "II")
    np.testing.assert_allclose(values, array.T)


@pytest.mark.parametrize("second", ["\n", "# recorded at home\n", "s\n"])
def test_what_stands_between_names_and_numbers(second: str, tmp_path: Path) -> None:
    values, file = read(tmp_path / "a.csv", f"time,ppg\n{second}" + lines(np.arange(500) / 50, WAVE))
    assert (file.channels, file.sampling_rate) == (("ppg",), 50.0)
    np.testing.assert_array_equal(values[0], WAVE)


def test_a_first_sample_that_is_missing_is_no_line_of_units(tmp_path: Path) -> None:
    values, _ = read(tmp_path / "a.csv", "x,y\nNA,NA\n1,2\n")
    np.testing.assert_array_equal(values, [[np.nan, 1], [np.nan, 2]])


@pytest.mark.parametrize(
    ("heading", "times", "rate"),
    [
        ("'Elapsed time','ECG'\n'hh:mm:ss.mmm','mV'\n", [f"'0:00:{row / 50:06.3f}'" for row in range(500)], 50.0),
        ("elapsed time [m:s],ECG\n", [f"{row // 600}:{row / 10 % 60:04.1f}" for row in range(500)], 10.0),
        ("datetime,ECG\n", [f"21.11.2026 10:00:{row / 25:06.3f}" for row in range(500)], 25.0),
        (
            "time,ECG\n",
            [str(pd.Timestamp("2024-01-31 23:59:50") + pd.Timedelta(seconds=row / 2)) for row in range(500)],
            2.0,
        ),
    ],
)
def test_moments_as_they_are_written(heading: str, times: list[str], rate: float, tmp_path: Path) -> None:
    text = "".join(f"{moment},{value}\n" for moment, value in zip(times, WAVE, strict=True))
    values, file = read(tmp_path / "a.csv", heading + text)
    assert (file.channels, file.sampling_rate) == (("ECG",), rate)
    np.testing.assert_array_equal(values[0], WAVE)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-8-sig"])
def test_other_encodings(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Fühler [µV]\n1\n2\n", encoding=encoding)
    values, file = load_file(tmp_path / "a.csv")
    assert (file.channels, file.units) == (("Fühler",), ("µV",))
    assert values.tolist() == [[1, 2]]
