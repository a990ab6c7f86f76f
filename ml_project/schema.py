"""A transaction's fields: their names and order, and which values can be scored. Every other module reads them here."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

PCA_COMPONENTS: Final = tuple(f"V{i}" for i in range(1, 29))

RAW_FEATURES: Final = ("Time", *PCA_COMPONENTS, "Amount")
"""The 30 fields that a client sends, in the order of the original data set."""

ENGINEERED_FEATURES: Final = (
    "amount_zscore",
    "amount_log",
    "v1_v2_ratio",
    "high_value",
    "variance_all",
    "max_abs_v",
    "mean_abs_v",
)
"""The 7 features computed from the raw ones; a client's own values for them are never used."""

FEATURES: Final = RAW_FEATURES + ENGINEERED_FEATURES
"""The 37 inputs of the ensemble, in the order of the bundle's input tensor."""

OUTPUTS: Final = ("isolation_score", "boosted_score", "hybrid_score", "fraud_probability")
"""What the ensemble's graph gives, in order."""

LABEL: Final = "Class"
WEIGHT: Final = "Weight"
EVENT_TIME: Final = "event_time"

SECONDS_PER_DAY: Final = 86_400


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
