"""The names and order of a transaction's fields: the one place that every other part reads them from."""

from typing import Final

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
