"""Figures of a ranking, and how uncertain they are.

Everything is read off one curve: weighted counts of caught frauds and false alerts at every threshold, from one sort of
the scores. One fraud among 75 is 1.3 points of recall, so every figure comes with an interval.

The gateway reads curves too and has no pandas: data sets are imported for their types only.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from ml_project.operators import SECONDS_PER_DAY

if TYPE_CHECKING:
    from ml_project.dataset import Dataset


class Labelled(Protocol):
    """What metrics need to know of n rows: the labels, what a row stands for, and what it was worth."""

    @property
    def label(self) -> NDArray[np.int8]:
        """1 for fraud, 0 for legitimate, shape (n,)."""

    @property
    def weight(self) -> NDArray[np.float64]:
        """Sampling weights, shape (n,)."""

    @property
    def amount(self) -> NDArray[np.float64]:
        """Amounts, shape (n,)."""


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
        Weighted amount of the frauds caught.
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
        """Currency lost at each score: a missed fraud costs its amount, an alert costs a review."""
        return (self.fraud_amount - self.caught_amount) + review_cost * self.alerts

    def at(self, threshold: float) -> int:
        """The last point whose score is >= ``threshold``, or -1 where nothing would raise an alert."""
        return int(np.searchsorted(-self.score, -threshold, side="right")) - 1


class Ranker:
    """Rows sorted once by score, so that many weightings of them (bootstrap replicates) cost one cumulative sum each.

    Parameters
    ----------
    score, label, amount : ndarray of shape (n,)
        Scores (higher is more suspicious), 1 for fraud (or the probability of one, for expected counts), amounts.
    """

    def __init__(
        self,
        score: NDArray[np.floating],
        label: NDArray[np.int8] | NDArray[np.floating],
        amount: NDArray[np.float64],
    ) -> None:
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


Metric = Callable[[RankingCurve], float]


def average_precision(curve: RankingCurve) -> float:
    """Sum over thresholds of precision times the recall it adds (no interpolation).

    Source: Davis and Goadrich, "The relationship between precision-recall and ROC curves", ICML 2006.
    """
    return float(np.sum(np.diff(curve.recall, prepend=0.0) * curve.precision))


def roc_auc(curve: RankingCurve) -> float:
    """Chance that a fraud scores above a legitimate row, ties counting half."""
    return float(np.trapezoid(np.append(0.0, curve.recall), np.append(0.0, curve.false_positive_rate)))


def recall_at_fpr(limit: float = 0.01) -> Metric:
    """Recall at the lowest threshold whose false-positive rate stays within ``limit``."""

    def metric(curve: RankingCurve) -> float:
        last = int(np.searchsorted(curve.false_positive_rate, limit, side="right")) - 1
        return float(curve.recall[last]) if last >= 0 else 0.0

    return metric


def _within(curve: RankingCurve, alerts: float) -> int:
    return int(np.searchsorted(curve.alerts, alerts, side="right")) - 1


def recall_within(alerts: float) -> Metric:
    """Recall of the highest-scored rows that a budget of so many alerts pays for."""
    return lambda curve: float(curve.recall[_within(curve, alerts)]) if _within(curve, alerts) >= 0 else 0.0


def precision_within(alerts: float) -> Metric:
    """Precision of the highest-scored rows that a budget of so many alerts pays for; 0 where it pays for none."""
    return lambda curve: float(curve.precision[_within(curve, alerts)]) if _within(curve, alerts) >= 0 else 0.0


def cost_within(alerts: float, review_cost: float, days: float) -> Metric:
    """Currency lost per day where the highest-scored rows within a budget of so many alerts are reviewed."""

    def metric(curve: RankingCurve) -> float:
        point = _within(curve, alerts)
        return float(curve.cost(review_cost)[point] if point >= 0 else curve.fraud_amount) / days

    return metric


def precision_at(threshold: float) -> Metric:
    """Precision at a threshold; 0 where nothing raises an alert."""
    return lambda curve: float(curve.precision[curve.at(threshold)]) if curve.at(threshold) >= 0 else 0.0


def recall_at(threshold: float) -> Metric:
    """Recall at a threshold."""
    return lambda curve: float(curve.recall[curve.at(threshold)]) if curve.at(threshold) >= 0 else 0.0


def cost_at(threshold: float, review_cost: float, days: float) -> Metric:
    """Currency lost per day at a threshold."""

    def metric(curve: RankingCurve) -> float:
        point = curve.at(threshold)
        return float(curve.cost(review_cost)[point] if point >= 0 else curve.fraud_amount) / days

    return metric


def alerts_per_day_at(threshold: float, days: float) -> Metric:
    """Alerts per day at a threshold."""
    return lambda curve: float(curve.alerts[curve.at(threshold)]) / days if curve.at(threshold) >= 0 else 0.0


def ranking_metrics(fpr: float = 0.01) -> dict[str, Metric]:
    """The figures that need no threshold."""
    return {"average_precision": average_precision, "roc_auc": roc_auc, f"recall_at_fpr_{fpr:g}": recall_at_fpr(fpr)}


def threshold_metrics(threshold: float, review_cost: float | None, days: float) -> dict[str, Metric]:
    """The figures of one alert threshold; without a review's cost none of costs."""
    cost = {} if review_cost is None else {"cost_per_day": cost_at(threshold, review_cost, days)}
    return {
        "precision": precision_at(threshold),
        "recall": recall_at(threshold),
        **cost,
        "alerts_per_day": alerts_per_day_at(threshold, days),
    }


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    @property
    def detectable(self) -> float:
        """Of a difference: how large it would have to be for such data to show it in four cases out of five.

        2.8 standard errors (two-sided 5 %, power 80 %), the error taken from the interval's width. Source: Bloom,
        "Minimum detectable effects", Evaluation Review 19 (1995).
        """
        return _DETECTABLE * (self.high - self.low)


