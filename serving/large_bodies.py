"""Bodies that are too large to be held or parsed at once: the room for all of them together, and JSON in pieces."""

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from serving.errors import BodyTooLarge, MalformedJson, NoRoom, StorageFull
from serving.http import BOM, json_depths, json_in

SMALL_BYTES: Final = 64 * 1024
"""So much of a body takes no share: as many as there can be connections fit into the memory."""


class Budget:
    """Bytes that the bodies of all requests may take together.

    Parameters
    ----------
    size : int
        In bytes.

    Attributes
    ----------
    left : int
        Bytes that nobody has taken.
    """

    def __init__(self, size: int) -> None:
        self.left = size

    def share(self) -> "Share":
        """A request's part of it, empty at first."""
        return Share(self)

    def take(self, size: int) -> None:
        """Take bytes out.

        Raises
        ------
        NoRoom, StorageFull
            When they are not left.
        """
        if size > self.left:
            raise NoRoom("Too many large bodies are being sent at the same time.", "Try again in some seconds.")
        self.left -= size

    def give_back(self, size: int) -> None:
        """Put bytes back."""
        self.left += size


class DiskBudget(Budget):
    """One that also leaves a reserve free on its disk.

    Parameters
    ----------
    size, reserve : int
        In bytes.
    folder : Path
        On that disk; it may be missing.
    """

    def __init__(self, size: int, folder: Path, reserve: int) -> None:
        super().__init__(size)
        self._folder, self._reserve = folder, reserve

    def take(self, size: int) -> None:
        """See `Budget`."""
        if shutil.disk_usage(self._folder).free - size < self._reserve:
            raise not_written(OSError(errno.ENOSPC, "reserve"))
        super().take(size)


_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def not_written(error: OSError) -> StorageFull:
    """What to say of an upload that the disk did not take."""
    if error.errno in _FULL:
        return StorageFull("The gateway has no room on its disk.", "Send it in parts, or later.")
    return StorageFull(
        f"The gateway cannot write to its disk: {error.strerror}.",
        "Operators: uploads are written below FRAUD_STATE_DIR, which must be writable.",
    )


class Share:
    """What one request has taken; a context manager that gives it back. Closing it again does nothing.

    Attributes
    ----------
    size : int
        Bytes of its body so far, what was for nothing included.
    """

    def __init__(self, budget: Budget) -> None:
        self.size = 0
        self._budget = budget
        self._taken = 0

    def grow(self, size: int) -> None:
        """Take so many bytes more, the first `SMALL_BYTES` of all for nothing.

        Raises
        ------
        NoRoom, StorageFull
            When they are not left; what was taken before is kept until it is closed.
        """
        missing = self.size + size - SMALL_BYTES - self._taken
        if missing > 0:
            self._budget.take(missing)
            self._taken += missing
        self.size += size

    def close(self) -> None:
        """Give everything back."""
        self._budget.give_back(self._taken)
        self._taken = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


_COMMA: Final = 0x2C


def json_array(body: bytes) -> Iterator[list[Any]]:
    """The elements of a JSON array, in pieces; a parser has the interpreter for itself as long as it parses.

    Raises
    ------
    MalformedJson
        When it is not JSON, or has elements that are longer than `SMALL_BYTES`.
    """
    start, end, rows = body.index(b"[") + 1, len(body), 0
    while end - start > SMALL_BYTES:
        window = body[start : start + SMALL_BYTES]
        cut = _last_comma(window)
        if cut is None:
            raise BodyTooLarge(f"Row {rows} has more than {SMALL_BYTES} bytes.", "Send its known fields only.")
        piece = _parsed(b"[" + window[:cut] + b"]", rows)
        if not piece:
            raise MalformedJson(f"The body is not JSON: there is nothing before a comma, at row {rows}.")
        yield piece
        start, rows = start + cut + 1, rows + len(piece)
    piece = _parsed(b"[" + body[start:], rows)
    if rows and not piece:
        raise MalformedJson("The body is not JSON: trailing comma.")
    yield piece


def _parsed(piece: bytes, rows: int) -> list[Any]:
    try:
        content: list[Any] = json_in(piece)
    except MalformedJson as error:
        where = f" Lines and columns count from row {rows}." if rows else ""
        raise MalformedJson(f"{error.cause}{where}", error.remedy) from None
    return content


def is_array(body: bytes) -> bool:
    """Whether a JSON body is an array, by its beginning."""
    return body.removeprefix(BOM).lstrip(b" \t\r\n").startswith(b"[")


def _last_comma(window: bytes) -> int | None:
    """Where the last element that is whole ends: the last comma that is in no string and in no element."""
    plain, depth = json_depths(window)
    found = np.flatnonzero((plain == _COMMA) & (depth == 0))
    return int(found[-1]) if len(found) else None
