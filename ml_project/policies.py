"""The decisions, the thresholds behind them, and the policies that choose thresholds, on validation rows only."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml_project.errors import InvalidInput
from ml_project.metrics import RankingCurve

NEVER = 2.0
"""A threshold above every score: no decision of that kind is ever taken."""


@dataclass(frozen=True)
class PolicySettings:
    """What the policies aim at.

    Attributes
    ----------
    review_cost : float
        Currency that one alert costs to review.
    alerts_per_day : float
        The alert budget.
    fpr : float
        Highest false-positive rate of ``recall_at_fpr``.
    decline_precision : float
        Precision that automatic declines must have had on validation.
    """

    review_cost: float = 5.0
    alerts_per_day: float = 100.0
    fpr: float = 0.001
    decline_precision: float = 0.95


@dataclass(frozen=True)
class Thresholds:
    """Scores from which on a transaction is reviewed (alert) and declined."""

    alert: float
    decline: float


class Decision(StrEnum):
    """What happens to a transaction."""

    APPROVE = "APPROVE"
    REVIEW = "REVIEW"
    DECLINE = "DECLINE"


def decide(hybrid: float, thresholds: Thresholds) -> Decision:
    """APPROVE below the alert threshold, DECLINE from the decline threshold on, REVIEW between."""
    if hybrid >= thresholds.decline:
        return Decision.DECLINE
    return Decision.REVIEW if hybrid >= thresholds.alert else Decision.APPROVE


DECISIONS: Final = tuple(Decision)


def decide_all(hybrid: NDArray[np.float64], thresholds: Thresholds) -> NDArray[np.int8]:
    """Decisions of scores (n,) as places in ``DECISIONS``; see `decide`."""
    decisions = (hybrid >= thresholds.alert).astype(np.int8)
    decisions[hybrid >= thresholds.decline] = DECISIONS.index(Decision.DECLINE)
    return decisions


Policy = Callable[[RankingCurve, PolicySettings, float], int]
"""Chooses the last alerting point of a curve that spans the given days; -1 for none."""


def _f1(curve: RankingCurve, _settings: PolicySettings, _days: float) -> int:
    return int(np.argmax(2 * curve.caught / (curve.alerts + curve.frauds)))


def _cost(curve: RankingCurve, settings: PolicySettings, _days: float) -> int:
    cost = curve.cost(settings.review_cost)
    best = int(np.argmin(cost))
    return best if cost[best] < curve.fraud_amount else -1


def _alert_budget(curve: RankingCurve, settings: PolicySettings, days: float) -> int:
    return int(np.searchsorted(curve.alerts, settings.alerts_per_day * days, side="right")) - 1


def _recall_at_fpr(curve: RankingCurve, settings: PolicySettings, _days: float) -> int:
    return int(np.searchsorted(curve.false_positive_rate, settings.fpr, side="right")) - 1


COST: Final = "cost"
"""The policy that needs amounts."""

POLICIES: dict[str, Policy] = {
    "f1": _f1,
    COST: _cost,
    "alert_budget": _alert_budget,
    "recall_at_fpr": _recall_at_fpr,
}


def _between(curve: RankingCurve, point: int) -> float:
    """A threshold half-way to the next lower score, so that rounding in another library cannot flip a decision."""
    if point < 0:
        return NEVER
    below = float(curve.score[point + 1]) if point + 1 < len(curve.score) else 0.0
    score = float(curve.score[point])
    # Between neighbouring floats the half-way point is one of them, and must not be the lower.
    return max((score + below) / 2, min(score, float(np.nextafter(below, np.inf))))


def choose_thresholds(policy: str, curve: RankingCurve, settings: PolicySettings, days: float) -> Thresholds:
    """Alert threshold by the policy; decline threshold at ``decline_precision``, never below the alert threshold.

    Parameters
    ----------
    policy : str
        A key of ``POLICIES``.
    curve : RankingCurve
        Validation rows.
    days : float
        Time that they span, for the alert budget.

    Raises
    ------
    InvalidInput
        For an unknown policy.
    """
    if policy not in POLICIES:
        raise InvalidInput(f"There is no threshold policy {policy!r}.", f"Choose one of {', '.join(POLICIES)}.")
    alert = POLICIES[policy](curve, settings, days)
    precise = np.flatnonzero(curve.precision[: alert + 1] >= settings.decline_precision)
    decline = int(precise[-1]) if len(precise) else -1
    return Thresholds(_between(curve, alert), _between(curve, decline))
