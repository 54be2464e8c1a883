"""Pickles of plain data, read without running what they ask for.

A pickle is a program: it names callables and has them called. Here the few names that numpy's arrays need stand for
objects of this file, which accept nothing but numbers and text, and every other name is refused. The pickle never
obtains a class, numpy or anything that can be changed.
"""

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from ssl_bio.errors import DataError

_PLAIN_KINDS = "biufcSU"  # numbers and text of fixed width: whatever bytes they are made of, they are harmless
_ORDERS: tuple[Literal["<", ">", "=", "|"], ...] = ("<", ">", "=", "|")

Choice = TypeVar("Choice", bound=str)


class _Kind:
    """A `numpy.dtype` under construction."""

    __slots__ = ("value",)

    def __init__(self, value: np.dtype[Any]) -> None:
        self.value = value

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Take the byte order; the rest of the state describes fields, which plain numbers have none of."""
        self.value = self.value.newbyteorder(_member(state[1], _ORDERS))


class _Array:
    """A `numpy.ndarray` under construction."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: np.ndarray[Any, Any] = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Take `(version, shape, dtype, is_fortran, bytes)`, as numpy has pickled arrays since 1.0."""
        *_, shape, kind, is_fortran, raw = state
        self.value = _from_bytes(raw, kind).reshape(shape, order="F" if is_fortran else "C")


class _Ndarray:
    """Stands for the class `numpy.ndarray`, which is only ever passed on."""

    __slots__ = ()


class _Dtype:
    """Stands for `numpy.dtype(code, align, copy)`."""

    __slots__ = ()

    def __call__(self, code: str | bytes, *_: object) -> _Kind:
        kind = np.dtype(_text(code))
        if kind.kind not in _PLAIN_KINDS or kind.names or kind.subdtype:
            raise DataError(f"holds an array of {_text(code)!r}, not of numbers or text")
        return _Kind(kind)


class _Reconstruct:
    """Stands for numpy's `_reconstruct(ndarray, (0,), b"b")`: an empty array, whose state follows."""

    __slots__ = ()

    def __call__(self, *_: object) -> _Array:
        return _Array()


class _Scalar:
    """Stands for numpy's `scalar(dtype, bytes)`."""

    __slots__ = ()

    def __call__(self, kind: _Kind, raw: str | bytes) -> Any:
        return _from_bytes(raw, kind)[0].item()


class _FromBuffer:
    """Stands for numpy's `_frombuffer(bytes, dtype, shape, order)`, of pickle protocol 5."""

    __slots__ = ()

    def __call__(self, raw: bytes, kind: _Kind, shape: tuple[int, ...], order: str) -> _Array:
        array = _Array()
        array.value = _from_bytes(raw, kind).reshape(shape, order="F" if order == "F" else "C")
        return array


class _Encode:
    """Stands for `_codecs.encode(text, "latin1")`, by which protocols 0 to 2 write the bytes of Python 3."""

    __slots__ = ()

    def __call__(self, text: str, codec: str) -> bytes:
        return text.encode(_member(codec, ("latin1",)))


class _NoBytes:
    """Stands for `bytes()`, by which those protocols write an empty one."""

    __slots__ = ()

    def __call__(self) -> bytes:
        return b""


_NUMPY_MODULES = ("numpy.core", "numpy._core")  # before and since numpy 2
_KNOWN: Mapping[tuple[str, str], object] = {
    ("numpy", "ndarray"): _Ndarray(),
    ("numpy", "dtype"): _Dtype(),
    ("_codecs", "encode"): _Encode(),
    ("__builtin__", "bytes"): _NoBytes(),
    **{(f"{module}.multiarray", "_reconstruct"): _Reconstruct() for module in _NUMPY_MODULES},
    **{(f"{module}.multiarray", "scalar"): _Scalar() for module in _NUMPY_MODULES},
    **{(f"{module}.numeric", "_frombuffer"): _FromBuffer() for module in _NUMPY_MODULES},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _KNOWN:
            raise DataError(f"asks for {module}.{name}, which plain data has no need of; nothing of it was run")
        return _KNOWN[module, name]


def load(path: Path) -> Any:
    """Return what a pickle holds, of Python 2 or 3 and any numpy: dictionaries, lists, tuples, text, numbers, bytes and
    numpy arrays of numbers or text, which cannot be written to.

    Raises DataError that names the file and what it asks for when it holds or calls anything else, or is broken.
    """
    try:
        with path.open("rb") as file:
            return _finished(_Unpickler(file, encoding="latin1").load())
    except DataError as error:
        raise DataError(f"{path.name}: {error}") from error
    # A pickle that is broken, or made up, raises whatever its steps run into.
    except Exception as error:
        raise DataError(f"{path.name}: not a whole pickle of plain data ({type(error).__name__}: {error})") from error


def _finished(value: Any) -> Any:
    """Return the same with real arrays in it."""
    if isinstance(value, _Array | _Kind):
        return value.value
    if isinstance(value, dict):
        return {_finished(key): _finished(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(_finished(entry) for entry in value)
    if type(value) in _STAND_INS:
        raise DataError(f"holds {type(value).__name__.strip('_').lower()} where a value belongs")
    return value


_STAND_INS = {type(stand_in) for stand_in in _KNOWN.values()}


def _from_bytes(raw: str | bytes, kind: _Kind) -> np.ndarray[Any, Any]:
    # Python 2's text and bytes are one, which the unpickler decodes.
    return np.frombuffer(raw.encode("latin1") if isinstance(raw, str) else raw, kind.value)


def _text(value: str | bytes) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def _member(value: str | bytes, allowed: Iterable[Choice]) -> Choice:
    for choice in allowed:
        if choice == _text(value):
            return choice
    raise DataError(f"gives {_text(value)[:40]!r} where one of {', '.join(allowed)} belongs")
