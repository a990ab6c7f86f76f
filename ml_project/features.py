"""The 37 features of a transaction, computed in one place for training, pyfunc, gateway and Spark alike.

A raw transaction has 30 fields. ``Time`` restarts with every extract and grows without end, so it enters as its hour
of day; the other 29 enter as they are; 7 features are engineered from them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml_project.schema import FEATURES, PCA_COMPONENTS, RAW_FEATURES, SECONDS_PER_DAY

RATIO_GUARD = 1e-3
"""``v1_v2_ratio`` divides by V2 held at least this far from 0 (keeping its sign, 0 counts as positive)."""

HIGH_VALUE_AMOUNT = 1000.0

CONSTANT = 1e-12
"""Standard deviation over mean up to which values count as constant: the rest is rounding of their mean."""

_LAST_HOUR = np.nextafter(np.float32(24), np.float32(0))
"""The last float32 of a day: rounding must not turn a moment before midnight into hour 24."""

_BLOCK = 8_192
"""Rows that are worked on at once: what lies between raw fields and features then fits into the processor's cache."""

_COMPONENTS = len(PCA_COMPONENTS)
_TIME, _V1, _V2, _V28, _AMOUNT = (RAW_FEATURES.index(name) for name in ("Time", "V1", "V2", "V28", "Amount"))


@dataclass(frozen=True)
class AmountStatistics:
    """Mean and standard deviation of Amount over the training rows, for ``amount_zscore``."""

    mean: float
    std: float

    @classmethod
    def fit(cls, amount: NDArray[np.float64], weight: NDArray[np.float64]) -> "AmountStatistics":
        """Weighted mean and population standard deviation; a constant Amount gets 1, so that z-scores stay finite."""
        mean = float(np.average(amount, weights=weight))
        std = float(np.sqrt(np.average((amount - mean) ** 2, weights=weight)))
        return cls(mean, std if std > CONSTANT * abs(mean) else 1.0)


def compute_features(raw: NDArray[np.float64], amount: AmountStatistics) -> NDArray[np.float32]:
    """The ensemble's inputs.

    Parameters
    ----------
    raw : ndarray of shape (n, 30)
        Transactions, columns as in ``schema.RAW_FEATURES``: Time in seconds, Amount in the account's currency.
    amount : AmountStatistics
        Statistics of the training rows.

    Returns
    -------
    ndarray of shape (n, 37), float32
        Columns as in ``schema.FEATURES``; column ``Time`` holds the hour of day, 0 <= h < 24.
    """
    features = np.empty((len(raw), len(FEATURES)), dtype=np.float32)
    for begin in range(0, len(raw), _BLOCK):
        block = slice(begin, begin + _BLOCK)
        _fill(features[block], raw[block], amount)
    return features


def _fill(features: NDArray[np.float32], raw: NDArray[np.float64], amount: AmountStatistics) -> None:
    # Row by row in memory: the order of a sum, and with it its last digits, follows the layout.
    components = np.ascontiguousarray(raw[:, _V1 : _V28 + 1])
    amounts = raw[:, _AMOUNT]
    divisor = raw[:, _V2]
    guarded = np.copysign(np.maximum(np.abs(divisor), RATIO_GUARD), divisor + 0.0)
    magnitude = np.abs(components)
    # By ufuncs: on the one row of a request, ndarray.var and mean take longer to begin than to finish.
    centred = components - np.add.reduce(components, axis=1, keepdims=True) / _COMPONENTS

    features[:, : len(RAW_FEATURES)] = raw
    hours = np.mod(raw[:, _TIME], SECONDS_PER_DAY) / 3600
    features[:, _TIME] = np.minimum(hours, _LAST_HOUR)
    engineered = features[:, len(RAW_FEATURES) :]
    engineered[:, 0] = (amounts - amount.mean) / amount.std
    engineered[:, 1] = np.log1p(amounts)
    engineered[:, 2] = raw[:, _V1] / guarded
    engineered[:, 3] = amounts > HIGH_VALUE_AMOUNT
    engineered[:, 4] = np.add.reduce(centred * centred, axis=1) / _COMPONENTS
    engineered[:, 5] = np.maximum.reduce(magnitude, axis=1)
    engineered[:, 6] = np.add.reduce(magnitude, axis=1) / _COMPONENTS
