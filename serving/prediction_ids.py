"""Names for single predictions: UUIDs of version 7 (RFC 9562, section 5.7), which sort by the time they were made."""

import os
import time

_VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
"""The two highest bits of this digit are 10."""


def new_prediction_id() -> str:
    """A new id; 74 of its bits are random."""
    moment, noise = f"{time.time_ns() // 1_000_000:012x}", os.urandom(10).hex()
    return f"{moment[:8]}-{moment[8:]}-7{noise[:3]}-{_VARIANT[noise[3]]}{noise[4:7]}-{noise[7:19]}"
