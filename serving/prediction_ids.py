"""Names for predictions: UUIDs of version 7 (RFC 9562, section 5.7), which sort by the time they were made."""

import os
import time

_RANDOM_BYTES = 10
_RANDOM_BITS_LOW = (1 << 62) - 1
_RANDOM_BITS_HIGH = (1 << 12) - 1


def new_prediction_ids(count: int) -> list[str]:
    """``count`` new ids; many at once, because asking for randomness costs more than the rest."""
    prefix = (time.time_ns() // 1_000_000) << 80 | 7 << 76 | 0b10 << 62
    noise = os.urandom(_RANDOM_BYTES * count)
    ids = []
    for start in range(0, len(noise), _RANDOM_BYTES):
        drawn = int.from_bytes(noise[start : start + _RANDOM_BYTES], "big")
        digits = f"{prefix | (drawn >> 62 & _RANDOM_BITS_HIGH) << 64 | drawn & _RANDOM_BITS_LOW:032x}"
        ids.append(f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}")
    return ids
