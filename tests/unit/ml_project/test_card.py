import numpy as np

from ml_project.card import POINTS, ThresholdCurve
from ml_project.dataset import Dataset
from ml_project.metrics import ranking_curve
from ml_project.policies import NEVER


def scored(transactions: Dataset) -> np.ndarray:
    return np.clip(np.random.default_rng(0).normal(0.1 + 0.5 * transactions.label, 0.2), 0, 1)


def test_a_thinned_curve_keeps_its_ends_and_the_marked_thresholds(transactions: Dataset) -> None:
    curve = ranking_curve(scored(transactions), transactions.label, transactions.weight, transactions.amount)
    assert len(curve.score) > 3 * POINTS
    marked = float(curve.score[777])
    thin = ThresholdCurve.of(curve, 5.0, 2.0, [marked, NEVER])
    assert len(thin.threshold) <= POINTS
    assert thin.recall[-1] == 1.0
    assert thin.alerts_per_day[0] == float(f"{curve.alerts[0] / 2:.6g}")
    assert thin.at(marked - 1e-6) == thin.threshold.index(float(f"{marked:.6g}"))
    assert list(thin.threshold) == sorted(thin.threshold, reverse=True)
    assert thin.at(NEVER) == -1


def test_a_short_curve_is_kept_whole() -> None:
    label = np.array([0, 1, 0, 1], dtype=np.int8)
    curve = ranking_curve(np.array([0.1, 0.9, 0.3, 0.7]), label, np.ones(4), np.full(4, 10.0))
    thin = ThresholdCurve.of(curve, 1.0, 1.0)
    assert thin.threshold == (0.9, 0.7, 0.3, 0.1)
    assert thin.cost_per_day == (11.0, 2.0, 3.0, 4.0)
