"""The PPG-DaLiA reader on small pickles with the publisher's structure, as Python 2 and 3 write them."""

import os
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssl_bio.data.options import WindowOptions
from ssl_bio.data.readers.dalia import ACTIVITIES, DATASET
from ssl_bio.errors import DataError
from tests.data.formats.test_pickles import Calls, python2
from tests.data.reading import read_with

SECONDS = 60
N_LABELS = (SECONDS - 8) // 2 + 1
BREATH = 0.3  # Hz


def person(number: int, seconds: int = SECONDS) -> dict[str, Any]:
    """Sitting for 20 s, then cycling; label i is 60 + i; the breath rides on a slow drift."""

    def time(rate: float) -> np.ndarray:
        return np.arange(round(seconds * rate)) / rate

    wave = np.sin(2 * np.pi * 1.2 * time(64))[:, None]
    acceleration = np.stack([np.sin(2 * np.pi * f * time(32)) for f in (0.5, 1.0, 2.0)], axis=1)
    breath = np.sin(2 * np.pi * BREATH * time(700)) + 20 * np.sin(2 * np.pi * 0.004 * time(700))
    return {
        "rpeaks": np.arange(0, seconds * 700, 600, dtype=np.int32),
        "signal": {
            "chest": {"ECG": np.zeros((round(seconds * 700), 1)), "Resp": breath[:, None]},
            "wrist": {"ACC": acceleration, "BVP": 10 * wave, "EDA": np.zeros((seconds * 4, 1))},
        },
        "label": 60.0 + np.arange((seconds - 8) // 2 + 1),
        "activity": np.where(time(4) < 20, 1.0, 4.0)[:, None],
        "questionnaire": {"AGE": 34, "Gender": " m", "SKIN": 3},
        "subject": f"S{number}",
    }


def write(folder: Path, n: int = 3, dump: Any = pickle.dumps) -> Path:
    for number in range(1, n + 1):
        path = folder / f"S{number}/S{number}.pkl"
        path.parent.mkdir(parents=True)
        path.write_bytes(dump(person(number)))
    return folder


@pytest.mark.parametrize("dump", [pickle.dumps, python2])
def test_the_publishers_windows(tmp_path: Path, dump: Any) -> None:
    data = read_with(DATASET, write(tmp_path / "PPG_FieldStudy", dump=dump))
    assert data.info.channels == ("ppg", "acc_x", "acc_y", "acc_z")
    assert data.signals.shape == (3 * N_LABELS, 4, 512)
    expected = 10 * np.sin(2 * np.pi * 1.2 * (2 + np.arange(512) / 64))
    np.testing.assert_allclose(data.signals[1, 0], expected, atol=1e-5)
    np.testing.assert_allclose(data.signals[3, 2], np.sin(2 * np.pi * (6 + np.arange(512) / 64)), atol=0.02)
    assert data.subjects.tolist() == ["S1"] * N_LABELS + ["S2"] * N_LABELS + ["S3"] * N_LABELS
    assert data.targets["hr"][:N_LABELS].tolist() == [60 + index for index in range(N_LABELS)]
    np.testing.assert_allclose(data.targets["rr_hz"], BREATH, atol=0.02)
    np.testing.assert_allclose(np.asarray(data.targets["rr"]), 60 * np.asarray(data.targets["rr_hz"]), rtol=1e-6)
    named = [ACTIVITIES[code] for code in data.targets["activity"][:N_LABELS]]
    assert named == ["sitting"] * 9 + ["cycling"] * (N_LABELS - 9), "half and half at 16 s: the lower code"
    assert data.info.targets["hr"].unit == "beats/min"
    assert next(iter(data.info.targets)) == "hr"


def test_longer_windows_have_the_mean_of_labels_inside(tmp_path: Path) -> None:
    data = read_with(DATASET, write(tmp_path / "d"), WindowOptions(window=19.53125, stride=1))
    assert data.info.length == 1250
    rates = data.targets["hr"][:41]
    assert rates[0] == pytest.approx(60 + np.mean(range(6))), "[0, 19.5) holds the windows that begin at 0, 2 ... 10 s"
    assert rates[1] == pytest.approx(60 + np.mean(range(1, 7))), "[1, 20.5): 2 ... 12 s"
    assert np.isfinite(rates).all()
    np.testing.assert_allclose(data.targets["rr_hz"], BREATH, atol=0.005)


def test_shorter_windows_have_the_nearest_label(tmp_path: Path) -> None:
    rates = read_with(DATASET, write(tmp_path / "d"), WindowOptions(window=4, stride=1)).targets["hr"][:57]
    assert rates[:9].tolist() == [60, 60, 60, 60, 61, 62, 62, 62, 63], (
        "centres at 2, 3 ... s; the labels' at 4, 6 ... s"
    )
    assert rates[-1] == 60 + N_LABELS - 1


def test_windows_beyond_the_labels_keep_their_place(tmp_path: Path) -> None:
    folder = write(tmp_path / "d")
    changed = person(1)
    changed["label"] = changed["label"][:20]  # the last one's window ends at 46 s
    changed["signal"]["chest"]["Resp"] = changed["signal"]["chest"]["Resp"][: 30 * 700]
    (folder / "S1/S1.pkl").write_bytes(pickle.dumps(changed))
    data = read_with(DATASET, folder)
    assert np.isfinite(data.targets["hr"][:20]).all()
    assert np.isnan(data.targets["hr"][20:N_LABELS]).all()
    assert np.isfinite(data.targets["rr"][:12]).all()
    assert np.isnan(data.targets["rr"][12:N_LABELS]).all()


OTHER_RATE = WindowOptions(sampling_rate=32, highpass=0.1, standardize="record")


def test_another_rate(tmp_path: Path) -> None:
    data = read_with(
        DATASET, write(tmp_path / "d"), WindowOptions(sampling_rate=32, highpass=0.1, standardize="record")
    )
    assert data.signals.shape == (3 * N_LABELS, 4, 256)
    assert np.concatenate(data.signals[:N_LABELS:4, 0]).std() == pytest.approx(1, abs=0.05)


def test_silent_breath_is_nan(tmp_path: Path) -> None:
    folder = write(tmp_path / "d")
    changed = person(1)
    changed["signal"]["chest"]["Resp"][:] = 0
    (folder / "S1/S1.pkl").write_bytes(pickle.dumps(changed))
    assert np.isnan(read_with(DATASET, folder).targets["rr_hz"][:N_LABELS]).all()


def test_zip_inside_a_zip(tmp_path: Path) -> None:
    write(tmp_path / "x/PPG_FieldStudy")
    inner = shutil.make_archive(str(tmp_path / "data"), "zip", tmp_path / "x")
    with zipfile.ZipFile(tmp_path / "ppg+dalia.zip", "w") as file:
        file.write(inner, "data.zip")
    assert len(read_with(DATASET, tmp_path / "ppg+dalia.zip").signals) == 3 * N_LABELS


def test_people_are_split_in_their_order(tmp_path: Path) -> None:
    data = read_with(DATASET, write(tmp_path / "d", n=15))
    assert data.subjects[-1] == "S15"
    assert [len(data.rows("subject", part)) // N_LABELS for part in ("train", "val", "test")] == [11, 2, 2]


def broken(change: Any) -> bytes:
    whole = person(1)
    change(whole)
    return pickle.dumps(whole)


def test_hostile_pickle_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "d")
    path = folder / "S2/S2.pkl"
    path.write_bytes(pickle.dumps({**person(2), "subject": Calls(os.system, ("touch hacked",))}))
    with pytest.raises(DataError, match=r"S2\.pkl: asks for posix\.system"):
        read_with(DATASET, folder)
    assert not Path("hacked").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data["signal"]["wrist"].pop("BVP"), r"S1\.pkl: no numbers under signal / wrist / BVP"),
        (lambda data: data.update(signal=3), "no numbers under signal / wrist / BVP"),
        (lambda data: data.update(label=np.array(["a"])), "no numbers under label"),
        (lambda data: data["signal"]["wrist"].update(ACC=np.zeros(31)), "no numbers under .* ACC, 3 to a sample"),
        (lambda data: data["activity"].fill(11), r"S1\.pkl: activity 11 is not 0 to 8"),
        (lambda data: data["activity"].fill(np.nan), r"S1\.pkl: activity nan is not 0 to 8"),
    ],
)
def test_bad_people_are_named_and_counted(tmp_path: Path, change: Any, message: str) -> None:
    folder = write(tmp_path / "d")
    (folder / "S1/S1.pkl").write_bytes(broken(change))
    with pytest.raises(DataError, match=message):
        read_with(DATASET, folder)
    assert read_with(DATASET, folder, max_skipped=0.4).info.skipped.keys() == {"S1/S1.pkl"}


def test_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "S1").mkdir()
    (tmp_path / "S1/S2.pkl").write_bytes(b"")
    with pytest.raises(DataError, match="not PPG-DaLiA"):
        read_with(DATASET, tmp_path)
