"""Formats of brain research, through the library mne."""

import sys
from pathlib import Path

import numpy as np
import pytest

from ssl_bio.data.formats.signal_files import load_file
from ssl_bio.errors import DataError

mne = pytest.importorskip("mne", reason="the extra mne is not installed")


def test_fif(tmp_path: Path) -> None:
    info = mne.create_info(["Fp1", "ECG", "STI"], 200.0, ["eeg", "ecg", "stim"])
    values = np.random.default_rng(0).normal(0, 1e-5, (3, 1000))
    mne.io.RawArray(values, info, verbose="error").save(tmp_path / "a_raw.fif", verbose="error")
    found, file = load_file(tmp_path / "a_raw.fif")
    assert (file.channels, file.sampling_rate, file.units) == (("Fp1", "ECG"), 200.0, ("V", "V"))
    np.testing.assert_allclose(found, values[:2], rtol=1e-5)


def test_brainvision(tmp_path: Path) -> None:
    (tmp_path / "a.vhdr").write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\nDataFile=a.eeg\nMarkerFile=a.vmrk\n"
        "DataFormat=BINARY\nDataOrientation=MULTIPLEXED\nNumberOfChannels=2\nSamplingInterval=4000\n"
        "[Binary Infos]\nBinaryFormat=INT_16\n[Channel Infos]\nCh1=Cz,,0.5,µV\nCh2=Pz,,0.5,µV\n",
        encoding="utf-8",
    )
    (tmp_path / "a.vmrk").write_text(
        "Brain Vision Data Exchange Marker File, Version 1.0\n[Common Infos]\nDataFile=a.eeg\n[Marker Infos]\n"
    )
    np.arange(2000, dtype="<i2").tofile(tmp_path / "a.eeg")
    found, file = load_file(tmp_path / "a.vhdr")
    assert (file.channels, file.sampling_rate, found.shape) == (("Cz", "Pz"), 250.0, (2, 1000))
    np.testing.assert_allclose(found[1, :3], np.array([1, 3, 5]) * 0.5e-6, rtol=1e-5)


def test_without_mne_a_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.fif").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "mne", None)
    with pytest.raises(DataError, match=r"pip install 'ssl-bio\[mne\]'"):
        load_file(tmp_path / "a.fif")
