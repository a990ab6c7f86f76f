"""Which raw values can be scored: one rule for single requests, batches and whole tables."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml_project.schema import RAW_FEATURES

MAX_MAGNITUDE: Final = 1e15
"""Largest value of a raw field: features hold squares of them in float32, which ends at 3.4e38."""

_NOT_NEGATIVE: Final = np.isin(RAW_FEATURES, ("Time", "Amount"))


def unusable(raw: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which values of raw transactions (n, 30) cannot be scored: no number, infinite, too large, or below 0."""
    bad: NDArray[np.bool_] = ~(np.abs(raw) <= MAX_MAGNITUDE) | ((raw < 0) & _NOT_NEGATIVE)
    return bad


def fault(value: float) -> str:
    """What is wrong with an unusable value that is there, in words."""
    if not np.isfinite(value):
        return "not finite"
    return f"above {MAX_MAGNITUDE:g} in size" if abs(value) > MAX_MAGNITUDE else "negative"
