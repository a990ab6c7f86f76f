"""Figures of a ranking and their uncertainty.

One fraud among 75 is 1.3 points of recall, so no figure goes without an interval.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml_project.curve import Ranker, RankingCurve
from ml_project.dataset import Labelled

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


def threshold_metrics(threshold: float, review_cost: float, days: float) -> dict[str, Metric]:
    """The figures of one alert threshold."""
    return {
        "precision": precision_at(threshold),
        "recall": recall_at(threshold),
        "cost_per_day": cost_at(threshold, review_cost, days),
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
