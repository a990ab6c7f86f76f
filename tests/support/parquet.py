"""Parquet files with a page that lies."""

import io
from typing import Final

import pyarrow.parquet as pq

TWO_GIGABYTES: Final = 2**31 - 1
"""The most that a page can say."""

_I32: Final = 0x15
"""Head of a field with 32 bits whose number is one more than that of the field before it."""


def with_large_page(content: bytes, column: str, unpacked: int = TWO_GIGABYTES) -> bytes:
    """A file of pyarrow's, with a page that says it takes so many bytes of memory.

    The column's chunk in the first row group must be one page, written without a dictionary. What its header takes more
    is cut off its end, so that nothing moves.
    """
    chunks = pq.ParquetFile(io.BytesIO(content)).metadata.row_group(0)
    chunk = next(each for each in map(chunks.column, range(chunks.num_columns)) if each.path_in_schema == column)
    start = chunk.data_page_offset
    end = start + chunk.total_compressed_size
    assert content[start] == content[start + 2] == _I32  # its kind and what it takes, then what it takes in the file
    _, first = _number(content, start + 3)
    assert content[first] == _I32
    packed, second = _number(content, first + 1)
    larger = _written(unpacked)
    more = len(larger) - (first - start - 3)
    smaller = _written(packed - more)
    assert len(smaller) == second - first - 1
    head = content[: start + 3] + larger + bytes((_I32,)) + smaller
    return head + content[second : end - more] + content[end:]


def _number(content: bytes, place: int) -> tuple[int, int]:
    """A number that is not negative, and where it ends."""
    value = shift = 0
    while True:
        value |= (content[place] & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if content[place - 1] < 0x80:
            return value // 2, place


def _written(number: int) -> bytes:
    left, written = 2 * number, bytearray()
    while left >= 0x80:
        written.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes((*written, left))
