"""Ids of bulk predictions: a segment's UUID with the row number in its last 24 bits.

They look like every other prediction id (UUID version 7), sort by time, and lead to their segment without an index row
each. 50 random bits remain to tell apart segments of the same millisecond.
"""

import os
import time
from typing import Final

MAX_ROWS: Final = 1 << 24
_ROW_DIGITS: Final = 6
_EMPTY: Final = "0" * _ROW_DIGITS


def new_segment_id() -> str:
    """A UUID of version 7 (RFC 9562, section 5.7) that ends in 24 zero bits."""
    drawn = int.from_bytes(os.urandom(7), "big")  # 56 bits, of which 12 + 38 are used
    high, low = drawn & 0xFFF, (drawn >> 12) & ((1 << 38) - 1)
    number = (time.time_ns() // 1_000_000) << 80 | 7 << 76 | high << 64 | 0b10 << 62 | low << 24
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def segment_prediction_ids(segment_id: str, rows: int) -> list[str]:
    """Ids of a segment's rows, in order."""
    prefix = segment_id[:-_ROW_DIGITS]
    return [f"{prefix}{row:0{_ROW_DIGITS}x}" for row in range(rows)]


def prediction_id_at(segment_id: str, row: int) -> str:
    """Id of one row."""
    return f"{segment_id[:-_ROW_DIGITS]}{row:0{_ROW_DIGITS}x}"


def locate(prediction_id: str) -> tuple[str, int] | None:
    """The segment and row that an id would belong to; None for what is no such id."""
    try:
        row = int(prediction_id[-_ROW_DIGITS:], 16)
    except ValueError:
        return None
    return prediction_id[:-_ROW_DIGITS] + _EMPTY, row
