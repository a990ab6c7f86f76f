"""A file whose bytes are elsewhere and come by ranges, such as an object in S3: little more of it than is read."""

import io
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

_BLOCK_BYTES: Final = 1024**2
_AHEAD: Final = 4
"""Blocks that are fetched in one go for who reads on: a request costs more than they do."""

_HELD: Final = 64
"""Blocks in memory. The columns of a Parquet file lie far from each other, and are read in turn, a little of each."""


class RangedFile(io.RawIOBase):
    """Bytes of one object, to read at any position.

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
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._latest = -1

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
        """What one block has of it."""
        if self._position >= self._size:
            return 0
        number, offset = divmod(self._position, _BLOCK_BYTES)
        content = self._block(number)[offset : offset + len(buffer)]
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            begin = number * _BLOCK_BYTES
            end = min(begin + (_AHEAD if number == self._latest + 1 else 1) * _BLOCK_BYTES, self._size)
            content = self._fetch(begin, end)
            for place in range(0, len(content), _BLOCK_BYTES):
                self._latest = number + place // _BLOCK_BYTES
                self._blocks[self._latest] = content[place : place + _BLOCK_BYTES]
        self._blocks.move_to_end(number)
        while len(self._blocks) > _HELD:
            self._blocks.popitem(last=False)
        return self._blocks[number]
