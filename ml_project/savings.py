"""What decisions cost, row by row, and how much of the money at stake one model's decisions save over another's.

Cost is a sum over rows, so a bootstrap replicate of it is one product of weights and losses. It is compared as a share
of all fraud: as a share of the champion's cost, which hangs on a handful of missed frauds, no margin would mean the
same twice.
"""

import numpy as np
from numpy.typing import NDArray

from ml_project.dataset import Labelled
from ml_project.metrics import Estimate, bootstrap_weights


def losses(data: Labelled, score: NDArray[np.floating], threshold: float, review_cost: float) -> NDArray[np.float64]:
    """Currency that each row costs, shape (n,): a review if it raises an alert, its Amount if it is missed fraud."""
    alerted = np.asarray(score) >= threshold
    return np.where(alerted, review_cost, np.where(data.label == 1, data.amount, 0.0))


def paired_savings(
    data: Labelled,
    challenger: NDArray[np.float64],
    champion: NDArray[np.float64],
    replicates: int = 1000,
    seed: int = 0,
) -> Estimate:
    """How much less the challenger loses than the champion, as a share of all fraud, with a 95 % interval.

    Savings as of Bahnsen et al., "Example-dependent cost-sensitive decision trees", Expert Systems with Applications
    42 (2015): 1 minus cost over the cost of doing nothing; this is the difference of two.

    Parameters
    ----------
    challenger, champion : ndarray of shape (n,)
        See `losses`.
    """
    gain = champion - challenger
    stake = data.amount * (data.label == 1)

    def share(weight: NDArray[np.float64]) -> float:
        return float(weight @ gain) / max(float(weight @ stake), 1e-9)

    draws = [share(weight) for weight in bootstrap_weights(data, replicates, seed)]
    low, high = np.quantile(draws, [0.025, 0.975])
    return Estimate(share(data.weight), float(low), float(high))