_DETECTABLE: Final = (1.959964 + 0.841621) / (2 * 1.959964)


def _replicates(data: Labelled, replicates: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Row weights of stratified bootstrap replicates: frauds and legitimate rows are drawn apart."""
    rng = np.random.default_rng(seed)
    strata = [np.flatnonzero(data.label == value) for value in (0, 1)]
    for _ in range(replicates):
        drawn = np.concatenate([rows[rng.integers(0, len(rows), len(rows))] for rows in strata])
        yield np.bincount(drawn, minlength=len(data.label)) * data.weight


def estimate(
    data: Labelled,
    score: NDArray[np.floating],
    metrics: Mapping[str, Metric],
    replicates: int = 500,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Figures with 95 % percentile intervals by stratified bootstrap.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapters 13 and 16.
    """
    ranker = Ranker(score, data.label, data.amount)
    point = ranker.curve(data.weight)
    draws: dict[str, list[float]] = {name: [] for name in metrics}
    for weight in _replicates(data, replicates, seed):
        curve = ranker.curve(weight)
        for name, metric in metrics.items():
            draws[name].append(metric(curve))
    return {
        name: Estimate(metric(point), *(float(q) for q in np.quantile(draws[name], [0.025, 0.975])))
        for name, metric in metrics.items()
    }


def paired_difference(
    data: Labelled,
    challenger: NDArray[np.floating],
    champion: NDArray[np.floating],
    metrics: Mapping[str, Metric] | None = None,
    replicates: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Estimate]:
    """Challenger minus champion on the same rows, both scored on the same bootstrap replicates."""
    chosen = {"average_precision": average_precision} if metrics is None else metrics
    rankers = [Ranker(score, data.label, data.amount) for score in (challenger, champion)]

    def differences(weight: NDArray[np.float64]) -> list[float]:
        curves = [ranker.curve(weight) for ranker in rankers]
        return [metric(curves[0]) - metric(curves[1]) for metric in chosen.values()]

    point = differences(data.weight)
    draws = np.array([differences(weight) for weight in _replicates(data, replicates, seed)])
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return {name: Estimate(point[i], float(low[i]), float(high[i])) for i, name in enumerate(chosen)}


def calibration_error(data: Labelled, probability: NDArray[np.floating], bins: int = 10) -> float:
    """Fraud mass that the probabilities put in the wrong place, as a share of all frauds (0 is perfect).

    The usual bins of equal width would hold 99.8 % of the rows in the first one; here every bin holds the same sum of
    predicted fraud, so that the rare high scores count. After Naeini et al., "Obtaining well calibrated
    probabilities using Bayesian binning", AAAI 2015.
    """
    order = np.argsort(probability, kind="stable")
    ranked = np.asarray(probability, dtype=np.float64)[order]
    predicted = ranked * data.weight[order]
    observed = data.label[order] * data.weight[order]
    mass = np.cumsum(predicted)
    edges = np.searchsorted(mass, np.linspace(0, mass[-1], bins + 1)[1:-1])
    edges = np.searchsorted(ranked, ranked[edges.clip(max=len(mass) - 1)])  # equal probabilities share a bin
    gaps = np.add.reduceat(predicted - observed, np.unique(np.append(0, edges)))
    return float(np.abs(gaps).sum() / observed.sum())


_NOTHING = 1e-9


def losses(data: Labelled, score: NDArray[np.floating], threshold: float, review_cost: float) -> NDArray[np.float64]:
    """Currency that each row costs, shape (n,): a review if it raises an alert, its amount if it is missed fraud."""
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
    gain = data.weight * (champion - challenger)
    stake = data.weight * data.amount * (data.label == 1)
    rng = np.random.default_rng(seed)
    sums = np.zeros((replicates, 2))
    for label in (0, 1):
        rows = np.flatnonzero(data.label == label)
        # most rows add nothing: how often those were drawn need not be known one by one
        counted = rows[(gain[rows] != 0) | (stake[rows] != 0)]
        chances = np.append(np.full(len(counted), 1 / len(rows)), 1 - len(counted) / len(rows))
        values = np.column_stack([gain[counted], stake[counted]])
        for replicate in range(replicates):
            sums[replicate] += rng.multinomial(len(rows), chances)[:-1] @ values
    low, high = np.quantile(sums[:, 0] / np.maximum(sums[:, 1], _NOTHING), [0.025, 0.975])
    return Estimate(float(gain.sum() / max(stake.sum(), _NOTHING)), float(low), float(high))


def slices(data: "Dataset", amounts: Sequence[float], hours: Sequence[float]) -> dict[str, NDArray[np.intp]]:
    """Row numbers of every band by its name.

    Parameters
    ----------
    amounts, hours : sequence of float
        Rising inner edges; a band holds its lower edge.
    """
    contract = data.contract
    found: dict[str, NDArray[np.intp]] = {}
    if contract.amount is not None:
        found |= _bands("amount", data.amount, [0.0, *amounts, np.inf])
    if contract.timed:
        seconds = data.moment if contract.time_place is None else data.raw[:, contract.time_place]
        found |= _bands("hour", np.mod(seconds, SECONDS_PER_DAY) / 3600, [0.0, *hours, 24.0])
    return found


def _bands(name: str, values: NDArray[np.float64], edges: list[float]) -> dict[str, NDArray[np.intp]]:
    return {
        f"{name} from {low:g}" if high == np.inf else f"{name} {low:g} to {high:g}": np.flatnonzero(
            (values >= low) & (values < high)
        )
        for low, high in pairwise(edges)
    }
