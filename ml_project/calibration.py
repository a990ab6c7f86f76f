"""From hybrid score to fraud probability: a logistic curve over the score's log-odds, fitted on later rows.

Two numbers, because calibration rows hold a few dozen frauds: isotonic regression would fit their noise. The curve
rises strictly, so it never reorders transactions. Source: Platt, "Probabilistic outputs for support vector machines"
(1999), with his smoothed targets.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CLIP = 1e-6
"""Scores are held this far from 0 and 1 before the logarithm; float32 cannot tell values closer to 1 apart."""

MIN_SLOPE = 0.05
_MAX_STEPS = 100


@dataclass(frozen=True)
class Calibrator:
    """``probability = 1 / (1 + exp(-(slope * log(s / (1 - s)) + intercept)))``."""

    slope: float = 1.0
    intercept: float = 0.0

    def probability(self, score: NDArray[np.floating]) -> NDArray[np.float64]:
        """Calibrated probabilities, same shape as ``score``."""
        return _logistic(self.slope * log_odds(score) + self.intercept)


def log_odds(score: NDArray[np.floating]) -> NDArray[np.float64]:
    """Log-odds of clipped scores."""
    clipped = np.clip(np.asarray(score, dtype=np.float64), CLIP, 1 - CLIP)
    return np.log(clipped) - np.log1p(-clipped)


def _logistic(values: NDArray[np.float64]) -> NDArray[np.float64]:
    # np.exp(-values) alone would overflow for steep curves
    return np.asarray(np.exp(-np.logaddexp(0.0, -values)))


def fit_calibrator(score: NDArray[np.floating], label: NDArray[np.int8], weight: NDArray[np.float64]) -> Calibrator:
    """Weighted maximum likelihood by Newton's method.

    Parameters
    ----------
    score, label, weight : ndarray of shape (n,)
        Hybrid scores of rows that the ensemble was not fitted on, their labels and sampling weights.
    """
    frauds = float(weight[label == 1].sum())
    legitimate = float(weight[label == 0].sum())
    target = np.where(label == 1, (frauds + 1) / (frauds + 2), 1 / (legitimate + 2))
    inputs = np.column_stack([log_odds(score), np.ones(len(score))])
    parameters = np.array([1.0, 0.0])
    for _ in range(_MAX_STEPS):
        fitted = _logistic(inputs @ parameters)
        gradient = inputs.T @ (weight * (fitted - target))
        curvature = inputs.T @ (inputs * (weight * fitted * (1 - fitted))[:, None])
        step = np.linalg.solve(curvature + 1e-9 * np.eye(2), gradient)
        step *= min(1.0, 2.0 / max(1e-12, float(np.abs(step).max())))
        parameters = parameters - step
        if float(np.abs(step).max()) < 1e-9:
            break
    return Calibrator(max(float(parameters[0]), MIN_SLOPE), float(parameters[1]))


@dataclass(frozen=True)
class Reliability:
    """Predicted against observed fraud per bin, each of shape (k,).

    Attributes
    ----------
    predicted, observed : ndarray
        Mean probability and share of frauds.
    rows : ndarray
        Weighted rows.
    """

    predicted: NDArray[np.float64]
    observed: NDArray[np.float64]
    rows: NDArray[np.float64]


def reliability(
    probability: NDArray[np.float64], label: NDArray[np.int8], weight: NDArray[np.float64], bins: int = 8
) -> Reliability:
    """Bins of equal predicted fraud, so that the rare high probabilities have most of them; empty ones are left out."""
    order = np.argsort(probability, kind="stable")
    weights, labels, predicted = weight[order], label[order], probability[order]
    mass = np.cumsum(predicted * weights)
    groups = np.minimum((mass / mass[-1] * bins).astype(int), bins - 1)
    sums = (weights, weights * predicted, weights * labels)
    totals, mean, observed = (np.bincount(groups, weights=values, minlength=bins).astype(np.float64) for values in sums)
    filled = np.flatnonzero(totals)
    return Reliability(mean[filled] / totals[filled], observed[filled] / totals[filled], totals[filled])
