"""Pickles: plain data of any Python and numpy is read, everything else is refused before anything of it runs."""

import io
import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from ssl_bio.data.formats import pickles
from ssl_bio.errors import DataError

PLAIN: dict[Any, Any] = {
    "signal": {"wrist": {"BVP": np.arange(12.0).reshape(6, 2), "big": np.arange(3, dtype=">i2")}},
    "label": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    "flags": np.array([True, False]),
    "names": np.array(["a", "bcd"]),
    "nothing": np.zeros((0, 3)),
    "scalar": np.float64(2.5),
    "questionnaire": {"AGE": 34, "Gender": " m", "list": [1, (2.0, None, True)], "raw": b"\xff\x00"},
    7: 10**30,
}


class Python2Pickler(pickle._Pickler):
    """Writes what Python 2 wrote: text and bytes are one type, under the opcode BINSTRING."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)
    write: Any
    memoize: Any

    def save_text(self, text: str | bytes) -> None:
        raw = text.encode("latin1") if isinstance(text, str) else text
        self.write(b"T" + struct.pack("<i", len(raw)) + raw)
        self.memoize(text)

    dispatch[str] = save_text
    dispatch[bytes] = save_text


def python2(value: object) -> bytes:
    buffer = io.BytesIO()
    Python2Pickler(buffer, protocol=2).dump(value)
    return buffer.getvalue().replace(b"cnumpy._core.multiarray", b"cnumpy.core.multiarray")


def load(raw: bytes) -> Any:
    path = Path("S1.pkl")
    path.write_bytes(raw)
    return pickles.load(path)


def same(found: Any, expected: Any) -> None:
    assert type(found) in (type(expected), float)
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            same(found[key], value)
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    else:
        assert found == expected


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_of_every_protocol(protocol: int) -> None:
    same(load(pickle.dumps(PLAIN, protocol)), PLAIN)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_plain_data_of_numpy_before_2(protocol: int) -> None:
    raw = pickle.dumps(PLAIN, protocol)
    for old, new in ((b"numpy._core", b"numpy.core"), (b"\x8c\x16numpy.core.m", b"\x8c\x15numpy.core.m")):
        raw = raw.replace(old, new)
    raw = raw.replace(b"\x8c\x13numpy.core.numeric", b"\x8c\x12numpy.core.numeric")
    if protocol > 3:
        raw = raw[:2] + raw[11:]  # without the frame's length, which has changed
    same(load(raw), PLAIN)


def test_plain_data_of_python_2() -> None:
    expected = {**PLAIN, "questionnaire": {**PLAIN["questionnaire"], "raw": "\xff\x00"}}
    raw = python2(PLAIN)
    assert b"cnumpy.core.multiarray\n_reconstruct\n" in raw
    same(load(raw), expected)


class Calls:
    """Is pickled as a call, or as a bare class with a state."""

    def __init__(self, *how: Any) -> None:
        self.how = how

    def __reduce__(self) -> Any:
        return self.how


def traces() -> list[str]:
    return [path.name for path in Path().iterdir() if path.name != "S1.pkl"]


HOSTILE = {
    "REDUCE": (pickle.dumps([1, Calls(os.system, ("touch hacked",))]), "asks for posix.system"),
    "REDUCE, protocol 0": (pickle.dumps(Calls(os.system, ("touch hacked",)), 0), "asks for posix.system"),
    "eval": (pickle.dumps(Calls(eval, ("__import__('pathlib').Path('hacked').touch()",))), "asks for builtins.eval"),
    "Python 2's eval": (
        b"c__builtin__\neval\n(S\"__import__('os').mkdir('hacked')\"\ntR.",
        "asks for __builtin__.eval",
    ),
    "NEWOBJ": (pickle.dumps(Path("x")), "asks for pathlib.PosixPath"),
    "INST": (b"(S'touch hacked'\nios\nsystem\n.", "asks for os.system"),
    "OBJ": (b"(cos\nsystem\nS'touch hacked'\no.", "asks for os.system"),
    "a class": (pickle.dumps(OrderedDict(a=1)), "asks for collections.OrderedDict"),
    "getattr": (pickle.dumps(getattr), "asks for builtins.getattr"),
    "a dotted name": (b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.", r"asks for numpy\.ndarray\.tofile"),
    "numpy's own loader": (b"cnumpy\nload\n(S'x.npy'\ntR.", "asks for numpy.load"),
    "other codecs": (b"c_codecs\nencode\n(Vx\nVhex\ntR.", "gives 'hex' where one of latin1 belongs"),
    "bytes of a size": (b"c__builtin__\nbytes\n(I99999999999\ntR.", "TypeError"),
    "a persistent id": (b"Psomewhere\n.", "UnpicklingError.*persistent"),
    "an array of objects": (pickle.dumps(np.array([1, "a", None], object)), "an array of 'O8'"),
    "an array of classes": (pickle.dumps(np.array([os.system], object)), "S1.pkl: (asks for posix|holds an array)"),
    "a record array": (pickle.dumps(np.zeros(2, [("a", "i4"), ("b", "O")])), "an array of 'V12'"),
    "numpy's class": (b"cnumpy\nndarray\n.", "holds ndarray where a value belongs"),
    "a class with arguments": (b"cnumpy\nndarray\n(I3\ntR.", "TypeError"),
    "a new object": (b"\x80\x02cnumpy\nndarray\n)\x81.", "not a whole pickle"),
    "a state for a function": (b"\x80\x02c_codecs\nencode\n}\x8c\x05value\x8c\x01xsb.", "not a whole pickle"),
    "slots for a function": (b"\x80\x02c_codecs\nencode\nN}\x8c\x08__call__\x8c\x01xs\x86b.", "AttributeError"),
    "a loop": (b"(lp0\ng0\na.", "RecursionError"),
    "half of one": (pickle.dumps(PLAIN)[:200], "not a whole pickle"),
    "no pickle": (b"signal,1,2,3\n", "not a whole pickle"),
    "nothing": (b"", "EOFError"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_pickle_is_refused_and_named_and_nothing_runs(kind: str) -> None:
    raw, message = HOSTILE[kind]
    with pytest.raises(DataError, match=rf"S1\.pkl: .*{message}|{message}"):
        load(raw)
    assert traces() == []


def test_these_pickles_are_hostile_indeed() -> None:
    """The tests above would pass on harmless files, too."""
    for kind in ("REDUCE", "REDUCE, protocol 0", "eval", "INST", "OBJ"):
        # Only Python's own loader shows that these bytes run code where ours refuses them. They are made in this file.
        pickle.loads(HOSTILE[kind][0])  # reason: a proof; all it does is to make one empty file in a temporary folder
        assert traces() == ["hacked"], kind
        Path("hacked").unlink()


def forged(kind: np.dtype[Any], raw: bytes) -> bytes:
    """An array of objects whose pointers come from the file: its dtype's state claims that it holds none."""

    class Forged:
        def __reduce__(self) -> Any:
            start = np.zeros(0).__reduce__()
            dtype = Calls(np.dtype, (kind.str[1:], False, True), (3, "|", None, None, None, 8, 8, 0))
            return start[0], start[1], (1, (1,), dtype, False, raw)

    return pickle.dumps(Forged(), 2)


def test_forged_arrays_are_refused() -> None:
    with pytest.raises(DataError, match="an array of 'O'"):
        load(forged(np.dtype(object), b"A" * 8))
    with pytest.raises(DataError, match="ValueError"):
        load(forged(np.dtype(np.float64), b"A" * 7))
    assert load(forged(np.dtype(np.float64), bytes(8))).tolist() == [0]


def test_arrays_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        load(pickle.dumps(np.zeros(3)))[0] = 1
