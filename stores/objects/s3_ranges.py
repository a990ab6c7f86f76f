"""An object of S3 as a file that is read at any position, a range at a time."""

import io
from collections.abc import Callable
from typing import Any, Final

_RANGE_BYTES: Final = 4 * 1024**2


class RangedObject(io.RawIOBase):
    """Bytes of one object; see `S3Objects.reader`.

    Parameters
    ----------
    size : int
        Of the object, in bytes.
    fetch : callable
        Gives the bytes from a position to another, the latter outside.
    """

    def __init__(self, size: int, fetch: Callable[[int, int], bytes]) -> None:
        super().__init__()
        self._size, self._fetch, self._position = size, fetch, 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Nothing is fetched yet."""
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """One range."""
        end = min(self._position + len(buffer), self._size)
        content = self._fetch(self._position, end) if end > self._position else b""
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)


def buffered(size: int, fetch: Callable[[int, int], bytes]) -> io.BufferedReader:
    """The same with ranges of a few megabytes: a request costs more than they do."""
    return io.BufferedReader(RangedObject(size, fetch), _RANGE_BYTES)
