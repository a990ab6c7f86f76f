"""A few made-up transactions for a first call."""

import numpy as np

from ml_project.schema import RAW_FEATURES
from ml_project.simulator import simulate

_CANDIDATES = 50
_V14 = RAW_FEATURES.index("V14")


def sample_transactions(rows: int = 3) -> list[dict[str, float]]:
    """Simulated transactions as a client would send them; the first is a blatant fraud, for a first look's sake."""
    frauds = next(simulate(_CANDIDATES, seed=1, fraud_rate=1.0)).raw
    blatant = frauds[np.argmin(frauds[:, _V14])]
    others = next(simulate(rows - 1, seed=1, fraud_rate=0.0)).raw
    return [
        {name: round(float(value), 6) for name, value in zip(RAW_FEATURES, row, strict=True)}
        for row in (blatant, *others)
    ]
