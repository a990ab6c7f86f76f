"""Universal Binary JSON (ubjson.org, draft 12), read-only: the form that XGBoost saves boosters in.

Reading it takes a page; XGBoost, which would read it too, brings SciPy and 160 MB into every gateway.
"""

import struct
from typing import Any, Final

import numpy as np

_NUMBERS: Final[dict[int, np.dtype[Any]]] = {
    ord("i"): np.dtype(">i1"),
    ord("U"): np.dtype(">u1"),
    ord("I"): np.dtype(">i2"),
    ord("l"): np.dtype(">i4"),
    ord("L"): np.dtype(">i8"),
    ord("d"): np.dtype(">f4"),
    ord("D"): np.dtype(">f8"),
}
_CONSTANTS: Final[dict[int, Any]] = {ord("Z"): None, ord("T"): True, ord("F"): False}
_DEEPEST: Final = 32


def decode(content: bytes) -> Any:
    """The value that some bytes hold; arrays of one number type come as ``numpy.ndarray``.

    Raises
    ------
    ValueError
        When they hold no value, or end too early, or go on after it.
    """
    reader = _Reader(content)
    try:
        value = reader.value(reader.byte(), _DEEPEST)
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"no UBJSON: {error}") from error
    if reader.place != len(content):
        raise ValueError("no UBJSON: bytes after its end")
    return value


class _Reader:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self.place = 0

    def byte(self) -> int:
        self.place += 1
        return self._content[self.place - 1]

    def value(self, marker: int, depth: int) -> Any:
        if marker in _CONSTANTS:
            return _CONSTANTS[marker]
        if marker in _NUMBERS:
            return self._numbers(_NUMBERS[marker], 1)[0].item()
        if marker == ord("S"):
            return self._text()
        if marker in b"[{" and depth:
            return self._array(depth - 1) if marker == ord("[") else self._object(depth - 1)
        raise ValueError(f"no UBJSON: marker {marker} at byte {self.place - 1}")

    def _array(self, depth: int) -> Any:
        kind, count = self._header()
        if kind is not None and kind in _NUMBERS:
            return self._numbers(_NUMBERS[kind], count)
        items: list[Any] = []
        while self._more(count, len(items), b"]"):
            items.append(self.value(self.byte() if kind is None else kind, depth))
        return items

    def _object(self, depth: int) -> dict[str, Any]:
        kind, count = self._header()
        items: dict[str, Any] = {}
        while self._more(count, len(items), b"}"):
            name = self._text()
            items[name] = self.value(self.byte() if kind is None else kind, depth)
        return items

    def _header(self) -> tuple[int | None, int]:
        """Type and number of the items where they are given, else None and -1."""
        kind = None
        if self._content[self.place] == ord("$"):
            self.place += 1
            kind = self.byte()
        if self._content[self.place] != ord("#"):
            if kind is not None:
                raise ValueError("no UBJSON: a type without a count")
            return None, -1
        self.place += 1
        return kind, self._length()

    def _more(self, count: int, found: int, end: bytes) -> bool:
        if count >= 0:
            return found < count
        if self._content[self.place] != end[0]:
            return True
        self.place += 1
        return False

    def _length(self) -> int:
        marker = self.byte()
        if marker not in _NUMBERS or _NUMBERS[marker].kind == "f":
            raise ValueError(f"no UBJSON: length of type {marker}")
        length: int = self._numbers(_NUMBERS[marker], 1)[0].item()
        if not 0 <= length <= len(self._content):
            raise ValueError(f"no UBJSON: length {length}")
        return length

    def _text(self) -> str:
        return self._take(self._length()).decode()

    def _numbers(self, kind: np.dtype[Any], count: int) -> Any:
        return np.frombuffer(self._take(kind.itemsize * count), kind)

    def _take(self, size: int) -> bytes:
        taken = self._content[self.place : self.place + size]
        if len(taken) != size:
            raise ValueError("no UBJSON: it ends too early")
        self.place += size
        return taken
