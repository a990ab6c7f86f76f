"""What every threshold would do: weighted counts of caught frauds and false alerts, from one sort of the scores.

All metrics of a ranking and all threshold policies are read off this one curve.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RankingCurve:
    """One point per distinct score, from the highest score down; "alert" means score >= that point's score.

    Attributes
    ----------
    score : ndarray of shape (k,)
        Distinct scores, falling.
    caught, false_alerts : ndarray of shape (k,)
        Weighted frauds and legitimate rows at or above the score.
    caught_amount : ndarray of shape (k,)
        Weighted Amount of the frauds caught.
    frauds, legitimate, fraud_amount : float
        Totals, so that a curve of a sample stands for the whole.
    """

    score: NDArray[np.float64]
    caught: NDArray[np.float64]
    false_alerts: NDArray[np.float64]
    caught_amount: NDArray[np.float64]
    frauds: float
    legitimate: float
    fraud_amount: float

    @property
    def alerts(self) -> NDArray[np.float64]:
        """Weighted rows at or above each score."""
        return self.caught + self.false_alerts

    @property
    def precision(self) -> NDArray[np.float64]:
        """Share of frauds among the alerts."""
        return self.caught / self.alerts

    @property
    def recall(self) -> NDArray[np.float64]:
        """Share of the frauds that raise an alert."""
        return self.caught / self.frauds

    @property
    def false_positive_rate(self) -> NDArray[np.float64]:
        """Share of the legitimate rows that raise an alert."""
        return self.false_alerts / self.legitimate

    def cost(self, review_cost: float) -> NDArray[np.float64]:
        """Currency lost at each score: a missed fraud costs its Amount, an alert costs a review."""
        return (self.fraud_amount - self.caught_amount) + review_cost * self.alerts

    def at(self, threshold: float) -> int:
        """The last point whose score is >= ``threshold``, or -1 where nothing would raise an alert."""
        return int(np.searchsorted(-self.score, -threshold, side="right")) - 1


class Ranker:
    """Rows sorted once by score, so that many weightings of them (bootstrap replicates) cost one cumulative sum each.

    Parameters
    ----------
    score, label, amount : ndarray of shape (n,)
        Scores (higher is more suspicious), 1 for fraud, amounts.
    """

    def __init__(self, score: NDArray[np.floating], label: NDArray[np.int8], amount: NDArray[np.float64]) -> None:
        self._order = np.argsort(-score, kind="stable")
        ranked = np.asarray(score, dtype=np.float64)[self._order]
        self._ends = np.flatnonzero(np.append(np.diff(ranked) != 0, True))
        self._score = ranked[self._ends]
        self._fraud = label[self._order].astype(np.float64)
        self._amount = np.asarray(amount, dtype=np.float64)[self._order]

    def curve(self, weight: NDArray[np.float64]) -> RankingCurve:
        """The curve under the given row weights (zero drops a row)."""
        weights = weight[self._order]
        fraud_weights = weights * self._fraud
        # Legitimate rows have a sum of their own: a difference of sums could fall from one point to the next.
        caught, false_alerts, amount = (
            np.cumsum(values) for values in (fraud_weights, weights - fraud_weights, fraud_weights * self._amount)
        )
        counts = (caught + false_alerts)[self._ends] > 0
        kept = self._ends[counts]
        return RankingCurve(
            score=self._score[counts],
            caught=caught[kept],
            false_alerts=false_alerts[kept],
            caught_amount=amount[kept],
            frauds=float(caught[-1]),
            legitimate=float(false_alerts[-1]),
            fraud_amount=float(amount[-1]),
        )


def ranking_curve(
    score: NDArray[np.floating],
    label: NDArray[np.int8],
    weight: NDArray[np.float64],
    amount: NDArray[np.float64],
) -> RankingCurve:
    """The curve of scored rows; see `RankingCurve`."""
    return Ranker(score, label, amount).curve(weight)
