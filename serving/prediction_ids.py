"""Names for predictions: UUIDs of version 7 (RFC 9562, section 5.7), which sort by the time they were made."""

import os
import time

_RANDOM_BYTES = 10
_VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
"""The two highest bits of this digit are 10."""


def new_prediction_ids(count: int) -> list[str]:
    """``count`` new ids; many at once, because asking for randomness costs more than the rest."""
    moment = f"{time.time_ns() // 1_000_000:012x}"
    start, noise = f"{moment[:8]}-{moment[8:]}-7", os.urandom(_RANDOM_BYTES * count).hex()
    return [
        f"{start}{noise[at : at + 3]}-{_VARIANT[noise[at + 3]]}{noise[at + 4 : at + 7]}-{noise[at + 7 : at + 19]}"
        for at in range(0, len(noise), 2 * _RANDOM_BYTES)
    ]
